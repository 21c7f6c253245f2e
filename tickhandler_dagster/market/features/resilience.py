"""Resilience: how often and how fast the touch refills after a depletion.

What belongs here: the entries, all of them known 5 s after the bar's end. What does not: the
arithmetic (`market/bars/resilience.py`, `recovery.py`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.bars.recovery import HORIZON_US
from tickhandler_dagster.market.bars.resilience import MIN_EVENTS
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import over
from tickhandler_dagster.market.features.units import FRACTION, MS, count_of
from tickhandler_dagster.market.tables import Bounds

_NO_UNITS = "the size of a contract is unknown"

_entry = partial(
    Feature,
    inputs=(Channel.TOP,),
    look_back=over(STATE_AGE_US),
    carry_in="the last state before the bar",
    delay_us=HORIZON_US,
    source="Foucault, Kadan & Kandel (2005), Limit order book as a market for liquidity; "
    "resiliency",
    oracle="Book with known refill times; slow reference in plain Python, also on recorded quotes",
)
_count = partial(
    _entry,
    merge=Merge.SUM,
    unit=count_of("depletions"),
    dtype=pl.Int64(),
    bounds=Bounds(ge=0),
    null_rule=_NO_UNITS,
)
_events = pl.col("resilience_event_count")

RESILIENCE: tuple[Feature, ...] = (
    _count(
        name="resilience_event_count",
        formula="Depletions: one update between states of b < a takes half or more of a side's "
        "best size, or its price retreats; followed for 5 s.",
    ),
    _count(
        name="resilience_recovered_count",
        formula="Depletions after which, within 5 s, the touch is at or inside the price before "
        "with 90 % of the size before.",
    ),
    _count(
        name="resilience_unresolved_count",
        formula="Depletions that could not be followed for 5 s for lack of data; not among the "
        "others.",
    ),
    _entry(
        name="resilience_recovered_share",
        formula="resilience_recovered_count / resilience_event_count.",
        merge=Merge.DERIVED,
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        null_rule=f"fewer than {MIN_EVENTS} depletions, or {_NO_UNITS}",
        minimum=f"{MIN_EVENTS} depletions",
        expression=pl.when(_events >= MIN_EVENTS).then(
            pl.col("resilience_recovered_count") / _events
        ),
    ),
    _entry(
        name="resilience_median_ms",
        formula="Median time to recovery of the bar's depletions; one that takes longer than 5 s "
        "counts as 5 s.",
        merge=Merge.RECOMPUTED,
        unit=MS,
        bounds=Bounds(ge=0, le=HORIZON_US / 1_000),
        null_rule=f"fewer than {MIN_EVENTS} depletions, or {_NO_UNITS}",
        minimum=f"{MIN_EVENTS} depletions",
    ),
)
