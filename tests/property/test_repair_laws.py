"""Laws of a repair: exactly what was asked for, nothing outside the grid, and always the same."""

import datetime as dt
from collections import Counter
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.completeness_table import Completeness, completeness_frame
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.halo import Halo
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.repair import (
    ASKED_AGAIN,
    REMEDIES,
    BrokenPartition,
    Remedy,
    RepairRequest,
    broken_partitions,
    never_looked_at,
    parse_states,
)
from tickhandler_dagster.market.repair_plan import (
    COMPLETENESS,
    INSTRUMENTS,
    LakeLayout,
    Stage,
    cell_ranges,
    plan_repair,
)
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId

GRID = (VenueId.DERIBIT, VenueId.BINANCE, VenueId.UPBIT)
FIRST, LAST = dt.date(2024, 8, 1), dt.date(2024, 8, 20)
HALO = Halo(series=(1, 2), slots=(7,), daily=(1, 2, 3))

days = st.dates(FIRST - dt.timedelta(days=3), LAST + dt.timedelta(days=3))
cells = st.builds(VenueDay, days, st.sampled_from([*GRID, VenueId.BITMEX]))


@st.composite
def rows(draw):
    found = {}
    for cell in draw(st.lists(cells, max_size=12)):
        data_type = draw(st.sampled_from(sorted(VENUES[cell.venue].data_types)))
        key = f"{cell.venue.upper()}:SPOT_PAIR:{draw(st.sampled_from(['BTC-USDT', 'ETH.X']))}"
        found[cell, data_type, key] = Completeness(
            date=cell.date,
            venue=cell.venue,
            data_type=data_type,
            instrument_key=key,
            instrument_type="SPOT_PAIR",
            state=draw(st.sampled_from(DataState)),
            reason="because",
            verdict=draw(st.sampled_from(Verdict)),
            is_simulated=True,
        )
    return list(found.values())


requests = st.builds(
    RepairRequest,
    venues=st.lists(st.sampled_from(GRID), unique=True).map(tuple),
    since=st.dates(FIRST, dt.date(2024, 8, 10)),
    until=st.dates(dt.date(2024, 8, 10), LAST),
    data_types=st.lists(st.sampled_from(DataType), unique=True, max_size=3).map(tuple),
    states=st.lists(st.sampled_from(DataState), unique=True).map(tuple),
    verdicts=st.lists(st.sampled_from(Verdict), unique=True, max_size=2).map(tuple),
    instruments=st.lists(st.sampled_from(["*:BTC-*", "*ETH.?", "*ETH?X"]), max_size=2).map(tuple),
)
made_cells = st.lists(cells, max_size=40)


def _layout(made=None):
    return LakeLayout(
        venues=GRID,
        first_day=FIRST,
        last_day=LAST,
        candle_types=frozenset({DataType.TRADES, DataType.QUOTES}),
        downloads=dict.fromkeys(GRID, (DataType.TRADES,)),
        halos={Timeframe.H1: HALO},
        sets={"mine": (Timeframe.H1,)},
        made=made,
    )


def _broken(*named, data_type=DataType.TRADES):
    return [
        BrokenPartition(data_type, VenueDay.parse(text), {DataState.FAILED: 1}) for text in named
    ]


def _is_wanted(row, request):
    key = row.instrument_key
    chosen = {"*:BTC-*": ":BTC-" in key, "*ETH.?": key.endswith("ETH.X")}
    chosen["*ETH?X"] = chosen["*ETH.?"]
    return (
        row.venue in request.venues
        and request.since <= row.date <= request.until
        and row.state in request.states
        and (not request.data_types or row.data_type in request.data_types)
        and (not request.verdicts or row.verdict in request.verdicts)
        and (not request.instruments or any(chosen[name] for name in request.instruments))
    )


@given(rows(), requests)
def test_exactly_the_partitions_of_the_wanted_rows_are_broken(table, request):
    found = broken_partitions(completeness_frame(table), request)
    expected = Counter(
        (row.data_type, VenueDay(row.date, row.venue), row.state)
        for row in table
        if _is_wanted(row, request)
    )
    assert expected == Counter(
        {
            (item.data_type, item.cell, state): count
            for item in found
            for state, count in item.files.items()
        }
    )


@given(rows(), requests)
def test_many_days_at_once_or_one_by_one_are_the_same(table, request):
    frame = completeness_frame(table)
    parts = frame.partition_by("date", "venue")
    apart = [item for part in parts for item in broken_partitions(part, request)]
    together = broken_partitions(frame, request)
    assert Counter(apart) == Counter(together)
    assert plan_repair(apart, _layout()) == plan_repair(together, _layout())


@given(rows(), requests, made_cells)
def test_a_plan_has_no_cell_outside_the_grid_and_no_raw_cell_but_the_broken(table, request, made):
    broken = broken_partitions(completeness_frame(table), request)
    layout = _layout(dict.fromkeys(_layout().derived, made))
    plan = plan_repair(broken, layout)
    assert plan == plan_repair(list(reversed(broken)), layout)
    inside = [item for item in broken if FIRST <= item.cell.date <= LAST]
    for data_type in DataType:
        item = plan.by_asset.get(f"raw_ticks/{data_type}")
        wanted = {one.cell for one in inside if one.data_type is data_type}
        assert set(item.cells if item else ()) == wanted
    assert plan.is_empty == (not inside)
    assert set(plan.by_asset[COMPLETENESS].cells if inside else ()) == {one.cell for one in inside}
    for item in plan.items:
        assert item.cells == tuple(sorted(set(item.cells)))
        assert all(cell.venue in GRID and FIRST <= cell.date <= LAST for cell in item.cells)
    assert [item.stage for item in plan.items] == sorted(item.stage for item in plan.items)


