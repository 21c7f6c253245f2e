"""Order flow in the book and the micro-price.

What belongs here: the entries. What does not: the arithmetic (`market/bars/top_book.py`,
`order_flow.py`, `micro_price.py`) and recovery (`resilience.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.flow_loading import MIN_FIT_BARS
from tickhandler_dagster.market.bars.micro_price_fit import MIN_MOVES, MIN_STEPS
from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import EARLIER_DAY, over
from tickhandler_dagster.market.features.units import BASE, BPS, PRICE, UTC, count_of
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds

_NO_UNITS = "the size of a contract is unknown"
_NO_FEED = "the states are no quote feed"
_EVENTS = "changes between consecutive states, not over a file's start, 60 s of silence or a gap"
_CARRIED = "the last state before the bar"
_CKS = "Cont, Kukanov & Stoikov (2014), The price impact of order book events"
_CCZ = "Cont, Cucuringu & Zhang (2023), Cross-impact of order flow imbalance in equity markets"
_STOIKOV = "Stoikov (2018), The micro-price: a high-frequency estimator of future prices"
_GOLDEN = "Hand-computed vectors; slow reference in plain Python, also on recorded feeds"

_STATES_AND_FIT = over(STATE_AGE_US, f"of states, and {EARLIER_DAY.text}")

_entry = partial(Feature, look_back=over(STATE_AGE_US), carry_in=_CARRIED, oracle=_GOLDEN)
_quotes = partial(_entry, inputs=(Channel.TOP,), source=_CKS)
_snapshots = partial(_entry, inputs=(Channel.LEVELS,), source=_CCZ)
_events = partial(
    _entry,
    merge=Merge.SUM,
    unit=count_of("changes"),
    dtype=pl.Int64(),
    bounds=Bounds(ge=0),
    source=_CKS,
)


def _per_mean_depth(flow: str, depth: str, events: str) -> pl.Expr:
    mean = pl.col(depth) / pl.col(events)
    return pl.when((pl.col(events) > 0) & (mean > 0)).then(pl.col(flow) / mean)


QUOTE_FLOW: tuple[Feature, ...] = (
    _quotes(
        name="ofi",
        formula="Σ 1{b>=b'}B - 1{b<=b'}B' - 1{a<=a'}A + 1{a>=a'}A', ' the state before; a missing "
        "side is infinitely far, of size 0.",
        merge=Merge.SUM,
        unit=BASE,
        null_rule=f"{_NO_FEED}, or {_NO_UNITS}",
    ),
    _events(
        name="ofi_event_count",
        formula=f"Number of {_EVENTS}.",
        inputs=(Channel.TOP,),
        null_rule=_NO_FEED,
    ),
    _quotes(
        name="ofi_depth_sum",
        formula="Σ (B+A)/2 over the changes that ofi counts.",
        merge=Merge.SUM,
        unit=BASE,
        bounds=Bounds(ge=0),
        null_rule=f"{_NO_FEED}, or {_NO_UNITS}",
    ),
    _quotes(
        name="ofi_normalised",
        formula="ofi over the mean best size: ofi / (ofi_depth_sum / ofi_event_count).",
        merge=Merge.DERIVED,
        null_rule=f"no change, {_NO_FEED}, or {_NO_UNITS}",
        minimum="1 change",
        expression=_per_mean_depth("ofi", "ofi_depth_sum", "ofi_event_count"),
    ),
)


def _level_flows() -> Iterator[Feature]:
    for level in range(1, 6):
        yield _snapshots(
            name=f"ofi_snap_{level}",
            formula=f"Σ of the terms of ofi with price and size of level {level}, between "
            "snapshots: a sample, not the events' flow.",
            merge=Merge.SUM,
            unit=BASE,
            null_rule=_NO_UNITS,
        )
    for level in range(1, 6):
        yield _snapshots(
            name=f"ofi_snap_normalised_{level}",
            formula=f"ofi_snap_{level} over the mean size of a level: / (ofi_snap_depth_sum / "
            "ofi_snap_event_count).",
            merge=Merge.DERIVED,
            null_rule=f"no change, or {_NO_UNITS}",
            minimum="1 change",
            expression=_per_mean_depth(
                f"ofi_snap_{level}", "ofi_snap_depth_sum", "ofi_snap_event_count"
            ),
        )


SNAPSHOT_FLOW: tuple[Feature, ...] = (
    *_level_flows(),
    _events(
        name="ofi_snap_event_count",
        formula=f"Number of {_EVENTS}; of snapshots.",
        inputs=(Channel.LEVELS,),
    ),
    _snapshots(
        name="ofi_snap_depth_sum",
        formula="Σ of the mean size per level and side over five levels, over the changes; a "
        "missing level counts 0.",
        merge=Merge.SUM,
        unit=BASE,
        bounds=Bounds(ge=0),
        null_rule=_NO_UNITS,
    ),
    _snapshots(
        name="ofi_snap_weighted",
        formula="Σ over levels of w·ofi_snap, w the first principal component of an earlier day's "
        "normalised flows, Σ|w| = 1.",
        merge=Merge.SUM,
        unit=BASE,
        null_rule=f"no earlier day with {MIN_FIT_BARS} one-minute bars to fit on, or {_NO_UNITS}",
        look_back=_STATES_AND_FIT,
        carry_in="weights of the levels",
    ),
    _snapshots(
        name="ofi_snap_integrated",
        formula="ofi_snap_weighted / (ofi_snap_depth_sum / ofi_snap_event_count).",
        merge=Merge.DERIVED,
        null_rule=f"no earlier day to fit on, no change, or {_NO_UNITS}",
        minimum="1 change",
        look_back=_STATES_AND_FIT,
        carry_in="weights of the levels",
        expression=_per_mean_depth(
            "ofi_snap_weighted", "ofi_snap_depth_sum", "ofi_snap_event_count"
        ),
    ),
    _snapshots(
        name="ofi_snap_fit_day",
        formula="Day that the weights of ofi_snap_weighted were fitted on: their version.",
        merge=Merge.LAST,
        unit=UTC,
        dtype=TIMESTAMP,
        null_rule="no earlier day to fit on",
        look_back=EARLIER_DAY,
        carry_in="weights of the levels",
    ),
)

_micro = partial(
    Feature,
    inputs=(Channel.TOP,),
    merge=Merge.LAST,
    look_back=_STATES_AND_FIT,
    carry_in="the fitted table, and the last state before the bar",
    minimum=f"an earlier day with {MIN_MOVES} moves of the mid",
    source=_STOIKOV,
    oracle="Chains whose shift is known in closed form; slow reference in plain Python",
)
_NO_TABLE = (
    f"no earlier day to fit on, a state it left fewer than {MIN_STEPS} times, no state of b < a "
    f"that is at most 60 s old, the price step is unknown, or {_NO_UNITS}"
)

MICRO_PRICE: tuple[Feature, ...] = (
    _micro(
        name="micro_price",
        formula="m + g(I, S) at the bar's end: the mid's expected limit in a Markov chain on "
        "imbalance I and spread S, fitted on an earlier day.",
        unit=PRICE,
        null_rule=_NO_TABLE,
    ),
    _micro(
        name="micro_price_gap_bps",
        formula="10⁴·(micro_price - m)/m, m the mid of the same state.",
        unit=BPS,
        null_rule=_NO_TABLE,
    ),
    _micro(
        name="micro_price_fit_day",
        formula="Day that the table of micro_price was fitted on: its version.",
        unit=UTC,
        dtype=TIMESTAMP,
        null_rule="no earlier day to fit on, or the price step is unknown",
        look_back=EARLIER_DAY,
        carry_in="the fitted table",
    ),
)

BOOK_FLOW: tuple[Feature, ...] = (*QUOTE_FLOW, *SNAPSHOT_FLOW, *MICRO_PRICE)
