"""Which cells of an asset are there: the first look against Dagster's own, and what it leaves."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import (
    get_and_update_asset_status_cache_value,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.instance.grid_states import LinearGrid, linear_grid
from tickhandler_dagster.instance.known_cells import Verdicts
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

ROOT = Path(__file__).resolve().parents[2]
START = dt.date(2024, 1, 1)
VENUES = (VenueId("binance"), VenueId("deribit"))
GRID = build_grid(VENUES, START, START + dt.timedelta(days=2))
DAYS = ["2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "no day", ""]
NAMES = [*VENUES, "nobody", ""]
KEY = dg.AssetKey("ticks")
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
NUMBERS = itertools.count()
CELL = "2024-01-02|binance"


@pytest.fixture
def instance(tmp_path):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def ticks(failing=()):
    @dg.asset(key=KEY, partitions_def=GRID.core)
    def made(context):
        if context.partition_key in failing:
            raise ValueError(context.partition_key)

    return made


def parts(value):
    """What is said of the cells: sets of them, whatever order they are stored in."""
    subsets = (
        value.deserialize_materialized_partition_subsets(GRID.core),
        value.deserialize_failed_partition_subsets(GRID.core),
        value.deserialize_in_progress_partition_subsets(GRID.core),
    )
    return value.latest_storage_id, value.partitions_def_id, subsets


def looked(instance):
    """What the page is told."""
    context = LoadingContextForTest(instance)
    (value,) = instance.event_log_storage.get_asset_status_cache_values([(KEY, GRID.core)], context)
    return value


def looked_by_dagster(instance):
    """The same by Dagster's own definition, as if nobody had looked before."""
    instance.event_log_storage.wipe_asset_cached_status(KEY)
    return get_and_update_asset_status_cache_value(instance, KEY, GRID.core)


@given(
    st.sets(
        st.builds("{}|{}".format, st.sampled_from(DAYS), st.sampled_from(NAMES))
        | st.sampled_from(["", "|", "2024-01-01", "2024-01-01|binance|more"])
    )
)
def test_a_linear_grid_knows_the_same_cells_as_dagsters(keys):
    grid = linear_grid(GRID.core, Verdicts())
    assert isinstance(grid, LinearGrid)
    assert grid.filter_valid_partition_keys(keys) == GRID.core.filter_valid_partition_keys(keys)
    assert grid == GRID.core
    assert grid.get_serializable_unique_identifier() == (
        GRID.core.get_serializable_unique_identifier()
    )


def test_other_definitions_are_left_as_they_are():
    assert linear_grid(None, Verdicts()) is None
    assert linear_grid(GRID.days, Verdicts()) is GRID.days


def test_every_look_gives_what_dagster_gives_and_is_kept(instance):
    made = ticks(failing={"2024-01-03|deribit"})
    assert looked(instance) is None
    for cells in (["2024-01-01|binance", CELL], ["2024-01-03|deribit"], [CELL]):
        for cell in cells:
            dg.materialize([made], instance=instance, partition_key=cell, raise_on_error=False)
        first = looked(instance)
        record = instance.get_asset_records([KEY])[0]
        assert record.asset_entry.cached_status == first
        assert parts(first) == parts(looked_by_dagster(instance))
    materialized, failed, _ = parts(first)[2]
    assert set(materialized.get_partition_keys()) == {"2024-01-01|binance", CELL}
    assert set(failed.get_partition_keys()) == {"2024-01-03|deribit"}


@st.composite
def histories(draw):
    """Plans and makings of cells by two runs, in any order, and a wipe of the asset."""
    kinds = st.sampled_from([DagsterEventType.ASSET_MATERIALIZATION, PLANNED, None])
    cells = st.sampled_from([CELL, "2024-01-01|deribit", None])
    return draw(st.lists(st.tuples(kinds, cells, st.sampled_from("ab")), max_size=12))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), st.none() | st.integers(0, 8))
def test_plans_without_a_making_are_those_that_dagster_finds(instance, history, after):
    key = dg.AssetKey(["drawn", str(next(NUMBERS))])
    ours = instance.event_log_storage
    since = after and (ours.get_maximum_record_id() or 0) + after
    for kind, cell, run in history:
        if kind is None:
            ours.wipe_asset(key)
            continue
        made = dg.AssetMaterialization(key, partition=cell)
        data = (
            AssetMaterializationPlannedData(key, partition=cell)
            if kind is PLANNED
            else StepMaterializationData(made)
        )
        event = dg.DagsterEvent(kind.value, "job", event_specific_data=data)
        now = dt.datetime.now(dt.UTC).timestamp()
        ours.store_event(dg.EventLogEntry(None, "info", "", run, now, dagster_event=event))
    name = "get_latest_asset_partition_materialization_attempts_without_materializations"
    found = getattr(ours, name)(key, after_storage_id=since)
    assert found == getattr(SqliteEventLogStorage, name)(ours, key, after_storage_id=since)


def test_a_runs_file_is_whole_as_soon_as_an_event_is_stored(instance):
    """The page of a run watches this file alone: what lies beside it is not seen."""
    run = dg.materialize([ticks()], instance=instance, partition_key=CELL).run_id
    storage = instance.event_log_storage
    file = Path(storage.path_for_shard(run))
    before = file.stat().st_mtime_ns
    instance.report_engine_event("still here", job_name="any", run_id=run)
    assert file.stat().st_mtime_ns > before
    assert not file.with_name(f"{file.name}-wal").exists()


def test_an_event_log_takes_over_a_file_that_another_one_made(instance, tmp_path):
    """Engines are kept by file; what is known of its tables belongs to each log."""
    dg.materialize([ticks()], instance=instance, partition_key=CELL)
    with dg.DagsterInstance.from_config(str(tmp_path)) as other:
        assert other.get_materialized_partitions(KEY) == {CELL}
        dg.materialize([ticks()], instance=other, partition_key="2024-01-03|binance")
    assert len(instance.get_materialized_partitions(KEY)) == 2
