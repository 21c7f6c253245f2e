"""The completeness of a cell in a real lake: what it reads, what it writes, what SQL gets."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.catalog import midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import (
    CompletenessFile,
    FindingsFile,
    RawManifest,
    RawTickFile,
    TickGapsFile,
)
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict, parse_policy
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness import (
    build_completeness,
    read_all_findings,
    read_completeness,
)
from tickhandler_dagster.pipeline.exchange_catalog import fetch_exchange_catalog
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments
from tickhandler_dagster.sandbox.simulator import Simulator

DAY = dt.date(2024, 8, 8)
CELL = VenueDay(DAY, VenueId.BINANCE)
NEIGHBOUR = VenueDay(DAY, VenueId.BINANCE_FUTURES)


class _Metadata:
    """The simulator's listing, without HTTP in between."""

    source = Simulator(7, scale=0.01)

    def exchange_details(self, venue):
        return self.source.exchange(venue)

    def instruments(self, venue):  # noqa: ARG002  (the protocol has it)
        return None


class Cell:
    """A lake with the catalogue and universe of a venue, and a partition by hand."""

    def __init__(self, root):
        self.root = root
        self.lake = Lake(LocalObjectStore(root))
        self.catalog = fetch_exchange_catalog(_Metadata(), self.lake, CELL.venue).catalog
        build_instruments(self.lake, CELL)
        self.keys = read_instruments(self.lake, CELL)["instrument_key"].to_list()

    def ingest(self, data_type=DataType.TRADES, **states):
        """A manifest of all instruments, present but for those named by place: `_0=FAILED`."""
        rows = []
        for place, key in enumerate(self.keys):
            state = states.get(f"_{place}", DataState.PRESENT)
            is_there = state is DataState.PRESENT
            rows.append(
                ManifestRow(
                    date=DAY,
                    venue=CELL.venue,
                    data_type=data_type,
                    instrument_key=key,
                    tardis_symbol=key.split(":")[2].replace("-", ""),
                    source_symbol="",
                    state=state,
                    kernel_version="1",
                    is_simulated=True,
                    rows=10 if is_there else 0,
                    bytes=4 if is_there else 0,
                    first_timestamp=midnight(DAY) if is_there else None,
                    last_timestamp=midnight(DAY) if is_there else None,
                )
            )
            if is_there:  # no Parquet at all: whoever opened it would fail
                self.lake.store.write(RawTickFile(DAY, data_type, key).path, b"tick")
        write_raw_manifest(self.lake, CELL, data_type, rows)

    def cut(self, place, data_type=DataType.TRADES):
        """Ten minutes of the instrument are missing."""
        start = midnight(DAY) + dt.timedelta(hours=14)
        gap = Gap(
            date=DAY,
            venue=CELL.venue,
            data_type=data_type,
            instrument_key=self.keys[place],
            kind=GapKind.LOST_IDS,
            gap_start=start,
            gap_end=start + dt.timedelta(minutes=10),
            evidence="numbers 5 to 416 are missing",
            lost_trades=412,
        )
        item = TickGapsFile(DAY, data_type, CELL.venue)
        self.lake.write_table(item, gaps_frame([gap]), GAPS_TABLE)

    def find(self, source, place=0, rule=RuleName.SILENCE, venue=CELL.venue):
        finding = Finding(
            date=DAY,
            venue=venue,
            source=source,
            instrument_key=self.keys[place],
            rule=rule,
            rows=1,
            of_rows=10,
            sample="one of them",
        )
        item = FindingsFile(DAY, venue, source)
        self.lake.write_table(item, findings_frame([finding]), FINDINGS_TABLE)
        return finding

    def build(self, *, wanted=tuple(DataType), policy=None):
        return build_completeness(
            CELL,
            lake=self.lake,
            catalog=self.catalog,
            universe=read_instruments(self.lake, CELL),
            data_types=wanted,
            policy=policy or QualityPolicy(),
        )

    def of(self, place, data_type=DataType.TRADES):
        (row,) = [
            row
            for row in read_completeness(self.lake, CELL)
            if (row.data_type, row.instrument_key) == (data_type, self.keys[place])
        ]
        return row


@pytest.fixture
def cell(tmp_path):
    return Cell(tmp_path / "lake")


