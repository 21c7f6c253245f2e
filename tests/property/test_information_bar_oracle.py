"""Every column of an information-driven bar against its definition, slowly, in plain Python."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.information import InformationBars, TradesDay
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.thresholds import Threshold, ThresholdState
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
GAP = Span(DAY.start + 20_000, DAY.start + 14_950_000)
WATERMARK_US = 200_000
CLOSING_US = 600_000_000
KEY = "BITMEX:PERPETUAL:BTC-USD"


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
        return worth if terms.is_inverse else self.price * worth

    def measure(self, kind, terms):
        if kind is BarKind.TICK:
            return 1
        return self.base(terms) if kind is BarKind.VOLUME else self.quote(terms)


def bars_of(ordered, kind, threshold, terms):
    """Lists of trades; a bar closes with the trade that brings its sum to the threshold."""
    bars, is_complete = [[]], True
    total = 0.0
    for trade in ordered:
        bars[-1].append(trade)
        total += trade.measure(kind, terms)
        is_complete = total >= threshold
        if is_complete:
            bars.append([])
            total = 0.0
    if not bars[-1]:
        bars.pop()
    return bars, is_complete


def deviation(values):
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def squares(values):
    mean = math.fsum(values) / len(values) if values else 0.0
    return math.fsum((value - mean) ** 2 for value in values)


def sweeps(inside):
    runs = [[inside[0]]]
    for trade in inside[1:]:
        if (trade.at, trade.side) == (runs[-1][-1].at, runs[-1][-1].side):
            runs[-1].append(trade)
        else:
            runs.append([trade])
    return len(runs)


def expected_bar(inside, gaps_us, terms, ts_open, ts_close):
    """What a bar measures of its trades; None is undefined."""
    q = [trade.base(terms) for trade in inside]
    volume, count = math.fsum(q), len(inside)
    notional = math.fsum(trade.quote(terms) for trade in inside)
    by_side = {
        side: math.fsum(trade.base(terms) for trade in inside if trade.side == side)
        for side in (1, -1, 0)
    }
    running = [0.0]
    for trade, size in zip(inside, q, strict=True):
        running.append(running[-1] + trade.side * size)
    sided = by_side[1] + by_side[-1]
    gaps = [gap / 1_000 for gap in gaps_us]
    mean = math.fsum(gaps) / len(gaps) if gaps else 0.0
    spread = deviation(gaps) if gaps else 0.0
    gap_us = max(0, min(ts_close, GAP.end) - max(ts_open, GAP.start))
    observed_us = ts_close - ts_open - gap_us
    return {
        "gap_ms": gap_us / 1_000,
        "duration_ms": (ts_close - ts_open) / 1_000,
        "open": inside[0].price,
        "high": max(trade.price for trade in inside),
        "low": min(trade.price for trade in inside),
        "close": inside[-1].price,
        "open_time": inside[0].at,
        "close_time": inside[-1].at,
        "trade_count": count,
        "volume": volume,
        "notional": notional,
        "amount_sum": math.fsum(trade.amount for trade in inside),
        "price_vwap": notional / volume,
        "buy_volume_sum": by_side[1],
        "sell_volume_sum": by_side[-1],
        "unknown_volume_sum": by_side[0],
        "unknown_side_share": by_side[0] / volume,
        "trade_flow_imbalance": (by_side[1] - by_side[-1]) / sided if sided else None,
        "delta": running[-1],
        "delta_max": max(running),
        "delta_min": min(running),
        "sweep_count": sweeps(inside),
        "sweep_size_avg": volume / sweeps(inside),
        "size_avg": volume / count,
        "size_std": deviation(q) if count >= 2 else None,
        "size_max": max(q),
        "size_hhi": math.fsum((size / volume) ** 2 for size in q),
        "trade_intensity_per_s": count / (observed_us / 1e6) if observed_us else None,
        "interarrival_mean_ms": mean if len(gaps) >= 2 else None,
        "interarrival_cv": spread / mean if len(gaps) >= 2 and mean else None,
        "burstiness": (spread - mean) / (spread + mean) if len(gaps) >= 10 and mean else None,
        "vwap_close_gap": math.log(inside[-1].price / (notional / volume)),
        "size_m2": squares(q),
        "interarrival_count": len(gaps),
        "interarrival_sum_us": sum(gaps_us),
        "interarrival_m2_ms2": squares(gaps),
        "last_arrival": max(trade.arrived for trade in inside),
    }


def expected_bars(trades, kind, threshold, terms, previous):
    ordered = sorted(trades, key=lambda trade: (trade.at, trade.arrived))  # sorted() is stable
    bars, is_last_complete = bars_of(ordered, kind, threshold.value, terms)
    before = None if previous is None else previous.timestamp_us
    known = DAY.start if previous is None else previous.arrival_us
    ts_open = DAY.start
    rows = []
    for number, inside in enumerate(bars, start=1):
        is_complete = number < len(bars) or is_last_complete
        ts_close = inside[-1].at if is_complete else DAY.end
        times = [before, *(trade.at for trade in inside)]
        gaps = [later - earlier for earlier, later in pairwise(times) if earlier is not None]
        known = max(known, ts_close, *(trade.arrived for trade in inside))
        rows.append(
            {
                "bar_number": number,
                "ts_open": ts_open,
                "ts_close": ts_close,
                "available_at": max(known + WATERMARK_US, threshold.available_us),
                "is_complete": is_complete,
                "is_final": ts_close <= DAY.end - CLOSING_US,
                "source_sha256": ["yesterday", "today"]
                + (["tomorrow"] if ts_close > DAY.end - CLOSING_US else []),
            }
            | expected_bar(inside, gaps, terms, ts_open, ts_close)
        )
        ts_open, before = ts_close, inside[-1].at
    return rows


def built_bars(trades, kind, threshold, terms, previous):
    day = TradesDay(
        instrument_key=KEY,
        venue=VenueId.BITMEX,
        day=DAY,
        terms=terms,
        closing=Closing(DAY, has_previous=True, has_next=False),
        gaps=(GAP,),
        previous=previous,
        sources=("yesterday", "today"),
        sources_after=("tomorrow",),
    )
    bars = InformationBars(day, {kind: threshold})
    bars.add(
        TradeTicks(
            np.array([trade.at for trade in trades]),
            np.array([trade.arrived for trade in trades]),
            None,
            np.array([trade.side for trade in trades], dtype=np.int8),
            np.array([trade.price for trade in trades]),
            np.array([trade.amount for trade in trades]),
        )
    )
    return bars.finish()[kind]


_times = st.one_of(st.integers(0, 40), st.integers(14_900, 15_100), st.integers(0, 86_399_999)).map(
    lambda ms: DAY.start + ms * 1_000
)
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
    st.sampled_from(list(BarKind)),
    st.sampled_from([0.3, 1.0, 3.0, 14.7, 60.0, 1e9]),
    st.sampled_from([ContractTerms(0.25), ContractTerms(10.0, is_inverse=True)]),
    st.sampled_from([None, PreviousTrade(DAY.start - 3_000, DAY.start + 90_000_000)]),
)
@settings(max_examples=80)
def test_every_column_of_every_bar_equals_its_definition(trades, kind, mean, terms, previous):
    sizes = [trade.measure(kind, terms) for trade in trades]
    share = mean * math.fsum(sizes) / len(sizes)
    value = float(math.ceil(share)) if kind is BarKind.TICK else share
    threshold = Threshold(ThresholdState.FIXED, value, True, DAY.start + 250_000)  # noqa: FBT003
    expected = expected_bars(trades, kind, threshold, terms, previous)
    frame = built_bars(trades, kind, threshold, terms, previous)
    assert frame.height == len(expected)
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    frame = frame.with_columns(pl.col(times).to_physical())
    for bar, wanted in zip(frame.iter_rows(named=True), expected, strict=True):
        assert (bar["date"], bar["instrument_key"], bar["venue"], bar["kind"]) == (
            dt.date(2024, 8, 8),
            KEY,
            "bitmex",
            kind,
        )
        assert (bar["threshold"], bar["clock"], bar["bar_version"]) == (value, "exchange", 1)
        for name, wanted_value in wanted.items():
            if wanted_value is None or isinstance(wanted_value, str | int | list):
                assert bar[name] == wanted_value, name
            else:
                # what cancels towards 0 is compared to the size of what cancelled
                assert bar[name] == pytest.approx(
                    wanted_value, rel=1e-9, abs=3e-8 * _scale(name, wanted)
                ), name


def _scale(name, wanted):
    if name == "size_m2":
        return wanted["volume"] ** 2
    if name == "interarrival_m2_ms2":
        return (wanted["interarrival_sum_us"] / 1_000) ** 2
    return wanted["volume"] if name.startswith(("delta", "size")) else 1.0


def test_the_oracle_knows_every_computed_column():
    trade = Trade(DAY.start, DAY.start, 1, 1.0, 1.0)
    threshold = Threshold(ThresholdState.FIXED, 1.0)
    (row,) = expected_bars([trade], BarKind.TICK, threshold, ContractTerms(1.0), None)
    constant = {"date", "instrument_key", "venue", "kind", "threshold", "clock", "bar_version"}
    assert set(row) | constant | {"kernel_version"} == set(INFORMATION_BAR_TABLE.names)
