"""Every metric of a bar against its definition, written out slowly in plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.trades import DENSE_TRADES, TRADES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
WATERMARK_US = 200_000


@dataclass(frozen=True)
class Trade:
    at: int
    arrived: int
    side: int
    price: float
    amount: float

    def base(self, terms):
        worth = self.amount * terms.contract_size
        return worth / self.price if terms.is_inverse else worth

    def quote(self, terms):
        worth = self.amount * terms.contract_size
        return worth if terms.is_inverse else worth * self.price


def quantile(values, probability):
    ordered = sorted(values)
    rank = (len(ordered) - 1) * probability
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def deviation(values):
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def expected_bar(inside, gaps_ms, terms, timeframe, ts_close):
    """The columns of a traded bar by the formulas of the feature definitions; None is undefined."""
    q = [trade.base(terms) for trade in inside]
    notional = math.fsum(trade.quote(terms) for trade in inside)
    volume = math.fsum(q)
    by_side = {
        side: math.fsum(trade.base(terms) for trade in inside if trade.side == side)
        for side in (1, -1, 0)
    }
    running = [0.0]
    for trade, size in zip(inside, q, strict=True):
        running.append(running[-1] + trade.side * size)
    sweeps = [
        math.fsum(trade.base(terms) for trade in group)
        for _, group in groupby(inside, key=lambda trade: (trade.at, trade.side))
    ]
    sided = by_side[1] + by_side[-1]
    mean_gap = math.fsum(gaps_ms) / len(gaps_ms) if gaps_ms else None
    spread = deviation(gaps_ms) if gaps_ms else None
    vwap = notional / volume
    count = len(inside)
    return {
        "status": "traded",
        "open": inside[0].price,
        "high": max(trade.price for trade in inside),
        "low": min(trade.price for trade in inside),
        "close": inside[-1].price,
        "open_time": inside[0].at,
        "close_time": inside[-1].at,
        "last_arrival": max(trade.arrived for trade in inside),
        "late_count": sum(trade.arrived > ts_close + WATERMARK_US for trade in inside),
        "trade_count": count,
        "volume": volume,
        "notional": notional,
        "amount_sum": math.fsum(trade.amount for trade in inside),
        "price_vwap": vwap,
        "buy_volume_sum": by_side[1],
        "sell_volume_sum": by_side[-1],
        "unknown_volume_sum": by_side[0],
        "unknown_side_share": by_side[0] / volume,
        "trade_flow_imbalance": (by_side[1] - by_side[-1]) / sided if sided else None,
        "delta": running[-1],
        "delta_max": max(running),
        "delta_min": min(running),
        "sweep_count": len(sweeps),
        "sweep_size_avg": math.fsum(sweeps) / len(sweeps),
        "size_avg": volume / count,
        "size_std": deviation(q) if count >= 2 else None,
        "size_p50": quantile(q, 0.5),
        "size_p90": quantile(q, 0.9) if count >= 10 else None,
        "size_p99": quantile(q, 0.99) if count >= 100 else None,
        "size_max": max(q),
        "size_hhi": math.fsum((size / volume) ** 2 for size in q),
        "trade_intensity_per_s": count / (timeframe.us / 1e6),
        "interarrival_count": len(gaps_ms),
        "interarrival_mean_ms": mean_gap if len(gaps_ms) >= 2 else None,
        "interarrival_cv": spread / mean_gap if len(gaps_ms) >= 2 and mean_gap else None,
        "burstiness": (spread - mean_gap) / (spread + mean_gap)
        if len(gaps_ms) >= 10 and mean_gap
        else None,
        "time_since_last_trade_ms": (ts_close - inside[-1].at) / 1_000,
        "vwap_close_gap": math.log(inside[-1].price / vwap),
    }


def expected_bars(trades, terms, timeframe, previous):
    ordered = sorted(trades, key=lambda trade: (trade.at, trade.arrived))  # sorted() is stable
    times = [previous, *(trade.at for trade in ordered)]
    gaps = [
        None if earlier is None else (later - earlier) / 1_000 for earlier, later in pairwise(times)
    ]
    bars = {}
    paired = zip(ordered, gaps, strict=True)
    for ts_open, pairs in groupby(
        paired, key=lambda pair: pair[0].at // timeframe.us * timeframe.us
    ):
        members = list(pairs)
        inside = [trade for trade, _ in members]
        known = [gap for _, gap in members if gap is not None]
        bars[ts_open] = expected_bar(inside, known, terms, timeframe, ts_open + timeframe.us)
    return bars


def built_bars(trades, terms, timeframe, previous):
    facts = DayFacts(
        instrument_key="BITMEX:PERPETUAL:BTC-USD",
        venue=VenueId.BITMEX,
        day=DAY,
        listed=DAY,
        terms=terms,
        closing=Closing(DAY, has_previous=True, has_next=True),
        previous=None if previous is None else PreviousTrade(previous, previous),
    )
    day = DayBars(facts)
    day.add_trades(
        TradeTicks(
            np.array([trade.at for trade in trades]),
            np.array([trade.arrived for trade in trades]),
            None,
            np.array([trade.side for trade in trades], dtype=np.int8),
            np.array([trade.price for trade in trades]),
            np.array([trade.amount for trade in trades]),
        )
    )
    return day.finish([timeframe])[timeframe]


_times = st.one_of(
    st.integers(0, 300), st.integers(14_900, 15_100), st.integers(0, 86_399_999)
).map(lambda ms: DAY.start + ms * 1_000)
_trades = st.lists(
    st.builds(
        lambda at, delay, side, price, amount: Trade(at, at + delay, side, price / 8, amount / 64),
        _times,
        st.integers(-1_300_000, 16_000_000),
        st.sampled_from([1, -1, 0]),
        st.integers(1, 10_000),
        st.integers(1, 10_000),
    ),
    min_size=1,
    max_size=160,
)


@given(
    _trades,
    st.sampled_from([ContractTerms(0.25), ContractTerms(10.0, is_inverse=True)]),
    st.sampled_from([Timeframe.S15, Timeframe.M1, Timeframe.H24]),
    st.sampled_from([None, DAY.start - 3_000]),
)
@settings(max_examples=120)
def test_every_column_of_a_traded_bar_equals_its_definition(trades, terms, timeframe, previous):
    expected = expected_bars(trades, terms, timeframe, previous)
    traded = built_bars(trades, terms, timeframe, previous).filter(pl.col("status") == "traded")
    assert traded["ts_open"].to_physical().to_list() == list(expected)
    times = [name for name, dtype in CANDLE_TABLE.polars_schema.items() if dtype.is_temporal()]
    for bar, wanted in zip(
        traded.with_columns(pl.col(times).to_physical()).iter_rows(named=True),
        expected.values(),
        strict=True,
    ):
        volume = wanted["volume"]
        for name, value in wanted.items():
            if value is None or isinstance(value, str | int):
                assert bar[name] == value, name
            else:
                # what cancels towards 0 is compared to the size of what cancelled
                scale = volume if name.startswith(("delta", "size")) else 1.0
                assert bar[name] == pytest.approx(value, rel=1e-9, abs=3e-8 * scale), name


def test_the_oracle_knows_every_computed_column():
    trade = Trade(DAY.start, DAY.start, 1, 1.0, 1.0)
    covered = set(expected_bar([trade], [], ContractTerms(1.0), Timeframe.M1, DAY.start))
    dense = {feature.name for feature in DENSE_TRADES if feature.name not in covered}
    sufficient = {"size_m2", "interarrival_sum_us", "interarrival_m2_ms2"}
    assert {feature.name for feature in TRADES} - dense - sufficient <= covered
    assert covered <= set(CANDLE_TABLE.names)
