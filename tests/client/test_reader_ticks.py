"""Ticks by the reader: spans of either clock, moments, holes, and the bytes that are read."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters import parquet
from tickhandler_dagster.client.spans import utc_span
from tickhandler_dagster.client.ticks import Clock, TickRules
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidInput,
    MissingUpstream,
    NotAvailable,
)
from tickhandler_dagster.market.paths import TickGapsFile
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.states import DataState

DAY = dt.timedelta(days=1)
SECONDS = st.integers(0, 86_400)


@pytest.fixture
def day_of_trades(lab, monkeypatch):
    """A trade every 20 s in row groups of 180 rows (an hour), and empty days beside it."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 180)
    for day in (lab.one - DAY, lab.one, lab.two):
        lab.put_universe(day, lab.instrument(lab.btc))
    lab.put_ticks(lab.one, lab.trades(lab.one, range(0, 86_400, 20)))
    lab.put_ticks(lab.one - DAY, None, state=DataState.EMPTY)
    lab.put_ticks(lab.two, None, state=DataState.EMPTY)
    return lab


def read(lab, start, end, **options):
    return lab.data.ticks(lab.btc, lab.at(lab.one, start), lab.at(lab.one, end), **options)


def test_an_hour_reads_the_row_groups_of_the_hour_and_no_others(day_of_trades):
    lab = day_of_trades
    plan = read(lab, 36_000, 39_600).plan()
    assert (plan.files, plan.row_groups, plan.row_groups_skipped, plan.rows) == (1, 1, 23, 180)
    rules = TickRules(clock=Clock.EXCHANGE)
    span = utc_span(lab.at(lab.one, 36_000), lab.at(lab.one, 39_600))
    question = lab.data.tick_question(
        lab.btc, {}, data_type="trades", spans=[span], columns=["price"], rules=rules
    )
    rows = question.rows()
    assert rows.collect().height == 180
    size = (lab.root / plan.paths[0]).stat().st_size
    narrow = rows.plan()
    footer = 65_536  # Arrow reads so much from the end, whatever the footer is
    assert question.count.opened == 2  # the rows, and the plan of them
    assert narrow.bytes <= question.count.bytes <= narrow.bytes + 2 * min(footer, size)
    assert narrow.bytes * 20 < size


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SECONDS, SECONDS, SECONDS, st.sampled_from(["exchange", "local"]))
def test_tick_spans_that_meet_add_up(day_of_trades, a, b, c, clock):
    start, middle, end = sorted((a, b, c))
    parts = [read(day_of_trades, *span, clock=clock) for span in ((start, middle), (middle, end))]
    whole = read(day_of_trades, start, end, clock=clock).collect()
    assert_frame_equal(pl.concat([part.collect() for part in parts]), whole)


def test_moments_read_only_the_row_groups_near_them_and_every_tick_once(day_of_trades):
    lab = day_of_trades
    times = [lab.at(lab.one, 7_200), lab.at(lab.one, 7_210), lab.at(lab.one, 50_000)]
    rows = lab.data.ticks(lab.btc, around=times, before=dt.timedelta(seconds=30))
    found = rows.collect()["timestamp"].to_list()
    expected = [7_180, 7_200, 49_980, 50_000]
    assert found == [lab.at(lab.one, second) for second in expected]
    assert rows.plan().row_groups == 3


def test_a_lazy_read_takes_columns_and_filters_with_it(day_of_trades):
    rows = read(day_of_trades, 1_000, 9_000)
    lazy = rows.lazy()
    assert_frame_equal(lazy.collect(), rows.collect())
    narrow = lazy.filter(pl.col("price") > 120).select("timestamp")
    assert narrow.collect().height == rows.collect().filter(pl.col("price") > 120).height
    assert lazy.head(3).collect().height == 3
    assert lazy.select(pl.len()).collect().item() == rows.collect().height


def test_ticks_near_midnight_come_from_the_file_of_the_day_beside(lab):
    for day in (lab.one - DAY, lab.one, lab.two):
        lab.put_universe(day, lab.instrument(lab.btc))
    lab.put_ticks(lab.one, lab.trades(lab.one, [100, 86_000]))
    end = lab.at(lab.two)
    with pytest.raises(MissingUpstream, match=r"2024-08-09\|binance .* near midnight"):
        lab.data.ticks(lab.btc, lab.at(lab.one, 80_000), end).collect()
    asked = lab.data.ticks(lab.btc, lab.at(lab.one, 80_000), end, include_provisional=True)
    assert asked.collect().height == 1
    late = lab.trades(lab.one, [86_399.995])  # arrives after midnight
    lab.put_ticks(lab.two, late)
    assert lab.data.ticks(lab.btc, lab.at(lab.one, 80_000), end).collect().height == 2
    by_arrival = lab.data.ticks(lab.btc, lab.at(lab.one, 80_000), end, clock="local")
    assert by_arrival.collect().height == 1


