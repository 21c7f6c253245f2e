"""The linear status of partitioned checks against Dagster's own, and how it grows."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import StepMaterializationData
from dagster._core.instance import InstanceRef
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus,
    AssetCheckPartitionInfo,
)
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.event_log import SqliteEventLogStorage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.instance.check_states import LinearCheckState
from tickhandler_dagster.instance.storage import PlatformEventLog, PlatformInstance
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

ROOT = Path(__file__).resolve().parents[2]
START = dt.date(2024, 1, 1)
VENUES = (VenueId("binance"), VenueId("deribit"))
NAME = "complete"
CHECK = dg.AssetCheckKey(dg.AssetKey("ticks"), NAME)
GRID = build_grid(VENUES, START, START + dt.timedelta(days=1)).core
CELLS = [f"{day}|{venue}" for day in ("2024-01-01", "2024-01-02") for venue in VENUES]
STRANGERS = ["2031-01-01|binance", "2024-01-01|nobody", "2024-01-01", None]
RUNS = ["a", "b", "c"]
RUN_STATUSES = list(dg.DagsterRunStatus)


def parts(state):
    """A state without its class."""
    return state.latest_storage_id, state.subsets, state.in_progress_runs


@st.composite
def lookups(draw):
    """What a storage says at one look: at most one record per cell, and how some runs ended."""
    some = draw(st.lists(st.sampled_from(CELLS + STRANGERS), unique=True))
    ids = st.integers(1, 9)
    infos = [
        AssetCheckPartitionInfo(
            check_key=CHECK,
            partition_key=cell,
            latest_execution_status=draw(st.sampled_from(AssetCheckExecutionRecordStatus)),
            latest_planned_run_id=draw(st.sampled_from(RUNS)),
            latest_check_event_storage_id=draw(ids),
            latest_materialization_storage_id=draw(st.none() | ids),
            latest_target_materialization_storage_id=draw(st.none() | ids),
        )
        for cell in some
    ]
    ended = draw(st.dictionaries(st.sampled_from(RUNS), st.sampled_from(RUN_STATUSES)))
    return infos, ended


@given(st.lists(lookups(), min_size=1, max_size=4))
def test_every_look_gives_what_dagster_gives_whatever_was_known_before(looks):
    theirs = AssetCheckState.empty()
    for infos, ended in looks:
        known = LinearCheckState(
            latest_storage_id=theirs.latest_storage_id,
            subsets=theirs.subsets,
            in_progress_runs=theirs.in_progress_runs,
        )
        theirs = theirs.with_updates(CHECK, GRID, infos, ended)
        assert parts(known.with_updates(CHECK, GRID, infos, ended)) == parts(theirs)


@given(lookups())
def test_a_check_without_partitions_is_as_dagster_has_it(look):
    infos, ended = look
    ours, theirs = (
        kind.empty().with_updates(CHECK, None, infos, ended)
        for kind in (LinearCheckState, AssetCheckState)
    )
    assert parts(ours) == parts(theirs)


class Log:
    """A real event log on SQLite, read by our class and by Dagster's own over the same file."""

    def __init__(self, instance):
        self.instance = instance
        self.ours = instance.event_log_storage
        self.theirs = SqliteEventLogStorage(str(Path(instance.root_directory, "history", "runs")))
        self.theirs.register_instance(instance)
        self._numbers = itertools.count(1)

    def new_asset(self):
        """A key of its own, so that examples do not see each other."""
        return dg.AssetKey(f"asset_{next(self._numbers)}")

    def new_run(self):
        run = dg.DagsterRun(
            job_name="job",
            run_id=f"00000000-0000-0000-0000-{next(self._numbers):012d}",
            status=dg.DagsterRunStatus.STARTED,
        )
        self.instance.add_run(run)
        return run.run_id

    def write(self, run, kind, data):
        event = dg.DagsterEvent(kind.value, "job", event_specific_data=data)
        now = float(next(self._numbers))
        self.ours.store_event(
            dg.EventLogEntry(
                error_info=None,
                level="info",
                user_message="",
                run_id=run,
                timestamp=now,
                dagster_event=event,
            )
        )

    def materialize(self, key, cell, run):
        data = StepMaterializationData(dg.AssetMaterialization(key, partition=cell))
        self.write(run, DagsterEventType.ASSET_MATERIALIZATION, data)

    def plan(self, key, cells, run):
        data = AssetCheckEvaluationPlanned(
            asset_key=key, check_name=NAME, partitions_subset=DefaultPartitionsSubset(set(cells))
        )
        self.write(run, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, data)

    def evaluate(self, key, cell, run, *, has_passed):
        latest = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[cell]), limit=1
        ).records
        target = latest and AssetCheckEvaluationTargetMaterializationData(
            storage_id=latest[0].storage_id, run_id=latest[0].run_id, timestamp=latest[0].timestamp
        )
        data = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=NAME,
            passed=has_passed,
            partition=cell,
            metadata={},
            target_materialization_data=target or None,
        )
        self.write(run, DagsterEventType.ASSET_CHECK_EVALUATION, data)

    def end(self, run, status):
        kinds = {
            dg.DagsterRunStatus.SUCCESS: DagsterEventType.RUN_SUCCESS,
            dg.DagsterRunStatus.FAILURE: DagsterEventType.RUN_FAILURE,
            dg.DagsterRunStatus.CANCELED: DagsterEventType.RUN_CANCELED,
        }
        event = dg.DagsterEvent(kinds[status].value, "job")
        self.instance.run_storage.handle_run_event(run, event)

    def states(self, key):
        wanted = [(dg.AssetCheckKey(key, NAME), GRID)]
        return [
            parts(storage.get_asset_check_state(wanted)[wanted[0][0]])
            for storage in (self.ours, self.theirs)
        ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "dagster.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def log(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Log(instance)


WAYS_TO_END = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
# What a run does to each of its cells: with None it goes on and is in progress at the end.
STEPS = st.sampled_from(["nothing", "materialize", "pass", "fail", "only check"])
HISTORY = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(CELLS), STEPS, min_size=1),
        st.none() | st.sampled_from(WAYS_TO_END),
    ),
    max_size=4,
)


