"""The plan of a selection over a real lake: what is there costs nothing, more days cost more."""

import dataclasses
import datetime as dt
import itertools

import pytest
from pydantic import SecretStr

from tickhandler_dagster.adapters.manifests import read_raw_manifest, write_raw_manifest
from tickhandler_dagster.adapters.tardis_datasets import TardisDatasets
from tickhandler_dagster.adapters.tardis_metadata import TardisMetadata
from tickhandler_dagster.market.costs.plan import PlanPart, Selection
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.quantities import QUANTITY_NAMES, Machine, total_of
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.mft.halo import Halo
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.candles import build_candles
from tickhandler_dagster.pipeline.exchange_catalog import fetch_exchange_catalog, stored_catalog
from tickhandler_dagster.pipeline.plan import PlanScope, plan_selection
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

START = dt.date(2024, 8, 5)
VENUE = VenueId.BINANCE
TYPES = (DataType.TRADES, DataType.QUOTES)


@pytest.fixture(scope="module")
def sandbox():
    with SandboxServer(Simulator(seed=7, scale=0.01)) as server:
        yield server


@pytest.fixture
def ingest(sandbox, lake):
    """`ingest(cell, type)` takes a cell's files; the catalogue is there."""
    key = SecretStr(SANDBOX_KEY)
    fetch_exchange_catalog(TardisMetadata(sandbox.api_url, api_key=key), lake, VENUE)

    def take(cell, data_type):
        build_instruments(lake, cell)
        return ingest_raw_ticks(
            cell,
            data_type,
            lake=lake,
            catalog=stored_catalog(lake, VENUE),
            universe=read_instruments(lake, cell),
            datasets=TardisDatasets(sandbox.datasets_url, api_key=key),
            limits=IngestLimits(max_concurrent_requests=4),
        )

    return take


@pytest.fixture
def plan(lake):
    def of(days, **changes):
        scope = PlanScope(
            place="here",
            prices=Prices(),
            machine=Machine(2, 8),
            halos={Timeframe.H1: Halo((1,), (7,), ()), Timeframe.H24: Halo((), (), ())},
            tables=warehouse_tables(Windows()),
            has_bigquery=changes.pop("has_bigquery", True),
        )
        selection = Selection(
            start=START,
            end=START + dt.timedelta(days=days - 1),
            venues=(VENUE,),
            data_types=TYPES,
        )
        return plan_selection(lake, dataclasses.replace(selection, **changes), scope)

    return of


def day(number):
    return VenueDay(START + dt.timedelta(days=number), VENUE)


def line(plan, asset):
    return next(one for one in plan.lines if one.asset == asset)


def test_a_lake_without_a_catalogue_says_which_command_comes_first(plan):
    with pytest.raises(MissingUpstream, match="exchange_catalog of binance"):
        plan(1)


def test_more_days_never_take_less_and_lines_add_up(plan, ingest):
    plans = [plan(days) for days in (1, 2, 5, 31, 70)]
    for fewer, more in itertools.pairwise(plans):
        for name in QUANTITY_NAMES:
            assert getattr(more.total, name).likely >= getattr(fewer.total, name).likely
    for one in plans:
        assert one.total == total_of(item.quantities for item in one.lines)
        assert one.files_to_fetch == sum(item.files for item in one.lines)
    assert any("a day's listing stands for" in note for note in plans[-1].notes)


def test_what_is_there_takes_nothing_unless_forced(plan, ingest):
    for data_type in TYPES:
        ingest(day(0), data_type)
    raw = plan(1, parts=(PlanPart.RAW_TICKS,))
    assert raw.is_empty
    assert all(one.quantities.is_nothing for one in raw.lines)
    assert [one.cells_there for one in raw.lines] == [1, 1]
    forced = plan(1, parts=(PlanPart.RAW_TICKS,), is_forced=True)
    assert forced.files_to_fetch == sum(one.files_there for one in raw.lines)


def test_a_forced_plan_estimates_the_sizes_that_are_known(plan, ingest, lake):
    ingest(day(0), DataType.TRADES)
    rows = read_raw_manifest(lake, day(0), DataType.TRADES)
    forced = plan(1, parts=(PlanPart.RAW_TICKS,), data_types=(DataType.TRADES,), is_forced=True)
    taken = line(forced, "raw_ticks/trades").quantities
    assert taken.download_bytes.likely == sum(row.source_bytes for row in rows)
    assert taken.rows.likely == sum(row.rows for row in rows)
    assert taken.stored_bytes.likely == sum(row.bytes for row in rows)


