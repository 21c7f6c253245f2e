"""A vendor that changes files after they were taken: found, named, and fetched again alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from doubles.installation import moved_in, new_home, settings_over
from doubles.small_market import SmallMarket
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.candle_table import PROVENANCE
from tickhandler_dagster.sandbox.faults import Fault, FaultRule, Revised
from tickhandler_dagster.sandbox.server import SandboxServer

VENUE = "binance"
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10")
DAY = DAYS[1]
SPAN = ["--start-date", DAYS[0], "--end-date", DAYS[-1]]
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
FILE = "ETHUSDT"
KEY = "BINANCE:SPOT_PAIR:ETH-USDT"
TIMEFRAME = "24h"


class Shop:
    """An installation in this process: settings in the environment, an instance, a vendor."""

    def __init__(self, settings, server):
        self.settings = settings
        self.server = server
        self._repository = build_definitions(settings).get_repository_def()

    def tell(self, *words):
        return CliRunner().invoke(app, list(words))

    def look(self, *words):
        """What a recheck says as JSON, and its exit code."""
        told = self.tell("recheck", *SPAN, "--json", *words)
        assert told.exit_code in (0, 1), (told.output, told.exception)
        return json.loads(told.stdout), told.exit_code

    def run(self, *assets, partition=None, is_range=False):
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        ends = (f"{DAYS[0]}|{VENUE}", f"{DAYS[-1]}|{VENUE}")
        with self.instance() as instance:
            result = self._repository.get_implicit_job_def_for_assets(keys).execute_in_process(
                instance=instance,
                partition_key=partition,
                tags=dict(zip(ENDS, ends, strict=True)) if is_range else {},
                asset_selection=keys,
                raise_on_error=False,
            )
        assert result.success

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.settings.dagster_home))

    def revise(self, way, symbol=FILE):
        self.server.faults.clear()
        self.server.faults.add(FaultRule(way, VENUE, data_type="trades", date=DAY, symbol=symbol))

    def fetched(self):
        """How often each dataset file was asked for, by day and symbol."""
        paths = [record.path for record in self.server.requests if record.host == "storage"]
        return Counter(
            (
                path[-len("YYYY/MM/DD/") - len(name) :][:10].replace("/", "-"),
                name[: -len(".csv.gz")],
            )
            for path in paths
            for name in [path.rpartition("/")[2]]
        )

    def objects(self):
        root = Path(self.settings.lake_root)
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.parquet")}

    def bars(self, day, key=KEY):
        folder = f"processed_candles/by_date/day-{day}/timeframe-{TIMEFRAME}"
        return pl.read_parquet(Path(self.settings.lake_root, folder, f"{key}.parquet"), glob=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three days of trades and candles."""
    root = tmp_path_factory.mktemp("recheck")
    with SandboxServer(SmallMarket(FILE, "BTCUSDT")) as server:
        settings = settings_over(
            server,
            root,
            (VENUE,),
            days=DAYS,
            download_data_types=("trades",),
            dagster_home=new_home(root),
        )
        with moved_in(settings, root):
            shop = Shop(settings, server)
            shop.run("exchange_catalog", partition=VENUE)
            shop.run("instruments", "raw_ticks/trades", is_range=True)
            shop.run("completeness", is_range=True)
            shop.run(f"candles/{TIMEFRAME}", is_range=True)
            yield shop


@pytest.fixture(scope="module")
def looked(shop):
    """The first look, over files as they were taken; nothing of the lake but its result changed."""
    before = shop.objects()
    found, code = shop.look()
    after = shop.objects()
    assert code == 0
    new = after.keys() - before.keys()
    assert {path.split("/")[0] for path in new} == {"revisions"}
    assert {path: after[path] for path in before} == before
    return found


def test_files_as_they_were_taken_are_all_the_same_and_a_second_look_writes_the_same_bytes(
    shop, looked
):
    assert looked["states"] == {"same": looked["files"]}
    manifests = Path(shop.settings.lake_root).glob("raw_tick_data/by_date/*/*/_manifests/*.parquet")
    assert looked["files"] == sum(pl.read_parquet(file).height for file in manifests)
    assert not looked["not_as_taken"]
    assert not looked["touches"]
    before = shop.objects()
    assert shop.look()[1] == 0
    assert shop.objects() == before


@pytest.mark.parametrize("way", [Revised.FEWER_ROWS, Revised.SAME_SIZE])
def test_a_changed_file_is_found_fetched_again_alone_and_bars_change_where_they_must(
    shop, looked, way
):
    del looked
    before = shop.objects()
    bars = {day: shop.bars(day) for day in DAYS}
    shop.revise(way)
    found, code = shop.look()
    assert code == 1
    assert [(item["date"], item["file"], item["state"]) for item in found["not_as_taken"]] == [
        (DAY, FILE, "changed")
    ]
    (changed,) = found["not_as_taken"]
    assert changed["instruments"] == [KEY]
    assert DAY in changed["bars_of"]
    touches = {item["asset"]: item["cells"] for item in found["touches"]}
    assert touches["raw_ticks/trades"] == [f"{DAY}|{VENUE}"]
    assert touches[f"candles/{TIMEFRAME}"] == [f"{day}|{VENUE}" for day in DAYS]
    assert touches["completeness"] == [f"{DAY}|{VENUE}"]
    assert shop.look() == (found, 1)

    shop.server.forget_requests()
    repaired, code = shop.look("--repair")
    assert code == 0, repaired
    assert repaired["repaired"] == {"not_as_taken": [], "failed_runs": []}
    # All files are looked at once, those of the day twice, and one is fetched.
    requests = shop.fetched()
    assert requests.pop((DAY, FILE)) == 3
    assert len(requests) == found["files"] - 1
    assert {day: {count for (of, _), count in requests.items() if of == day} for day in DAYS} == {
        day: {2 if day == DAY else 1} for day in DAYS
    }

    now = {day: shop.bars(day) for day in DAYS}
    values = pl.exclude("bar_version", *PROVENANCE)
    differs = {day: not now[day].select(values).equals(bars[day].select(values)) for day in DAYS}
    assert differs[DAY]
    for day in DAYS:
        (was,), (version,) = bars[day]["bar_version"], now[day]["bar_version"]
        assert version == was + differs[day], day
    after = shop.objects()
    ticks = {path for path in after if "raw_tick_data" in path and path.endswith("-USDT.parquet")}
    assert [path for path in ticks if after[path] != before[path]] == [
        f"raw_tick_data/by_date/day-{DAY}/data_type-trades/{KEY}.parquet"
    ]
    assert shop.look()[1] == 0