def test_it_says_of_every_instrument_and_type_what_there_is_without_opening_a_tick_file(cell):
    cell.ingest(_1=DataState.FAILED, _2=DataState.QUARANTINED)
    cell.cut(0)
    result = cell.build()
    assert read_completeness(cell.lake, CELL) == list(result.rows)
    assert (cell.of(0).state, cell.of(0).verdict) == (DataState.PARTIAL, Verdict.WARNING)
    assert cell.of(0).reason == "1 hole of 10 min, 14:00:00 to 14:10:00, 412 trades lost"
    assert (cell.of(0).lost_trades, cell.of(0).gap_us) == (412, 600_000_000)
    assert (cell.of(1).state, cell.of(1).verdict) == (DataState.FAILED, Verdict.ERROR)
    assert cell.of(2).state is DataState.QUARANTINED
    assert cell.of(3).state is DataState.PRESENT
    assert cell.of(3).reason == "10 rows verified, no hole known"
    assert cell.of(3, DataType.QUOTES).state is DataState.NOT_INGESTED
    types = {row.data_type for row in result.rows}
    assert {DataType.TRADES, DataType.QUOTES, DataType.BOOK_SNAPSHOT_5} <= types
    assert DataType.OPTIONS_CHAIN not in types


def test_a_second_run_writes_the_same_bytes_and_a_change_other_ones(cell):
    cell.ingest()
    first = cell.build()
    assert cell.build().sha256 == first.sha256
    assert cell.lake.digest(CompletenessFile(DAY, CELL.venue)).sha256 == first.sha256
    cell.cut(1)
    assert cell.build().sha256 != first.sha256


def test_a_file_that_somebody_removed_or_changed_is_missing_and_says_so(cell):
    cell.ingest()
    cell.lake.delete(RawTickFile(DAY, DataType.TRADES, cell.keys[0]))
    cell.lake.store.write(RawTickFile(DAY, DataType.TRADES, cell.keys[1]).path, b"cu")
    cell.build()
    for place in (0, 1):
        row = cell.of(place)
        assert (row.state, row.verdict, row.rows, row.bytes) == (
            DataState.FAILED,
            Verdict.ERROR,
            0,
            0,
        )
        assert "4 bytes" in row.reason
    assert cell.of(2).state is DataState.PRESENT


def test_a_cell_without_a_universe_names_the_command_that_makes_one(cell):
    other = CELL.shifted(1)
    assert read_completeness(cell.lake, other) is None
    with pytest.raises(MissingUpstream, match="--select instruments --partition '2024-08-09"):
        read_instruments(cell.lake, other)


def test_a_manifest_that_cannot_be_read_is_no_missing_one(cell):
    cell.ingest()
    cell.lake.store.write(RawManifest(DAY, DataType.TRADES, CELL.venue).path, b"broken")
    with pytest.raises(CorruptData):
        cell.build()


def test_the_policy_makes_a_hole_an_error_or_nothing(cell):
    cell.ingest()
    cell.cut(0)
    cell.build(policy=parse_policy([{"states": "partial", "verdict": "error"}]))
    assert cell.of(0).verdict is Verdict.ERROR
    cell.build(
        policy=parse_policy(
            [{"venues": "binance", "instrument_types": "SPOT_PAIR", "verdict": "ignore"}]
        )
    )
    assert cell.of(0).verdict is Verdict.IGNORE
    assert cell.of(0, DataType.QUOTES).verdict is Verdict.IGNORE


def test_types_that_are_not_downloaded_are_there_and_not_missed(cell):
    cell.ingest()
    cell.build(wanted=(DataType.TRADES,))
    row = cell.of(0, DataType.QUOTES)
    assert (row.state, row.verdict) == (DataState.NOT_INGESTED, Verdict.IGNORE)
    assert "does not download" in row.reason


def test_findings_count_where_the_policy_cares_and_come_from_every_source(cell):
    cell.ingest()
    here = [cell.find("trades", 0), cell.find("candles", 1, RuleName.ROLL_UP_DIFFERS)]
    cell.find("trades", 0, venue=VenueId.BINANCE_FUTURES)  # a path that begins alike
    result = cell.build()
    assert sorted(result.findings, key=lambda one: one.source) == here[::-1]
    assert cell.of(0).findings == 1
    assert cell.of(1).findings == 0
    cell.build(policy=parse_policy([{"rules": "silence", "verdict": "ignore"}]))
    assert cell.of(0).findings == 0
    assert read_all_findings(cell.lake, CELL.shifted(1)) == ()


def test_sql_counts_states_as_a_user_would(cell):
    cell.ingest(_1=DataState.FAILED)
    cell.cut(0)
    cell.build(wanted=(DataType.TRADES,))
    files = cell.root / "completeness" / "by_date" / "*" / "*" / "completeness.parquet"
    found = duckdb.sql(
        f"""
        select state, count(*) as n, max(gap_us) as us
        from read_parquet('{files}', hive_partitioning = false)
        where data_type = 'trades' and venue = 'binance' group by state order by state
        """  # noqa: S608  (a path of the test)
    ).fetchall()
    assert found == [
        ("failed", 1, 0),
        ("partial", 1, 600_000_000),
        ("present", len(cell.keys) - 2, 0),
    ]
