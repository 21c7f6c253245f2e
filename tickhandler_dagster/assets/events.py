"""How the outcomes of cells become Dagster events, for one cell or for a range in one run.

What belongs here: recording. Dagster gives a run over many partitions one result for all of them;
here every cell gets its own materialization and its own check evaluations. What is imported here of
Dagster's private modules is why its version is pinned exactly.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from tickhandler_dagster.assets.retries import ERROR_CLASS, as_dagster
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    KeyLocked,
    QuotaExhausted,
    TickhandlerError,
    TransientError,
)
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True)
class CellOutcome:
    """What one run did for one cell of one asset.

    Attributes:
        metadata: For the materialization.
        data_version: Changes when and only when the data changes.
        checks: Every check of the asset, evaluated.
        has_data: There is something in the lake for the cell, and the run had to do with it;
            without it no materialization is recorded.
        problem: Why there is nothing, or nothing new, where that is an error.
    """

    metadata: Mapping[str, dg.MetadataValue]
    data_version: str
    checks: Sequence[CheckOutcome] = ()
    has_data: bool = True
    problem: TickhandlerError | None = None


# A partition key as a value of ours: its text is the key.
Cell: TypeAlias = VenueDay | VenueId | dt.date
Outcomes: TypeAlias = Mapping[dg.AssetKey, CellOutcome]

CELLS_THAT_FAILED = "cells that failed"
"""Metadata that only the summary of a range has: its cells have evaluations of their own."""

NAMED_CELLS = 20
"""So many of the cells that failed are named in that summary."""

CellT = TypeVar("CellT", VenueDay, VenueId, dt.date)
Event: TypeAlias = dg.MaterializeResult[Any] | dg.AssetCheckResult


@dataclass
class _Range:
    done: dict[Cell, Outcomes] = field(default_factory=dict)
    failed: dict[Cell, TickhandlerError] = field(default_factory=dict)


def emit(
    context: dg.AssetExecutionContext, cells: Sequence[CellT], work: Callable[[CellT], Outcomes]
) -> Iterator[Event]:
    """Do the work of every cell and record it.

    Raises:
        dagster.Failure: a cell failed for good; finished cells are recorded first.
        dagster.RetryRequested: a cell failed in a way that another try can heal.
    """
    # Not by their number: a range of one cell, as a backfill makes it, is still a range to Dagster,
    # which stores the checks of such a run without a partition.
    if context.has_partition_key:
        yield from _emit_one(context, cells[0], work)
    else:
        yield from _emit_range(context, cells, work)


def _emit_one(
    context: dg.AssetExecutionContext, cell: CellT, work: Callable[[CellT], Outcomes]
) -> Iterator[Event]:
    try:
        outcomes = work(cell)
    except TickhandlerError as error:
        raise _said(context, error) from error
    for key, outcome in outcomes.items():
        checks = [_check_result(key, check) for check in outcome.checks]
        if outcome.has_data:
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=outcome.metadata,
                data_version=dg.DataVersion(outcome.data_version),
                check_results=checks,
            )
        else:
            yield from checks
    for outcome in outcomes.values():
        if outcome.problem is not None:
            raise _said(context, outcome.problem) from outcome.problem


def _emit_range(
    context: dg.AssetExecutionContext, cells: Sequence[CellT], work: Callable[[CellT], Outcomes]
) -> Iterator[Event]:
    found = _Range()
    was_stopped = True
    try:
        _work_through(context, cells, work, found)
        was_stopped = False
    finally:
        if was_stopped:  # what is in the lake keeps its colour
            _record(context, found.done)
    is_whole = not found.failed and all(
        outcome.has_data for outcomes in found.done.values() for outcome in outcomes.values()
    )
    if is_whole:
        yield from _as_outputs(context, found.done)
        _record(context, found.done, with_materializations=False)
    else:
        _record(context, found.done)
    yield from _declared_checks(found.done)
    if found.failed:
        raise _summary(context, found, len(cells))


def _work_through(
    context: dg.AssetExecutionContext,
    cells: Sequence[CellT],
    work: Callable[[CellT], Outcomes],
    found: _Range,
) -> None:
    for place, cell in enumerate(cells, start=1):
        context.log.info("%s: %d of %d cells", cell, place, len(cells))
        try:
            outcomes = work(cell)
        except TickhandlerError as error:
            found.failed[cell] = error
        else:
            found.done[cell] = outcomes
            problems = [outcome.problem for outcome in outcomes.values() if outcome.problem]
            if problems:
                found.failed[cell] = problems[0]
        if isinstance(found.failed.get(cell), KeyLocked | QuotaExhausted):
            return  # every further request of the range would meet the same lock


def _as_outputs(
    context: dg.AssetExecutionContext, done: Mapping[Cell, Outcomes]
) -> Iterator[dg.MaterializeResult[Any]]:
    """One output per asset, so that downstream steps run; metadata is each partition's own."""
    for key in _keys(done):
        for cell, outcomes in done.items():
            context.add_asset_metadata(outcomes[key].metadata, key, partition_key=str(cell))
        yield dg.MaterializeResult(asset_key=key)


