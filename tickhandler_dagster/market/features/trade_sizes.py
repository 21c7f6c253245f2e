"""How large trades are, and what the sizes and prices of single trades say of the bar.

What belongs here: entries of trade sizes, of large trades and of the tick rule. What does not: the
other entries of the family (`trades.py`) and the arithmetic (`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LookBack
from tickhandler_dagster.market.features.units import BASE, FRACTION, QUOTE, count_of
from tickhandler_dagster.market.tables import Bounds

_SPREAD_TRADES = 2
_NO_TRADE = "no trade, or the size of a contract is unknown"
_NO_THRESHOLD = "no threshold is known, or the size of a contract is unknown"
_GROUP_BY = "polars group_by over the recorded trades"
_HYNDMAN_FAN = "Hyndman & Fan (1996), Sample Quantiles in Statistical Packages, definition 7"
_BARCLAY_WARNER = "Barclay & Warner (1993), Stealth trading and volatility"
_LEE_READY = "Lee & Ready (1991), Inferring trade direction from intraday data"

_count = pl.col("trade_count")
_volume = pl.col("volume")
_agree, _disagree = pl.col("tick_rule_agree_count"), pl.col("tick_rule_disagree_count")

_entry = partial(Feature, inputs=(Channel.TRADES,), oracle=_GROUP_BY)
_size = partial(
    _entry,
    unit=BASE,
    bounds=Bounds(ge=0),
    null_rule=_NO_TRADE,
    source="Sample moments of the bar's trades",
)
_quantile = partial(
    _size, merge=Merge.RECOMPUTED, source=_HYNDMAN_FAN, oracle="polars quantile, linear"
)
_large = partial(
    _entry,
    bounds=Bounds(ge=0),
    null_rule=_NO_THRESHOLD,
    look_back=LookBack("7 days"),
    carry_in="trade sizes of the 7 days before the day",
    minimum="one trade on those days",
    source=_BARCLAY_WARNER,
    oracle="Sorted notionals of the days before, by numpy",
)
_tick_rule = partial(
    _entry,
    source=_LEE_READY,
    oracle="Forward-filled sign of price changes by polars",
    look_back=LookBack("to the last change of price of the day", is_unlimited=True),
    carry_in="price of the trade before the day",
)
_tick_rule_count = partial(
    _tick_rule,
    merge=Merge.SUM,
    unit=count_of("trades"),
    dtype=pl.Int64(),
    bounds=Bounds(ge=0),
)
_tick_rule_share = partial(
    _tick_rule,
    merge=Merge.DERIVED,
    unit=FRACTION,
    bounds=Bounds(ge=0, le=1),
    null_rule="no trade with both a side and a direction",
)

SIZES: tuple[Feature, ...] = (
    _size(
        name="size_avg",
        formula="Mean trade size: volume / trade_count.",
        merge=Merge.DERIVED,
        expression=pl.when(_count > 0).then(_volume / _count),
        earlier_meaning="Mean of the whole day, in the venue's unit.",
    ),
    _size(
        name="size_std",
        formula="Standard deviation of trade size with divisor n: √(size_m2 / n).",
        merge=Merge.DERIVED,
        minimum="2 trades",
        expression=pl.when(_count >= _SPREAD_TRADES).then((pl.col("size_m2") / _count).sqrt()),
    ),
    _quantile(
        name="size_p50",
        formula="Median trade size, interpolated between the two middle trades.",
    ),
    _quantile(
        name="size_p90",
        formula="90 % quantile of trade size, linear between ranks of (n - 1)·0.9.",
        minimum="10 trades",
    ),
    _quantile(
        name="size_p99",
        formula="99 % quantile of trade size, linear between ranks of (n - 1)·0.99.",
        minimum="100 trades",
    ),
    _size(name="size_max", formula="Largest trade: max q.", merge=Merge.MAX),
    _entry(
        name="size_hhi",
        formula="Concentration of volume in few trades: Σ (q / V)²; 1 = one trade.",
        merge=Merge.DERIVED,
        null_rule=_NO_TRADE,
        bounds=Bounds(gt=0, le=1 + 1e-9),
        source="Herfindahl-Hirschman index, with trades for firms",
        # Σ(q/V)² without its own sum: Σq² = m2 + V²/n
        expression=pl.when(_volume > 0).then(pl.col("size_m2") / _volume.pow(2) + 1 / _count),
    ),
)

LARGE_TRADES: tuple[Feature, ...] = (
    _large(
        name="large_trade_threshold",
        formula="K: the 99 % quantile of trade notional over the up to 7 days before the day, at "
        "most 0.8 % below it.",
        merge=Merge.LAST,
        unit=QUOTE,
    ),
    _large(
        name="large_trade_volume_sum",
        formula="Base asset of trades whose notional is at least the threshold: Σ q over p·q ≥ K.",
        merge=Merge.SUM,
        unit=BASE,
    ),
    _large(
        name="large_trade_share",
        formula="Share of volume in large trades: large_trade_volume_sum / volume.",
        merge=Merge.DERIVED,
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        null_rule=f"no volume, {_NO_THRESHOLD}",
        # the two are summed in one order, but rounding can lift a share of everything above 1
        expression=pl.when(_volume > 0).then(
            (pl.col("large_trade_volume_sum") / _volume).clip(upper_bound=1)
        ),
    ),
)

TICK_RULE: tuple[Feature, ...] = (
    _tick_rule_count(
        name="tick_rule_agree_count",
        formula="Trades whose taker's side is the direction of the last change of price up to "
        "them.",
        mirror="tick_rule_disagree_count",
    ),
    _tick_rule_count(
        name="tick_rule_disagree_count",
        formula="Trades whose taker's side is opposite to the last change of price up to them.",
        mirror="tick_rule_agree_count",
    ),
    _tick_rule_share(
        name="tick_rule_agreement",
        formula="Share of trades with a side and a direction whose side the tick rule would have "
        "guessed: agree / (agree + disagree).",
        mirror="tick_rule_disagreement",
        expression=pl.when(_agree + _disagree > 0).then(_agree / (_agree + _disagree)),
    ),
    _tick_rule_share(
        name="tick_rule_disagreement",
        formula="The same share of trades whose side the tick rule would have got wrong: "
        "disagree / (agree + disagree).",
        mirror="tick_rule_agreement",
        expression=pl.when(_agree + _disagree > 0).then(_disagree / (_agree + _disagree)),
    ),
)
