"""Delay and quality of the feed.

What belongs here: the entries. What does not: the arithmetic (`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.trade_delays import SKEW_WINDOW_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LAST_TRADE, LookBack, over
from tickhandler_dagster.market.features.units import FRACTION, MS, US, count_of
from tickhandler_dagster.market.tables import Bounds

_NO_CLOCK = "no trade, or the venue gives no exchange time"
_GROUP_BY = "polars group_by over the recorded trades"
_CLOCKS = "The vendor's two clocks: exchange time and arrival at its recorder"
_HYNDMAN_FAN = "Hyndman & Fan (1996), Sample Quantiles in Statistical Packages, definition 7"
_FEED_CHECKS = "Usual checks of recorded feeds: order, ids, repeats, outages"

_delays = pl.col("delay_count")

_entry = partial(Feature, inputs=(Channel.TRADES,), source=_CLOCKS, oracle=_GROUP_BY)
_delay = partial(_entry, unit=MS, null_rule=_NO_CLOCK)
_quantile = partial(
    _delay, merge=Merge.RECOMPUTED, source=_HYNDMAN_FAN, oracle="polars quantile, linear"
)
_count = partial(
    _entry,
    merge=Merge.SUM,
    unit=count_of("trades"),
    dtype=pl.Int64(),
    bounds=Bounds(ge=0),
    source=_FEED_CHECKS,
)

LATENCY: tuple[Feature, ...] = (
    _delay(
        name="delay_min",
        formula="Smallest delay of a trade: min (local_timestamp - timestamp); negative where the "
        "clocks differ.",
        merge=Merge.MIN,
        earlier_meaning="Median of the minima of minutes.",
    ),
    _delay(
        name="delay_max",
        formula="Largest delay of a trade: max (local_timestamp - timestamp).",
        merge=Merge.MAX,
        earlier_meaning="Median of the maxima of minutes.",
    ),
    _delay(
        name="delay_mean",
        formula="Mean delay of trades: delay_sum_us / delay_count.",
        merge=Merge.DERIVED,
        expression=pl.when(_delays > 0).then(pl.col("delay_sum_us") / _delays / 1_000),
        earlier_meaning="Median of the means of minutes.",
    ),
    _quantile(
        name="delay_median",
        formula="Median delay of trades, interpolated between the two middle ones.",
        earlier_meaning="Median of the medians of minutes.",
    ),
    _quantile(
        name="delay_p95",
        formula="95 % quantile of the delay of trades, linear between ranks of (n - 1)·0.95.",
        minimum="20 trades",
    ),
    _quantile(
        name="delay_p99",
        formula="99 % quantile of the delay of trades, linear between ranks of (n - 1)·0.99.",
        minimum="100 trades",
    ),
    _count(
        name="delay_count",
        formula="Trades with a delay: all, or none where the venue gives no exchange time.",
        null_rule="the venue gives no exchange time",
        source=_CLOCKS,
    ),
    _entry(
        name="delay_sum_us",
        formula="Sum of the delays of trades: Σ (local_timestamp - timestamp).",
        merge=Merge.SUM,
        null_rule="the venue gives no exchange time",
        unit=US,
        dtype=pl.Int64(),
    ),
    _count(
        name="negative_delay_count",
        formula="Trades that arrived, by the recorder's clock, before the exchange's time of them.",
        null_rule="the venue gives no exchange time",
    ),
    _entry(
        name="negative_delay_share",
        formula="Share of trades with a negative delay: negative_delay_count / delay_count.",
        merge=Merge.DERIVED,
        null_rule=_NO_CLOCK,
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        source=_FEED_CHECKS,
        expression=pl.when(_delays > 0).then(pl.col("negative_delay_count") / _delays),
    ),
    _delay(
        name="clock_skew_ms",
        formula="Smallest delay of the trades of the 60 s before the bar's end: recorder minus "
        "exchange clock, plus the fastest way.",
        merge=Merge.LAST,
        null_rule="no trade in those 60 s, less than 60 s of the day have passed, or the venue "
        "gives no exchange time",
        look_back=over(SKEW_WINDOW_US, "before the bar's end"),
        source="Clock filter of NTP: the smallest delay of a window (RFC 5905, section 10)",
        oracle="polars rolling minimum over the recorded trades",
    ),
    _count(
        name="out_of_order_count",
        formula="Trades that arrived before the trade just before them in the total order.",
        look_back=LAST_TRADE,
        carry_in="arrival of the trade before the bar",
    ),
    _count(
        name="id_gap_count",
        formula="Trade numbers skipped: Σ max(id - highest id before - 1, 0).",
        null_rule="the venue does not number its trades one by one",
        unit=count_of("ids"),
        look_back=LookBack("to the trade with the highest id before the bar", is_unlimited=True),
        carry_in="id of the last trade before the day",
    ),
    _count(
        name="duplicate_id_count",
        formula="Rows left out of the bar because an earlier row has their trade id.",
        unit=count_of("rows"),
        oracle="Quarantined rows of the sandbox's faults",
    ),
    _count(
        name="disconnect_count",
        formula="Gaps in the trades that begin in the bar, reported by the vendor or found.",
        inputs=(Channel.FACTS,),
        unit=count_of("gaps"),
        oracle="The vendor's incident reports",
    ),
    _entry(
        name="covered_ms",
        formula="Observed time of the bar: listed, ingested and outside known gaps.",
        inputs=(Channel.FACTS,),
        merge=Merge.DERIVED,
        unit=MS,
        bounds=Bounds(ge=0),
        source=_FEED_CHECKS,
        oracle="Identity: covered_ms = coverage · length of the bar",
        expression=pl.col("covered_us") / 1_000,
    ),
    _count(
        name="late_count",
        formula="Trades that arrived more than 200 ms after the bar's end.",
        merge=Merge.RECOMPUTED,
    ),
)
