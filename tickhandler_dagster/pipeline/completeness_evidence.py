"""Proofs behind a report: the holes of its cells and the rules that were broken.

What belongs here: reading both for what a page shows, with a budget of objects. What does not:
finding them (`tick_audits.py` and the other looks at stored data).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.paths import FindingsFile, TickGapsFile
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, findings_frame
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, gaps_frame
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan, read_all, stored_objects

MAX_GAP_OBJECTS = 4_000
MAX_FINDINGS_OBJECTS = 20_000
MAX_HOLES = 50_000

_OBJECTS_AT_ONCE = 500

_T = TypeVar("_T")


def read_holes(lake: Lake, cells: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Holes of cells, and how many cells of these were left out.

    Args:
        lake: Where they are.
        cells: Columns date, venue, data_type, gap_us; the cells with the most lost time are read.
    """
    order = cells.sort(
        "gap_us", "date", "venue", "data_type", descending=[True, True, False, False]
    )
    wanted = [
        TickGapsFile(day, DataType(data_type), VenueId(venue))
        for day, venue, data_type in order.select("date", "venue", "data_type")
        .head(MAX_GAP_OBJECTS)
        .iter_rows()
    ]
    sizes = lake.sizes(wanted)
    stored = [item for item, size in zip(wanted, sizes, strict=True) if size is not None]
    frames, holes, read = [gaps_frame([])], 0, 0
    for some in _portions(stored):
        frames.append(read_all(lake, some, GAPS_TABLE.names))
        holes, read = holes + frames[-1].height, read + len(some)
        if holes >= MAX_HOLES:
            break
    unread = len(stored) - read
    return pl.concat(frames).sort(GAPS_TABLE.key), cells.height - len(wanted) + unread


def read_broken_rules(lake: Lake, span: ReportSpan) -> tuple[pl.DataFrame, int]:
    """Broken rules of the span added up, and how many of the oldest objects were left out.

    Shape:
        rule, source, venues, instruments, days, rows, of_rows, and last_day, last_instrument_key
        and last_sample of the latest finding; ordered by rule and source.
    """
    found = [
        item
        for item in stored_objects(lake, FindingsFile, span)
        if isinstance(item, FindingsFile) and _is_wanted(item, span)
    ]
    newest = sorted(found, key=lambda item: item.path, reverse=True)[:MAX_FINDINGS_OBJECTS]
    frames = [findings_frame([])]
    frames += [_per_day(read_all(lake, some, FINDINGS_TABLE.names)) for some in _portions(newest)]
    return _added_up(pl.concat(frames, how="diagonal")), len(found) - len(newest)


def _is_wanted(item: FindingsFile, span: ReportSpan) -> bool:
    """A data type that was asked for, or what is no data type: bars, universes, comparisons."""
    return item.name not in set(DataType) or item.name in set(span.data_types)


def _per_day(findings: pl.DataFrame) -> pl.DataFrame:
    """Findings without the long texts that no page shows: only each group's latest sample stays."""
    is_latest = pl.struct("date", "venue", "instrument_key").rank("ordinal").over("rule", "source")
    latest = is_latest == pl.len().over("rule", "source")
    return findings.with_columns(
        pl.when(latest).then("sample").otherwise(pl.lit("")).alias("sample")
    )


def _added_up(findings: pl.DataFrame) -> pl.DataFrame:
    ordered = findings.sort("rule", "source", "date", "venue", "instrument_key")
    return ordered.group_by("rule", "source", maintain_order=True).agg(
        pl.col("venue").n_unique().alias("venues"),
        pl.col("instrument_key").n_unique().alias("instruments"),
        pl.col("date").n_unique().alias("days"),
        pl.col("rows").sum(),
        pl.col("of_rows").sum(),
        pl.col("date").last().alias("last_day"),
        pl.col("instrument_key").last().alias("last_instrument_key"),
        pl.col("sample").last().alias("last_sample"),
    )


def _portions(items: Sequence[_T]) -> Iterator[list[_T]]:
    remaining = iter(items)
    while some := list(islice(remaining, _OBJECTS_AT_ONCE)):
        yield some
