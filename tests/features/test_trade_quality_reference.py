"""Delay, order and size columns of trades against their definitions, slowly in plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.base import bar_statistics
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_quality import TradeQuality
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.features.family import DayGrid, family_columns
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.trades import DENSE_TRADES
from tickhandler_dagster.market.timeframes import Timeframe

DAY = 19_943 * US_PER_DAY
MINUTE = 60 * US_PER_SECOND
WATERMARK = 200_000
ENTRIES = (*LATENCY, *DENSE_TRADES)
ZERO_WHERE_EMPTY = {
    "delay_count", "delay_sum_us", "negative_delay_count", "out_of_order_count", "id_gap_count",
    "duplicate_id_count", "disconnect_count", "late_count", "large_trade_volume_sum",
    "tick_rule_agree_count", "tick_rule_disagree_count",
}  # fmt: skip


@dataclass(frozen=True)
class Trade:
    at: int
    arrived: int
    number: int
    side: int
    price: float
    amount: float


@dataclass(frozen=True)
class Feed:
    """Everything a day's columns depend on."""

    trades: list
    earlier: list
    terms: ContractTerms
    has_clock: bool
    has_ids: bool
    repeats: list
    gaps: list


def base_size(trade, terms):
    worth = trade.amount * terms.contract_size
    return worth / trade.price if terms.is_inverse else worth


def quote_size(trade, terms):
    worth = trade.amount * terms.contract_size
    return worth if terms.is_inverse else worth * trade.price


def ordered(trades, *, has_ids):
    def key(trade):
        return (trade.at, trade.number if has_ids else 0, trade.arrived)

    return sorted(trades, key=key)


def quantile(values, probability, minimum):
    if len(values) < minimum:
        return None
    rank = (len(values) - 1) * probability
    below = math.floor(rank)
    low, high = (sorted(values)[min(place, len(values) - 1)] for place in (below, below + 1))
    return low + (high - low) * (rank - below)


def threshold(feed):
    """The 99 % quantile of the seven days before, cut off after eight binary digits."""
    known = sorted(
        quote_size(trade, feed.terms)
        for trade in feed.earlier
        if DAY - 7 * US_PER_DAY <= trade.at < DAY
    )
    if not known:
        return None
    fraction, exponent = math.frexp(known[math.floor((len(known) - 1) * 0.99)])
    return math.ldexp(math.floor(fraction * 256) / 256, exponent)


def marks(feed):
    """Each trade with what it says of the ones before it."""
    before = ordered(
        [trade for trade in feed.earlier if trade.at >= DAY - US_PER_DAY], has_ids=feed.has_ids
    )
    last = before[-1] if before else None
    highest = None if last is None else last.number
    direction, marked = 0, []
    for trade in ordered(feed.trades, has_ids=feed.has_ids):
        if last is not None and trade.price != last.price:
            direction = 1 if trade.price > last.price else -1
        is_early = last is not None and trade.arrived < last.arrived
        skipped = 0 if highest is None else max(trade.number - highest - 1, 0)
        highest = trade.number if highest is None else max(highest, trade.number)
        marked.append((trade, is_early, skipped, direction * trade.side))
        last = trade
    return marked


def expected_bar(feed, marked, opened, timeframe):
    """Every entry's value by the text of its formula; None is undefined."""
    closed = opened + timeframe.us
    inside = [mark for mark in marked if opened <= mark[0].at < closed]
    trades = [mark[0] for mark in inside]
    delays = [trade.arrived - trade.at for trade in trades] if feed.has_clock else []
    window = [
        trade.arrived - trade.at
        for trade in feed.trades
        if closed - MINUTE <= trade.at < closed and feed.has_clock
    ]
    negative = sum(delay < 0 for delay in delays)
    agree = sum(mark[3] > 0 for mark in inside)
    disagree = sum(mark[3] < 0 for mark in inside)
    q = [base_size(trade, feed.terms) for trade in trades]
    large_from = threshold(feed)
    large = (
        None
        if large_from is None
        else math.fsum(
            base_size(trade, feed.terms)
            for trade in trades
            if quote_size(trade, feed.terms) >= large_from
        )
    )
    in_ms = [delay / 1_000 for delay in delays]

    def with_clock(value):
        return value if feed.has_clock else None

    return {
        "delay_min": min(in_ms, default=None),
        "delay_max": max(in_ms, default=None),
        "delay_mean": math.fsum(in_ms) / len(in_ms) if in_ms else None,
        "delay_median": quantile(in_ms, 0.5, 1),
        "delay_p95": quantile(in_ms, 0.95, 20),
        "delay_p99": quantile(in_ms, 0.99, 100),
        "delay_count": with_clock(len(delays)),
        "delay_sum_us": with_clock(sum(delays)),
        "negative_delay_count": with_clock(negative),
        "negative_delay_share": negative / len(delays) if delays else None,
        "clock_skew_ms": min(window) / 1_000 if window and closed >= DAY + MINUTE else None,
        "out_of_order_count": sum(mark[1] for mark in inside),
        "id_gap_count": sum(mark[2] for mark in inside) if feed.has_ids else None,
        "duplicate_id_count": sum(opened <= at < closed for at, _ in feed.repeats),
        "disconnect_count": sum(
            opened <= gap.start < closed and gap.start != DAY for gap in feed.gaps
        ),
        "covered_ms": timeframe.us / 1_000,
        "late_count": sum(trade.arrived > closed + WATERMARK for trade in trades),
        "size_p50": quantile(q, 0.5, 1),
        "size_p90": quantile(q, 0.9, 10),
        "size_p99": quantile(q, 0.99, 100),
        "large_trade_threshold": large_from,
        "large_trade_volume_sum": large,
        "large_trade_share": None if large is None or not q else large / math.fsum(q),
        "tick_rule_agree_count": agree,
        "tick_rule_disagree_count": disagree,
        "tick_rule_agreement": agree / (agree + disagree) if agree + disagree else None,
        "tick_rule_disagreement": disagree / (agree + disagree) if agree + disagree else None,
    }


