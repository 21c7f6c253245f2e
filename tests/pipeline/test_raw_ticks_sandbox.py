"""The ingest over the sandbox: every data type, every fault by its name, and recorded feeds."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from pydantic import SecretStr

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.tardis_datasets import RequestLimits, TardisDatasets
from tickhandler_dagster.adapters.tardis_metadata import TardisMetadata
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import QuarantinedRows, RawTickFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.pipeline.exchange_catalog import fetch_exchange_catalog
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

KEY = SecretStr(SANDBOX_KEY)
ONCE = RequestLimits(attempts=1, repeats=0, file_timeout_s=60)

KEPT = DataState.PRESENT
STATE_OF_FAULT = {
    Fault.MISSING_FILE: DataState.FAILED,
    Fault.RATE_LIMITED: DataState.FAILED,
    Fault.QUOTA_EXHAUSTED: DataState.FAILED,
    Fault.SERVER_ERROR: DataState.FAILED,
    Fault.IP_LOCKED: DataState.FAILED,
    Fault.TRUNCATED_BODY: DataState.FAILED,
    Fault.CORRUPT_GZIP: DataState.QUARANTINED,
    Fault.CUT_LAST_ROW: DataState.QUARANTINED,
    Fault.WRONG_HEADER: DataState.QUARANTINED,
    Fault.HTML_NOT_GZIP: DataState.QUARANTINED,
    Fault.EMPTY_BODY: DataState.EMPTY,
    Fault.EMPTY_GZIP: DataState.EMPTY,
    Fault.HEADER_ONLY: DataState.EMPTY,
    Fault.DUPLICATES: KEPT,
    Fault.OUT_OF_ORDER: DataState.QUARANTINED,
    Fault.ZERO_VALUES: KEPT,
    Fault.NEGATIVE_VALUES: KEPT,
}


class Cell:
    def __init__(self, server, root, cell):
        self.server, self.cell = server, cell
        self.lake = Lake(LocalObjectStore(root))
        metadata = TardisMetadata(server.api_url, api_key=KEY)
        self.catalog = fetch_exchange_catalog(metadata, self.lake, cell.venue).catalog
        build_instruments(self.lake, cell)
        self.universe = read_instruments(self.lake, cell)

    def ingest(self, data_type=DataType.TRADES, **options):
        return ingest_raw_ticks(
            self.cell,
            data_type,
            lake=self.lake,
            catalog=self.catalog,
            universe=self.universe,
            datasets=TardisDatasets(self.server.datasets_url, api_key=KEY, limits=ONCE),
            limits=IngestLimits(max_concurrent_requests=4),
            **options,
        )

    def objects(self):
        store = self.lake.store
        return {path: store.read(path) for path in store.list("raw_tick_data/")}


@pytest.fixture(scope="module")
def sandbox():
    with SandboxServer(Simulator(seed=7, scale=0.02)) as server:
        yield server


@pytest.fixture
def spot(sandbox, tmp_path):
    sandbox.faults.clear()
    yield Cell(sandbox, tmp_path, day_of(sandbox, VenueId.BINANCE))
    sandbox.faults.clear()


def day_of(server, venue):
    metadata = TardisMetadata(server.api_url, api_key=KEY)
    datasets = metadata.exchange_details(venue)["datasets"]
    last = dt.datetime.fromisoformat(datasets["exportedUntil"]).date()
    return VenueDay(last - dt.timedelta(days=2), venue)


def test_the_states_of_faults_are_total():
    assert set(STATE_OF_FAULT) == set(Fault)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_leads_to_its_state_loses_nothing_and_heals(spot, fault):
    clean = spot.ingest()
    before = spot.objects()
    victim = max(clean.rows, key=lambda row: row.rows)
    assert victim.state is DataState.PRESENT
    for path in before:
        spot.lake.store.delete(path)
    spot.server.faults.add(FaultRule(fault, data_type="trades", symbol=victim.tardis_symbol))
    faulty = {row.instrument_key: row for row in spot.ingest().rows}
    struck = faulty.pop(victim.instrument_key)
    assert struck.state is STATE_OF_FAULT[fault]
    assert struck.rows + struck.quarantined_rows == struck.source_rows
    if fault not in {Fault.IP_LOCKED, Fault.QUOTA_EXHAUSTED}:
        others = [row for row in clean.rows if row.instrument_key != victim.instrument_key]
        assert list(faulty.values()) == others
    if struck.state is KEPT:
        assert struck.quarantined_rows > 0
        item = QuarantinedRows(struck.date, DataType.TRADES, struck.instrument_key)
        assert spot.lake.read_table(item).height == struck.quarantined_rows
    spot.server.faults.clear()
    healed = spot.ingest(force=struck.state.is_settled)
    assert healed.rows == clean.rows
    assert spot.objects() == before
    assert list(spot.lake.store.list("quarantine/")) == []


@pytest.mark.parametrize("data_type", list(DataType))
def test_every_type_of_an_option_venue_comes_whole(sandbox, tmp_path, data_type):
    sandbox.faults.clear()
    cell = Cell(sandbox, tmp_path, day_of(sandbox, VenueId.DERIBIT))
    result = cell.ingest(data_type)
    assert data_type in VENUES[VenueId.DERIBIT].data_types
    assert {row.state for row in result.rows} <= {DataState.PRESENT, DataState.EMPTY}
    assert all(row.is_simulated for row in result.rows)
    assert result.unexpected_rows == 0
    before = cell.objects()
    again = cell.ingest(data_type)
    assert again.fetched == 0
    assert cell.objects() == before


def test_recorded_feeds_are_taken_in_without_losing_a_row(recorded, tmp_path):
    with SandboxServer(FolderSource(recorded)) as server:
        for venue in (VenueId.BINANCE, VenueId.BINANCE_FUTURES):
            cell = Cell(server, tmp_path, VenueDay(dt.date(2024, 8, 8), venue))
            for data_type in (DataType.TRADES, DataType.BOOK_TICKER, DataType.BOOK_SNAPSHOT_5):
                result = cell.ingest(data_type)
                assert {row.state for row in result.rows} == {DataState.PRESENT}
                assert sum(row.rows for row in result.rows) > 0
                assert sum(row.quarantined_rows for row in result.rows) == 0
        item = RawTickFile(dt.date(2024, 8, 8), DataType.TRADES, result.rows[0].instrument_key)
        trades = cell.lake.read_table(item)
        assert trades.filter(pl.col("timestamp") > pl.col("local_timestamp")).height > 0
