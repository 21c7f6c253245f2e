"""All features, in the order of the columns, and the evaluation of those that follow from others.

What belongs here: the list of families and what holds over all entries. What does not: entries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.features.book import BOOK
from tickhandler_dagster.market.features.book_flow import BOOK_FLOW
from tickhandler_dagster.market.features.delayed_spreads import (
    DELAYED_1S,
    DELAYED_5S,
    DELAYED_30S,
)
from tickhandler_dagster.market.features.derivatives import DERIVATIVES
from tickhandler_dagster.market.features.feature import Feature, Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.realised import REALISED
from tickhandler_dagster.market.features.resilience import RESILIENCE
from tickhandler_dagster.market.features.spreads import SPREADS
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.features.trades import TRADES


@dataclass(frozen=True, slots=True)
class Family:
    """Features that one computation gives.

    Attributes:
        name: Short name.
        title: Heading in the dictionary.
        features: In the order of the columns.
    """

    name: str
    title: str
    features: tuple[Feature, ...]

    @property
    def delay_us(self) -> int:
        """How long after the bar's end the family is known; the same for all its features."""
        return max((feature.delay_us for feature in self.features), default=0)


FAMILIES: tuple[Family, ...] = (
    Family("trades", "Prices, volumes and sizes of trades", TRADES),
    Family("latency", "Delay and quality of the feed", LATENCY),
    Family("book", "The book at the bar's end and over the bar", BOOK),
    Family("book_flow", "Order flow in the book, micro-price", BOOK_FLOW),
    Family("resilience", "How fast the best quotes recover", RESILIENCE),
    Family("spreads", "Spread, impact and information measures of trades", SPREADS),
    Family("delayed_1s", "Realised spread and impact after 1 s", DELAYED_1S),
    Family("delayed_5s", "Realised spread and impact after 5 s", DELAYED_5S),
    Family("delayed_30s", "Realised spread and impact after 30 s", DELAYED_30S),
    Family("realised", "Realised measures on a grid of one second", REALISED),
    Family("derivatives", "Liquidations, open interest, funding, basis", DERIVATIVES),
    Family("surface", "Option surface of the underlying", SURFACE),
)


def _by_name() -> Iterator[tuple[str, Feature]]:
    seen = set()
    for family in FAMILIES:
        for feature in family.features:
            if feature.name in seen:
                message = f"{feature.name}: two features of one name"
                raise ValueError(message)
            seen.add(feature.name)
            yield feature.name, feature


FEATURES: Mapping[str, Feature] = MappingProxyType(dict(_by_name()))
"""Every feature by name, in the order of the columns."""


DELAYS_US: tuple[int, ...] = tuple(
    sorted({family.delay_us for family in FAMILIES if family.delay_us})
)
"""The delays that features have, beside none; each has a column that says when it is over."""


def delayed_name(delay_us: int) -> str:
    """The column that says when features of that delay could first be known.

    Example:
        >>> delayed_name(5_000_000)
        'available_at_5s'
    """
    return f"available_at_{delay_us // 1_000_000}s"


def _stages() -> tuple[tuple[Feature, ...], ...]:
    """Derived features in groups, each of which needs only the groups before it."""
    waiting = [feature for feature in FEATURES.values() if feature.merge is Merge.DERIVED]
    stages = []
    while waiting:
        names = {feature.name for feature in waiting}
        ready = [feature for feature in waiting if not names & set(_roots(feature))]
        if not ready:
            message = f"features that need each other: {', '.join(sorted(names))}"
            raise ValueError(message)
        stages.append(tuple(ready))
        waiting = [feature for feature in waiting if feature not in ready]
    return tuple(stages)


def _roots(feature: Feature) -> Sequence[str]:
    return [] if feature.expression is None else feature.expression.meta.root_names()


_STAGES = _stages()


def with_derived(bars: pl.DataFrame, *, names: Collection[str] = FEATURES) -> pl.DataFrame:
    """The bars with every feature that follows from other columns.

    Args:
        bars: One timeframe's bars with all stored statistics, and `ts_open`, `ts_close`,
            `covered_us` (observed time in microseconds) and `last_trade` (exchange time of the last
            trade at or before the bar's end).
        names: Which features, where not all: bars of trades alone have only some.

    Nulls: as each entry says; a value that would be infinite or not a number is null too.
    """
    for stage in _STAGES:
        bars = bars.with_columns(
            _finite(feature).cast(feature.dtype).alias(feature.name)
            for feature in stage
            if feature.name in names
        )
    return bars


def _finite(feature: Feature) -> pl.Expr:
    expression = feature.expression
    assert expression is not None  # noqa: S101  (an entry of a stage is derived)
    if not feature.dtype.is_float():
        return expression
    return pl.when(expression.is_finite()).then(expression)
