"""Laws of bars for any trades: merging, order, conservation, symmetry, no lookahead."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.base import PreviousTrade, bar_statistics
from tickhandler_dagster.market.bars.day import ALL_TIMEFRAMES, DayBars
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.statistics import (
    SIZED_STATISTICS,
    UNITLESS_STATISTICS,
    stored_statistics,
)
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
LISTED = Span(DAY.start, DAY.start + 3_600_000_000)
LINEAR = ContractTerms(0.01)
INVERSE = ContractTerms(100.0, is_inverse=True)
UNKNOWN = ContractTerms(None)
EXACT = {
    "ts_open", "open_time", "close_time", "last_arrival", "open", "high", "low", "close",
    "trade_count", "sweep_count", "interarrival_count", "interarrival_sum_us", "size_max",
}  # fmt: skip

# Few distinct moments on few distinct bars: ties, sweeps, empty bars and bar edges all happen.
_milliseconds = st.one_of(
    st.integers(0, 40),
    st.integers(14_990, 15_010),
    st.integers(59_990, 60_010),
    st.integers(0, 86_399_999),
)


@st.composite
def trades(draw, *, min_size=1, max_size=60, sides=(1, -1, 0)):
    """Trades in order of arrival with distinct ids, out of exchange order here and there."""
    moments = draw(st.lists(_milliseconds, min_size=min_size, max_size=max_size))
    count = len(moments)
    delays = draw(
        st.lists(
            st.one_of(st.integers(-2_000_000, 400_000), st.integers(0, 90_000_000)),
            min_size=count,
            max_size=count,
        )
    )
    side = draw(st.lists(st.sampled_from(sides), min_size=count, max_size=count))
    price = draw(st.lists(st.integers(1, 4_000), min_size=count, max_size=count))
    amount = draw(st.lists(st.integers(1, 9_999), min_size=count, max_size=count))
    timestamp = DAY.start + np.array(moments, dtype=np.int64) * 1_000
    arrival = timestamp + np.array(delays, dtype=np.int64)
    ids = draw(st.permutations(range(count)))
    ticks = TradeTicks(
        timestamp,
        arrival,
        np.array(ids, dtype=np.int64),
        np.array(side, dtype=np.int8),
        np.array(price) * 0.25,
        np.array(amount) * 0.001,
    )
    return ticks.take(np.argsort(arrival, kind="stable"))


terms = st.sampled_from([LINEAR, INVERSE, UNKNOWN])


def facts(terms=LINEAR, **changes):
    return DayFacts(
        **{
            "instrument_key": "BINANCE:SPOT_PAIR:BTC-USDT",
            "venue": VenueId.BINANCE,
            "day": DAY,
            "listed": LISTED,
            "terms": terms,
            "closing": Closing(DAY, has_previous=True, has_next=True),
        }
        | changes
    )


def build(ticks, terms=LINEAR, timeframes=ALL_TIMEFRAMES, **changes):
    day = DayBars(facts(terms, **changes))
    day.add_trades(ticks)
    return day.finish(timeframes)


def assert_same_statistics(one, other, *, exactly=False):
    assert set(one.columns) == set(other.columns)
    for name in one.columns:
        if exactly or name in EXACT:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        else:
            # a spread near zero is noise relative to itself: compare to its scale
            scale = _scale(name, other)
            np.testing.assert_allclose(
                one[name], other[name], rtol=1e-9, atol=1e-9 * scale, err_msg=name
            )


def _scale(name, statistics):
    if name == "size_m2":
        return float(np.max(statistics["volume"] ** 2))
    if name == "interarrival_m2_ms2":
        return float(np.max((statistics["interarrival_sum_us"] / 1_000.0) ** 2))
    return float(np.max(statistics["volume"])) if name.startswith("delta") else 0.0


@given(trades(), terms, st.sampled_from([None, DAY.start - 7_000_000]))
@settings(max_examples=150)
def test_rolling_up_15_s_bars_equals_building_from_trades(ticks, terms, previous_us):
    ordered = in_total_order(ticks)
    true_sizes = sizes(ordered, terms)
    base = bar_statistics(ordered, true_sizes, BASE_TIMEFRAME, previous_us=previous_us)
    for timeframe in Timeframe:
        direct = bar_statistics(ordered, true_sizes, timeframe, previous_us=previous_us)
        assert_same_statistics(rolled_up(base, timeframe), direct)


@given(trades(), terms)
@settings(max_examples=25)
def test_rolling_up_in_two_steps_equals_one(ticks, terms):
    ordered = in_total_order(ticks)
    base = bar_statistics(ordered, sizes(ordered, terms), BASE_TIMEFRAME, previous_us=None)
    assert_same_statistics(
        rolled_up(rolled_up(base, Timeframe.M15), Timeframe.H4), rolled_up(base, Timeframe.H4)
    )


@given(trades(), terms)
@settings(max_examples=25)
def test_stored_15_s_bars_roll_up_like_the_ones_in_memory(ticks, terms):
    frames = build(ticks, terms)
    stored = stored_statistics(frames[BASE_TIMEFRAME])
    assert_same_statistics(
        rolled_up(stored, Timeframe.H1), stored_statistics(frames[Timeframe.H1]), exactly=True
    )


@given(trades(), st.randoms(use_true_random=False), terms)
@settings(max_examples=30)
def test_shuffled_trades_give_identical_bars(ticks, random, terms):
    positions = list(range(len(ticks)))
    random.shuffle(positions)
    shuffled = build(ticks.take(np.array(positions)), terms)
    for timeframe, bars in build(ticks, terms).items():
        assert bars.equals(shuffled[timeframe])


@given(trades(), terms)
@settings(max_examples=30)
def test_every_trade_is_in_exactly_one_bar_of_each_timeframe(ticks, terms):
    amount = math.fsum(ticks.amount)
    for timeframe, bars in build(ticks, terms).items():
        assert bars["trade_count"].sum() == len(ticks), timeframe
        assert bars["amount_sum"].sum() == pytest.approx(amount, rel=1e-9)


@given(trades(), st.sampled_from([LINEAR, INVERSE]))
@settings(max_examples=30)
def test_buying_and_selling_are_mirror_images(ticks, terms):
    mirrored = build(dataclasses.replace(ticks, side=-ticks.side), terms)
    for timeframe, bars in build(ticks, terms).items():
        mirror = mirrored[timeframe]
        for name, image in (
            ("buy_volume_sum", pl.col("sell_volume_sum")),
            ("sell_volume_sum", pl.col("buy_volume_sum")),
            ("unknown_volume_sum", pl.col("unknown_volume_sum")),
            ("delta", -pl.col("delta")),
            ("delta_max", -pl.col("delta_min")),
            ("delta_min", -pl.col("delta_max")),
            ("trade_flow_imbalance", -pl.col("trade_flow_imbalance")),
            ("sweep_count", pl.col("sweep_count")),
            ("volume", pl.col("volume")),
        ):
            assert bars[name].equals(mirror.select(image.alias(name))[name]), name


@given(trades(), st.sampled_from([0.5, 4.0, 1024.0]))
@settings(max_examples=25)
def test_prices_scale_through_linear_bars_and_leave_quantities_alone(ticks, factor):
    scaled = build(dataclasses.replace(ticks, price=ticks.price * factor), LINEAR)
    prices = ("open", "high", "low", "close", "notional", "price_vwap")
    moved = {"vwap_close_gap", *prices}
    for timeframe, bars in build(ticks, LINEAR).items():
        other = scaled[timeframe]
        for name in prices:  # a power of two scales without rounding
            assert (bars[name] * factor).equals(other[name].rename(name)), name
        fixed = [name for name in CANDLE_TABLE.names if name not in moved]
        assert bars.select(fixed).equals(other.select(fixed))


@given(trades(), terms, st.lists(st.integers(0, 5_759), max_size=6))
@settings(max_examples=30)
def test_the_cut_into_slices_does_not_show(ticks, terms, cuts):
    edges = [DAY.start, *(DAY.start + cut * BASE_TIMEFRAME.us for cut in sorted(cuts)), DAY.end]
    day = DayBars(facts(terms))
    for start, end in pairwise(edges):
        day.add_trades(
            ticks.take(np.flatnonzero((ticks.timestamp >= start) & (ticks.timestamp < end)))
        )
    sliced = day.finish()
    for timeframe, bars in build(ticks, terms).items():
        assert bars.equals(sliced[timeframe])


@given(trades(), terms, st.sampled_from(list(Timeframe)), st.integers(0, 86_399))
@settings(max_examples=30)
def test_bars_do_not_change_when_their_future_is_cut_off(ticks, terms, timeframe, second):
    now = DAY.start + second * 1_000_000
    past = ticks.take(np.flatnonzero(ticks.timestamp < now))
    known = build(past, terms, (timeframe,), listed=DAY)[timeframe]
    later = build(ticks, terms, (timeframe,), listed=DAY)[timeframe]
    closed = pl.col("ts_close").to_physical() <= now
    assert known.filter(closed).equals(later.filter(closed))


@given(trades(), terms, st.sampled_from(list(Timeframe)))
@settings(max_examples=30)
def test_a_bar_needs_no_trade_that_arrives_after_it_is_available(ticks, terms, timeframe):
    for bar in (
        build(ticks, terms, (timeframe,), listed=DAY)[timeframe]
        .filter(pl.col("status") == "traded")
        .iter_slices(1)
    ):
        available = bar["available_at"].to_physical()[0]
        arrived = ticks.take(np.flatnonzero(ticks.local_timestamp <= available))
        rebuilt = build(arrived, terms, (timeframe,), listed=DAY)[timeframe]
        again = rebuilt.filter(pl.col("ts_open") == bar["ts_open"][0])
        assert again.equals(bar)


@given(trades(min_size=0), terms, st.integers(0, 86_400), st.integers(0, 86_400))
@settings(max_examples=30)
def test_the_grid_is_dense_from_listing_to_delisting_and_over_all_trades(ticks, terms, one, other):
    start, end = (DAY.start + second * 1_000_000 for second in sorted((one, other)))
    for timeframe, bars in build(ticks, terms, listed=Span(start, end)).items():
        opens = bars["ts_open"].to_physical().to_numpy()
        assert (np.diff(opens) == timeframe.us).all()
        moments = [*ticks.timestamp.tolist(), *((start, end - 1) if end > start else ())]
        expected = (
            [] if not moments else [min(moments) // timeframe.us, max(moments) // timeframe.us]
        )
        assert (
            [edge // timeframe.us for edge in opens[[0, -1]].tolist()] == expected
            if len(opens)
            else not expected
        )


@given(trades(), terms)
@settings(max_examples=15)
def test_bars_keep_the_rules_of_their_table(ticks, terms):
    previous = PreviousTrade(DAY.start - 1_000, DAY.start)
    frames = build(ticks, terms, previous=previous, gaps=(Span(DAY.start, DAY.start + 20_000_000),))
    report = SchemaCheck(CANDLE_TABLE).run([(str(frame), bars) for frame, bars in frames.items()])
    assert not report.failures


def test_the_statistics_are_all_stored():
    assert set(UNITLESS_STATISTICS) | set(SIZED_STATISTICS) <= set(CANDLE_TABLE.names)
