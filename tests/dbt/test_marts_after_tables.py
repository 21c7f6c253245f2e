"""Which marts the sensor asks for, from what the instance knows of tables; no dbt is started."""

import datetime as dt

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.assets.warehouse import LOADED
from tickhandler_dagster.automation.daily_jobs import RANGE_TAGS
from tickhandler_dagster.dbt_assets.after_tables import (
    NAME,
    Due,
    build_after_tables,
    requests,
    sources_of,
)

DAYS = dg.DailyPartitionsDefinition("2024-08-01", end_date="2024-09-01", timezone="UTC")
BARS, NAMES = dg.AssetKey(["warehouse", "bars"]), dg.AssetKey(["warehouse", "names"])
DAILY, SHARE, HISTORY = (dg.AssetKey(["marts", name]) for name in ("daily", "share", "history"))


@dg.multi_asset(
    name="marts",
    specs=[
        dg.AssetSpec(DAILY, deps=[BARS, NAMES], partitions_def=DAYS),
        dg.AssetSpec(SHARE, deps=[DAILY], partitions_def=DAYS),
        dg.AssetSpec(HISTORY, deps=[NAMES]),
    ],
    can_subset=True,
)
def marts(context):
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key)


class House:
    """The sensor over an instance, look after look."""

    def __init__(self, instance):
        self.instance = instance
        job, self._sensor = build_after_tables(marts, is_on=True)
        self.repository = dg.Definitions(
            assets=[marts], jobs=[job], sensors=[self._sensor]
        ).get_repository_def()
        self._cursor = None
        self.look()

    def publish(self, table, *days, is_new=True):
        for day in days:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    table, partition=day, metadata={LOADED: dg.MetadataValue.bool(is_new)}
                )
            )

    def look(self):
        """By first and last day the marts that are asked for."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self._cursor, repository_def=self.repository
        ) as context:
            data = self._sensor.evaluate_tick(context)
        self._cursor, self.said = data.cursor, data.skip_message
        self.requests = list(data.run_requests or ())
        return {
            tuple(one.tags.get(tag) for tag in RANGE_TAGS): set(one.asset_selection)
            for one in self.requests
        }

    def make(self):
        for one in self.requests:
            done = self.repository.get_job(NAME).execute_in_process(
                instance=self.instance, asset_selection=one.asset_selection, tags=one.tags
            )
            assert done.success


@pytest.fixture
def house():
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(instance)


def test_a_mart_stands_on_the_tables_of_the_marts_it_reads():
    assert sources_of(marts) == {
        DAILY: {BARS, NAMES},
        SHARE: {BARS, NAMES},
        HISTORY: {NAMES},
    }


def test_days_in_a_row_are_one_run_and_a_day_without_all_its_tables_waits(house):
    house.publish(BARS, "2024-08-01", "2024-08-02", "2024-08-03", "2024-08-07")
    assert house.look() == {}
    house.publish(NAMES, "2024-08-01", "2024-08-02", "2024-08-07")
    assert house.look() == {
        ("2024-08-01", "2024-08-02"): {DAILY, SHARE},
        ("2024-08-07", "2024-08-07"): {DAILY, SHARE, HISTORY},
    }
    assert len({one.run_key for one in house.requests}) == 2
    house.make()
    assert house.look() == {}
    house.publish(NAMES, "2024-08-03")
    assert house.look() == {("2024-08-03", "2024-08-03"): {DAILY, SHARE, HISTORY}}


def test_a_day_that_did_not_change_is_made_only_where_it_was_never_made(house):
    house.publish(BARS, "2024-08-01", is_new=False)
    house.publish(NAMES, "2024-08-01", is_new=False)
    assert house.look() == {("2024-08-01", "2024-08-01"): {DAILY, SHARE}}
    house.make()
    house.publish(BARS, "2024-08-01", is_new=False)
    assert house.look() == {}
    house.publish(BARS, "2024-08-01")
    assert house.look() == {("2024-08-01", "2024-08-01"): {DAILY, SHARE}}


def test_it_waits_for_a_run_that_publishes_and_misses_nothing_meanwhile(house):
    @dg.asset(key=BARS, partitions_def=DAYS)
    def bars():
        pass

    job = dg.Definitions(assets=[bars]).resolve_implicit_global_asset_job_def()
    run = house.instance.create_run_for_job(job, tags={"dagster/partition": "2024-08-02"})
    house.publish(BARS, "2024-08-01")
    house.publish(NAMES, "2024-08-01")
    assert house.look() == {}
    assert "being published" in house.said
    house.instance.report_run_canceled(run)
    assert house.look() == {("2024-08-01", "2024-08-01"): {DAILY, SHARE, HISTORY}}


def test_a_day_outside_the_grid_is_left_alone(house):
    house.publish(BARS, "2023-08-01")
    house.publish(NAMES, "2023-08-01")
    assert house.look() == {(None, None): {HISTORY}}


@given(
    st.dictionaries(
        st.dates(dt.date(2024, 8, 1), dt.date(2024, 8, 20)).map(str),
        st.sampled_from([frozenset({DAILY}), frozenset({DAILY, SHARE})]),
    ),
    st.sampled_from([frozenset(), frozenset({HISTORY})]),
)
def test_runs_cover_every_due_day_once_with_its_own_marts(by_day, whole):
    found, wholes = {}, 0
    for one in requests(Due(by_day, whole), "7"):
        keys = set(one.asset_selection)
        wholes += HISTORY in keys
        if RANGE_TAGS[0] in one.tags:
            first, last = (dt.date.fromisoformat(one.tags[tag]) for tag in RANGE_TAGS)
            for number in range((last - first).days + 1):
                day = str(first + dt.timedelta(days=number))
                assert day not in found
                found[day] = frozenset(keys - {HISTORY})
    assert found == by_day
    assert wholes == len(whole)