def test_a_file_that_was_uploaded_again_is_unknown_until_its_content_is_read(shop, looked):
    del looked
    shop.server.faults.clear()
    shop.tell("recheck", *SPAN, "--repair")
    before = shop.objects()
    shop.revise(Revised.UPLOADED_AGAIN)
    found, code = shop.look()
    assert code == 1
    (item,) = found["not_as_taken"]
    assert (item["file"], item["state"]) == (FILE, "unknown")
    assert "ETag" in item["reason"]
    assert not found["touches"]
    assert shop.look("--content")[1] == 0
    assert shop.look()[1] == 0
    ticks = {path: data for path, data in before.items() if not path.startswith("revisions")}
    after = shop.objects()
    assert {path: after[path] for path in ticks} == ticks
    shop.server.faults.clear()
    assert shop.look()[1] == 1
    assert shop.look("--content")[1] == 0


def test_a_file_that_is_gone_is_kept_and_not_asked_for_again(shop, looked):
    del looked
    shop.revise(Fault.MISSING_FILE)
    before = shop.objects()
    found, code = shop.look("--repair")
    assert code == 1
    assert [(item["file"], item["state"]) for item in found["not_as_taken"]] == [(FILE, "gone")]
    assert found["repaired"] is None
    kept = {path: data for path, data in before.items() if not path.startswith("revisions")}
    after = shop.objects()
    assert {path: after[path] for path in kept} == kept
    shop.server.faults.clear()
    assert shop.look()[1] == 0


def test_the_check_of_the_cell_fails_as_a_warning_and_names_file_and_instrument(shop, looked):
    del looked
    shop.revise(Revised.FEWER_ROWS)
    shop.look()
    shop.server.faults.clear()
    with shop.instance() as instance:
        key = dg.AssetKey("revisions")
        assert instance.get_materialized_partitions(key) == {f"{day}|{VENUE}" for day in DAYS}
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, "unrevised"), limit=10
        )
    evaluations = [record.event.dagster_event.event_specific_data for record in records]
    (bad,) = [one for one in evaluations[:4] if one.partition and not one.passed]
    assert bad.partition == f"{DAY}|{VENUE}"
    assert bad.severity is dg.AssetCheckSeverity.WARN
    assert KEY in bad.metadata["not as taken"].value
    # The digest in the header says that the vendor took it back.
    assert shop.look()[1] == 0


def test_in_words_it_says_what_changed_what_reads_it_and_how_the_repair_ended(shop, looked):
    del looked
    shop.revise(Revised.FEWER_ROWS)
    told = shop.tell("recheck", *SPAN)
    assert told.exit_code == 1, told.output
    assert "1 changed" in told.output
    assert "at most" in told.output
    told = shop.tell("recheck", *SPAN, "--repair")
    assert told.exit_code == 0, told.output
    assert "Repaired: the lake has what the vendor has." in told.output
    # The vendor takes it back, and the download fails: what was taken stays, and so does the news.
    shop.server.faults.clear()
    shop.server.faults.add(FaultRule(Fault.CORRUPT_GZIP, VENUE, date=DAY, symbol=FILE))
    told = shop.tell("recheck", *SPAN, "--repair")
    assert told.exit_code == 1, told.output
    assert "Files still not as the vendor has them: 1" in told.output
    shop.server.faults.clear()
    assert shop.look("--repair")[1] == 0


def test_a_failed_run_is_exit_code_one_and_says_why(shop, looked):
    del looked
    shop.server.faults.clear()
    shop.server.faults.add(FaultRule(Fault.QUOTA_EXHAUSTED, VENUE))
    found, code = shop.look()
    shop.server.faults.clear()
    assert code == 1
    assert "quota" in found["failed_runs"][0]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--start-date", "2024/08/08", "--end-date", DAYS[0]], "not a date"),
        ([*SPAN, "--venues", "bitmoon"], "bitmoon"),
        ([*SPAN, "--data-types", "quotes"], "nothing was taken"),
        ([*SPAN, "--venues", "deribit"], "deribit: not in the partition grid"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(shop, words, part):
    assert part in str(shop.tell("recheck", *words).exception)


def test_without_a_key_the_command_says_which_days_need_one(shop, monkeypatch):
    monkeypatch.delenv("TARDIS_API_KEY")
    told = shop.tell("recheck", *SPAN)
    assert "TARDIS_API_KEY" in str(told.exception)
