"""What the files of a raw partition say together, and with the catalogue and the days around.

What belongs here: from audits of files to the gaps and findings of the partition. What does not:
reading tick files (`tick_file_reading.py`) and what is kept (`tick_audits.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import QuarantinedRows
from tickhandler_dagster.market.quality.arrivals import Arrivals
from tickhandler_dagster.market.quality.audit_limits import (
    MAX_LOST_PER_TRADE,
    MIN_VENUE_INSTRUMENTS,
    NO_RATE,
)
from tickhandler_dagster.market.quality.broken_rows import FileSubject
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap, GapKind
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.silences import (
    RowSpan,
    Silence,
    silences,
    venue_arrivals,
)
from tickhandler_dagster.market.quality.tick_audit_table import TickAudit
from tickhandler_dagster.market.quality.tick_gaps import (
    OVER_MIDNIGHT,
    Outage,
    hole_gap,
    lost_finding,
    outage_gaps,
    silence_finding,
    silence_gaps,
)
from tickhandler_dagster.market.quality.trade_numbers import NumberHole
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.tick_audit_files import read_audits
from tickhandler_dagster.pipeline.tick_file_reading import AuditedFile


class CellEvidence:
    """Puts together what is known of a partition.

    Args:
        lake: Where the audits of the days around and the quarantine are.
        cell: Day and venue.
        data_type: Which type.
        subjects: The instruments of the manifest, by key.
        outages: What the vendor reports for the day.
    """

    def __init__(
        self,
        lake: Lake,
        cell: VenueDay,
        data_type: DataType,
        *,
        subjects: Mapping[str, FileSubject],
        outages: Sequence[Outage],
    ) -> None:
        self._lake = lake
        self._type = data_type
        self._day = day_span_us(cell.date)
        self._subjects = subjects
        self._outages = outages
        is_numbered = any(subject.has_dense_ids for subject in subjects.values())
        self._before, self._after = (
            _by_key(lake, cell.shifted(days), data_type) if is_numbered else {} for days in (-1, 1)
        )

    def all(
        self,
        rows: Sequence[ManifestRow],
        audited: Mapping[str, AuditedFile],
        spans: Mapping[str, RowSpan],
    ) -> tuple[list[Gap], list[Finding]]:
        """The partition's gaps and findings, each in the order of its table.

        Args:
            rows: The manifest.
            audited: What is known of each present file, by instrument key.
            spans: When rows of each instrument can come, by key.
        """
        arrivals = {key: _arrivals(found.audit) for key, found in audited.items()}
        of_venue = self._venue_silences(arrivals, spans)
        gaps: list[Gap] = []
        findings: list[Finding | None] = []
        for row in rows:
            key = row.instrument_key
            if row.state is not DataState.NOT_LISTED:
                gaps.extend(outage_gaps(self._subjects[key], self._outages, spans[key]))
            findings.append(self._conservation(row, audited.get(key)))
        for key, found in audited.items():
            gaps.extend(found.gaps)
            findings.extend(found.findings)
            for kind, rule, silent in (
                (GapKind.SILENCE, RuleName.SILENCE, self._silences(arrivals[key], spans[key])),
                (GapKind.VENUE_SILENCE, RuleName.VENUE_SILENCE, _inside(of_venue, spans[key])),
            ):
                subject = self._subjects[key]
                own = silence_gaps(subject, kind, silent, self._outages)
                gaps.extend(own)
                findings.append(silence_finding(subject, rule, own, rows=found.audit.rows))
            lost, finding = self._lost(key, found)
            gaps.extend(lost)
            findings.append(finding)
        kept = [finding for finding in findings if finding is not None]
        return _distinct(gaps), sorted(kept, key=lambda one: (one.instrument_key, one.rule))

    def _silences(self, arrivals: Arrivals, span: RowSpan) -> list[Silence]:
        if self._type in NO_RATE:
            return []
        return silences(arrivals, span, day_start_us=self._day[0])

    def _venue_silences(
        self, arrivals: Mapping[str, Arrivals], spans: Mapping[str, RowSpan]
    ) -> list[Silence]:
        alive = {key: own for key, own in arrivals.items() if own.first is not None}
        if self._type in NO_RATE or len(alive) < MIN_VENUE_INSTRUMENTS:
            return []
        own = [spans[key] for key in alive]
        span = RowSpan(
            min(one.start_us for one in own),
            max(one.end_us for one in own),
            any(one.is_start_known for one in own),
            any(one.is_end_known for one in own),
        )
        day_start = self._day[0]
        return silences(
            venue_arrivals(list(alive.values()), day_start), span, day_start_us=day_start
        )

    def _lost(self, key: str, found: AuditedFile) -> tuple[list[Gap], Finding | None]:
        """Holes over midnight, and all lost numbers as one finding.

        A hole between two days is told by both of them, whichever is audited last, and counted by
        the later one.
        """
        subject, own = self._subjects[key], found.audit
        start = _hole(self._before.get(key), own)
        end = _hole(own, self._after.get(key))
        gaps = [
            gap
            for hole, is_counted in ((start, True), (end, False))
            if hole is not None
            and (gap := hole_gap(subject, hole, evidence=OVER_MIDNIGHT, is_counted=is_counted))
        ]
        lost = (own.lost_trades or 0) + (0 if start is None else start.lost)
        return gaps, lost_finding(subject, lost, [*found.gaps, *gaps], rows=own.rows)

    def _conservation(self, row: ManifestRow, found: AuditedFile | None) -> Finding | None:
        """Every row of the vendor's file is in the lake or in quarantine, and really is."""
        if row.state not in {DataState.PRESENT, DataState.EMPTY}:
            return None
        read = 0 if found is None else found.audit.rows
        kept_out = self._quarantined(row) if row.quarantined_rows else 0
        wrong = [
            (text, abs(was - said))
            for text, was, said in (
                ("rows and quarantined rows", row.rows + row.quarantined_rows, row.source_rows),
                ("rows in the lake", read, row.rows),
                ("rows in quarantine", kept_out, row.quarantined_rows),
            )
            if was != said
        ]
        if not wrong:
            return None
        return Finding(
            date=row.date,
            venue=row.venue,
            source=row.data_type.value,
            instrument_key=row.instrument_key,
            rule=RuleName.ROWS_NOT_CONSERVED,
            rows=sum(missing for _, missing in wrong),
            of_rows=row.source_rows,
            sample="; ".join(
                f"{text} differ by {missing} from the manifest" for text, missing in wrong
            ),
        )

    def _quarantined(self, row: ManifestRow) -> int:
        """Rows in the quarantine object, from its footer; none where it is gone."""
        item = QuarantinedRows(row.date, row.data_type, row.instrument_key)
        lazy = self._lake.scan(item)
        if lazy is None:
            return 0
        try:
            return int(lazy.select(pl.len()).collect().item())
        except pl.exceptions.ComputeError:
            return 0  # what cannot be read is not kept


