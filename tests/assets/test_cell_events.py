"""Every cell gets its own materialization and its own check evaluations, alone or in a range."""

import datetime as dt
import warnings

import dagster as dg
import pytest

from tickhandler_dagster.assets.events import CellOutcome, emit
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, KeyLocked, RateLimited
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid, cells_of

UP, DOWN = dg.AssetKey("up"), dg.AssetKey("down")
DAYS = ["2024-08-08", "2024-08-09", "2024-08-10"]
RANGE = (f"{DAYS[0]}|binance", f"{DAYS[2]}|binance")
CHECK = dg.AssetCheckKey(UP, "complete")


def _outcome(number, *, has_passed=True, verdict=None, **more):
    metadata = {"n": dg.MetadataValue.int(number)}
    checks = (CheckOutcome(CheckName.COMPLETE, has_passed, metadata, verdict),)
    return CellOutcome({"n": dg.MetadataValue.int(number)}, f"v{number}", checks=checks, **more)


def _run(work, *, partition=None, span=None):
    """Run `up` (with the work) and `down` for a partition or a span on a real instance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid = build_grid([VenueId.BINANCE, VenueId.UPBIT], dt.date(2024, 8, 1))

        @dg.asset(
            key=UP,
            partitions_def=grid.core,
            backfill_policy=dg.BackfillPolicy.single_run(),
            check_specs=check_specs(UP, (CheckName.COMPLETE,), grid.core),
            output_required=False,
        )
        def up(context: dg.AssetExecutionContext):
            yield from emit(context, cells_of(context), work)

        @dg.asset(
            key=DOWN,
            deps=[UP],
            partitions_def=grid.core,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def down() -> None: ...

        defs = dg.Definitions([up, down], executor=dg.in_process_executor)
        job = defs.get_repository_def().get_implicit_job_def_for_assets([UP, DOWN])
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    tags = dict(zip(ends, span, strict=True)) if span else {}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key=partition, tags=tags, raise_on_error=False
        )
        return _Seen(instance, result)


class _Seen:
    def __init__(self, instance, result):
        self.is_success = result.success
        self.materialized = {key: instance.get_materialized_partitions(key) for key in (UP, DOWN)}
        self.numbers = {}
        for partition in sorted(self.materialized[UP]):
            record = instance.fetch_materializations(
                dg.AssetRecordsFilter(UP, asset_partitions=[partition]), limit=1
            ).records[0]
            self.numbers[partition] = record.asset_materialization.metadata["n"].value
        history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=50)
        self.checks, self.severities = {}, {}
        for record in reversed(history):
            evaluation = record.event.dagster_event.event_specific_data if record.event else None
            if isinstance(evaluation, dg.AssetCheckEvaluation):
                self.severities[evaluation.partition] = evaluation.severity.value
            if isinstance(evaluation, dg.AssetCheckEvaluation) and evaluation.partition:
                self.checks[evaluation.partition] = evaluation.passed
        failures = [event for event in result.all_events if event.is_step_failure]
        self.reason = (
            failures[0].step_failure_data.user_failure_data.description if failures else ""
        )
        self.retries = sum(event.is_step_up_for_retry for event in result.all_events)


def _cells():
    return [f"{day}|binance" for day in DAYS]


def test_one_cell_is_materialized_checked_and_followed():
    seen = _run(lambda cell: {UP: _outcome(cell.date.day)}, partition=_cells()[0])
    assert seen.is_success
    assert seen.materialized == {UP: {_cells()[0]}, DOWN: {_cells()[0]}}
    assert seen.checks == {_cells()[0]: True}


def test_a_failed_warning_colours_the_check_and_stops_nothing():
    seen = _run(lambda _: {UP: _outcome(1, has_passed=False)}, partition=_cells()[0])
    assert seen.is_success
    assert seen.materialized[DOWN] == {_cells()[0]}
    assert seen.checks == {_cells()[0]: False}


def test_an_error_of_the_policy_has_its_severity_and_stops_nothing_either():
    seen = _run(
        lambda _: {UP: _outcome(1, has_passed=False, verdict=Verdict.ERROR)}, partition=_cells()[0]
    )
    assert seen.is_success
    assert seen.materialized[DOWN] == {_cells()[0]}
    assert seen.severities == {_cells()[0]: "ERROR"}


def test_in_a_range_every_cell_has_its_severity_and_the_range_the_worst():
    verdicts = {8: Verdict.WARNING, 9: Verdict.ERROR, 10: Verdict.IGNORE}

    def work(cell):
        verdict = verdicts[cell.date.day]
        return {UP: _outcome(1, has_passed=verdict is Verdict.IGNORE, verdict=verdict)}

    seen = _run(work, span=RANGE)
    assert seen.is_success
    assert [seen.severities[cell] for cell in _cells()[:2]] == ["WARN", "ERROR"]
    assert seen.severities[None] == "ERROR"
    assert seen.checks == dict(zip(_cells(), (False, False, True), strict=True))


def test_nothing_there_is_not_materialized_and_not_followed():
    seen = _run(
        lambda _: {UP: _outcome(1, has_passed=False, has_data=False)}, partition=_cells()[0]
    )
    assert seen.is_success
    assert seen.materialized == {UP: set(), DOWN: set()}
    assert seen.checks == {_cells()[0]: False}


def test_a_problem_fails_the_run_after_its_check_is_recorded():
    problem = CorruptData("file", "is broken", remedy="Mend it")
    outcome = _outcome(1, has_passed=False, has_data=False, problem=problem)
    seen = _run(lambda _: {UP: outcome}, partition=_cells()[0])
    assert not seen.is_success
    assert seen.reason == "file: is broken. Mend it."
    assert seen.checks == {_cells()[0]: False}


def test_a_transient_error_is_tried_again_and_heals():
    calls = []

    def work(cell):
        calls.append(cell)
        if len(calls) == 1:
            raise RateLimited("vendor", "is busy", remedy="Wait", retry_after_s=0)
        return {UP: _outcome(1)}

    seen = _run(work, partition=_cells()[0])
    assert seen.is_success
    assert (seen.retries, len(calls)) == (1, 2)


def test_each_cell_of_a_range_has_its_own_metadata_and_check():
    seen = _run(
        lambda cell: {UP: _outcome(cell.date.day, has_passed=cell.date.day != 9)}, span=RANGE
    )
    assert seen.is_success
    assert seen.numbers == dict(zip(_cells(), [8, 9, 10], strict=True))
    assert seen.checks == dict(zip(_cells(), [True, False, True], strict=True))
    assert seen.materialized[DOWN] == set(_cells())


def test_a_range_of_one_cell_has_its_check_on_the_cell():
    seen = _run(lambda cell: {UP: _outcome(cell.date.day)}, span=(_cells()[1], _cells()[1]))
    assert seen.is_success
    assert seen.numbers == {_cells()[1]: 9}
    assert seen.checks == {_cells()[1]: True}
    assert seen.materialized[DOWN] == {_cells()[1]}


def test_a_range_with_a_hole_colours_only_what_is_there():
    seen = _run(
        lambda cell: {UP: _outcome(1, has_data=cell.date.day != 9, has_passed=cell.date.day != 9)},
        span=RANGE,
    )
    assert seen.is_success
    assert seen.materialized[UP] == {_cells()[0], _cells()[2]}
    assert seen.checks == dict(zip(_cells(), [True, False, True], strict=True))


def test_a_failed_cell_does_not_stop_the_others_of_its_range():
    def work(cell):
        if cell.date.day == 9:
            raise CorruptData("file of the 9th", "is broken", remedy="Mend it")
        return {UP: _outcome(cell.date.day)}

    seen = _run(work, span=RANGE)
    assert not seen.is_success
    assert seen.materialized == {UP: {_cells()[0], _cells()[2]}, DOWN: set()}
    assert "1 of 3 cells failed" in seen.reason
    assert "2024-08-09|binance: file of the 9th: is broken." in seen.reason


def test_a_locked_key_ends_the_range_at_once():
    asked = []

    def work(cell):
        asked.append(cell.date.day)
        if cell.date.day == 9:
            raise KeyLocked("key", "is in use", remedy="Wait", retry_after_s=5_000)
        return {UP: _outcome(cell.date.day)}

    seen = _run(work, span=RANGE)
    assert asked == [8, 9]
    assert seen.materialized[UP] == {_cells()[0]}
    assert not seen.is_success


def test_finished_cells_keep_their_colour_when_the_run_is_interrupted():
    def work(cell):
        if cell.date.day == 10:
            raise KeyboardInterrupt
        return {UP: _outcome(cell.date.day)}

    recorded = []

    class Recorder:
        has_partition_key = False
        log = type("Log", (), {"info": staticmethod(print), "warning": staticmethod(print)})
        instance = dg.DagsterInstance.ephemeral()

        @staticmethod
        def log_event(event):
            recorded.append(event)

    with pytest.raises(KeyboardInterrupt):
        list(emit(Recorder(), [VenueDay.parse(cell) for cell in _cells()], work))
    materialized = [
        event.partition for event in recorded if isinstance(event, dg.AssetMaterialization)
    ]
    assert materialized == _cells()[:2]
