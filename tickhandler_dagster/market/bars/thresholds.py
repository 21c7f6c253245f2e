"""How much fills an information-driven bar: a share of what was traded the day before.

What belongs here: the rule from yesterday's 24 h candle to today's threshold, and the reasons why
there is none. What does not: reading the candle (`pipeline/`) and filling bars (`information.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind

LEAST_COVERAGE = 0.5
"""Share of the day before that must have been observed: from less, a rate would be a guess."""


class ThresholdState(StrEnum):
    """Whether an instrument has a threshold for the day, and why not."""

    FIXED = "fixed"
    NO_CANDLE = "no_candle"
    NOT_OBSERVED = "not_observed"
    NOTHING_TRADED = "nothing_traded"
    UNKNOWN_UNITS = "unknown_units"


THRESHOLD_MEANINGS: Mapping[ThresholdState, str] = MappingProxyType(
    {
        ThresholdState.FIXED: "fixed for the day by what was traded the day before",
        ThresholdState.NO_CANDLE: "no 24h candle of the day before is in the lake",
        ThresholdState.NOT_OBSERVED: "less than half of the day before was observed",
        ThresholdState.NOTHING_TRADED: "nothing was traded the day before",
        ThresholdState.UNKNOWN_UNITS: "the size of a contract is unknown",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTotals:
    """What an instrument's 24 h candle says of its day.

    Attributes:
        coverage: Share of the day that was observed.
        totals: Trades, base asset and quote asset traded, by kind; None where unknown.
        is_final: No file still to come can change them.
        available_us: When they were known, microseconds since the epoch.
    """

    coverage: float
    totals: Mapping[BarKind, float | None]
    is_final: bool
    available_us: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much fills a bar of one kind on one day.

    Attributes:
        state: Whether there is a value.
        value: Trades, base asset or quote asset; None unless the state is `fixed`.
        is_final: No file still to come can change it.
        available_us: When it was known, microseconds since the epoch; 0 without a value.
    """

    state: ThresholdState
    value: float | None = None
    is_final: bool = False
    available_us: int = 0


def threshold_of(
    kind: BarKind, yesterday: DayTotals | None, *, has_known_units: bool = True
) -> Threshold:
    """The threshold that yesterday's totals set for today: total / (`BARS_PER_DAY` · coverage).

    What was observed of yesterday stands for all of it, so that an hour's gap does not make today's
    bars smaller. A number of trades is rounded up: half a trade fills nothing.

    Args:
        kind: What fills the bars.
        yesterday: Totals of the day before; None where the lake has no candle of it.
        has_known_units: Today's sizes are known.

    Example:
        >>> totals = {BarKind.TICK: 2_000.0, BarKind.VOLUME: 36.0, BarKind.DOLLAR: None}
        >>> day = DayTotals(coverage=1.0, totals=totals, is_final=True, available_us=0)
        >>> [threshold_of(kind, day).value for kind in BarKind]
        [2.0, 0.025, None]
    """
    if yesterday is None:
        return Threshold(ThresholdState.NO_CANDLE)
    trades, total = yesterday.totals[BarKind.TICK], yesterday.totals[kind]
    if trades is None or yesterday.coverage < LEAST_COVERAGE:
        return Threshold(ThresholdState.NOT_OBSERVED)
    if kind.has_size and not has_known_units:
        return Threshold(ThresholdState.UNKNOWN_UNITS)
    if not trades or total == 0:
        return Threshold(ThresholdState.NOTHING_TRADED)
    if total is None:
        return Threshold(ThresholdState.UNKNOWN_UNITS)
    share = total / (BARS_PER_DAY * yesterday.coverage)
    return Threshold(
        ThresholdState.FIXED,
        float(share if kind.has_size else math.ceil(share)),
        is_final=yesterday.is_final,
        available_us=yesterday.available_us,
    )
