"""Trades beside quotes: what a slow reading of the rule finds, whatever the rows are cut into."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.audits.quotes import (
    OutsideQuotes,
    QuotesBeside,
    TopPrices,
    TradePrices,
)

AGE_US = 5_000_000
SHOWN = 3

moments = st.integers(0, 40).map(lambda step: step * 500_000)
tenths = st.integers(95, 105)
sides = st.one_of(st.none(), tenths)
quote_rows = st.lists(st.tuples(moments, sides, sides), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)
trade_rows = st.lists(st.tuples(moments, st.integers(0, 9), tenths), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)
cuts = st.lists(st.integers(0, 25), max_size=6)


def pieces(rows, places):
    edges = sorted({0, len(rows), *(place for place in places if place < len(rows))})
    return [rows[start:end] for start, end in itertools.pairwise(edges)]


def price(value):
    return np.nan if value is None else value / 10


def blocks_of(rows, places=()):
    """A source of blocks that passes over those which end before what is asked for."""
    waiting = [
        TopPrices(
            np.array([row[0] for row in piece], dtype=np.int64),
            np.array([price(row[1]) for row in piece]),
            np.array([price(row[2]) for row in piece]),
        )
        for piece in pieces(rows, places)
    ]

    def after(since_us):
        while waiting and waiting[0].arrival[-1] < since_us:
            waiting.pop(0)
        return waiting.pop(0) if waiting else None

    return after


def found_by_kernel(trades, quotes, trade_cuts=(), quote_cuts=()):
    beside = QuotesBeside(blocks_of(quotes, quote_cuts))
    for piece in pieces(trades, trade_cuts):
        beside.add(
            TradePrices(
                np.array([row[0] for row in piece], dtype=np.int64),
                np.array([row[0] - row[1] for row in piece], dtype=np.int64),
                np.array([price(row[2]) for row in piece]),
            )
        )
    return beside.finish()


def found_slowly(trades, quotes):
    """The rule in whole tenths, one trade after another."""
    judged, outside = 0, []
    for arrival, lag, traded in trades:
        earlier = [row for row in quotes if row[0] < arrival]
        if not earlier:
            continue
        at, bid, ask = earlier[-1]
        if arrival - at > AGE_US or bid is None or ask is None or bid >= ask:
            continue
        judged += 1
        beyond = max(traded - ask, bid - traded)
        if beyond > ask - bid:
            outside.append((beyond / (ask - bid), arrival - lag, traded / 10, bid / 10, ask / 10))
    times = [row[1] for row in outside]
    farthest = sorted(outside, key=lambda row: -row[0])[:SHOWN]
    return judged, len(outside), min(times, default=None), max(times, default=None), farthest


@given(trade_rows, quote_rows)
def test_exactly_the_trades_of_the_slow_reading_are_found(trades, quotes):
    found = found_by_kernel(trades, quotes)
    judged, outside, first, last, farthest = found_slowly(trades, quotes)
    assert found.trades == len(trades)
    assert (found.judged, found.outside) == (judged, outside)
    assert (found.first, found.last) == (first, last)
    assert [one.spreads for one in found.farthest] == pytest.approx([row[0] for row in farthest])
    for one in found.farthest:
        spreads = max(one.price - one.ask, one.bid - one.price) / (one.ask - one.bid)
        assert one.spreads == spreads > 1


@given(trade_rows, quote_rows, cuts, cuts)
def test_where_rows_are_cut_changes_nothing(trades, quotes, trade_cuts, quote_cuts):
    whole = found_by_kernel(trades, quotes)
    assert found_by_kernel(trades, quotes, trade_cuts, quote_cuts) == whole


@given(trade_rows)
def test_without_quotes_nothing_is_judged(trades):
    assert found_by_kernel(trades, []) == OutsideQuotes(trades=len(trades))


@given(st.integers(1, 1_000_000))
def test_a_trade_exactly_one_spread_away_is_inside_and_one_step_more_is_outside(tenth):
    """In decimals no step is exact: 100.2 and 100.3 are less than 0.1 apart, 1.0 and 1.1 more."""
    quotes = [(0, tenth + 10, tenth + 11)]
    near = [(1, 0, tenth + 12), (1, 0, tenth + 9)]
    far = [(1, 0, tenth + 13), (1, 0, tenth + 8)]
    assert found_by_kernel(near, quotes).outside == 0
    assert found_by_kernel(far, quotes).outside == 2


@pytest.mark.parametrize(
    ("quotes", "judged"),
    [
        ([(0, 100, 101)], 1),
        ([(0, 100, 101), (AGE_US, 100, 101)], 1),
        ([(AGE_US, 100, 101)], 0),
        ([(-1, 100, 101)], 0),
        ([(0, 101, 101)], 0),
        ([(0, 102, 101)], 0),
        ([(0, 100, None)], 0),
        ([(0, 100, 101), (1, None, 101)], 0),
    ],
)
def test_a_trade_is_judged_by_the_last_state_before_it_while_that_is_fresh_and_normal(
    quotes, judged
):
    assert found_by_kernel([(AGE_US, 0, 500)], quotes).judged == judged


def test_of_equal_arrivals_the_last_state_of_the_file_counts():
    quotes = [(0, 100, 101), (0, 300, 301)]
    assert found_by_kernel([(1, 0, 300)], quotes, (), (1,)).outside == 0
    assert found_by_kernel([(1, 0, 100)], quotes, (), (1,)).outside == 1


def test_quotes_after_the_last_trade_are_never_asked_for():
    asked = []
    blocks = blocks_of([(step, 100, 101) for step in range(20)], range(20))

    def source(since_us):
        asked.append(since_us)
        return blocks(since_us)

    beside = QuotesBeside(source)
    beside.add(TradePrices(np.array([3]), np.array([3]), np.array([10.0])))
    assert len(asked) == 4  # states at 0, 1, 2 and the one at 3, which says that no other is before
