"""The best quotes over the bar and at its end: entries of `market/bars/top_book.py`.

What belongs here: spreads, imbalance, kinds of states and the age of quotes. What does not: order
flow (`book_flow.py`) and deeper levels (`book_levels.py`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LookBack, over
from tickhandler_dagster.market.features.units import (
    BPS,
    FRACTION,
    MS,
    PER_S,
    PRICE,
    US,
    Unit,
    count_of,
)
from tickhandler_dagster.market.tables import Bounds

_STATES = "a state holds until the next one, at most 60 s"
_CARRIED = "the last state before the bar"
_NO_UNITS = "the size of a contract is unknown"
_SLOW = "Slow reference in plain Python, also on recorded quotes"
_TOP = (Channel.TOP,)

_time_weighted = partial(
    Feature,
    inputs=_TOP,
    merge=Merge.SUM,
    look_back=over(STATE_AGE_US),
    carry_in=_CARRIED,
    source="Time-weighted quoted spread: McInish & Wood (1992), Intraday patterns in spreads",
    oracle=_SLOW,
)
_held = partial(
    _time_weighted, unit=MS, bounds=Bounds(ge=0), source="Feed quality: kinds of book states"
)
_mean = partial(_time_weighted, merge=Merge.DERIVED, minimum="half of the bar with such a state")


def _time_mean(integral: str, covered: str) -> pl.Expr:
    """∫ x dt / ∫ dt where at least half of the bar is covered."""
    length = (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds()
    return pl.when(pl.col(covered) * 2 >= length).then(pl.col(integral) / pl.col(covered))


SPREADS_OVER_TIME: tuple[Feature, ...] = (
    _time_weighted(
        name="spread_bps_us",
        formula=f"∫ 10⁴·(a-b)/m dt over states with b < a; {_STATES}.",
        unit=Unit("basis points·µs"),
        bounds=Bounds(ge=0),
    ),
    _time_weighted(
        name="spread_abs_us",
        formula=f"∫ (a-b) dt over states with b < a; {_STATES}.",
        unit=Unit("the venue's price unit·µs", price=1),
        bounds=Bounds(ge=0),
    ),
    _time_weighted(
        name="quote_normal_us",
        formula=f"Time with a state of b < a; {_STATES}.",
        unit=US,
        bounds=Bounds(ge=0),
    ),
    _mean(
        name="spread_tw_bps",
        formula="Mean relative spread over time: spread_bps_us / quote_normal_us.",
        unit=BPS,
        bounds=Bounds(ge=0),
        null_rule="states with b < a cover less than half of the bar",
        expression=_time_mean("spread_bps_us", "quote_normal_us"),
    ),
    _mean(
        name="spread_tw_abs",
        formula="Mean spread over time: spread_abs_us / quote_normal_us.",
        unit=PRICE,
        bounds=Bounds(ge=0),
        null_rule="states with b < a cover less than half of the bar",
        expression=_time_mean("spread_abs_us", "quote_normal_us"),
    ),
)

IMBALANCE: tuple[Feature, ...] = (
    _time_weighted(
        name="queue_imbalance_us",
        formula=f"∫ (B-A)/(B+A) dt over states with b < a and B+A > 0; {_STATES}.",
        unit=US,
        null_rule=_NO_UNITS,
    ),
    _time_weighted(
        name="queue_normal_us",
        formula=f"Time with a state of b < a and B+A > 0; {_STATES}.",
        unit=US,
        bounds=Bounds(ge=0),
        null_rule=_NO_UNITS,
    ),
    _mean(
        name="queue_imbalance_tw",
        formula="Mean imbalance of the best sizes over time: queue_imbalance_us / queue_normal_us.",
        unit=FRACTION,
        bounds=Bounds(ge=-1, le=1),
        null_rule=f"such states cover less than half of the bar, or {_NO_UNITS}",
        expression=_time_mean("queue_imbalance_us", "queue_normal_us"),
    ),
    Feature(
        name="queue_imbalance",
        formula="(B-A)/(B+A) of the best sizes at the bar's end: 1 all bid, -1 all ask.",
        inputs=_TOP,
        merge=Merge.LAST,
        unit=FRACTION,
        bounds=Bounds(ge=-1, le=1),
        null_rule=f"no state of b < a that is at most 60 s old, B+A = 0, or {_NO_UNITS}",
        look_back=over(STATE_AGE_US),
        carry_in=_CARRIED,
        source="Gould & Bonart (2016), Queue imbalance as a one-tick-ahead price predictor",
        oracle=_SLOW,
    ),
    Feature(
        name="weighted_mid",
        formula="(b·A + a·B)/(A+B) at the bar's end: each price with the other side's size.",
        inputs=_TOP,
        merge=Merge.LAST,
        unit=PRICE,
        bounds=Bounds(ge=0),
        null_rule=f"no state of b < a that is at most 60 s old, B+A = 0, or {_NO_UNITS}",
        look_back=over(STATE_AGE_US),
        carry_in=_CARRIED,
        source="Stoikov (2018), The micro-price, section 2",
        oracle=_SLOW,
    ),
)

KINDS: tuple[Feature, ...] = (
    _held(name="crossed_ms", formula=f"Time with bid above ask; {_STATES}."),
    _held(name="locked_ms", formula=f"Time with bid equal to ask; {_STATES}."),
    _held(name="one_sided_ms", formula=f"Time with only a bid or only an ask; {_STATES}."),
    _held(name="empty_ms", formula=f"Time with a state that has neither side; {_STATES}."),
    _held(name="quote_covered_ms", formula=f"Time with a state of any kind; {_STATES}."),
    Feature(
        name="quote_age_max_ms",
        formula="Longest time since the last state at any moment of the bar, cut at its end; not "
        "capped.",
        inputs=_TOP,
        merge=Merge.MAX,
        unit=MS,
        bounds=Bounds(ge=0),
        null_rule="no state has come yet",
        look_back=LookBack("back to the last state, however old", is_unlimited=True),
        carry_in=_CARRIED,
        source="Feed quality: staleness of quotes",
        oracle=_SLOW,
    ),
    Feature(
        name="update_count",
        formula="Number of states received; the one that opens a vendor's file is none.",
        inputs=_TOP,
        merge=Merge.SUM,
        unit=count_of("states"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
        source="Feed quality: rate of updates, as far as the vendor does not throttle them",
        oracle=_SLOW,
    ),
    Feature(
        name="updates_per_s",
        formula="update_count over the observed seconds of the bar.",
        inputs=_TOP,
        merge=Merge.DERIVED,
        unit=PER_S,
        bounds=Bounds(ge=0),
        null_rule="nothing of the bar was observed",
        source="Feed quality: rate of updates, as far as the vendor does not throttle them",
        oracle=_SLOW,
        expression=pl.when(pl.col("covered_us") > 0).then(
            pl.col("update_count") / (pl.col("covered_us") / 1e6)
        ),
    ),
    Feature(
        name="quotes_per_trade",
        formula="update_count / trade_count; not comparable between venues that throttle.",
        inputs=(Channel.TOP, Channel.TRADES),
        merge=Merge.DERIVED,
        bounds=Bounds(ge=0),
        null_rule="no trade",
        minimum="1 trade",
        source="Quote-to-trade ratio of market supervision (MiFID II, RTS 9)",
        oracle=_SLOW,
        expression=pl.when(pl.col("trade_count") > 0).then(
            pl.col("update_count") / pl.col("trade_count")
        ),
    ),
)

TOP_BOOK: tuple[Feature, ...] = (*SPREADS_OVER_TIME, *IMBALANCE, *KINDS)
"""What `TopBook` gives, its order flow (`book_flow.QUOTE_FLOW`) apart."""
