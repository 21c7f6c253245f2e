"""A hole cut into vendor files: through HTTP, ingest and audit to the bars that lie in it."""

from __future__ import annotations

import datetime as dt
import gzip
import shutil

import polars as pl
import pytest
from pydantic import SecretStr

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.tardis_datasets import RequestLimits, TardisDatasets
from tickhandler_dagster.adapters.tardis_metadata import TardisMetadata
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.quality.gaps import GapKind
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candles import build_candles
from tickhandler_dagster.pipeline.exchange_catalog import fetch_exchange_catalog
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks
from tickhandler_dagster.pipeline.tick_audits import audit_raw_ticks
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

KEY = SecretStr(SANDBOX_KEY)
ONCE = RequestLimits(attempts=1, repeats=0, file_timeout_s=60)
ONE, TWO = dt.date(2024, 8, 8), dt.date(2024, 8, 9)
SPOT = "BINANCE:SPOT_PAIR:BTC-USDT"
ARRIVAL = 3  # place of local_timestamp in a line


def microseconds(moment):
    return int(moment.timestamp() * 1_000_000)


def cut(path, start, end):
    """Take the lines that arrived in the span out of a vendor file."""
    header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    edges = microseconds(start), microseconds(end)
    kept = [line for line in lines if not edges[0] <= int(line.split(",")[ARRIVAL]) < edges[1]]
    assert 0 < len(kept) < len(lines)
    path.write_bytes(gzip.compress("".join([header, *kept]).encode(), mtime=0))
    return len(lines) - len(kept)


class Vendor:
    """A venue of a served folder, in a lake."""

    def __init__(self, server, lake, venue):
        self.server, self.lake, self.venue = server, lake, venue
        metadata = TardisMetadata(server.api_url, api_key=KEY)
        self.catalog = fetch_exchange_catalog(metadata, lake, venue).catalog

    def audit(self, day, data_type):
        cell = VenueDay(day, self.venue)
        build_instruments(self.lake, cell)
        universe = read_instruments(self.lake, cell)
        result = ingest_raw_ticks(
            cell,
            data_type,
            lake=self.lake,
            catalog=self.catalog,
            universe=universe,
            datasets=TardisDatasets(self.server.datasets_url, api_key=KEY, limits=ONCE),
            limits=IngestLimits(max_concurrent_requests=4),
        )
        return audit_raw_ticks(
            self.lake, cell, data_type, rows=result.rows, universe=universe, catalog=self.catalog
        )

    def bars(self, day, timeframe=Timeframe.S15, key=SPOT):
        cell = VenueDay(day, self.venue)
        build_candles(
            cell,
            lake=self.lake,
            catalog=self.catalog,
            universe=read_instruments(self.lake, cell),
            timeframes=(timeframe,),
        )
        return self.lake.read_table(CandleFile(day, timeframe, key))


@pytest.fixture
def served(tmp_path):
    """Serve a folder: `served(folder, venue)`."""
    servers = []

    def serve(folder, venue):
        server = SandboxServer(FolderSource(folder))
        servers.append(server)
        return Vendor(server.__enter__(), Lake(LocalObjectStore(tmp_path / "lake")), venue)

    yield serve
    for server in servers:
        server.__exit__(None, None, None)


def at(day, text):
    return dt.datetime.combine(day, dt.time.fromisoformat(text), dt.UTC)


def lost_ids(audit):
    return [gap for gap in audit.gaps if gap.kind is GapKind.LOST_IDS]


