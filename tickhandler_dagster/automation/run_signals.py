"""Runs that ended without what they were asked for as signals, and what heals them.

What belongs here: which cells a run owed, why it ended, and that the vendor's quota was the reason.
What does not: checks that failed (`check_signals.py`); a run can be green while its data is not.

A run that Dagster starts again by itself is not told: its successor is, should it fail too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.storage.tags import WILL_RETRY_TAG

from tickhandler_dagster.assets.raw_ticks import FAMILY, FILES_FETCHED
from tickhandler_dagster.assets.retries import ERROR_CLASS
from tickhandler_dagster.automation.event_pages import Materialized, Recorded
from tickhandler_dagster.automation.wording import cell_group, cell_name, run_path
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.errors import QuotaExhausted

VENDOR = "tardis"
_QUOTA = QuotaExhausted.__name__
_JOB = "job "
_US = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class _Cell:
    asset: str
    partition: str | None

    @property
    def name(self) -> str:
        return cell_name(self.asset, self.partition)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a step failed: our error's class where it is ours, and the first line of its text."""

    step: str
    error: str
    line: str
    is_failed_check: bool


def run_signals(instance: dg.DagsterInstance, recorded: Recorded) -> Iterator[Signal]:
    """What a failed or cancelled run says: of every cell it owed, or of the vendor's quota."""
    run = instance.get_run_by_id(recorded.entry.run_id)
    if run is None or run.tags.get(WILL_RETRY_TAG) == "true":
        return
    failures = _step_failures(instance, run.run_id)
    out_of_quota = next((one for one in failures if one.error == _QUOTA), None)
    if out_of_quota is not None:
        yield _quota_signal(recorded, out_of_quota.line)
        return
    is_cancelled = recorded.event.event_type is DagsterEventType.RUN_CANCELED
    reason = "it was cancelled" if is_cancelled else _reason(recorded, failures)
    planned = _planned(instance, run.run_id)
    owed: list[_Cell | None] = [*_owed(instance, run.run_id, planned, failures)]
    for cell in owed if planned else [None]:
        yield _failed(run, recorded, cell, reason, is_cancelled=is_cancelled)


def success_signals(
    instance: dg.DagsterInstance, recorded: Recorded, *, quota_since_us: int | None
) -> Iterator[Signal]:
    """What a run that succeeded heals: its job, and the quota where it fetched since it ran out."""
    run = instance.get_run_record_by_id(recorded.entry.run_id)
    if run is None:
        return
    yield _healed(
        IncidentKind.FAILED_RUN, _job_subject(run.dagster_run.job_name), recorded, "succeeded"
    )
    has_started_since = (
        quota_since_us is not None
        and run.start_time is not None
        and round(run.start_time * _US) >= quota_since_us
    )
    if has_started_since and _has_fetched(instance, recorded.entry.run_id):
        yield _healed(IncidentKind.EXHAUSTED_QUOTA, VENDOR, recorded, "the vendor serves again")


def materialization_signal(item: Materialized) -> Signal:
    """A cell that is there now is owed no more."""
    cell = _Cell(item.asset_key.to_user_string(), item.partition)
    return Signal(
        kind=IncidentKind.FAILED_RUN,
        subject=_cell_subject(cell),
        is_bad=False,
        urgency=Urgency.ERROR,
        group=cell_group("runs", cell.partition),
        at_us=item.at_us,
        summary=f"{cell.name}: materialized.",
        details={"run": item.run_id},
        link=run_path(item.run_id),
    )


def _failed(
    run: dg.DagsterRun, recorded: Recorded, cell: _Cell | None, reason: str, *, is_cancelled: bool
) -> Signal:
    name = cell.name if cell else f"job {run.job_name}"
    return Signal(
        kind=IncidentKind.FAILED_RUN,
        subject=_cell_subject(cell) if cell else _job_subject(run.job_name),
        is_bad=True,
        urgency=Urgency.WARNING if is_cancelled else Urgency.ERROR,
        group=cell_group("runs", cell.partition if cell else None),
        at_us=recorded.at_us,
        summary=f"{name}: the run ended without it: {reason}",
        details={"run": run.run_id, "job": run.job_name},
        link=run_path(run.run_id),
    )


def _quota_signal(recorded: Recorded, line: str) -> Signal:
    return Signal(
        kind=IncidentKind.EXHAUSTED_QUOTA,
        subject=VENDOR,
        is_bad=True,
        urgency=Urgency.ERROR,
        group=VENDOR,
        at_us=recorded.at_us,
        summary=f"{VENDOR}: the quota is used up: {line}",
        details={"run": recorded.entry.run_id},
        link=run_path(recorded.entry.run_id),
    )