def _record(
    context: dg.AssetExecutionContext,
    done: Mapping[Cell, Outcomes],
    *,
    with_materializations: bool = True,
) -> None:
    for cell, outcomes in done.items():
        for key, outcome in outcomes.items():
            if with_materializations and outcome.has_data:
                context.log_event(
                    dg.AssetMaterialization(key, partition=str(cell), metadata=outcome.metadata)
                )
            # Once for all checks of the cell: a query takes as long as storing an event.
            target = _newest(context.instance, key, cell) if outcome.checks else None
            for check in outcome.checks:
                context.log_event(_evaluation(key, cell, check, target))


def _newest(
    instance: dg.DagsterInstance, key: dg.AssetKey, cell: Cell
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The cell's newest materialization, if it has one."""
    latest = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[str(cell)]), limit=1
    ).records
    return (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=latest[0].storage_id,
            run_id=latest[0].run_id,
            timestamp=latest[0].timestamp,
        )
        if latest
        else None
    )


def _evaluation(
    key: dg.AssetKey,
    cell: Cell,
    check: CheckOutcome,
    target: AssetCheckEvaluationTargetMaterializationData | None,
) -> dg.AssetCheckEvaluation:
    """An evaluation the check's grid shows: it names the materialization it is about."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=check.name.value,
        passed=check.has_passed,
        severity=check.severity,
        metadata=check.metadata,
        partition=str(cell),
        target_materialization_data=target,
    )


def _declared_checks(done: Mapping[Cell, Outcomes]) -> Iterator[dg.AssetCheckResult]:
    """The outputs a step with checks owes Dagster: each check once, for the range as a whole."""
    for key in _keys(done):
        by_name: dict[str, dict[Cell, CheckOutcome]] = {}
        for cell, outcomes in done.items():
            for check in outcomes[key].checks:
                by_name.setdefault(check.name.value, {})[cell] = check
        for name, checks in by_name.items():
            bad = [str(cell) for cell, check in checks.items() if not check.has_passed]
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=not bad,
                severity=_worst_severity(checks.values()),
                metadata={"cells": len(checks), CELLS_THAT_FAILED: len(bad), **_named(bad)},
            )


def _named(bad: Sequence[str]) -> dict[str, str]:
    """Which cells failed: the page opens a check at the summary of its last range."""
    more = f" and {len(bad) - NAMED_CELLS:,} more" if len(bad) > NAMED_CELLS else ""
    listed = f"{', '.join(bad[:NAMED_CELLS])}{more}"
    return {"failed": f"{listed}. The tab Partitions has the list of each."} if bad else {}


def _worst_severity(checks: Iterable[CheckOutcome]) -> dg.AssetCheckSeverity:
    """Of the cells that failed: one error makes the range an error."""
    severities = [check.severity for check in checks if not check.has_passed]
    is_error = dg.AssetCheckSeverity.ERROR in severities
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


def _keys(done: Mapping[Cell, Outcomes]) -> list[dg.AssetKey]:
    return list(dict.fromkeys(key for outcomes in done.values() for key in outcomes))


def _said(
    context: dg.AssetExecutionContext, error: TickhandlerError
) -> dg.Failure | dg.RetryRequested:
    """The error as Dagster's; a wait is said aloud, or a terminal would seem to hang."""
    raised = as_dagster(error)
    if isinstance(raised, dg.RetryRequested):
        context.log.warning("%s Trying again in %.0f s.", error, raised.seconds_to_wait)
    return raised


def _summary(
    context: dg.AssetExecutionContext, found: _Range, cells: int
) -> dg.Failure | dg.RetryRequested:
    errors = list(found.failed.values())
    if all(isinstance(error, TransientError) for error in errors):
        return _said(context, errors[0])
    lines = "\n".join(f"{cell}: {error}" for cell, error in found.failed.items())
    return dg.Failure(
        description=(
            f"{len(found.failed)} of {cells} cells failed; the others are recorded and are not "
            f"done again.\n{lines}"
        ),
        # The last is the one that stopped the range, where one did.
        metadata={ERROR_CLASS: type(errors[-1]).__name__},
        allow_retries=False,
    )


def _check_result(key: dg.AssetKey, check: CheckOutcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name.value,
        passed=check.has_passed,
        severity=check.severity,
        metadata=check.metadata,
    )