def test_an_instrument_listed_on_the_day_has_no_day_before_to_wait_for(lab):
    start = lab.at(lab.one)
    lab.put_universe(lab.one, lab.instrument(lab.btc, available_from=start))
    lab.put_ticks(lab.one, lab.trades(lab.one, [5, 10]))
    assert lab.data.ticks(lab.btc, start, lab.at(lab.one, 60)).collect().height == 2


def test_a_state_that_is_no_data_is_refused_with_its_name(lab):
    lab.put_universe(lab.one, lab.instrument(lab.btc))
    lab.put_ticks(lab.one, None, state=DataState.FAILED)
    noon = (lab.at(lab.one, 43_200), lab.at(lab.one, 46_800))
    with pytest.raises(MissingUpstream, match=r"raw_ticks/trades: .* \(failed\)"):
        lab.data.ticks(lab.btc, *noon).collect()
    with pytest.raises(InvalidInput, match="no such instrument"):
        lab.data.ticks("BINANCE:SPOT_PAIR:SOL-USDT", *noon).collect()


def test_a_known_hole_in_the_span_is_refused_and_one_beside_it_is_not(day_of_trades):
    lab = day_of_trades
    gap = Gap(
        date=lab.one,
        venue=lab.venue,
        data_type=DataType.TRADES,
        instrument_key=lab.btc,
        kind=GapKind.SILENCE,
        gap_start=lab.at(lab.one, 5_000),
        gap_end=lab.at(lab.one, 5_500),
        evidence="none",
    )
    item = TickGapsFile(lab.one, DataType.TRADES, lab.venue)
    lab.lake.write_table(item, gaps_frame([gap]), GAPS_TABLE)
    with pytest.raises(CorruptData, match="01:23:20Z to 01:31:40Z"):
        read(lab, 5_400, 6_000).collect()
    assert read(lab, 5_400, 6_000, on_gap="keep").collect().height == 30
    assert read(lab, 5_500, 6_000).collect().height == 25


def test_what_had_arrived_then_is_given_only_where_no_file_was_written_since(day_of_trades):
    lab = day_of_trades
    then = lab.at(lab.one, 5_000.01)
    with pytest.raises(NotAvailable, match="written after"):
        read(lab, 4_000, 6_000, as_of=then).collect()
    kept = read(lab, 4_000, 6_000, as_of=then, on_revised="keep").collect()
    assert kept["local_timestamp"].max() == then
    lab.age(then)
    assert_frame_equal(
        read(lab, 4_000, 6_000, as_of=then, columns=["price"]).collect()["price"].to_frame(),
        kept.select("price"),
    )


def test_questions_that_are_not_one_are_refused(day_of_trades):
    lab = day_of_trades
    for call, said in (
        (lambda: lab.data.ticks(lab.btc), "start and end, or around"),
        (lambda: lab.data.book(lab.btc, lab.one, lab.two, depth=7), "5 or 25"),
        (lambda: read(lab, 0, 5, columns=["prise"]).collect(), "Did you mean price"),
        (lambda: read(lab, 0, 5, clock="wall"), "no such choice"),
        (lambda: read(lab, 0, 5, data_type="tick"), "not a data type"),
    ):
        with pytest.raises(InvalidInput, match=said):
            call()


def test_a_damaged_file_is_said_to_be_one(day_of_trades):
    lab = day_of_trades
    path = lab.root / read(lab, 0, 9_000, include_provisional=True).plan().paths[0]
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptData, match="cannot be read"):
        read(lab, 3_000, 9_000).collect()


def test_cells_of_ticks_that_were_never_made_are_named(lab):
    lab.put_universe(lab.one, lab.instrument(lab.btc))
    with pytest.raises(
        MissingUpstream, match=str(VenueDay(lab.one, lab.venue)).replace("|", r"\|")
    ):
        lab.data.ticks(lab.btc, lab.at(lab.one, 4_000), lab.at(lab.one, 5_000)).collect()
