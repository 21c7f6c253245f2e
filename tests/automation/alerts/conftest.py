"""A small platform of two assets whose work a test decides, and an instance that records it."""

import datetime as dt
import time
import warnings

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from tickhandler_dagster.assets.events import CellOutcome, emit
from tickhandler_dagster.assets.raw_ticks import FILES_FETCHED
from tickhandler_dagster.automation.alert_watch import Watch, look
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid, cells_of

RAW, CANDLES = dg.AssetKey(["raw_ticks", "trades"]), dg.AssetKey(["candles", "1m"])
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
LATER_US = 60_000_000


def now_us():
    return time.time_ns() // 1_000


class Bench:
    """`raw_ticks/trades` and `candles/1m` over it; `work` is what a cell's work is."""

    def __init__(self, instance, check=CheckName.COMPLETE):
        self.instance = instance
        self._check = check
        self.work = lambda _: self.outcome()
        self._watch = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            grid = build_grid([VenueId.BINANCE, VenueId.UPBIT], dt.date(2024, 8, 1))

            @dg.asset(
                key=RAW,
                partitions_def=grid.core,
                backfill_policy=dg.BackfillPolicy.single_run(),
                check_specs=check_specs(RAW, (check,), grid.core),
                output_required=False,
            )
            def raw(context: dg.AssetExecutionContext):
                outcome = lambda cell: {RAW: self.work(cell)}  # noqa: E731
                yield from emit(context, cells_of(context), outcome)

            @dg.asset(
                key=CANDLES,
                deps=[RAW],
                partitions_def=grid.core,
                backfill_policy=dg.BackfillPolicy.single_run(),
            )
            def candles() -> None: ...

            @dg.op
            def sweep():
                self.work(None)

            @dg.job
            def sweeping():
                sweep()

            defs = dg.Definitions([raw, candles], jobs=[sweeping], executor=dg.in_process_executor)
            self.assets = [raw, candles]
            self.repository = defs.get_repository_def()

    def outcome(self, *, has_passed=True, fetched=1, metadata=None, **more):
        check = CheckOutcome(self._check, has_passed, metadata or {})
        return CellOutcome(
            {FILES_FETCHED: dg.MetadataValue.int(fetched)}, "v1", checks=(check,), **more
        )

    def job(self, *keys):
        return self.repository.get_implicit_job_def_for_assets(list(keys or (RAW, CANDLES)))

    def run(self, partition=None, *, span=None, keys=()):
        return self.job(*keys).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            tags=dict(zip(ENDS, span, strict=True)) if span else {},
            asset_selection=list(keys or (RAW, CANDLES)),
            raise_on_error=False,
        )

    def run_job(self):
        job = self.repository.get_job("sweeping")
        return job.execute_in_process(instance=self.instance, raise_on_error=False)

    def planned_run(self, partition):
        """A run as the queue has it: asked for and not begun."""
        return self.instance.create_run_for_job(
            self.job(),
            tags={"dagster/partition": partition},
            asset_selection=frozenset({RAW, CANDLES}),
        )

    def evaluate(self, *evaluations, at_us=None):
        """Store evaluations, pairs of partition and whether it passed, as of a run that goes on."""
        entries = [
            self._entry(partition, has_passed, now_us() if at_us is None else at_us)
            for partition, has_passed in evaluations
        ]
        storage = self.instance.event_log_storage
        if len(entries) == 1:
            self.instance.store_event(entries[0])
        else:  # one by one they take two milliseconds each
            with storage.index_connection() as connection:
                connection.execute(storage.prepare_insert_event_batch(entries))

    @staticmethod
    def _entry(partition, has_passed, at_us):
        evaluation = dg.AssetCheckEvaluation(
            asset_key=RAW,
            check_name="complete",
            passed=has_passed,
            metadata={},
            partition=partition,
        )
        event = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name="job",
            event_specific_data=evaluation,
        )
        return dg.EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id="unfinished",
            timestamp=at_us / 1e6,
            job_name="job",
            dagster_event=event,
        )

    def signals(self):
        """What was seen since the last call, or since the beginning."""
        watch, seen = self._watch or Watch(cursor=-1), []
        while True:
            step = look(self.instance, watch, now_us=now_us() + LATER_US)
            seen += step.signals
            watch = step.watch
            if step.is_last:
                self._watch = Watch.of(watch.record)
                return seen

    def seen(self, *kinds):
        """Kind, subject and whether it is bad, of the kinds that are asked for."""
        return [
            (signal.subject, signal.is_bad) for signal in self.signals() if signal.kind in kinds
        ]


@pytest.fixture
def bench():
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(instance)


@pytest.fixture
def blocking_bench():
    """The same with a check that fails the step."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(instance, CheckName.SCHEMA_HOLDS)


@pytest.fixture
def sqlite_bench(tmp_path):
    """The same on files, as an installation without Postgres has it."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Bench(instance)