@given(HISTORY)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_history_of_runs_both_storages_say_the_same(log, history):
    key = log.new_asset()
    for cells, ending in history:
        run = log.new_run()
        log.plan(key, cells, run)
        for cell, step in cells.items():
            if step in {"materialize", "pass", "fail"}:
                log.materialize(key, cell, run)
            if step in {"pass", "fail", "only check"}:
                log.evaluate(key, cell, run, has_passed=step != "fail")
        if ending is not None:
            log.end(run, ending)
    ours, theirs = log.states(key)
    assert ours == theirs


def test_each_status_of_the_page_is_reached(log):
    key = log.new_asset()
    good, bad, skipped, broken = CELLS
    done, failed, going = log.new_run(), log.new_run(), log.new_run()
    log.plan(key, [good, bad, skipped], done)
    log.plan(key, [broken], failed)
    for cell in (good, bad):
        log.materialize(key, cell, done)
        log.evaluate(key, cell, done, has_passed=cell == good)
    log.end(done, dg.DagsterRunStatus.SUCCESS)
    log.end(failed, dg.DagsterRunStatus.FAILURE)
    ours, theirs = log.states(key)
    reached = {
        status.value: sorted(map(str, subset.subset_value.get_partition_keys()))
        for status, subset in ours[1].items()
    }
    assert ours == theirs
    assert reached == {
        "SUCCEEDED": [good],
        "FAILED": [bad],
        "SKIPPED": [skipped],
        "EXECUTION_FAILED": [broken],
        "IN_PROGRESS": [],
    }
    log.materialize(key, good, going)
    log.plan(key, [bad], going)
    ours, theirs = log.states(key)
    assert ours == theirs
    statuses = {status.value: subset.size for status, subset in ours[1].items()}
    assert (statuses["SUCCEEDED"], statuses["FAILED"], statuses["IN_PROGRESS"]) == (0, 0, 1)


def cells_copied(kind, days, monkeypatch):
    """How many cells are put into sets of cells while a check of so many days is worked out."""
    copied = 0
    make = DefaultPartitionsSubset.__new__

    def counted(cls, subset=None):
        nonlocal copied
        copied += len(subset or ())
        return make(cls, subset)

    definition = build_grid(VENUES, START, START + dt.timedelta(days=days - 1)).core
    infos = [
        AssetCheckPartitionInfo(
            check_key=CHECK,
            partition_key=str(VenueDay(START + dt.timedelta(days=day), venue)),
            latest_execution_status=tuple(AssetCheckExecutionRecordStatus)[day % 3],
            latest_planned_run_id=f"run {day}",
            latest_check_event_storage_id=2,
            latest_materialization_storage_id=1,
            latest_target_materialization_storage_id=1,
        )
        for day in range(days)
        for venue in VENUES
    ]
    ended = {f"run {day}": WAYS_TO_END[day % 2] for day in range(days)}
    with monkeypatch.context() as patched:
        patched.setattr(DefaultPartitionsSubset, "__new__", counted)
        kind.empty().with_updates(CHECK, definition, infos, ended)
    return copied


def test_the_work_grows_with_the_cells_and_dagsters_own_with_their_square(monkeypatch):
    ours, theirs = (
        [cells_copied(kind, days, monkeypatch) for days in (60, 120)]
        for kind in (LinearCheckState, AssetCheckState)
    )
    assert ours[0] <= 3 * 60 * len(VENUES)
    assert ours[1] == 2 * ours[0]
    # If this fails, Dagster has become linear itself: this package can go.
    assert theirs[1] > 3 * theirs[0]


def test_the_projects_dagster_yaml_needs_no_path_and_reaches_every_process(home, log):
    assert isinstance(log.instance, PlatformInstance)
    assert isinstance(log.ours, PlatformEventLog)
    assert Path(home, "history", "runs", "index.db").is_file()
    # Runs and the page's code server are given the instance as this text.
    sent = InstanceRef.from_dict(log.instance.get_ref().to_dict())
    with dg.DagsterInstance.from_ref(sent) as other:
        assert isinstance(other.event_log_storage, PlatformEventLog)
        assert other.root_directory == log.instance.root_directory


def test_a_storage_named_by_the_user_is_left_as_it_is(tmp_path):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    with Path(tmp_path, "dagster.yaml").open("a", encoding="utf-8") as text:
        text.write(f"\nstorage:\n  sqlite:\n    base_dir: {elsewhere}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
    assert Path(elsewhere, "history", "runs", "index.db").is_file()


def test_parts_of_a_storage_named_by_the_user_keep_our_event_log(tmp_path):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with Path(tmp_path, "dagster.yaml").open("a", encoding="utf-8") as text:
        text.write(
            "\nschedule_storage:\n  module: dagster._core.storage.schedules\n"
            f"  class: SqliteScheduleStorage\n  config: {{base_dir: {tmp_path / 'elsewhere'}}}\n"
        )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.event_log_storage, PlatformEventLog)
    assert Path(tmp_path, "history", "runs", "index.db").is_file()
