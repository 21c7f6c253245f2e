"""Rows and instruments of a cell against those of the days before, from manifests alone.

What belongs here: which manifests and universes are read, and what is not judged. What does not:
the bounds (`market/audits/counts.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tickhandler_dagster.market.audits.counts import (
    FACTOR,
    TOTAL_FACTOR,
    UnusualCount,
    listing_changes,
    reference_days,
    unusual_count,
    without_terms,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instrument_key import InstrumentKey
from tickhandler_dagster.market.paths import InstrumentsFile, RawManifest
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.findings_files import write_findings

if TYPE_CHECKING:
    import polars as pl

    from tickhandler_dagster.adapters.lake import Lake

COUNTS = "counts"
INSTRUMENTS = "instruments"

_COUNTED = (DataState.PRESENT.value, DataState.EMPTY.value)
"""States in which the number of rows is known; what is missing is completeness' to say."""

Rows = Mapping[str, int]
"""Rows by instrument key."""


def audit_counts(lake: Lake, cell: VenueDay) -> list[Finding]:
    """Hold the cell's rows and instruments against earlier days, and store what is unusual.

    Writes the findings tables `counts` (their source is the data type) and `instruments`. Reads
    manifests of up to eleven days and two universes, never a tick. What speaks of a whole venue has
    the venue's name in place of an instrument key.

    Raises:
        CorruptData: a manifest or a universe cannot be read.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    universe = lake.read_table(InstrumentsFile(cell.date, cell.venue))
    counts = [
        finding
        for data_type in sorted(VENUES[cell.venue].data_types)
        for finding in _unusual_rows(lake, cell, data_type, universe)
    ]
    listed = [] if universe is None else list(_unusual_listing(lake, cell, universe))
    write_findings(lake, cell, COUNTS, counts)
    write_findings(lake, cell, INSTRUMENTS, listed)
    return [*counts, *listed]


def _unusual_rows(
    lake: Lake, cell: VenueDay, data_type: DataType, universe: pl.DataFrame | None
) -> Iterator[Finding]:
    today = _rows(lake, cell, data_type)
    if not today:
        return
    week, weekdays = reference_days(cell.date)
    earlier = {
        day: rows
        for day in sorted({*week, *weekdays})
        if (rows := _rows(lake, VenueDay(day, cell.venue), data_type))
    }
    total = unusual_count(cell.date, today, earlier, factor=TOTAL_FACTOR)
    if total is not None:
        yield _row_finding(cell, data_type, VENUES[cell.venue].key_name, total)
    ending = _ending(universe, cell.date)
    for key, count in today.items():
        if key in ending or InstrumentKey.parse(key).type.is_dated:
            continue
        own = {day: {key: before[key]} for day, before in earlier.items() if key in before}
        unusual = unusual_count(cell.date, {key: count}, own, factor=FACTOR)
        if unusual is not None:
            yield _row_finding(cell, data_type, key, unusual)


def _rows(lake: Lake, cell: VenueDay, data_type: DataType) -> dict[str, int]:
    """Rows as the vendor sent them: what quarantine takes has rules of its own."""
    manifest = lake.read_table(
        RawManifest(cell.date, data_type, cell.venue),
        columns=["instrument_key", "state", "source_rows"],
    )
    if manifest is None:
        return {}
    return {key: rows for key, state, rows in manifest.iter_rows() if state in _COUNTED}


def _ending(universe: pl.DataFrame | None, date: dt.date) -> set[str]:
    """Instruments whose data ends on the day: a part of a day is not a whole one."""
    if universe is None:
        return set()
    ends = universe.filter(universe["available_to"].dt.date() <= date + dt.timedelta(days=1))
    return set(ends["instrument_key"])


def _row_finding(cell: VenueDay, data_type: DataType, key: str, unusual: UnusualCount) -> Finding:
    return Finding(
        date=cell.date,
        venue=cell.venue,
        source=data_type.value,
        instrument_key=key,
        rule=RuleName.UNUSUAL_ROW_COUNT,
        rows=unusual.rows,
        of_rows=unusual.rows,
        sample=unusual.text,
    )


def _unusual_listing(lake: Lake, cell: VenueDay, universe: pl.DataFrame) -> Iterator[Finding]:
    before = lake.read_table(InstrumentsFile(cell.date - dt.timedelta(days=1), cell.venue))
    if before is not None:
        name = VENUES[cell.venue].key_name
        changes = listing_changes(universe, before)
        if changes:
            yield Finding(
                date=cell.date,
                venue=cell.venue,
                source=INSTRUMENTS,
                instrument_key=name,
                rule=RuleName.UNUSUAL_INSTRUMENT_COUNT,
                rows=sum(abs(change.listed - change.before) for change in changes),
                of_rows=universe.height,
                sample="; ".join(change.text for change in changes),
            )
    for key in without_terms(universe):
        yield Finding(
            date=cell.date,
            venue=cell.venue,
            source=INSTRUMENTS,
            instrument_key=key,
            rule=RuleName.NO_CONTRACT_TERMS,
            rows=1,
            of_rows=1,
            sample="neither the vendor's instruments reply nor a rule of the venue has its terms",
        )
