"""Effective spread, price impact and toxicity of trades.

What belongs here: the entries of spreads, and the family's order. The measures of impact and
information are in `information.py`, what is known only later in `delayed_spreads.py`. What does
not: the arithmetic (`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.arrival_join import JOIN_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.information import FLOW_TOXICITY, IMPACT_REGRESSION
from tickhandler_dagster.market.features.look_back import LookBack, over
from tickhandler_dagster.market.features.units import BPS, FRACTION, QUOTE, Unit
from tickhandler_dagster.market.features.units import count_of as _count_of
from tickhandler_dagster.market.tables import Bounds

BPS_TIMES_QUOTE = Unit("basis points · quote asset", price=1, size=1)
"""A spread times the money that paid it."""

_BPS_TWICE = 2e4
_NO_UNITS = "the size of a contract is unknown"
_HUANG_STOLL = "Huang and Stoll, Journal of Financial Economics 41 (1996)"
_ROLL = "Roll, A Simple Implicit Measure of the Effective Bid-Ask Spread, Journal of Finance 39"

_matched = partial(
    Feature,
    inputs=(Channel.TRADES, Channel.TOP),
    look_back=over(JOIN_AGE_US, "of states by arrival"),
    carry_in="the state before the first trade",
    source=_HUANG_STOLL,
    oracle="frds 2.4.1 effective_spread (notional weights, percent), its formula restated",
)

EFFECTIVE_SPREADS: tuple[Feature, ...] = (
    _matched(
        name="signed_notional",
        formula="Quote asset of the trades whose taker side is known.",
        merge=Merge.SUM,
        null_rule=_NO_UNITS,
        unit=QUOTE,
        bounds=Bounds(ge=0),
    ),
    _matched(
        name="mid_matched_notional",
        formula="Quote asset of the sided trades with a mid m⁻: that of the last state with "
        "bid < ask that arrived before the trade, at most 5 s earlier.",
        merge=Merge.SUM,
        null_rule=_NO_UNITS,
        unit=QUOTE,
        bounds=Bounds(ge=0),
    ),
    _matched(
        name="effective_spread_sum",
        formula="Σ N·2s(p - m⁻)/m⁻·1e4 over the sided trades with a mid m⁻.",
        merge=Merge.SUM,
        null_rule=_NO_UNITS,
        unit=BPS_TIMES_QUOTE,
        mirror="-",
    ),
    _matched(
        name="effective_spread_bps",
        formula="effective_spread_sum / mid_matched_notional: twice the distance a taker paid from "
        "the mid before the trade, weighted by money.",
        merge=Merge.DERIVED,
        null_rule="no sided trade has a mid",
        unit=BPS,
        minimum="1 sided trade with a mid",
        mirror="-",
        expression=pl.col("effective_spread_sum") / pl.col("mid_matched_notional"),
    ),
    _matched(
        name="mid_matched_share",
        formula="mid_matched_notional / signed_notional: how much of the sided money the effective "
        "spread speaks for.",
        merge=Merge.DERIVED,
        null_rule="no sided trade",
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        source="own definition",
        expression=pl.col("mid_matched_notional") / pl.col("signed_notional"),
    ),
)
"""Given by `TradeImpact`."""

_pairs = partial(
    Feature,
    inputs=(Channel.TRADES,),
    look_back=LookBack("two trades", trades=2),
    carry_in="the last two trades before the bar",
    source=_ROLL,
    oracle="a simulated Roll process gives back its spread",
)
_count = pl.col("roll_pair_count")
_product = pl.col("roll_product_sum") / _count
_covariance = _product - (pl.col("roll_change_sum") / _count) * (
    pl.col("roll_earlier_change_sum") / _count
)
# Equal changes have covariance 0, of which rounding can leave a negative rest.
_is_bouncing = (_count >= 20) & (_covariance < -1e-12 * _product.abs())  # noqa: PLR2004  (the minimum)

ROLL_SPREAD: tuple[Feature, ...] = (
    _pairs(
        name="roll_pair_count",
        formula="Trades with a price change d(t) = (p(t) - p(t-1))/p(t-1) and one before it.",
        merge=Merge.SUM,
        unit=_count_of("trades"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
    ),
    _pairs(
        name="roll_change_sum",
        formula="Σ d(t) over the pairs of successive price changes.",
        merge=Merge.SUM,
    ),
    _pairs(
        name="roll_earlier_change_sum",
        formula="Σ d(t-1) over the pairs of successive price changes.",
        merge=Merge.SUM,
    ),
    _pairs(
        name="roll_product_sum",
        formula="Σ d(t)·d(t-1) over the pairs of successive price changes.",
        merge=Merge.SUM,
    ),
    _pairs(
        name="roll_spread_bps",
        formula="2·√(-cov(d(t), d(t-1)))·1e4 of the relative price changes of successive trades: "
        "the spread that would make prices bounce so.",
        merge=Merge.DERIVED,
        null_rule="fewer than 20 pairs, or a covariance of 0 or more: prices that do not bounce",
        unit=BPS,
        bounds=Bounds(gt=0),
        minimum="20 pairs of changes",
        expression=pl.when(_is_bouncing).then(_BPS_TWICE * (-_covariance).sqrt()),
    ),
)
"""Given by `RollCovariance`."""

HIGH_LOW_SPREAD: tuple[Feature, ...] = (
    Feature(
        name="corwin_schultz_spread_bps",
        formula="2(e^s - 1)/(e^s + 1)·1e4, s from the log ranges of the bar and the one before it, "
        "each alone and both together.",
        inputs=(Channel.TRADES,),
        merge=Merge.RECOMPUTED,
        null_rule="the day's first bar, a bar without trades in the pair, or a negative estimate",
        unit=BPS,
        bounds=Bounds(ge=0),
        look_back=LookBack("one bar", bars=1),
        minimum="2 traded bars",
        source="Corwin and Schultz, Journal of Finance 67 (2012)",
        oracle="the authors' form with exponentials, slowly",
    ),
)
"""Given by `corwin_schultz_spread_bps` from the bars' highs and lows."""

SPREADS: tuple[Feature, ...] = (
    *EFFECTIVE_SPREADS,
    *IMPACT_REGRESSION,
    *ROLL_SPREAD,
    *HIGH_LOW_SPREAD,
    *FLOW_TOXICITY,
)