def _healed(kind: IncidentKind, subject: str, recorded: Recorded, what: str) -> Signal:
    return Signal(
        kind=kind,
        subject=subject,
        is_bad=False,
        urgency=Urgency.ERROR,
        group=VENDOR if kind is IncidentKind.EXHAUSTED_QUOTA else cell_group("runs", None),
        at_us=recorded.at_us,
        summary=f"{subject}: {what}.",
        details={"run": recorded.entry.run_id},
        link=run_path(recorded.entry.run_id),
    )


def _cell_subject(cell: _Cell) -> str:
    return f"run of {cell.name}"


def _job_subject(job: str) -> str:
    return f"{_JOB}{job}"


def job_of(signal: Signal) -> str | None:
    """The job that the signal is about; None where it is about a cell."""
    is_about_job = signal.kind is IncidentKind.FAILED_RUN and signal.subject.startswith(_JOB)
    return signal.subject.removeprefix(_JOB) if is_about_job else None


def _reason(recorded: Recorded, failures: Sequence[_Failure]) -> str:
    if failures:
        return f"step {failures[0].step}: {failures[0].line}"
    data = recorded.event.event_specific_data
    error = getattr(data, "error", None)
    return _first_line(error.message if error else recorded.event.message or recorded.entry.message)


def _first_line(text: str | None) -> str:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[0] if lines else "no reason is recorded"


def _step_failures(instance: dg.DagsterInstance, run_id: str) -> list[_Failure]:
    found = []
    for record in instance.get_records_for_run(
        run_id, of_type=DagsterEventType.STEP_FAILURE
    ).records:
        event = record.event_log_entry.get_dagster_event()
        data = event.step_failure_data
        user, error = data.user_failure_data, data.error
        metadata = user.metadata if user else {}
        said = metadata.get(ERROR_CLASS)
        while error is not None and error.cause is not None:
            error = error.cause
        found.append(
            _Failure(
                step=event.step_key or "",
                error=str(said.value) if said else (error.cls_name or "") if error else "",
                line=_first_line(
                    (user.description if user else None) or (error.message if error else None)
                ),
                is_failed_check=bool(
                    error and error.cls_name == DagsterAssetCheckFailedError.__name__
                ),
            )
        )
    return found


def _planned(instance: dg.DagsterInstance, run_id: str) -> dict[_Cell, int]:
    """The cells a run was asked for, each with the place in the log at which it was."""
    found = instance.get_asset_event_summary_records(
        event_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED, run_id=run_id
    )
    return {_Cell(row.asset_key.to_user_string(), row.partition): row.storage_id for row in found}


def _owed(
    instance: dg.DagsterInstance,
    run_id: str,
    planned: Mapping[_Cell, int],
    failures: Sequence[_Failure],
) -> list[_Cell]:
    """Cells that no run made since they were planned; where all were made, those of failed steps.

    A run whose process died is found out minutes later, when another may have done its work. A
    step that failed for a blocking check is told as that check.
    """
    made = _cells(instance, run_id, DagsterEventType.ASSET_MATERIALIZATION)
    there = _made_since(instance, planned)
    owed = planned.keys() - made.keys() - there
    if not owed:
        steps = {one.step for one in failures if not one.is_failed_check}
        owed = {cell for cell, step in made.items() if step in steps}
    return sorted(owed, key=lambda cell: cell.name)


def _made_since(instance: dg.DagsterInstance, planned: Mapping[_Cell, int]) -> set[_Cell]:
    there: set[_Cell] = set()
    for asset in {cell.asset for cell in planned}:
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey.from_user_string(asset),
            DagsterEventType.ASSET_MATERIALIZATION,
            partitions={cell.partition or "" for cell in planned if cell.asset == asset},
        )
        cells = ((_Cell(asset, partition), made) for partition, made in latest.items())
        there |= {cell for cell, made in cells if made > planned[cell]}
    return there


def _cells(
    instance: dg.DagsterInstance, run_id: str, kind: DagsterEventType
) -> dict[_Cell, str | None]:
    cells = {}
    for record in instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.get_dagster_event()
        if event.asset_key is not None:
            cells[_Cell(event.asset_key.to_user_string(), event.partition)] = event.step_key
    return cells


def _has_fetched(instance: dg.DagsterInstance, run_id: str) -> bool:
    for record in instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
    ).records:
        event = record.event_log_entry.get_dagster_event()
        if event.asset_key is None or event.asset_key.path[0] != FAMILY:
            continue
        fetched = event.step_materialization_data.materialization.metadata.get(FILES_FETCHED)
        if isinstance(fetched, dg.IntMetadataValue) and (fetched.value or 0) > 0:
            return True
    return False
