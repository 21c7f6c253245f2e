"""Laws of information-driven bars for any trades: conservation, order, slicing, no lookahead."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.base import PreviousTrade, bar_statistics
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.information import InformationBars, TradesDay
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.thresholds import Threshold, ThresholdState
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE, SHARED_COLUMNS
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
LINEAR = ContractTerms(0.01)
INVERSE = ContractTerms(100.0, is_inverse=True)
UNKNOWN = ContractTerms(None)
ENDLESS = {BarKind.TICK: 10**9, BarKind.VOLUME: 1e300, BarKind.DOLLAR: 1e300}

# Few distinct moments: ties, split sweeps and bars that span no time all happen.
_milliseconds = st.one_of(st.integers(0, 12), st.integers(0, 86_399_999))


@st.composite
def trades(draw, *, min_size=1, max_size=70):
    """Trades in order of arrival with distinct ids, out of exchange order here and there."""
    moments = draw(st.lists(_milliseconds, min_size=min_size, max_size=max_size))
    count = len(moments)

    def some(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    timestamp = DAY.start + np.array(moments, dtype=np.int64) * 1_000
    delays = some(st.one_of(st.integers(-2_000_000, 400_000), st.integers(0, 90_000_000)))
    arrival = timestamp + np.array(delays, dtype=np.int64)
    ticks = TradeTicks(
        timestamp,
        arrival,
        np.array(draw(st.permutations(range(count))), dtype=np.int64),
        np.array(some(st.sampled_from([1, -1, 0])), dtype=np.int8),
        np.array(some(st.integers(1, 4_000))) * 0.25,
        np.array(some(st.integers(1, 9_999))) * 0.001,
    )
    return ticks.take(np.argsort(arrival, kind="stable"))


terms = st.sampled_from([LINEAR, INVERSE, UNKNOWN])
shares = st.sampled_from([0.2, 1.0, 2.5, 7.0, 40.0])


def thresholds(ticks, terms, share):
    """Thresholds worth `share` mean trades, of the kinds the terms allow."""
    true_sizes = sizes(ticks, terms)
    values = {BarKind.TICK: float(math.ceil(share))}
    if true_sizes is not None:
        values[BarKind.VOLUME] = share * float(true_sizes.base.mean())
        values[BarKind.DOLLAR] = share * float(true_sizes.quote.mean())
    return {kind: fixed(value) for kind, value in values.items()}


def fixed(value):
    return Threshold(ThresholdState.FIXED, value, is_final=True, available_us=DAY.start + 200_000)


def facts(terms=LINEAR, **changes):
    return TradesDay(
        **{
            "instrument_key": "BINANCE:SPOT_PAIR:BTC-USDT",
            "venue": VenueId.BINANCE,
            "day": DAY,
            "terms": terms,
            "closing": Closing(DAY, has_previous=True, has_next=True),
        }
        | changes
    )


def build(ticks, limits, terms=LINEAR, **changes):
    bars = InformationBars(facts(terms, **changes), limits)
    bars.add(ticks)
    return bars.finish()


@given(trades(), terms, shares)
@settings(max_examples=30)
def test_every_trade_is_in_exactly_one_bar_of_each_kind(ticks, terms, share):
    for bars in build(ticks, thresholds(ticks, terms, share), terms).values():
        assert bars["trade_count"].sum() == len(ticks)
        assert bars["amount_sum"].sum() == pytest.approx(math.fsum(ticks.amount), rel=1e-9)
        assert bars["open"][0] == in_total_order(ticks).price[0]
        assert bars["close"][-1] == in_total_order(ticks).price[-1]


@given(trades(), terms, shares, st.lists(st.integers(0, US_PER_DAY), max_size=8))
@settings(max_examples=30)
def test_the_cut_into_slices_does_not_show(ticks, terms, share, cuts):
    limits = thresholds(ticks, terms, share)
    near = [int(moment) + 1 for moment in ticks.timestamp[: len(cuts)]]
    edges = sorted({DAY.start, DAY.end, *near, *(DAY.start + cut for cut in cuts)})
    bars = InformationBars(facts(terms), limits)
    for start, end in pairwise(edges):
        bars.add(ticks.take(np.flatnonzero((ticks.timestamp >= start) & (ticks.timestamp < end))))
    sliced = bars.finish()
    for kind, whole in build(ticks, limits, terms).items():
        assert whole.equals(sliced[kind]), kind


@given(trades(), st.randoms(use_true_random=False), terms, shares)
@settings(max_examples=30)
def test_shuffled_trades_give_identical_bars(ticks, random, terms, share):
    positions = list(range(len(ticks)))
    random.shuffle(positions)
    limits = thresholds(ticks, terms, share)
    shuffled = build(ticks.take(np.array(positions)), limits, terms)
    for kind, bars in build(ticks, limits, terms).items():
        assert bars.equals(shuffled[kind])


@given(trades(), shares)
@settings(max_examples=30)
def test_tick_bars_have_exactly_the_threshold_of_trades_but_the_last(ticks, share):
    limits = thresholds(ticks, UNKNOWN, share)
    counts = build(ticks, limits, UNKNOWN)[BarKind.TICK]["trade_count"].to_list()
    size = int(limits[BarKind.TICK].value)
    assert counts[:-1] == [size] * (len(counts) - 1)
    assert counts[-1] == (len(ticks) % size or size)


@given(trades(), terms, shares, st.sampled_from([None, PreviousTrade(DAY.start - 9, DAY.start)]))
@settings(max_examples=30)
def test_bars_follow_each_other_through_the_day_without_a_hole(ticks, terms, share, previous):
    for bars in build(ticks, thresholds(ticks, terms, share), terms, previous=previous).values():
        assert bars["bar_number"].to_list() == list(range(1, bars.height + 1))
        opens = bars["ts_open"].to_physical().to_list()
        closes = bars["ts_close"].to_physical().to_list()
        assert opens == [DAY.start, *closes[:-1]]
        assert bars["is_complete"].to_list()[:-1] == [True] * (bars.height - 1)
        last = bars.row(-1, named=True)
        expected = ticks.timestamp.max() if last["is_complete"] else DAY.end
        assert closes[-1] == expected
        assert bars["available_at"].is_sorted()


@given(trades(), terms, shares)
@settings(max_examples=30)
def test_a_bar_needs_no_trade_that_arrives_after_it_is_available(ticks, terms, share):
    limits = thresholds(ticks, terms, share)
    for kind, bars in build(ticks, limits, terms).items():
        for bar in bars.iter_slices(1):
            available = bar["available_at"].to_physical()[0]
            arrived = ticks.take(np.flatnonzero(ticks.local_timestamp <= available))
            known = build(arrived, {kind: limits[kind]}, terms)[kind]
            assert known.filter(pl.col("bar_number") == bar["bar_number"][0]).equals(bar)


@given(trades(), terms, shares, st.integers(0, 70))
@settings(max_examples=30)
def test_complete_bars_do_not_change_when_their_future_is_cut_off(ticks, terms, share, count):
    limits = thresholds(ticks, terms, share)
    past = in_total_order(ticks).take(slice(0, max(count, 1)))
    later = build(ticks, limits, terms)
    for kind, bars in build(past, limits, terms).items():
        complete = bars.filter("is_complete")
        assert complete.equals(later[kind].head(complete.height))


@given(trades(), terms, st.sampled_from([None, DAY.start - 5_000_000]))
@settings(max_examples=30)
def test_a_bar_that_never_fills_holds_what_the_kernel_of_time_bars_gives_for_the_day(
    ticks, terms, previous_us
):
    ordered = in_total_order(ticks)
    day = bar_statistics(ordered, sizes(ordered, terms), Timeframe.H24, previous_us=previous_us)
    expected = day.frame()
    previous = None if previous_us is None else PreviousTrade(previous_us, previous_us)
    kinds = thresholds(ticks, terms, 1.0)
    limits = {kind: fixed(ENDLESS[kind]) for kind in kinds}
    for bars in build(ticks, limits, terms, previous=previous).values():
        assert bars.height == 1
        assert not bars["is_complete"][0]
        stored = [name for name in SHARED_COLUMNS if name in expected.columns]
        assert len(stored) == len(expected.columns) - 1  # all but ts_open
        assert bars.select(stored).equals(expected.select(stored))


@given(trades(), st.sampled_from([LINEAR, INVERSE]), shares)
@settings(max_examples=30)
def test_buying_and_selling_are_mirror_images(ticks, terms, share):
    limits = thresholds(ticks, terms, share)
    mirrored = build(dataclasses.replace(ticks, side=-ticks.side), limits, terms)
    images = {
        "buy_volume_sum": pl.col("sell_volume_sum"),
        "sell_volume_sum": pl.col("buy_volume_sum"),
        "delta": -pl.col("delta"),
        "delta_max": -pl.col("delta_min"),
        "delta_min": -pl.col("delta_max"),
        "trade_flow_imbalance": -pl.col("trade_flow_imbalance"),
    }
    for kind, bars in build(ticks, limits, terms).items():
        assert mirrored[kind].with_columns(**images).equals(bars)


@given(trades(), shares, st.sampled_from([0.5, 4.0, 1024.0]))
@settings(max_examples=30)
def test_a_change_of_the_price_unit_moves_no_bar(ticks, share, factor):
    limits = thresholds(ticks, LINEAR, share)
    scaled = dataclasses.replace(ticks, price=ticks.price * factor)
    dearer = dataclasses.replace(
        limits[BarKind.DOLLAR], value=limits[BarKind.DOLLAR].value * factor
    )
    found = build(scaled, limits | {BarKind.DOLLAR: dearer})
    prices = pl.col("open", "high", "low", "close", "notional", "price_vwap")
    for kind, bars in build(ticks, limits).items():
        moved = bars.with_columns(prices * factor)  # a power of two scales without rounding
        assert moved.drop("threshold").equals(found[kind].drop("threshold"))


@given(trades(), terms, shares)
@settings(max_examples=20)
def test_bars_keep_the_rules_of_their_table(ticks, terms, share):
    frames = build(
        ticks,
        thresholds(ticks, terms, share),
        terms,
        previous=PreviousTrade(DAY.start - 1_000, DAY.start),
        gaps=(Span(DAY.start, DAY.start + 20_000_000),),
    )
    report = SchemaCheck(INFORMATION_BAR_TABLE).run(
        [(str(kind), bars) for kind, bars in frames.items()]
    )
    assert not report.failures


def ticks_of(*rows):
    """Trades of (milliseconds after midnight, amount), arriving at once, price 1."""
    times = DAY.start + np.array([ms for ms, _ in rows], dtype=np.int64) * 1_000
    return TradeTicks(
        times,
        times,
        None,
        np.ones(len(rows), dtype=np.int8),
        np.ones(len(rows)),
        np.array([float(amount) for _, amount in rows]),
    )


def test_a_trade_is_never_split_and_what_it_overshoots_is_not_carried_over():
    ticks = ticks_of((1, 2), (2, 50), (3, 4), (3, 5), (9, 1), (9, 1))
    limits = {BarKind.VOLUME: fixed(10.0), BarKind.DOLLAR: fixed(9.0)}
    frames = build(ticks, limits, ContractTerms(1.0))
    assert frames[BarKind.VOLUME].select("volume", "is_complete").rows() == [
        (52.0, True),
        (10.0, True),
        (1.0, False),
    ]
    assert frames[BarKind.DOLLAR]["notional"].to_list() == [52.0, 9.0, 2.0]


def test_a_sweep_that_a_threshold_splits_counts_in_both_bars():
    ticks = ticks_of((5, 1), (5, 1), (5, 1), (5, 1))
    bars = build(ticks, {BarKind.TICK: fixed(2)})[BarKind.TICK]
    assert bars["sweep_count"].to_list() == [1, 1]
    assert bars["duration_ms"].to_list() == [5.0, 0.0]
    assert bars["trade_intensity_per_s"].to_list() == [400.0, None]


def test_the_last_bit_of_a_bar_does_not_hang_on_whether_another_follows():
    alone = [(0, 1)] * 12 + [(41, 1)]
    limits = {BarKind.TICK: fixed(13)}
    followed = build(ticks_of(*alone, (242, 827)), limits)[BarKind.TICK]
    assert followed.height == 2
    assert followed.head(1).equals(build(ticks_of(*alone), limits)[BarKind.TICK])


def test_a_day_without_trades_has_no_bars():
    frames = build(ticks_of(), {kind: fixed(1.0) for kind in BarKind})
    assert [(bars.height, bars.schema) for bars in frames.values()] == [
        (0, INFORMATION_BAR_TABLE.polars_schema)
    ] * 3


def test_no_bar_is_available_before_its_threshold():
    late = dataclasses.replace(fixed(1), available_us=DAY.start + 3_600_000_000)
    bars = build(ticks_of((1, 1), (7_200_000, 1)), {BarKind.TICK: late})[BarKind.TICK]
    after = (bars["available_at"].to_physical() - DAY.start).to_list()
    assert after == [3_600_000_000, 7_200_200_000]


@pytest.mark.parametrize(
    ("has_previous", "has_next", "is_fixed", "expected"),
    [
        (True, True, True, [True, True]),
        (True, False, True, [True, False]),
        (False, True, True, [False, False]),
        (True, True, False, [False, False]),
    ],
)
def test_a_bar_is_final_when_no_file_to_come_can_change_it(
    has_previous, has_next, is_fixed, expected
):
    limit = dataclasses.replace(fixed(1), is_final=is_fixed)
    closing = Closing(DAY, has_previous=has_previous, has_next=has_next)
    ticks = ticks_of((0, 1), (86_399_000, 1))
    bars = build(ticks, {BarKind.TICK: limit}, closing=closing)[BarKind.TICK]
    assert bars["is_final"].to_list() == expected


@pytest.mark.parametrize("ms", [-1, 0, 86_400_000])
def test_slices_out_of_order_are_refused(ms):
    bars = InformationBars(facts(), {BarKind.TICK: fixed(1)})
    bars.add(ticks_of((0, 1)))
    with pytest.raises(CorruptData, match="outside the part of the day still open"):
        bars.add(ticks_of((ms, 1)))


def test_volume_bars_of_unknown_units_are_refused():
    with pytest.raises(ValueError, match="volume bars without a threshold"):
        InformationBars(facts(UNKNOWN), {BarKind.VOLUME: fixed(1.0)})