def test_of_a_partition_with_a_failed_file_only_that_is_planned(plan, ingest, lake):
    rows = ingest(day(0), DataType.TRADES).rows
    broken = dataclasses.replace(
        rows[0], state=DataState.FAILED, rows=0, bytes=0, source_bytes=0, source_rows=0
    )
    write_raw_manifest(lake, day(0), DataType.TRADES, [broken, *rows[1:]])
    again = plan(1, parts=(PlanPart.RAW_TICKS,), data_types=(DataType.TRADES,))
    assert again.files_to_fetch == 1
    kept = again.files["raw_ticks/trades"][day(0)]
    assert kept.kept_rows == sum(row.rows for row in rows[1:])
    assert line(again, "raw_ticks/trades").files_there == len(rows) - 1


def test_the_plan_of_a_day_has_the_files_of_its_ingest(plan, ingest):
    planned = plan(3, parts=(PlanPart.RAW_TICKS,), data_types=(DataType.QUOTES,))
    files = planned.files["raw_ticks/quotes"]
    assert [files[day(n)].files for n in range(3)] == [
        ingest(day(n), DataType.QUOTES).fetched for n in range(3)
    ]


def test_the_largest_files_alone_are_fewer_and_smaller(plan, ingest):
    ingest(day(0), DataType.TRADES)
    some = plan(3, data_types=(DataType.TRADES,), max_files=1)
    every = plan(3, data_types=(DataType.TRADES,))
    assert [item.files for item in some.files["raw_ticks/trades"].values()] == [1, 1]
    assert 0 < some.total.download_bytes.likely < every.total.download_bytes.likely


def test_days_that_are_not_exported_are_left_out_and_named(plan, ingest, lake):
    ingest(day(0), DataType.TRADES)
    last = stored_catalog(lake, VENUE).exported_until.date()
    ahead = plan(1, start=last + dt.timedelta(days=1), end=last + dt.timedelta(days=2))
    assert ahead.is_empty
    assert any("not exported" in note for note in ahead.notes)


def test_bars_are_planned_where_their_ticks_come_and_kept_where_nothing_changes(plan, ingest, lake):
    for number in range(3):
        ingest(day(number), DataType.TRADES)
    for number in range(3):
        build_candles(
            day(number),
            lake=lake,
            catalog=stored_catalog(lake, VENUE),
            universe=read_instruments(lake, day(number)),
            timeframes=(Timeframe.H1,),
        )
    only = {"data_types": (DataType.TRADES,)}
    there = plan(3, **only, parts=(PlanPart.RAW_TICKS, PlanPart.CANDLES))
    assert line(there, "candles/1h").cells_there == 3
    assert line(there, "candles/1m").cells == 3
    # The fourth day's ticks reach the third day's bars.
    next_day = plan(4, **only)
    assert line(next_day, "candles/1h").cells == 2
    assert line(next_day, "candles/1h").cells_there == 2
    assert line(next_day, "mft_features/1h").cells == 4
    assert next_day.warehouse["candles_1h"] == (day(2).date, day(3).date)
    assert any("replaced" in note for note in next_day.notes)


def test_the_warehouse_alone_takes_what_the_lake_has(plan, ingest, lake):
    ingest(day(0), DataType.TRADES)
    build_candles(
        day(0),
        lake=lake,
        catalog=stored_catalog(lake, VENUE),
        universe=read_instruments(lake, day(0)),
        timeframes=(Timeframe.H1,),
    )
    loaded = plan(2, parts=(PlanPart.WAREHOUSE,))
    assert loaded.warehouse == {"candles_1h": (day(0).date,)}
    taken = line(loaded, "warehouse/candles_1h").quantities
    assert taken.load_jobs.likely == 1
    assert taken.warehouse_bytes.high > taken.rows.likely * 8 * 200
    embedded = plan(2, parts=(PlanPart.WAREHOUSE,), has_bigquery=False)
    assert line(embedded, "warehouse/candles_1h").quantities.load_jobs.likely == 0
