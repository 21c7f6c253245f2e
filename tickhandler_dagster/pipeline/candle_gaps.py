"""Holes in the raw ticks of an instrument that the audits know, as spans of its day.

What belongs here: from stored gaps to spans. What does not: finding gaps (`tick_audits.py`) and
what bars make of them (`market/bars`).
"""

from __future__ import annotations

from collections.abc import Mapping

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import merged_spans
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.quality.gaps import GapKind
from tickhandler_dagster.pipeline.candle_listing import microseconds
from tickhandler_dagster.pipeline.tick_audit_files import read_gaps


class CellGaps:
    """The known holes of a cell's instruments.

    A hole over midnight, and one in rows whose exchange time is not of their file's day, stand with
    a neighbouring day: three days are read. Incidents are left out, since the catalogue of now says
    them, and a table that was written before may say others.

    Args:
        lake: Where gaps are.
        cell: Day and venue.
    """

    def __init__(self, lake: Lake, cell: VenueDay) -> None:
        self._lake = lake
        self._cell = cell
        self._day = Span(*day_span_us(cell.date))
        self._by_type: dict[DataType, Mapping[str, list[Span]]] = {}

    def of(self, data_type: DataType, key: str) -> tuple[Span, ...]:
        """The instrument's holes inside the day, disjoint and in order.

        Raises:
            CorruptData: a table of gaps is not readable.
        """
        if data_type not in self._by_type:
            self._by_type[data_type] = self._read(data_type)
        return tuple(merged_spans(self._by_type[data_type].get(key, [])))

    def _read(self, data_type: DataType) -> Mapping[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for days in (-1, 0, 1):
            for gap in read_gaps(self._lake, self._cell.shifted(days), data_type):
                if gap.kind is GapKind.INCIDENT:
                    continue
                span = Span(microseconds(gap.gap_start), microseconds(gap.gap_end))
                inside = span.clipped_to(self._day)
                if inside.start < inside.end:
                    found.setdefault(gap.instrument_key, []).append(inside)
        return found
