"""Holes in an instrument's ticks, from everything that tells of one.

What belongs here: evidence made into gaps and findings: numbers, snapshots, silences, incidents.
What does not: finding the evidence (the auditors, `silences.py`), and gaps in bars (`market/bars`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.quality.audit_limits import MIN_LOST_ID_GAP_US, MIN_SILENCE_S
from tickhandler_dagster.market.quality.broken_rows import (
    FileSubject,
    clock_text,
    duration_text,
    moment,
)
from tickhandler_dagster.market.quality.findings import SAMPLE_SIZE, Finding
from tickhandler_dagster.market.quality.gaps import Gap, GapKind
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.silences import RowSpan, Silence
from tickhandler_dagster.market.quality.trade_numbers import NumberHole, TradeNumbers

OVER_MIDNIGHT = "over midnight: "
"""How the evidence of a hole begins that two files prove together; it is taken anew each time."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Time of the day for which the vendor reports missing data; microseconds, half-open."""

    start_us: int
    end_us: int
    details: str


def number_gaps(subject: FileSubject, numbers: TradeNumbers | None) -> Iterator[Gap]:
    """The holes in a file's numbers that last."""
    for hole in () if numbers is None else numbers.holes:
        gap = hole_gap(subject, hole)
        if gap is not None:
            yield gap


def hole_gap(
    subject: FileSubject, hole: NumberHole, *, evidence: str = "", is_counted: bool = True
) -> Gap | None:
    """The hole as a gap; None where it is too short for one.

    Args:
        subject: Whose trades.
        hole: The missing numbers.
        evidence: What the sentence begins with.
        is_counted: The lost trades are counted here and not with the day after.
    """
    if hole.end_us - hole.start_us < MIN_LOST_ID_GAP_US:
        return None
    return _gap(
        subject,
        GapKind.LOST_IDS,
        (hole.start_us + 1, hole.end_us),
        evidence=f"{evidence}{hole.lost} trade numbers between {hole.after} and {hole.before}",
        lost_trades=hole.lost if is_counted else None,
    )


def lost_finding(
    subject: FileSubject, lost: int, gaps: Iterable[Gap], *, rows: int
) -> Finding | None:
    """All missing numbers of an instrument's day, with the holes that last as a sample."""
    own = sorted(
        (gap for gap in gaps if gap.kind is GapKind.LOST_IDS and gap.lost_trades),
        key=lambda gap: gap.gap_start,
    )
    if not lost:
        return None
    shortest = MIN_LOST_ID_GAP_US / US_PER_SECOND
    return _finding(
        subject,
        RuleName.LOST_TRADE_IDS,
        own,
        rows=lost,
        of_rows=rows,
        otherwise=f"{lost} numbers missing, no hole of {shortest:g} s or more",
    )


def resnapshot_gaps(subject: FileSubject, blocks: Iterable[tuple[int, int]]) -> Iterator[Gap]:
    """From the last row before each later snapshot to the snapshot."""
    for start, end in blocks:
        if end > start + 1:
            yield _gap(
                subject,
                GapKind.RESNAPSHOT,
                (start + 1, end),
                evidence=f"the book was sent whole again at {clock_text(end)}",
            )


def outage_gaps(subject: FileSubject, outages: Iterable[Outage], span: RowSpan) -> Iterator[Gap]:
    """The reported outages inside the instrument's listing."""
    for outage in outages:
        start, end = max(outage.start_us, span.start_us), min(outage.end_us, span.end_us)
        if start < end:
            yield _gap(
                subject,
                GapKind.INCIDENT,
                (start, end),
                evidence=f"incident: {outage.details}" if outage.details else "incident",
            )


def silence_gaps(
    subject: FileSubject, kind: GapKind, found: Iterable[Silence], outages: Sequence[Outage]
) -> list[Gap]:
    """The silences that no reported outage explains."""
    gaps = []
    for silence in found:
        pause = silence.pause
        start, end = pause.exchange_start_us + 1, pause.exchange_end_us
        if start >= end or is_covered((pause.start_us, pause.end_us), outages):
            continue
        evidence = (
            f"nothing from {clock_text(pause.start_us)} to {clock_text(pause.end_us)},"
            f" {duration_text(pause.us)}; its rate explains {silence.limit_s:.1f} s"
        )
        gaps.append(_gap(subject, kind, (start, end), evidence=evidence))
    return gaps


def is_covered(span: tuple[int, int], outages: Sequence[Outage]) -> bool:
    """What the outages leave of the span is too short for a silence."""
    left, at = 0, span[0]
    for outage in sorted(outages, key=lambda outage: outage.start_us):
        left += max(min(outage.start_us, span[1]) - at, 0)
        at = max(at, min(outage.end_us, span[1]))
    left += max(span[1] - at, 0)
    return left < MIN_SILENCE_S * US_PER_SECOND


def silence_finding(
    subject: FileSubject, rule: RuleName, gaps: Sequence[Gap], *, rows: int
) -> Finding | None:
    """The silences as one finding; None where there are none."""
    if not gaps:
        return None
    return _finding(subject, rule, gaps, rows=len(gaps), of_rows=rows)


def _finding(
    subject: FileSubject,
    rule: RuleName,
    gaps: Sequence[Gap],
    *,
    rows: int,
    of_rows: int,
    otherwise: str = "",
) -> Finding:
    """A finding whose sample and times are those of gaps, in order of time."""
    return Finding(
        date=subject.date,
        venue=subject.venue,
        source=subject.data_type.value,
        instrument_key=subject.instrument_key,
        rule=rule,
        rows=rows,
        of_rows=of_rows,
        sample="; ".join(gap.evidence for gap in gaps[:SAMPLE_SIZE]) or otherwise,
        first_at=gaps[0].gap_start if gaps else None,
        last_at=gaps[-1].gap_end if gaps else None,
    )


def _gap(
    subject: FileSubject,
    kind: GapKind,
    span: tuple[int, int],
    *,
    evidence: str,
    lost_trades: int | None = None,
) -> Gap:
    return Gap(
        date=subject.date,
        venue=subject.venue,
        data_type=subject.data_type,
        instrument_key=subject.instrument_key,
        kind=kind,
        gap_start=moment(span[0]),
        gap_end=moment(span[1]),
        evidence=evidence,
        lost_trades=lost_trades,
    )
