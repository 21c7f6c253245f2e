"""Prices, volumes and sizes of trades.

What belongs here: entries of prices and flows, and the family's order. Sizes are in
`trade_sizes.py`, times between trades in `trade_arrivals.py`. What does not: the arithmetic
(`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.trade_arrivals import ARRIVALS, SUFFICIENT
from tickhandler_dagster.market.features.trade_sizes import LARGE_TRADES, SIZES, TICK_RULE
from tickhandler_dagster.market.features.units import (
    BASE,
    PRICE,
    QUOTE,
    UTC,
    Unit,
    count_of,
)
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds

VENUE_AMOUNT = Unit("the venue's amount unit (coins, contracts or quote currency)", size=1)

_NO_TRADE = "no trade in the bar"
_NO_UNITS = "the size of a contract is unknown"
_CANDLE = "Candle convention of the venues: half-open bars by exchange time"
_GROUP_BY = "polars group_by over the recorded trades"
_volume = pl.col("volume")
_buy, _sell, _unknown = (pl.col(f"{side}_volume_sum") for side in ("buy", "sell", "unknown"))

_entry = partial(Feature, inputs=(Channel.TRADES,), source=_CANDLE, oracle=_GROUP_BY)
_price = partial(_entry, unit=PRICE, bounds=Bounds(gt=0), null_rule=_NO_TRADE)
_moment = partial(_entry, unit=UTC, dtype=TIMESTAMP, null_rule=_NO_TRADE)
_sum = partial(_entry, merge=Merge.SUM, unit=BASE, bounds=Bounds(ge=0), null_rule=_NO_UNITS)
_delta = partial(_entry, unit=BASE, source="Order-flow footprint: cumulative volume delta")

PRICES: tuple[Feature, ...] = (
    _price(
        name="open",
        formula="Price of the first trade in the total order (exchange time, id, arrival).",
        merge=Merge.FIRST,
    ),
    _price(name="high", formula="Highest price of a trade.", merge=Merge.MAX),
    _price(name="low", formula="Lowest price of a trade.", merge=Merge.MIN),
    _price(
        name="close",
        formula="Price of the last trade in the total order (exchange time, id, arrival).",
        merge=Merge.LAST,
    ),
    _moment(name="open_time", formula="Exchange time of the first trade.", merge=Merge.FIRST),
    _moment(name="close_time", formula="Exchange time of the last trade.", merge=Merge.LAST),
)

FLOWS: tuple[Feature, ...] = (
    _entry(
        name="trade_count",
        formula="Number of trades n; a row is a maker's fill, so one taker's order can be several.",
        merge=Merge.SUM,
        unit=count_of("trades"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
        earlier_meaning="The trades of the whole day, in every bar.",
    ),
    _sum(name="volume", formula="Base asset traded: V = Σ q."),
    _sum(name="notional", formula="Quote asset traded: Σ p·q.", unit=QUOTE),
    _sum(
        name="amount_sum",
        formula="Sum of the venue's amounts, also where their unit is unknown.",
        unit=VENUE_AMOUNT,
        null_rule="",
    ),
    _price(
        name="price_vwap",
        formula="notional / volume: the mean price paid, weighted by base asset.",
        merge=Merge.DERIVED,
        null_rule="no volume, or the size of a contract is unknown",
        source="Berkowitz, Logue & Noser (1988), The total cost of transactions on the NYSE",
        expression=pl.when(_volume > 0).then(pl.col("notional") / _volume),
        earlier_meaning="Weighted by the venue's amount: arithmetic and wrong for inverse "
        "contracts; one value for the whole day.",
    ),
    _sum(
        name="buy_volume_sum",
        formula="Base asset of trades whose taker bought: Vb = Σ q over s = +1.",
        mirror="sell_volume_sum",
        earlier_meaning="Half of all volume, in the venue's unit.",
    ),
    _sum(
        name="sell_volume_sum",
        formula="Base asset of trades whose taker sold: Vs = Σ q over s = -1.",
        mirror="buy_volume_sum",
        earlier_meaning="Half of all volume, in the venue's unit.",
    ),
    _sum(
        name="unknown_volume_sum",
        formula="Base asset of trades whose taker's side the venue does not give.",
    ),
    _entry(
        name="unknown_side_share",
        formula="Share of volume without a taker's side: Vu / (Vb + Vs + Vu).",
        merge=Merge.DERIVED,
        null_rule="no volume, or the size of a contract is unknown",
        bounds=Bounds(ge=0, le=1),
        # over the sum of the three and not over the volume: rounding cannot lift it above 1
        expression=pl.when(_volume > 0).then(_unknown / (_buy + _sell + _unknown)),
    ),
    _entry(
        name="trade_flow_imbalance",
        formula="(Vb - Vs) / (Vb + Vs), of the volumes that takers bought and sold.",
        merge=Merge.DERIVED,
        null_rule="no volume with a known side, or the size of a contract is unknown",
        bounds=Bounds(ge=-1, le=1),
        source="Chordia, Roll & Subrahmanyam (2002), Order imbalance, liquidity, market returns",
        mirror="-",
        expression=pl.when(_buy + _sell > 0).then((_buy - _sell) / (_buy + _sell)),
    ),
    _delta(
        name="delta",
        formula="Bought minus sold base asset: Σ s·q.",
        merge=Merge.SUM,
        null_rule="no trade, or the size of a contract is unknown",
        mirror="-",
    ),
    _delta(
        name="delta_max",
        formula="Highest value of the running Σ s·q over the bar's trades, from 0 on.",
        merge=Merge.COMBINED,
        null_rule="no trade, or the size of a contract is unknown",
        bounds=Bounds(ge=0),
        mirror="-delta_min",
        oracle="Running sum by polars over the recorded trades",
    ),
    _delta(
        name="delta_min",
        formula="Lowest value of the running Σ s·q over the bar's trades, from 0 on.",
        merge=Merge.COMBINED,
        null_rule="no trade, or the size of a contract is unknown",
        bounds=Bounds(le=0),
        mirror="-delta_max",
        oracle="Running sum by polars over the recorded trades",
    ),
    _entry(
        name="sweep_count",
        formula="Runs of consecutive trades of one exchange time and side: about one taker's "
        "order each.",
        merge=Merge.SUM,
        unit=count_of("sweeps"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
        source="A venue prints one row for each maker that a taker's order fills",
        oracle="Run lengths by polars over the recorded trades",
    ),
    _entry(
        name="sweep_size_avg",
        formula="Mean size of a sweep: volume / sweep_count.",
        merge=Merge.DERIVED,
        null_rule=f"{_NO_TRADE}, or the size of a contract is unknown",
        unit=BASE,
        bounds=Bounds(ge=0),
        expression=pl.when(pl.col("sweep_count") > 0).then(_volume / pl.col("sweep_count")),
    ),
)

TRADES: tuple[Feature, ...] = (
    *PRICES,
    *FLOWS,
    *SIZES,
    *ARRIVALS,
    *SUFFICIENT,
    *LARGE_TRADES,
    *TICK_RULE,
)

DENSE_TRADES: tuple[Feature, ...] = (
    *(feature for feature in SIZES if feature.merge is Merge.RECOMPUTED),
    *LARGE_TRADES,
    *TICK_RULE,
)
"""Entries of `TRADES` that are kept for every bar of the day, not only for those with trades."""