@given(st.lists(cells, max_size=30))
def test_ranges_are_the_same_cells_and_cannot_be_joined(chosen):
    found = cell_ranges(chosen)
    again = [
        VenueDay(part.first + dt.timedelta(days=day), part.venue)
        for part in found
        for day in range(part.days)
    ]
    assert sorted(again) == sorted(set(chosen))
    assert all(
        after.venue is not before.venue or (after.first - before.last).days > 1
        for before, after in pairwise(found)
    )


@given(st.lists(cells, max_size=4), made_cells)
def test_what_was_made_is_made_again_only_where_it_reads_something_changed(chosen, made):
    """The slow way: every derived cell asks what it reads."""
    layout = _layout(dict.fromkeys(_layout().derived, made))
    plan = plan_repair(_broken(*map(str, chosen)), layout)
    inside = {cell for cell in chosen if cell.venue in GRID and FIRST <= cell.date <= LAST}
    kept = {cell for cell in made if cell.venue in GRID and FIRST <= cell.date <= LAST}
    used = {cell.venue for cell in kept}
    due = kept | {cell for cell in inside if cell.venue in used}
    candles = {cell for cell in due if any(cell.shifted(step) in inside for step in (-1, 0, 1))}
    features = {
        cell
        for cell in due
        if any(cell.shifted(-back) in candles for back in (0, 1, 2, 3, 7))
        or any(
            VenueDay(cell.date - dt.timedelta(days=back), venue) in candles
            for back in (0, 1, 2)
            for venue in GRID
        )
    }
    planned = {asset: set(item.cells) for asset, item in plan.by_asset.items()}
    assert planned.get("candles/1h", set()) == candles
    assert planned.get("mft_features/1h", set()) == features
    assert planned.get("mft_sets/mine", set()) == features


def test_a_chain_changes_surfaces_and_candles_of_every_venue_but_no_bars():
    layout = _layout({asset: layout_cells() for asset in _layout().derived})
    plan = plan_repair(_broken("2024-08-05|deribit", data_type=DataType.OPTIONS_CHAIN), layout)
    assert [str(cell) for cell in plan.by_asset["options_surface"].cells] == [
        "2024-08-05|deribit",
        "2024-08-06|deribit",
    ]
    assert {cell.venue for cell in plan.by_asset["candles/1m"].cells} == set(GRID)
    assert {cell.date.day for cell in plan.by_asset["candles/1m"].cells} == {5, 6}
    assert "bars/tick" not in plan.by_asset


def test_bars_reach_a_day_further_than_candles_through_their_threshold():
    layout = _layout({asset: layout_cells() for asset in _layout().derived})
    plan = plan_repair(_broken("2024-08-05|upbit"), layout)
    assert [cell.date.day for cell in plan.by_asset["candles/1m"].cells] == [4, 5, 6]
    assert [cell.date.day for cell in plan.by_asset["bars/tick"].cells] == [4, 5, 6, 7]
    assert plan.by_asset["candles/1m"].stage is Stage.CANDLES


def layout_cells():
    layout = _layout()
    return layout.cells(layout.made_mask("candles/1h"))


def test_what_a_venue_never_had_is_not_begun_and_a_universe_is_listed_where_it_is_missing():
    broken = _broken("2024-08-05|upbit", "2024-08-06|upbit")
    plan = plan_repair(broken, _layout({}), without_universe=[broken[0].cell])
    assert [item.asset for item in plan.items] == [INSTRUMENTS, "raw_ticks/trades", COMPLETENESS]
    assert plan.by_asset[INSTRUMENTS].cells == (broken[0].cell,)


def test_a_day_without_a_table_is_asked_for_what_is_downloaded_and_no_more():
    request = RepairRequest(venues=(VenueId.UPBIT,), since=FIRST, until=LAST)
    cell = VenueDay(FIRST, VenueId.UPBIT)
    outside = [VenueDay(FIRST, VenueId.DERIBIT), cell.shifted(-1)]
    found = never_looked_at([cell, *outside], request, _layout().downloads)
    assert [(item.data_type, item.cell) for item in found] == [(DataType.TRADES, cell)]
    assert not never_looked_at([cell], request, {})
    only_failed = RepairRequest(
        venues=(VenueId.UPBIT,), since=FIRST, until=LAST, states=(DataState.FAILED,)
    )
    assert not never_looked_at([cell], only_failed, _layout().downloads)


def test_every_state_has_a_remedy_and_only_what_asking_can_change_is_asked():
    assert set(REMEDIES) == set(DataState)
    assert set(ASKED_AGAIN) <= {state for state in DataState if state.is_missing}
    assert {REMEDIES[state] for state in ASKED_AGAIN} == {Remedy.ASK_AGAIN}
    assert parse_states([]) == ASKED_AGAIN
    assert set(parse_states(["missing"])) == {state for state in DataState if state.is_missing}


@pytest.mark.parametrize("name", ["partial", "present", "lost"])
def test_a_state_that_asking_cannot_change_is_refused_with_the_list(name):
    with pytest.raises(InvalidInput, match="missing or one of not_exported_yet"):
        parse_states([name])


def test_a_span_that_ends_before_it_starts_is_refused():
    with pytest.raises(InvalidInput, match="before the first day"):
        RepairRequest(venues=GRID, since=LAST, until=FIRST)


def test_no_venues_no_plan():
    request = RepairRequest(venues=(), since=FIRST, until=LAST)
    assert broken_partitions(pl.DataFrame(schema=completeness_frame([]).schema), request) == []
    assert plan_repair([], _layout()).is_empty
