"""The lake in a bucket is the lake in a folder: the same objects, and nothing above notices."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from doubles.small_market import SmallMarket
from polars.testing import assert_frame_equal
from pydantic import AnyHttpUrl

from tickhandler_dagster.adapters.object_store import is_temporary
from tickhandler_dagster.cli.report import write_report
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
from tickhandler_dagster.pipeline.warehouse_publish import Publisher
from tickhandler_dagster.resources.warehouse import build_warehouse
from tickhandler_dagster.sandbox.simulator import Simulator

DAYS = ("2024-08-08", "2024-08-09")
VENUES = ("okex-options", "okex-swap")
OPTIONS, SWAP = VENUES
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
BARS = tuple(f"bars/{kind}" for kind in ("tick", "volume", "dollar"))
TICKS = tuple(f"raw_ticks/{name}" for name in ("trades", "book_snapshot_5", "quotes"))
MORE_TICKS = ("raw_ticks/derivative_ticker", "raw_ticks/liquidations")
CHAIN = ("raw_ticks/options_chain", "options_surface")
MFT = ("mft_features/1m", "mft_features/1h")
METHODS = ("PUT", "POST", "GET", "HEAD", "DELETE", "LIST")
EXPIRIES = ("BTC-USD-240816-", "BTC-USD-240830-", "BTC-USD-240927-")
CONTRACTS = [
    one.dataset_id
    for one in Simulator().listings(VenueId(OPTIONS))
    if one.dataset_id.startswith(EXPIRIES)
]
SWAPS = ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
SIMULATOR = SmallMarket(*SWAPS, *CONTRACTS)


class Site:
    """A platform over a lake in a bucket, and what the bucket was asked."""

    def __init__(self, gcs, folder):
        self.gcs, self.folder = gcs, folder
        self.bucket = gcs.bucket()
        self.requests = {}

    @property
    def settings(self):
        return {
            "gcs_bucket": self.bucket,
            "gcs_prefix": "a/lake",
            "gcs_endpoint": self.gcs.endpoint,
            "cache_folder": self.folder / "cache",
        }

    def objects(self):
        """Every object with the hash of its bytes."""
        root = self.gcs.folder / self.bucket
        return {
            file.relative_to(root / "a/lake").as_posix(): _sha256(file)
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }

    def counted(self, step):
        """Keep what was asked since the last step."""
        asked = Counter(map(_kind, list(self.gcs.requests)))
        self.requests[step] = asked
        self.gcs.requests.clear()
        return asked


def _sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _kind(request):
    method, target = request
    if method == "GET" and "list-type=2" in target:
        return "LIST"
    return method


def stored(root):
    """Every object of a folder lake with the hash of its bytes."""
    paths = ((file, file.relative_to(root).as_posix()) for file in sorted(Path(root).rglob("*")))
    return {
        path: _sha256(file) for file, path in paths if file.is_file() and not is_temporary(path)
    }


def plan():
    """Runs of the whole pipeline in order: assets and where."""
    for venue in VENUES:
        yield ("exchange_catalog",), {"partition": venue}
    for day in DAYS:
        yield ("instruments", *TICKS), {"partition": f"{day}|{SWAP}"}
        yield MORE_TICKS, {"partition": f"{day}|{SWAP}"}
        yield ("instruments",), {"partition": f"{day}|{OPTIONS}"}
        yield CHAIN, {"partition": f"{day}|{OPTIONS}"}
    for day in DAYS:
        bars = () if day == DAYS[0] else BARS
        yield (*CANDLES, *bars), {"partition": f"{day}|{SWAP}"}
    span = tuple(f"{day}|{SWAP}" for day in DAYS)
    for assets in (MFT, ("completeness",), ("bar_audit",)):
        yield assets, {"span": span}


def carry_out(platform, on_step=lambda _: None):
    for assets, where in plan():
        result = platform.run(*assets, **where)
        assert result.success, (assets, where, platform.failures(result))
        place = where.get("partition") or "...".join(where["span"])
        on_step(f"{place} {' '.join(dict.fromkeys(asset.split('/')[0] for asset in assets))}")


def table_of(requests):
    lines = [f"{'step':70}" + "".join(f"{method:>8}" for method in METHODS)]
    for step, asked in requests.items():
        lines.append(f"{step:70}" + "".join(f"{asked[method]:8,}" for method in METHODS))
    return "\n".join(lines)


@pytest.fixture(scope="module")
def pair(open_platform, tmp_path_factory, _gcs_server):
    """The same days made twice: (site of the bucket, its platform, the folder's platform)."""
    root = tmp_path_factory.mktemp("bucket")
    site = Site(_gcs_server, root)
    _gcs_server.forget()
    options = {"start": DAYS[0]}
    with (
        open_platform(root / "one", SIMULATOR, VENUES, **options) as (folder, _),
        open_platform(root / "two", SIMULATOR, VENUES, more_settings=site.settings, **options) as (
            bucket,
            _,
        ),
    ):
        carry_out(folder)
        carry_out(bucket, site.counted)
        print(f"\n{table_of(site.requests)}")  # noqa: T201  (shown by pytest -s)
        yield site, bucket, folder


def test_a_bucket_holds_the_same_objects_as_a_folder_byte_for_byte(pair):
    site, _, folder = pair
    expected = stored(folder.settings.lake_root)
    assert len(expected) > 100
    assert site.objects() == expected
    assert not Path(site.folder, "two", "lake").exists()


def test_what_a_cell_asks_of_the_bucket_is_bounded_by_its_files(pair):
    site, _, _ = pair
    ticks = f"raw_tick_data/by_date/day-{DAYS[0]}/data_type-options_chain/OKX"
    files = sum(path.startswith(ticks) for path in site.objects())
    asked = site.requests[f"{DAYS[0]}|{OPTIONS} raw_ticks options_surface"]
    assert files > 30
    assert asked["PUT"] < files + 30
    assert asked["GET"] < files + 30
    assert asked["HEAD"] < 3 * files + 50
    assert asked["DELETE"] < 2 * files + 10
    assert asked["LIST"] < 5


def test_the_report_of_a_bucket_is_that_of_the_folder(pair, tmp_path):
    site, bucket, folder = pair
    start, end = map(dt.date.fromisoformat, DAYS)
    span = ReportSpan(start=start, end=end, venues=(VenueId(SWAP),), data_types=(DataType.TRADES,))
    pages = {}
    for name, platform in (("bucket", bucket), ("folder", folder)):
        write_report(span, platform.settings, tmp_path / name)
        pages[name] = (tmp_path / name / "completeness.html").read_text(encoding="utf-8")
    rows = [(tmp_path / name / "completeness.csv").read_bytes() for name in pages]
    assert rows[0] == rows[1]
    assert rows[0].count(b"\n") == 1 + len(DAYS) * len(SWAPS)
    assert f"gs://{site.bucket}/a/lake" in pages["bucket"]
    assert str(folder.settings.lake_root) in pages["folder"]


def facts_of(table):
    """A question whose answer has something of every column that can be summed, counted or ordered.

    Sums of floats depend on the order of rows in their last digits; everything else is exact.
    """
    asked = ["venue", "count(*) AS n"]
    for column in table.table.columns:
        name, dtype = column.name, column.dtype
        if dtype.is_nested():
            continue
        asked.append(f"count({name}) AS n_{name}")
        if dtype.is_numeric():
            # Not the sum itself: numbers of both signs cancel, and only rounding is left.
            asked.append(f"sum(abs({name})) AS s_{name}")
        if dtype != pl.Boolean():
            asked.append(f"min({name}) AS a_{name}, max({name}) AS z_{name}")
    start, end = DAYS[0], "2024-08-10"
    if table.day_column != "date":
        start, end = (f"{day} 00:00:00+00" for day in (start, end))
    where = f"{table.day_column} >= '{start}' AND {table.day_column} < '{end}'"
    return f"SELECT {', '.join(asked)} FROM {table.name} WHERE {where} GROUP BY venue"  # noqa: S608  (names of ours)


def test_every_table_of_the_warehouse_is_the_same_in_bigquery_over_the_bucket(
    pair, bigquery, tmp_path
):
    _, bucket, folder = pair
    bigquery_settings = bucket.settings.model_copy(
        update={
            "warehouse": WarehouseKind.BIGQUERY,
            "bigquery_endpoint": AnyHttpUrl(bigquery.endpoint),
            "gcp_project_id": "tests-project",
        }
    )
    duckdb_settings = folder.settings.model_copy(update={"warehouse_folder": tmp_path / "it"})
    days = [dt.date.fromisoformat(day) for day in DAYS]
    venues = [VenueId(venue) for venue in VENUES]
    filled = set()
    for table in warehouse_tables(Windows()):
        answers = []
        for platform, settings in ((folder, duckdb_settings), (bucket, bigquery_settings)):
            warehouse = build_warehouse(settings, platform.lake.store)
            found = Publisher(table, platform.lake, warehouse, venues).publish(days)
            assert all(day.is_as_the_lake for day in found), table.name
            answers.append(pl.DataFrame(warehouse.query(facts_of(table))).sort("venue"))
        here, there = answers
        assert_frame_equal(
            there.select(here.columns).cast(dict(here.schema)), here, rel_tol=1e-9, abs_tol=0
        )
        filled |= {table.name} if here.height else set()
    assert len(filled) >= 12, filled
