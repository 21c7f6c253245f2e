"""What a feature is: one entry of the registry, from which everything said about it is derived.

What belongs here: the vocabulary. Entries are in the modules of the families, the whole of them in
`registry.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from tickhandler_dagster.market.features.look_back import BAR_ALONE, LookBack
from tickhandler_dagster.market.features.units import NONE, Unit
from tickhandler_dagster.market.tables import Bounds, Column


class Channel(StrEnum):
    """A stream of rows that features are computed from."""

    TRADES = "trades"
    TOP = "top"
    LEVELS = "levels"
    TICKER = "ticker"
    LIQUIDATIONS = "liquidations"
    OPTIONS = "options"
    FACTS = "facts"


CHANNEL_MEANINGS: dict[Channel, str] = {
    Channel.TRADES: "trades",
    Channel.TOP: "best bid and ask: quotes, else book_ticker, else the first level of a snapshot",
    Channel.LEVELS: "book levels: book_snapshot_25, else book_snapshot_5",
    Channel.TICKER: "derivative_ticker",
    Channel.LIQUIDATIONS: "liquidations",
    Channel.OPTIONS: "options_surface of the underlying",
    Channel.FACTS: "listing, catalogue and manifests",
}


class Merge(StrEnum):
    """How the value of a larger bar comes from the values of the 15 s bars in it."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    LAST = "last"
    COMBINED = "combined"
    DERIVED = "derived"
    RECOMPUTED = "recomputed"


MERGE_MEANINGS: dict[Merge, str] = {
    Merge.SUM: "sum of the smaller bars",
    Merge.MIN: "smallest of the smaller bars",
    Merge.MAX: "largest of the smaller bars",
    Merge.FIRST: "value of the first smaller bar that has one",
    Merge.LAST: "value of the last smaller bar: the state at the bar's end",
    Merge.COMBINED: "merged from several stored statistics by a rule of its own",
    Merge.DERIVED: "computed from other columns of the same bar",
    Merge.RECOMPUTED: "does not merge: computed from the ticks for every timeframe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of a bar.

    Attributes:
        name: Column name.
        formula: What it is, in one sentence that holds the formula; the catalogue's text.
        inputs: Channels its value depends on.
        merge: How larger bars get it.
        null_rule: When it is null; empty where only an unobserved bar makes it so.
        unit: Unit and dimension.
        dtype: Stored type.
        bounds: What every non-null value obeys.
        look_back: How far before the bar's open rows can matter.
        carry_in: State it takes over from before the bar; empty for none.
        minimum: Smallest sample; empty for none.
        delay_us: How long after the bar's end it is known; 0 with the bar itself.
        source: Paper, page or venue rule the definition comes from.
        oracle: What its values are held against in the tests, besides the slow reference.
        mirror: What buy and sell changing places does to it: empty for nothing, `-` for the
            opposite sign, another column's name where the two swap.
        is_scale_free: False where a fixed amount of money is in the formula, so that the dimension
            holds only for changes of price and size that leave the money alone.
        expression: The value from other columns of the bar; exactly for `Merge.DERIVED`.
        earlier_meaning: What the earlier system had under the name, where it was something else.
    """

    name: str
    formula: str
    inputs: tuple[Channel, ...]
    merge: Merge
    null_rule: str = ""
    unit: Unit = NONE
    dtype: pl.DataType = field(default_factory=pl.Float64)
    bounds: Bounds = field(default_factory=Bounds)
    look_back: LookBack = BAR_ALONE
    carry_in: str = ""
    minimum: str = ""
    delay_us: int = 0
    source: str = ""
    oracle: str = ""
    mirror: str = ""
    is_scale_free: bool = True
    expression: pl.Expr | None = None
    earlier_meaning: str = ""

    def __post_init__(self) -> None:
        """Only a derived feature has an expression, and it always has one."""
        if (self.expression is not None) is not (self.merge is Merge.DERIVED):
            message = f"{self.name}: a feature has an expression exactly where it is derived"
            raise ValueError(message)

    @property
    def column(self) -> Column:
        """The stored column; every feature may be null."""
        return Column(
            self.name,
            self.dtype,
            self.formula,
            unit=self.unit.label,
            is_nullable=True,
            bounds=self.bounds,
        )
