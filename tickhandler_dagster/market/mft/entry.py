"""What a mid-frequency feature is: an expression over a series of bars, and how far it looks back.

What belongs here: the vocabulary. Entries are in the modules of the families, all of them in
`catalog.py`; the columns an expression can use are those of `series.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from tickhandler_dagster.market.features.units import NONE, Unit
from tickhandler_dagster.market.tables import Bounds, Column


class Scope(StrEnum):
    """What a feature is computed from, beside the instrument's own bars."""

    INSTRUMENT = "instrument"
    REFERENCE = "reference"
    CROSS_SECTION = "cross_section"
    VENUES = "venues"


SCOPE_MEANINGS: dict[Scope, str] = {
    Scope.INSTRUMENT: "the instrument's own bars",
    Scope.REFERENCE: "its bars and those of the venue's reference instrument",
    Scope.CROSS_SECTION: "the same bar of every instrument of the venue that is final there",
    Scope.VENUES: "the same bar of the same asset on other venues",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MftFeature:
    """One column of `mft_features`.

    Attributes:
        name: Column name; ends with its window in bars where it has one.
        formula: What it is, in one sentence that holds the formula; ends with a period.
        look_back: Bars before the bar itself that it reads: that many valid bars in a row before
            it, or it is null. 0 for the bar alone.
        needs_trades: Every bar of the window must have a trade; else a bar without trades counts
            with return 0, range 0, volume 0 and the last close.
        scope: What it is computed from.
        inputs: Columns of the series (`series.py`) it reads.
        unit: Unit.
        bounds: What every non-null value obeys.
        null_rule: When it is null beside the window's own rules; empty for never.
        source: Paper or page of the definition.
        oracle: What its values are held against, beside the slow reference.
        expression: The value over a series of bars in time order.
    """

    name: str
    formula: str
    look_back: int
    inputs: tuple[str, ...]
    expression: pl.Expr
    needs_trades: bool = False
    scope: Scope = Scope.INSTRUMENT
    unit: Unit = NONE
    dtype: pl.DataType = field(default_factory=pl.Float64)
    bounds: Bounds = field(default_factory=Bounds)
    null_rule: str = ""
    source: str = ""
    oracle: str = ""

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