def test_a_hole_in_the_middle_of_a_recorded_day_is_found_and_its_bars_say_so(
    recorded, tmp_path, served
):
    folder = tmp_path / "vendor"
    shutil.copytree(recorded / "binance", folder / "binance")
    # Two minutes of the less than six there are: what is left still has a rate.
    hole = at(ONE, "23:55:40"), at(ONE, "23:57:40")
    for data_type in ("trades", "book_snapshot_5"):
        lost = cut(folder / f"binance/{data_type}/2024/08/08/BTCUSDT.csv.gz", *hole)
        if data_type == "trades":
            lost_trades = lost
    vendor = served(folder, VenueId.BINANCE)
    audit = vendor.audit(ONE, DataType.TRADES)
    (gap,) = lost_ids(audit)
    assert gap.lost_trades == lost_trades == audit.audits[0].lost_trades
    # The recorder's clock runs 1.27 s behind the exchange's: the hole lies that much later there.
    for edge, cut_at in ((gap.gap_start, hole[0]), (gap.gap_end, hole[1])):
        assert abs((edge - cut_at).total_seconds() - 1.27) < 1.5
    book = vendor.audit(ONE, DataType.BOOK_SNAPSHOT_5)
    silent = [gap for gap in book.gaps if gap.gap_start > at(ONE, "23:55:00")]
    assert [gap.kind for gap in silent] == [GapKind.SILENCE]
    assert abs((silent[0].gap_end - silent[0].gap_start).total_seconds() - 120) < 2
    bars = vendor.bars(ONE)
    inside = bars.filter((pl.col("ts_open") >= gap.gap_start) & (pl.col("ts_close") <= gap.gap_end))
    assert inside.height == 7
    assert set(inside["status"]) == {BarStatus.VENDOR_GAP.value}
    assert inside["spread_tw_bps"].is_null().all()
    for touching in (gap.gap_start, gap.gap_end):
        (bar,) = bars.filter(
            (pl.col("ts_open") <= touching) & (pl.col("ts_close") > touching)
        ).iter_rows(named=True)
        assert bar["status"] == BarStatus.TRADED.value
        assert 0 < bar["gap_ms"] < 15_000
        assert bar["spread_tw_bps"] is None


def test_a_hole_over_midnight_in_recorded_days_is_found_from_both_files(recorded, tmp_path, served):
    folder = tmp_path / "vendor"
    shutil.copytree(recorded / "binance", folder / "binance")
    lost = cut(
        folder / "binance/trades/2024/08/08/BTCUSDT.csv.gz", at(ONE, "23:58:30"), at(TWO, "00:00")
    ) + cut(
        folder / "binance/trades/2024/08/09/BTCUSDT.csv.gz", at(TWO, "00:00"), at(TWO, "00:01:30")
    )
    vendor = served(folder, VenueId.BINANCE)
    assert not lost_ids(vendor.audit(ONE, DataType.TRADES))
    audit = vendor.audit(TWO, DataType.TRADES)
    (gap,) = lost_ids(audit)
    assert gap.lost_trades == lost
    for edge, cut_at in ((gap.gap_start, at(ONE, "23:58:30")), (gap.gap_end, at(TWO, "00:01:30"))):
        assert abs((edge - cut_at).total_seconds() - 1.27) < 1.5
    for day, count in ((ONE, 5), (TWO, 6)):
        bars = vendor.bars(day)
        inside = bars.filter(
            (pl.col("ts_open") >= gap.gap_start) & (pl.col("ts_close") <= gap.gap_end)
        )
        assert inside.height == count
        assert set(inside["status"]) == {BarStatus.VENDOR_GAP.value}
        assert set(inside["gap_ms"]) == {15_000.0}


def test_recorded_feeds_without_a_cut_have_no_hole_while_they_were_recorded(recorded, served):
    vendor = served(recorded, VenueId.BINANCE)
    for data_type in (
        DataType.TRADES,
        DataType.BOOK_SNAPSHOT_5,
        DataType.BOOK_TICKER,
        DataType.INCREMENTAL_BOOK_L2,
    ):
        audit = vendor.audit(ONE, data_type)
        assert audit.schema.has_passed
        inside = [gap for gap in audit.gaps if gap.gap_end > at(ONE, "23:55:00")]
        assert not inside, data_type
        rules = {finding.rule for finding in audit.findings}
        assert not rules & {RuleName.LOST_TRADE_IDS, RuleName.OFF_PRICE_GRID}


def test_simulated_days_of_all_types_have_no_false_alarm(tmp_path):
    alarms, files = [], 0
    for seed, venue in ((3, VenueId.BINANCE), (8, VenueId.DERIBIT)):
        with SandboxServer(Simulator(seed=seed, scale=0.05)) as server:
            vendor = Vendor(server, Lake(LocalObjectStore(tmp_path / venue)), venue)
            day = vendor.catalog.exported_until.date() - dt.timedelta(days=2)
            for data_type in (DataType.TRADES, DataType.QUOTES, DataType.BOOK_SNAPSHOT_5):
                audit = vendor.audit(day, data_type)
                files += audit.files_read
                alarms += [gap for gap in audit.gaps if gap.kind is not GapKind.INCIDENT]
    assert files > 20
    assert alarms == []
