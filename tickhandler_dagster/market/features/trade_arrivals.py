"""Times between trades, and the statistics of trades from which larger bars are merged.

What belongs here: entries. What does not: the other entries of the family (`trades.py`), delays
from exchange to recorder (`latency.py`) and the arithmetic (`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LAST_TRADE, LookBack
from tickhandler_dagster.market.features.units import (
    BASE_SQUARED,
    MS,
    US,
    UTC,
    Unit,
    count_of,
)
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds

TRADES_PER_S = Unit("trades/s")
MS_SQUARED = Unit("ms²")

_MEAN_GAPS = 2
_BURSTINESS_GAPS = 10
_GROUP_BY = "polars group_by over the recorded trades"
_BEFORE_THE_BAR = "exchange time of the trade before the bar"

_count = pl.col("trade_count")
_gaps = pl.col("interarrival_count")
_mean = pl.col("interarrival_sum_us") / 1_000 / _gaps
_deviation = (pl.col("interarrival_m2_ms2") / _gaps).sqrt()
_is_spread = (_gaps >= _MEAN_GAPS) & (pl.col("interarrival_sum_us") > 0)
_since_last_trade = (pl.col("ts_close") - pl.col("last_trade")).dt.total_microseconds()

_entry = partial(
    Feature,
    inputs=(Channel.TRADES,),
    source="Engle & Russell (1998), Autoregressive conditional duration",
    oracle=_GROUP_BY,
)
_gap = partial(_entry, carry_in=_BEFORE_THE_BAR, look_back=LAST_TRADE)

ARRIVALS: tuple[Feature, ...] = (
    _entry(
        name="trade_intensity_per_s",
        formula="Trades per second of observed time: trade_count / covered seconds.",
        inputs=(Channel.TRADES, Channel.FACTS),
        merge=Merge.DERIVED,
        null_rule="nothing of the bar was observed",
        unit=TRADES_PER_S,
        bounds=Bounds(ge=0),
        expression=pl.when(pl.col("covered_us") > 0).then(_count / (pl.col("covered_us") / 1e6)),
    ),
    _gap(
        name="interarrival_mean_ms",
        formula="Mean time from the trade before, also across the bar's start.",
        merge=Merge.DERIVED,
        unit=MS,
        bounds=Bounds(ge=0),
        minimum="2 times",
        expression=pl.when(_gaps >= _MEAN_GAPS).then(_mean),
    ),
    _gap(
        name="interarrival_cv",
        formula="Standard deviation (divisor n) / mean of the times between trades.",
        merge=Merge.DERIVED,
        null_rule="all of them are 0",
        bounds=Bounds(ge=0),
        minimum="2 times",
        expression=pl.when(_is_spread).then(_deviation / _mean),
    ),
    _gap(
        name="burstiness",
        formula="(deviation - mean) / (deviation + mean) of the times between trades: -1 = "
        "regular, 0 = Poisson, 1 = bursts.",
        merge=Merge.DERIVED,
        null_rule="all of them are 0",
        bounds=Bounds(ge=-1, le=1),
        minimum="10 times",
        source="Goh & Barabási (2008), Burstiness and memory in complex systems",
        expression=pl.when(_is_spread & (_gaps >= _BURSTINESS_GAPS)).then(
            (_deviation - _mean) / (_deviation + _mean)
        ),
    ),
    _entry(
        name="time_since_last_trade_ms",
        formula="From the last trade at or before the bar's end, in whichever bar, to that end.",
        merge=Merge.DERIVED,
        null_rule="no trade is known up to the bar's end",
        unit=MS,
        bounds=Bounds(ge=0),
        look_back=LookBack("to the last trade", trades=1),
        carry_in="exchange time of the last trade before the day",
        source="Staleness of the last price",
        oracle="Identity: 0 < ts_close - close_time in a traded bar",
        expression=_since_last_trade / 1_000,
    ),
    _entry(
        name="vwap_close_gap",
        formula="ln(close / price_vwap).",
        merge=Merge.DERIVED,
        null_rule="no volume, or the size of a contract is unknown",
        source="Log distance of the last price from the mean price paid",
        expression=(pl.col("close") / pl.col("price_vwap")).log(),
    ),
)

SUFFICIENT: tuple[Feature, ...] = (
    _entry(
        name="size_m2",
        formula="Sum of squared distances of trade sizes from their mean: Σ (q - V/n)².",
        merge=Merge.COMBINED,
        null_rule="the size of a contract is unknown",
        unit=BASE_SQUARED,
        bounds=Bounds(ge=0),
        source="Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance",
    ),
    _gap(
        name="interarrival_count",
        formula="Trades with a known trade before them.",
        merge=Merge.SUM,
        unit=count_of("times"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
    ),
    _gap(
        name="interarrival_sum_us",
        formula="Sum of times from the trade before.",
        merge=Merge.SUM,
        unit=US,
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
    ),
    _gap(
        name="interarrival_m2_ms2",
        formula="Sum of squared distances of the times between trades from their mean.",
        merge=Merge.COMBINED,
        unit=MS_SQUARED,
        bounds=Bounds(ge=0),
        source="Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance",
    ),
    _entry(
        name="last_arrival",
        formula="Latest arrival of a trade of the bar.",
        merge=Merge.MAX,
        null_rule="no trade in the bar",
        unit=UTC,
        dtype=TIMESTAMP,
        source="The vendor's local_timestamp: when its recorder received the message",
    ),
)
