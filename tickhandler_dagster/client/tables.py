"""Whole tables of days: completeness and option surfaces.

What belongs here: reading the one object that a cell has of them. What does not: bars
(`bars.py`), ticks (`ticks.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import read_footer
from tickhandler_dagster.adapters.written_at import written_after
from tickhandler_dagster.client.missing import Missing
from tickhandler_dagster.client.rows import ReadPlan, Rows
from tickhandler_dagster.client.spans import moment_of
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import NotAvailable
from tickhandler_dagster.market.paths import (
    CompletenessFile,
    LakeObject,
    OptionsSurfaceFile,
    OptionsSurfaceManifest,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


def completeness_rows(lake: Lake, cells: Sequence[VenueDay]) -> Rows:
    """The completeness of these cells.

    Raises:
        MissingUpstream: when read, where a cell has none.
    """
    missing = Missing("completeness")
    items = [CompletenessFile(cell.date, cell.venue) for cell in cells]

    def frame() -> pl.DataFrame:
        found = []
        for cell, item, local in zip(cells, items, lake.fetch(items), strict=True):
            rows = None if local is None else lake.read_table(item, local=local)
            if rows is None:
                missing.add(cell)
            else:
                found.append(rows)
        missing.require_none()
        return pl.concat(found)

    return Rows(lambda: frame().lazy(), lambda: plan_of(lake, items), collect=frame)


@dataclass(frozen=True, slots=True)
class SurfaceQuestion:
    """Option surfaces that are asked for.

    Attributes:
        lake: Where they are.
        venue: Of the chain.
        underlying: BASE-QUOTE, or BASE where the venue has one of it.
        timeframe: Length of the bars.
        days: Days of the span.
        span: Bars that open in it.
        as_of_us: Only what was known then; None for all.
        is_revision_kept: With `as_of_us`, files written after it are taken as they are today.
    """

    lake: Lake
    venue: VenueId
    underlying: str
    timeframe: Timeframe
    days: Sequence[dt.date]
    span: Span
    as_of_us: int | None
    is_revision_kept: bool

    def rows(self) -> Rows:
        """The answer, to be read."""
        return Rows(self._lazy, lambda: plan_of(self.lake, self._items()))

    def _lazy(self) -> pl.LazyFrame:
        items = self._items()
        self._require_unrevised(items)
        frames = [scan for item in items if (scan := self.lake.scan(item)) is not None]
        rows = pl.concat(frames).filter(
            pl.col("ts_open") >= moment_of(self.span.start),
            pl.col("ts_open") < moment_of(self.span.end),
        )
        if self.as_of_us is None:
            return rows
        return rows.filter(pl.col("available_at") <= moment_of(self.as_of_us))

    def _items(self) -> list[LakeObject]:
        cells = [VenueDay(day, self.venue) for day in self.days]
        manifests = [OptionsSurfaceManifest(cell.date, cell.venue) for cell in cells]
        missing, items = Missing("options_surface"), []
        for cell, item, local in zip(cells, manifests, self.lake.fetch(manifests), strict=True):
            names: list[str] = []
            if local is not None:
                rows = self.lake.read_table(item, columns=("underlying",), local=local)
                names = (
                    [] if rows is None else rows["underlying"].unique(maintain_order=True).to_list()
                )
            wanted = [name for name in names if self.underlying in {name, name.rpartition("-")[0]}]
            if not wanted:
                missing.add(cell, "not materialized" if local is None else "no such underlying")
            items += [
                OptionsSurfaceFile(cell.date, self.timeframe, self.venue, name) for name in wanted
            ]
        missing.require_none()
        return list(items)

    def _require_unrevised(self, items: Sequence[LakeObject]) -> None:
        if self.as_of_us is None or self.is_revision_kept:
            return
        then = moment_of(self.as_of_us)
        later = written_after(self.lake, items, then)
        if any(later):
            raise NotAvailable(
                "options_surface",
                f"{sum(later)} files were written after {then.isoformat()} and have no versions, "
                "so that nobody can tell whether they are as first published",
                remedy="Ask with on_revised='keep' for what the lake has today of what could be "
                "known then",
            )


def plan_of(lake: Lake, items: Sequence[LakeObject]) -> ReadPlan:
    """What reading these objects as a whole takes."""
    footers = [read_footer(local) for local in lake.fetch(items) if local is not None]
    groups = [footer.row_group(n) for footer in footers for n in range(footer.num_row_groups)]
    return ReadPlan(
        files=len(footers),
        row_groups=len(groups),
        row_groups_skipped=0,
        rows=sum(footer.num_rows for footer in footers),
        bytes=sum(
            group.column(place).total_compressed_size
            for group in groups
            for place in range(group.num_columns)
        ),
        paths=tuple(item.path for item in items),
    )
