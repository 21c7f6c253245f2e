"""Backfills of exactly the planned cells: started once, in stages, and judged by their runs."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from tickhandler_dagster.automation import backfills
from tickhandler_dagster.automation.backfills import unfinished_repairs, wait_for
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.automation.repair_job import OP
from tickhandler_dagster.automation.repair_runs import BackfillStages, Repaired, run_plan
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.repair_plan import PlannedAsset, RepairPlan, Stage
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings

VENUES = (VenueId.BINANCE, VenueId.UPBIT)
DAYS = ("2024-08-08", "2024-08-09")
TRADES, CANDLES = dg.AssetKey(["raw_ticks", "trades"]), dg.AssetKey(["candles", "1h"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(
        lake_root=tmp_path_factory.mktemp("lake"),
        instrument_exchanges=VENUES,
        download_venues=VENUES,
        download_data_types=("trades",),
        partition_start_date=DAYS[0],
        partition_end_date=DAYS[1],
    )


@pytest.fixture(scope="module")
def repository(settings):
    return build_definitions(settings).get_repository_def()


@pytest.fixture(scope="module")
def partitions(repository):
    return partitions_of(repository.assets_defs_by_key.values())


@pytest.fixture
def instance(tmp_path):
    home = tmp_path / "dagster_home"
    home.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def _cells(*texts):
    return frozenset(map(VenueDay.parse, texts))


def _plan():
    cells = tuple(sorted(_cells("2024-08-08|binance", "2024-08-08|upbit")))
    return RepairPlan(
        (
            PlannedAsset("raw_ticks/trades", Stage.TICKS, cells, {}),
            PlannedAsset("candles/1h", Stage.CANDLES, cells, {}),
            PlannedAsset("no_such_asset", Stage.FEATURES, cells, {}),
            PlannedAsset("completeness", Stage.RECORD, cells, {}),
        )
    )


@pytest.fixture
def ended(instance, monkeypatch):
    """Instead of a daemon: whatever is looked at again ends with this status."""
    status = [BulkActionStatus.COMPLETED_SUCCESS]

    def end(_seconds):
        for one in unfinished_repairs(instance):
            instance.update_backfill(instance.get_backfill(one.name).with_status(status[0]))

    monkeypatch.setattr(backfills.time, "sleep", end)
    return status


def _stages(instance, partitions, seen):
    return BackfillStages(instance, partitions, venues=VENUES, repair="abc", on_start=seen.append)


def test_a_venue_that_fails_goes_no_further_and_its_record_stays(partitions):
    seen = {}

    def run_stage(stage, cells):
        seen[stage] = {key: {cell.venue for cell in of_key} for key, of_key in cells.items()}
        return frozenset({VenueId.UPBIT} if stage is Stage.CANDLES else ())

    repaired = run_plan(_plan(), partitions, run_stage)
    assert seen == {
        Stage.TICKS: {TRADES: set(VENUES)},
        Stage.CANDLES: {CANDLES: set(VENUES)},
        Stage.RECORD: {dg.AssetKey("completeness"): {VenueId.BINANCE}},
    }
    assert not repaired.is_whole
    assert Repaired().is_whole


def test_a_stage_is_one_backfill_and_candles_are_one_per_venue(instance, partitions, ended):
    seen = []
    assert run_plan(_plan(), partitions, _stages(instance, partitions, seen)).is_whole
    cells = [(sorted(map(str, one.cells)), sum(map(len, one.cells.values()))) for one in seen]
    assert len(seen) == 4
    assert [number for _, number in cells] == [2, 1, 1, 2]
    assert all("repair abc" in one.title for one in seen)


def test_cells_that_are_under_way_are_waited_for_and_not_started_again(instance, partitions, ended):
    both = {TRADES: _cells("2024-08-08|binance", "2024-08-09|binance")}
    one = {TRADES: _cells("2024-08-08|binance")}
    under_way = backfills.start_backfill(
        instance, one, partitions, repair="earlier", title="earlier"
    )
    assert unfinished_repairs(instance) == [under_way]
    seen = []
    assert not _stages(instance, partitions, seen)(Stage.TICKS, both)
    assert [found.cells for found in seen] == [one, {TRADES: both[TRADES] - one[TRADES]}]
    assert unfinished_repairs(instance) == []


def test_a_backfill_that_is_broken_off_gives_its_venues_up(instance, partitions, ended):
    ended[0] = BulkActionStatus.CANCELED
    stages = _stages(instance, partitions, [])
    failed = stages(Stage.TICKS, {TRADES: _cells("2024-08-08|upbit")})
    assert failed == {VenueId.UPBIT}
    assert not stages.endings[0].is_whole


@pytest.mark.parametrize(
    ("status", "tags"),
    [
        (dg.DagsterRunStatus.FAILURE, {"dagster/partition": "2024-08-08|upbit"}),
        (
            dg.DagsterRunStatus.CANCELED,
            {
                "dagster/asset_partition_range_start": "2024-08-08|upbit",
                "dagster/asset_partition_range_end": "2024-08-09|upbit",
            },
        ),
    ],
)
def test_the_runs_decide_and_not_the_status_of_the_backfill(
    instance, partitions, ended, status, tags
):
    seen = []
    one = backfills.start_backfill(
        instance, {TRADES: _cells("2024-08-08|upbit")}, partitions, repair="r", title="t"
    )
    tags = {**tags, backfills.BACKFILL_TAG: one.name}
    instance.add_run(dg.DagsterRun(job_name="x", status=status, tags=tags))
    failed = _stages(instance, partitions, seen)(Stage.TICKS, {TRADES: _cells("2024-08-08|upbit")})
    assert failed == {VenueId.UPBIT}


def test_a_run_that_was_started_again_and_succeeded_is_made_good(instance, partitions, ended):
    one = backfills.start_backfill(
        instance, {TRADES: _cells("2024-08-08|upbit")}, partitions, repair="r", title="t"
    )
    tags = {"dagster/partition": "2024-08-08|upbit", backfills.BACKFILL_TAG: one.name}
    first = dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.FAILURE, tags=tags)
    instance.add_run(first)
    instance.add_run(
        dg.DagsterRun(
            job_name="x",
            status=dg.DagsterRunStatus.SUCCESS,
            tags=tags,
            root_run_id=first.run_id,
            parent_run_id=first.run_id,
        )
    )
    assert wait_for(instance, [one])[0].is_whole


def _run(repository, instance, **config):
    return repository.get_job("repair").execute_in_process(
        instance=instance,
        run_config={"ops": {OP: {"config": config}}},
        raise_on_error=False,
    )


def test_a_dry_run_of_the_job_shows_the_plan_and_starts_nothing(repository, instance):
    result = _run(repository, instance, dry_run=True, venues=["upbit"])
    assert result.success
    event = next(one for one in result.all_node_events if one.is_successful_output)
    metadata = event.step_output_data.metadata
    # two days of instruments, trades and completeness: nothing was ever looked at
    assert metadata["cells"].value == 6
    assert "raw_ticks/trades" in metadata["plan"].value
    assert instance.get_backfills() == []


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"venues": ["bitmex"]}, "not a venue of the partition grid"),
        ({"since": "May"}, "not a date"),
        ({"states": ["present"]}, "not a state that a repair can change"),
    ],
)
def test_what_the_launchpad_is_told_wrong_is_a_sentence(repository, instance, config, part):
    result = _run(repository, instance, **config)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert part in failure.step_failure_data.user_failure_data.description


def test_the_launchpad_shows_every_field_with_a_value_that_works(repository):
    shown = repository.get_job("repair").run_config["ops"][OP]["config"]
    assert shown["venues"] == list(VENUES)
    assert shown["since"] == DAYS[0]
    assert shown["states"] == ["failed", "quarantined", "not_ingested"]


def test_the_report_job_writes_the_page_where_it_says(repository, instance, settings, tmp_path):
    result = repository.get_job("missing_tick_reports").execute_in_process(
        instance=instance,
        run_config={
            "ops": {"report_missing_ticks": {"config": {"output": str(tmp_path / "report")}}}
        },
    )
    event = next(one for one in result.all_node_events if one.is_successful_output)
    page = event.step_output_data.metadata["page"].value
    text = Path(page).read_text(encoding="utf-8")
    assert "<html" in text
    assert str(settings.lake_root) in text
