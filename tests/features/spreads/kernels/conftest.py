"""Rows for the kernels of spreads and realised measures, and the days they make of them.

What belongs here: what the tests of this folder share. What does not: what the values have to be
(`../conftest.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.flow_toxicity import FlowToxicity
from tickhandler_dagster.market.bars.quotes import TopTicks, top_in_order
from tickhandler_dagster.market.bars.roll_covariance import RollCovariance
from tickhandler_dagster.market.bars.second_grid import SecondGrid
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid, family_columns
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.timeframes import Timeframe

START = 19_943 * US_PER_DAY
SECOND = 10**6


@dataclass(frozen=True)
class Trade:
    at: int
    arrived: int
    side: int
    price: float
    base: float

    @property
    def quote(self):
        return self.price * self.base


@dataclass(frozen=True)
class State:
    at: int
    arrived: int
    bid: float
    ask: float

    @property
    def mid(self):
        return (self.bid + self.ask) / 2 if self.bid < self.ask else None


def random_market(seed, bars, *, per_second=1.5):
    """Trades and states of the first bars of 15 s, with everything that makes joins hard.

    Equal times, unknown sides, crossed and empty books, silences longer than 5 and than 60 s,
    trades that arrive late, a state and two trades before the day.
    """
    rng = np.random.default_rng(seed)
    span = bars * 15 * SECOND
    silent = [(0.2, 0.25), (0.5, 0.5 + 75 * SECOND / span)]

    def times(count):
        values = np.sort(rng.integers(-3 * SECOND, span, count) // 50_000 * 50_000)
        return [int(one) for one in values if not _in_silence(one / span, silent)]

    count = int(span / SECOND * per_second)
    tick, level, states = 0.25, 4_000, []
    for at in times(count):
        level += int(rng.integers(-2, 3))
        width = int(rng.choice([2, 4, 8]))
        bid, ask = level * tick, (level + width) * tick
        draw = rng.random()
        if draw < 0.05:
            bid, ask = ask, bid
        elif draw < 0.1:
            bid = math.nan
        elif draw < 0.15:
            ask = bid
        states.append(State(START + at, START + at + int(rng.integers(1_000, 400_000)), bid, ask))
    trades = []
    for at in [-2 * SECOND, -SECOND, *times(count)]:
        price = (level + int(rng.integers(-9, 10))) * tick
        late = 7 * SECOND if rng.random() < 0.01 else 0
        trades.append(
            Trade(
                START + at,
                START + at + int(rng.integers(-500_000, 300_000)) + late,
                int(rng.choice([-1, 1, 1, -1, 0])),
                price,
                float(rng.integers(1, 200)) / 16,
            )
        )
    trades.sort(key=lambda one: (one.at, one.arrived))
    states.sort(key=lambda one: one.arrived)
    return trades, states


def _in_silence(place, silent):
    return any(start <= place < end for start, end in silent)


def trade_arrays(trades):
    return TradeTicks(
        np.array([one.at for one in trades], dtype=np.int64),
        np.array([one.arrived for one in trades], dtype=np.int64),
        None,
        np.array([one.side for one in trades], dtype=np.int8),
        np.array([one.price for one in trades], dtype=np.float64),
        np.array([one.base for one in trades], dtype=np.float64),
    )


def top_arrays(states):
    ones = np.ones(len(states))
    return TopTicks(
        np.array([one.at for one in states], dtype=np.int64),
        np.array([one.arrived for one in states], dtype=np.int64),
        np.array([one.bid for one in states], dtype=np.float64),
        np.array([one.ask for one in states], dtype=np.float64),
        ones,
        ones,
        np.zeros(len(states), dtype=np.bool_),
    )


def sizes_of(ticks):
    return Sizes(base=ticks.amount, quote=ticks.price * ticks.amount)


def cut(rows, edges):
    """The rows of the day between the edges, by exchange time; edges in bars of 15 s."""
    moments = [START + edge * 15 * SECOND for edge in edges]
    return [[one for one in rows if low <= one.at < high] for low, high in pairwise(moments)]


def impact_day(trades, states, edges, timeframe=Timeframe.S15, known_until_us=None):
    kernel = TradeImpact(DayGrid(START, timeframe))
    for part in cut(trades, edges):
        ticks = trade_arrays(part)
        if not part:
            kernel.add(ticks, sizes_of(ticks), top_arrays([]))
            continue
        low, high = kernel.needed_arrivals(ticks)
        near = [one for one in states if one.mid is not None and low <= one.arrived <= high]
        kernel.add(ticks, sizes_of(ticks), top_arrays(near), known_until_us=known_until_us)
    return kernel.finish()


def second_day(trades, states, edges, *, is_sized=True):
    grid = SecondGrid(START)
    before = sorted((one for one in states if one.at < START), key=lambda one: one.at)
    if before:
        grid.prime_top(top_arrays(before))
    grid.prime_trade(trade_arrays([one for one in trades if one.at < START]))
    for part in cut(trades, edges):
        ticks = trade_arrays(part)
        grid.add_trades(ticks, sizes_of(ticks) if is_sized else None)
    for part in cut(states, edges):
        grid.add_top(top_in_order(top_arrays(part)))
    return grid.finish()


def roll_day(trades, edges, timeframe=Timeframe.S15):
    kernel = RollCovariance(DayGrid(START, timeframe))
    kernel.prime(trade_arrays([one for one in trades if one.at < START]))
    for part in cut(trades, edges):
        kernel.add(trade_arrays(part))
    return kernel.finish()


def toxicity_kernel(trades, bucket_volume, edges, timeframe=Timeframe.S15, memory=None):
    kernel = FlowToxicity(DayGrid(START, timeframe), bucket_volume, memory)
    for part in cut(trades, edges):
        ticks = trade_arrays(part)
        kernel.add(ticks, sizes_of(ticks))
    return kernel


def with_columns(day, features, timeframe):
    """The family's frame: what is stored and what follows from it, in the entries' order."""
    frame = pl.DataFrame(family_columns(day, features, timeframe))
    for feature in features:
        if feature.merge is Merge.DERIVED:
            value = feature.expression
            frame = frame.with_columns(
                pl.when(value.is_finite()).then(value).cast(feature.dtype).alias(feature.name)
            )
    return frame


def same_days(one, other):
    """Bit-equal statistics and arrivals."""
    return (
        one.statistics.keys() == other.statistics.keys()
        and all(
            np.array_equal(values, other.statistics[name], equal_nan=True)
            for name, values in one.statistics.items()
        )
        and np.array_equal(one.last_arrival, other.last_arrival)
    )


def assert_row(frame, place, expected):
    """The bar's values are the expected ones, null where None is expected."""
    wrong = {}
    for name, value in expected.items():
        actual = frame[name][place]
        if value is None or actual is None:
            is_same = actual is value
        else:
            is_same = math.isclose(actual, value, rel_tol=1e-9, abs_tol=_noise(name))
        if not is_same:
            wrong[name] = (actual, value)
    assert wrong == {}, place


def _noise(name):
    """What sums that cancel may be off by: returns are rounded to 2⁻⁵⁶, money is in the 1e4s."""
    if name.startswith(("mid_", "realized_v", "realized_s", "roll_c", "roll_e", "roll_p", "btc_")):
        return 1e-15
    if name.startswith(("kyle_", "effective", "matched_eff", "realized_spread", "price_impact")):
        return 1e-9
    return 1e-12


@pytest.fixture(scope="session")
def slow(reference):
    """The reference, the rows and the kernels' days, by name."""
    own = {name: value for name, value in globals().items() if name[0] != "_"}
    return SimpleNamespace(**(vars(reference) | own))
