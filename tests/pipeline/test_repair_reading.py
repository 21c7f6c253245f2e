"""From tables in a lake to a plan: what is missing counts, what was made decides."""

import datetime as dt

import pytest

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CompletenessFile, InstrumentsFile, parse_path
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.repair import RepairRequest
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_inputs import mft_plan
from tickhandler_dagster.pipeline.repair import manifest_of, read_plan, repair_layout

FIRST, LAST = dt.date(2024, 8, 1), dt.date(2024, 8, 30)
VENUES = (VenueId.BINANCE, VenueId.UPBIT)


@pytest.fixture(scope="module")
def layout():
    plan = mft_plan(Windows(), first_day=FIRST, venues=VENUES)
    return repair_layout(
        plan,
        last_day=LAST,
        downloads=dict.fromkeys(VENUES, (DataType.TRADES,)),
        sets=(FeatureSet("mine", ("*",), (Timeframe.H1,)),),
    )


@pytest.fixture
def look(lake):
    """Store what a look at a cell found: one instrument's trades in this state."""

    def store(day, state, venue=VenueId.BINANCE):
        date = dt.date(2024, 8, day)
        row = Completeness(
            date=date,
            venue=venue,
            data_type=DataType.TRADES,
            instrument_key="BINANCE:SPOT_PAIR:BTC-USDT",
            instrument_type="SPOT_PAIR",
            state=state,
            reason="because",
            verdict=Verdict.ERROR,
            is_simulated=True,
        )
        lake.write_table(
            CompletenessFile(date, venue), completeness_frame([row]), COMPLETENESS_TABLE
        )

    return store


def _request(first, last, **more):
    return RepairRequest(
        venues=more.pop("venues", (VenueId.BINANCE,)),
        since=dt.date(2024, 8, first),
        until=dt.date(2024, 8, last),
        **more,
    )


def _make(lake, asset, *days):
    for day in days:
        lake.store.write(
            manifest_of(asset)(VenueDay(dt.date(2024, 8, day), VenueId.BINANCE)).path, b"made"
        )


def _days(plan):
    return {asset: [cell.date.day for cell in item.cells] for asset, item in plan.by_asset.items()}


def test_a_broken_day_brings_what_was_made_around_it_and_nothing_that_was_not(lake, layout, look):
    for day in range(1, 31):
        look(day, DataState.FAILED if day == 10 else DataState.PRESENT)
        lake.store.write(InstrumentsFile(dt.date(2024, 8, day), VenueId.BINANCE).path, b"made")
    _make(lake, "candles/1h", 8, 9, 10, 11, 12)
    _make(lake, "mft_features/1h", 9, 20, 30)
    _make(lake, "bars/tick", 1)
    plan = read_plan(_request(1, 30), lake=lake, layout=layout)
    assert _days(plan) == {
        "raw_ticks/trades": [10],
        "candles/1h": [9, 10, 11],
        "bars/tick": [10],
        "mft_features/1h": [9, 10, 20, 30],
        "completeness": [10],
    }
    assert dict(plan.by_asset["raw_ticks/trades"].why) == {"failed": 1}


def test_a_day_without_a_table_is_listed_and_asked_for(lake, layout, look):
    look(2, DataState.PRESENT)
    plan = read_plan(_request(1, 2), lake=lake, layout=layout)
    assert _days(plan) == {"instruments": [1], "raw_ticks/trades": [1], "completeness": [1]}


def test_days_outside_the_grid_are_not_planned(lake, layout):
    request = RepairRequest(
        venues=(VenueId.BINANCE, VenueId.BITMEX), since=dt.date(2024, 7, 1), until=FIRST
    )
    plan = read_plan(request, lake=lake, layout=layout)
    assert {cell for item in plan.items for cell in item.cells} == {
        VenueDay(FIRST, VenueId.BINANCE)
    }


def test_nothing_broken_is_nothing_planned(lake, layout, look):
    look(3, DataState.NO_ENTITLEMENT)
    assert read_plan(_request(3, 3), lake=lake, layout=layout).is_empty
    named = _request(3, 3, states=(DataState.NO_ENTITLEMENT,))
    assert not read_plan(named, lake=lake, layout=layout).is_empty


def test_every_derived_asset_has_a_manifest_of_its_own(layout):
    cell = VenueDay(FIRST, VenueId.BINANCE)
    paths = [manifest_of(asset)(cell).path for asset in layout.derived]
    assert len(set(paths)) == len(paths)
    assert [parse_path(path).path for path in paths] == paths
    assert {f"bars/{kind}" for kind in BarKind} <= set(layout.derived)