def as_ticks(trades, *, has_ids):
    return in_total_order(
        TradeTicks(
            np.array([trade.at for trade in trades], dtype=np.int64),
            np.array([trade.arrived for trade in trades], dtype=np.int64),
            np.array([trade.number for trade in trades], dtype=np.int64) if has_ids else None,
            np.array([trade.side for trade in trades], dtype=np.int8),
            np.array([trade.price for trade in trades]),
            np.array([trade.amount for trade in trades]),
        )
    )


def memory_of(feed):
    memory = None
    for start in sorted({trade.at // US_PER_DAY * US_PER_DAY for trade in feed.earlier}):
        day = TradeQuality(DayGrid(start), has_known_units=True, memory=memory)
        trades = [trade for trade in feed.earlier if start <= trade.at < start + US_PER_DAY]
        ticks = as_ticks(trades, has_ids=feed.has_ids)
        day.add(ticks, sizes(ticks, feed.terms))
        memory = (memory or TradeMemory()).with_day(day.tally().day(start))
    return memory


def built(feed):
    quality = TradeQuality(
        DayGrid(DAY),
        has_known_units=True,
        has_exchange_clock=feed.has_clock,
        has_dense_ids=feed.has_ids,
        memory=memory_of(feed),
        gaps=feed.gaps,
    )
    eve = [trade for trade in feed.earlier if trade.at >= DAY - US_PER_DAY]
    quality.prime(as_ticks(eve, has_ids=feed.has_ids))
    ticks = as_ticks(feed.trades, has_ids=feed.has_ids)
    quality.add(ticks, sizes(ticks, feed.terms))
    quality.add_duplicates(
        np.array([at for at, _ in feed.repeats], dtype=np.int64),
        np.array([arrived for _, arrived in feed.repeats], dtype=np.int64),
    )
    return quality.finish()


def built_frame(feed, timeframe):
    """The entries of every bar of the day, with the columns that derived ones need."""
    ticks = as_ticks(feed.trades, has_ids=feed.has_ids)
    volume = np.zeros(timeframe.bars_per_day)
    if len(ticks):
        traded = bar_statistics(ticks, sizes(ticks, feed.terms), timeframe, previous_us=None)
        volume[(traded["ts_open"] - DAY) // timeframe.us] = traded["volume"]
    columns = family_columns(built(feed), ENTRIES, timeframe)
    frame = pl.DataFrame([*columns.values(), pl.Series("volume", volume)]).with_columns(
        covered_us=pl.lit(timeframe.us, pl.Int64)
    )
    derived = [entry for entry in ENTRIES if entry.merge is Merge.DERIVED]
    return frame.with_columns(entry.expression.alias(entry.name) for entry in derived)


def assert_equals_the_reference(feed, timeframe):
    frame = built_frame(feed, timeframe)
    marked = marks(feed)
    moments = [trade.at for trade in feed.trades] + [at for at, _ in feed.repeats]
    moments += [gap.start for gap in feed.gaps]
    occupied = {(at - DAY) // timeframe.us for at in moments if DAY <= at < DAY + US_PER_DAY}
    watched = {bar + step for bar in occupied for step in range(-1, 6)} & set(
        range(timeframe.bars_per_day)
    )
    for bar in sorted(watched):
        expected = expected_bar(feed, marked, DAY + bar * timeframe.us, timeframe)
        row = frame.row(bar, named=True)
        for name, value in expected.items():
            if value is None or isinstance(value, int):
                assert row[name] == value, (name, bar)
            else:
                assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), (name, bar)
    elsewhere = frame[sorted(set(range(timeframe.bars_per_day)) - watched)]
    constant = {"covered_ms", "large_trade_threshold"}
    for name in {entry.name for entry in ENTRIES} - constant:
        assert set(elsewhere[name].unique()) <= ({0, None} if name in ZERO_WHERE_EMPTY else {None})


_moments = st.one_of(
    st.integers(0, 30), st.integers(14_990, 15_010), st.integers(59_000, 61_000),
    st.integers(0, 86_399_999),
).map(lambda ms: ms * 1_000)  # fmt: skip
_delays = st.one_of(
    st.sampled_from([0, -1, 1, 200_000, 200_001]),
    st.integers(-1_300_000, 400_000),
    st.integers(0, 90_000_000),
)


def _trades(start, *, min_size, max_size):
    return st.lists(
        st.builds(
            lambda at, delay, number, side, price, amount: Trade(
                start + at, start + at + delay, number, side, price / 8, amount / 64
            ),
            _moments,
            _delays,
            st.integers(0, 500),
            st.sampled_from([1, -1, 0]),
            st.one_of(st.sampled_from([800, 801, 802]), st.integers(1, 10_000)),
            st.one_of(st.sampled_from([64, 640]), st.integers(1, 10_000)),
        ),
        min_size=min_size,
        max_size=max_size,
    )


_earlier = st.lists(
    st.integers(1, 9).flatmap(
        lambda days: _trades(DAY - days * US_PER_DAY, min_size=1, max_size=8)
    ),
    max_size=4,
).map(lambda parts: [trade for part in parts for trade in part])
_spans = st.lists(
    st.tuples(st.integers(-4, 20), st.just(3)).map(
        lambda pair: Span(
            DAY + pair[0] * 3_600 * US_PER_SECOND, DAY + sum(pair) * 3_600 * US_PER_SECOND
        )
    ),
    max_size=1,
)
feeds = st.builds(
    Feed,
    trades=_trades(DAY, min_size=0, max_size=140),
    earlier=_earlier,
    terms=st.sampled_from([ContractTerms(0.25), ContractTerms(10.0, is_inverse=True)]),
    has_clock=st.booleans(),
    has_ids=st.booleans(),
    repeats=st.lists(
        st.tuples(_moments.map(lambda at: DAY + at), st.integers(DAY, DAY + US_PER_DAY)),
        max_size=4,
    ),
    gaps=_spans,
)


@given(feeds, st.sampled_from(list(Timeframe)))
@settings(max_examples=100)
def test_every_column_equals_its_definition(feed, timeframe):
    assert_equals_the_reference(feed, timeframe)


@pytest.mark.parametrize("timeframe", Timeframe)
def test_a_busy_minute_fills_every_column(timeframe):
    rng = np.random.default_rng(3)
    start = DAY + 3_581_400_000  # so that the last ones come after the hour's end
    trades = [
        Trade(
            start + at * 37_000,
            start + at * 37_000 + int(rng.gamma(2, 9_000)) - 9_000 + 40_000 * (at % 50),
            1_000 + at + at // 100,
            (1, -1, 1, 0)[at % 4],
            100 + int(rng.integers(0, 9)) / 8,
            int(rng.integers(1, 900)) / 64,
        )
        for at in range(500)
    ]
    earlier = [
        Trade(at - 2 * US_PER_DAY, at - 2 * US_PER_DAY, number, 1, 100.0, 0.5 + number % 9)
        for number, at in enumerate(trade.at for trade in trades)
    ]
    feed = Feed(
        trades, earlier, ContractTerms(1.0), has_clock=True, has_ids=True,
        repeats=[(DAY + 70_000_000, DAY + 70_000_001)], gaps=[Span(DAY + 1, DAY + 2)],
    )  # fmt: skip
    assert_equals_the_reference(feed, timeframe)
    frame = built_frame(feed, Timeframe.H1)
    assert not [entry.name for entry in ENTRIES if frame[entry.name][0] in {None, 0}]


def test_the_reference_knows_every_entry():
    feed = Feed([], [], ContractTerms(1.0), has_clock=True, has_ids=True, repeats=[], gaps=[])
    known = set(expected_bar(feed, [], DAY, Timeframe.M1))
    assert known == {entry.name for entry in ENTRIES}