def _by_key(lake: Lake, cell: VenueDay, data_type: DataType) -> dict[str, TickAudit]:
    """The audits of another day; those that cannot be read are that day's own business."""
    try:
        return {audit.instrument_key: audit for audit in read_audits(lake, cell, data_type)}
    except CorruptData:
        return {}


def _arrivals(audit: TickAudit) -> Arrivals:
    return Arrivals.from_bytes(audit.activity or bytes(10_800), audit.pauses or b"")


def _hole(before: TickAudit | None, after: TickAudit | None) -> NumberHole | None:
    """The numbers missing between two days; None where none are, or there is no telling."""
    if before is None or after is None:
        return None
    last, first = before.last_trade_id, after.first_trade_id
    if last is None or first is None or not first - last - 1 > 0:
        return None
    if first - last - 1 > MAX_LOST_PER_TRADE * (before.rows + after.rows):
        return None
    end, start = _arrivals(before).last, _arrivals(after).first
    if end is None or start is None:
        return None
    return NumberHole(last, first, end.exchange_end_us, start.exchange_start_us)


def _inside(found: Sequence[Silence], span: RowSpan) -> Iterator[Silence]:
    """The silences as far as they lie in the instrument's listing."""
    for silence in found:
        pause = silence.pause
        start, end = max(pause.start_us, span.start_us), min(pause.end_us, span.end_us)
        if start < end:
            yield dataclasses.replace(
                silence,
                pause=dataclasses.replace(
                    pause,
                    start_us=start,
                    end_us=end,
                    exchange_start_us=start,
                    exchange_end_us=end,
                ),
            )


def _distinct(gaps: Sequence[Gap]) -> list[Gap]:
    """One gap per instrument, start and kind: the longest; ordered as the table is."""
    found: dict[tuple[object, ...], Gap] = {}
    for gap in gaps:
        at = (gap.instrument_key, gap.gap_start, gap.kind)
        if at not in found or found[at].gap_end < gap.gap_end:
            found[at] = gap
    return [found[at] for at in sorted(found)]
