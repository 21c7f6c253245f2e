"""Completeness: from catalogue, manifests and audits to one state for every expected data.

What belongs here: the decision, as a pure function of what is known. What does not: reading what is
known (`pipeline/completeness.py`), the table (`completeness_table.py`) and how a state is taken
(`quality/policy.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.completeness_table import Completeness
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.holes import Holes, holes_of
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.planning import (
    ExpectedInstrument,
    expected_instruments,
    plan_raw_files,
)
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.quality.tick_audit_table import TickAudit
from tickhandler_dagster.market.quality.verdicts import subject_of, verdict_of
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.market.venues import VENUES

_NOT_WANTED = "this installation does not download it, and no run has asked for it"
_LISTED_LATER = "the partition was ingested when the universe did not list the instrument"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeEvidence:
    """What is known of one data type of a cell; rows in any order.

    Attributes:
        manifest: Rows of the ingest; None where there never was one.
        audits: What a look at the stored files found.
        gaps: Known gaps.
        findings: Broken rules.
    """

    manifest: Sequence[ManifestRow] | None = None
    audits: Sequence[TickAudit] = ()
    gaps: Sequence[Gap] = ()
    findings: Sequence[Finding] = ()


def completeness_of(
    cell: VenueDay,
    *,
    universe: pl.DataFrame,
    catalog: ExchangeCatalog,
    evidence: Mapping[DataType, TypeEvidence],
    wanted: Collection[DataType],
    policy: QualityPolicy,
) -> list[Completeness]:
    """One row for every instrument and data type that is expected or was ingested.

    Expected is what the venue can have and the universe lists. A manifest row whose instrument the
    universe no longer lists keeps its row: what is in the lake does not disappear from the table.

    Args:
        cell: Day and venue.
        universe: The day's rows of `INSTRUMENTS_TABLE`.
        catalog: What the vendor exports.
        evidence: By data type; a type that is not there was never ingested.
        wanted: Data types this installation downloads; others are not missed.
        policy: How states are taken.
    """
    rows: list[Completeness] = []
    for data_type in DataType:
        known = evidence.get(data_type, TypeEvidence())
        ingested = ingested_rows(known, policy)
        rows += ingested
        if data_type in VENUES[cell.venue].data_types:
            absent = _Absent(cell, data_type, known.manifest is not None, policy)
            keys = {row.instrument_key for row in ingested}
            rows += absent.rows(universe, catalog, keys, is_wanted=data_type in wanted)
    return sorted(rows, key=lambda row: (row.data_type, row.instrument_key))


def ingested_rows(evidence: TypeEvidence, policy: QualityPolicy) -> list[Completeness]:
    """One row for every row of the manifest, in its order; `present` with holes is `partial`."""
    gaps: dict[str, list[Gap]] = {}
    for gap in evidence.gaps:
        gaps.setdefault(gap.instrument_key, []).append(gap)
    lost = {audit.instrument_key: audit.lost_trades for audit in evidence.audits}
    findings = Counter(
        finding.instrument_key
        for finding in evidence.findings
        if verdict_of(finding, policy) is not Verdict.IGNORE
    )
    return [
        _ingested(
            row,
            holes_of(
                row.date,
                gaps.get(row.instrument_key, []),
                lost_in_file=lost.get(row.instrument_key),
            ),
            findings=findings[row.instrument_key],
            policy=policy,
        )
        for row in evidence.manifest or ()
    ]


def _ingested(
    row: ManifestRow, holes: Holes, *, findings: int, policy: QualityPolicy
) -> Completeness:
    is_partial = row.state is DataState.PRESENT and bool(holes.spans)
    state = DataState.PARTIAL if is_partial else row.state
    subject = subject_of(row.venue, row.data_type, row.instrument_key)
    start, end = holes.longest or (None, None)
    return Completeness(
        date=row.date,
        venue=row.venue,
        data_type=row.data_type,
        instrument_key=row.instrument_key,
        instrument_type=str(subject.instrument_type or ""),
        state=state,
        reason=_reason(row, state, holes),
        verdict=policy.of_state(subject, state),
        is_simulated=row.is_simulated,
        rows=row.rows,
        quarantined_rows=row.quarantined_rows,
        bytes=row.bytes,
        gaps=len(holes.spans),
        gap_us=holes.us,
        lost_trades=holes.lost_trades,
        longest_gap_start=start,
        longest_gap_end=end,
        findings=findings,
        first_timestamp=row.first_timestamp,
        last_timestamp=row.last_timestamp,
    )


def _reason(row: ManifestRow, state: DataState, holes: Holes) -> str:
    aside = f", {row.quarantined_rows:,} rows kept out" if row.quarantined_rows else ""
    if state is DataState.PARTIAL:
        return holes.sentence + aside
    if state is DataState.PRESENT:
        return f"{row.rows:,} rows verified{aside}, no hole known"
    return row.reason or STATE_MEANINGS[state]


@dataclass(frozen=True, slots=True)
class _Absent:
    """Rows of what the manifest does not speak of."""

    cell: VenueDay
    data_type: DataType
    is_ingested: bool
    policy: QualityPolicy

    def rows(
        self,
        universe: pl.DataFrame,
        catalog: ExchangeCatalog,
        known: Collection[str],
        *,
        is_wanted: bool,
    ) -> Iterator[Completeness]:
        # The plan of an ingest that starts from nothing: what it decides without asking the vendor
        # is the state, and what it would ask for nobody has asked for.
        plan = plan_raw_files(self.cell, self.data_type, universe=universe, catalog=catalog)
        decided = {row.instrument_key: row for row in plan.decided}
        for item in expected_instruments(universe, self.data_type):
            if item.instrument_key in known:
                continue
            row = decided.get(item.instrument_key)
            if row is not None:
                state, reason = row.state, row.reason or STATE_MEANINGS[row.state]
            else:
                state, reason = DataState.NOT_INGESTED, self._reason(is_wanted=is_wanted)
            yield self._row(item, state, reason, is_wanted=is_wanted)

    def _reason(self, *, is_wanted: bool) -> str:
        if self.is_ingested:
            return _LISTED_LATER
        return STATE_MEANINGS[DataState.NOT_INGESTED] if is_wanted else _NOT_WANTED

    def _row(
        self, item: ExpectedInstrument, state: DataState, reason: str, *, is_wanted: bool
    ) -> Completeness:
        subject = subject_of(self.cell.venue, self.data_type, item.instrument_key)
        # What was ingested once is kept whole, even where it is no longer downloaded.
        is_missed = is_wanted or self.is_ingested
        return Completeness(
            date=self.cell.date,
            venue=self.cell.venue,
            data_type=self.data_type,
            instrument_key=item.instrument_key,
            instrument_type=item.instrument_type,
            state=state,
            reason=reason,
            verdict=self.policy.of_state(subject, state) if is_missed else Verdict.IGNORE,
            is_simulated=item.is_simulated,
        )
