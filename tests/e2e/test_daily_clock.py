"""The clock on real assets: a tick at eight starts the right partitions, a late vendor delays."""

import datetime as dt

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from tickhandler_dagster.automation.alert_sensor import Timing
from tickhandler_dagster.automation.backfills import start_partitions
from tickhandler_dagster.automation.daily import MEMORY, SCHEDULE, SENSOR
from tickhandler_dagster.automation.daily_jobs import (
    DAY_TAG,
    LEFT_OUT,
    RANGE_TAGS,
    STAGE_OF,
    WORK_TAG,
)
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.resources.platform import build_vendor
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import Settings

VENUES = (VenueId.BINANCE, VenueId.UPBIT)
FIRST, SECOND = dt.date(2024, 8, 7), dt.date(2024, 8, 8)
# One asset of the jobs that have many: which runs there are is the matter here.
LIGHT = {
    "daily_candles": ["candles/24h"],
    "daily_features": ["bars/tick"],
    "daily_tables": ["warehouse/instruments"],
}
EIGHT = dt.datetime(2024, 8, 9, 8, tzinfo=dt.UTC)

MORE = {"download_data_types": ("trades",), "mft_windows": None, "daily": True}

# Dagster's own tags of a cell of two dimensions, resolved by Dagster when a schedule asks for it.
pytestmark = pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")


class LateVendor(Simulator):
    """Exports a venue's days when told to."""

    def __init__(self):
        super().__init__(7, scale=0.01)
        self.until = {}
        self.asked = []
        self.exchange = self._late

    def _late(self, exchange):
        self.asked.append(exchange)
        reply = self._exchange(exchange)
        until = self.until.get(exchange, SECOND)
        return {
            **reply,
            "datasets": {**reply["datasets"], "exportedUntil": f"{until}T00:00:00.000Z"},
        }


class House:
    """The platform with a clock that the test sets, run after run in this process."""

    def __init__(self, platform, source):
        self.platform, self.source, self.now = platform, source, EIGHT
        timing = Timing(clock=lambda: int(self.now.timestamp() * 1e6))
        self.repository = build_definitions(platform.settings, timing=timing).get_repository_def()
        self.resources = {
            "lake": platform.lake,
            "vendor": build_vendor(platform.settings),
        }
        self.instance = platform.instance

    def eight(self, scheduled=EIGHT):
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=scheduled,
            repository_def=self.repository,
            resources=self.resources,
        ) as context:
            schedule = self.repository.get_schedule_def(SCHEDULE)
            return self._requests(schedule.evaluate_tick(context))

    def look(self):
        with dg.build_sensor_context(
            instance=self.instance, repository_def=self.repository, resources=self.resources
        ) as context:
            return self._requests(self.repository.get_sensor_def(SENSOR).evaluate_tick(context))

    def _requests(self, data):
        self.said = data.skip_message
        return list(data.run_requests or ())

    def run(self, requests):
        for request in requests:
            name = request.job_name or "daily_listing"
            some = [dg.AssetKey(one.split("/")) for one in LIGHT.get(name, ())]
            done = self.repository.get_job(name).execute_in_process(
                instance=self.instance,
                tags=dict(request.tags),
                asset_selection=some or None,
                raise_on_error=False,
            )
            assert done.success, (request, self.platform.failures(done))

    def carry_on(self):
        """Look and run until nothing is to be started; gives the work in the order of starting."""
        works = []
        for _ in range(12):
            requests = self.look()
            if not requests:
                return works
            works += [(one.job_name, one.tags[WORK_TAG]) for one in requests]
            self.run(requests)
        raise AssertionError(works)

    def begin(self, requests, status=dg.DagsterRunStatus.STARTED):
        """Leave the runs as Dagster has them when they were started, or are over; none is run."""
        for request in requests:
            self.instance.create_run_for_job(
                self.repository.get_job(request.job_name or "daily_listing"),
                tags=dict(request.tags),
                status=status,
            )

    def forget(self):
        self.instance.daemon_cursor_storage.set_cursor_values(
            {MEMORY: '{"since": "2024-08-08", "closed": [], "exported": {}, "asked": {}}'}
        )


@pytest.fixture
def house(make_platform):
    """In memory: an event on a disk waits for the disk, and a day has hundreds."""
    source = LateVendor()
    platform, _ = make_platform(source, VENUES, start="2024-08-06", more_settings=MORE)
    return House(platform, source)


@pytest.fixture
def house_on_disk(make_platform, platform_over, tmp_path):
    """Dagster resolves the partitions of a schedule's runs in an instance on a disk alone."""
    source = LateVendor()
    platform, _ = make_platform(source, VENUES, start="2024-08-06", more_settings=MORE)
    home = tmp_path / "dagster_home"
    home.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield House(platform_over(platform.settings, instance), source)


def _cells(requests):
    return {request.partition_key for request in requests}


def test_at_eight_exactly_yesterdays_exported_venues_begin(house_on_disk):
    house = house_on_disk
    house.source.until = {"binance": SECOND + dt.timedelta(days=1)}
    requests = house.eight()
    assert _cells(requests) == {f"{SECOND}|binance"}
    assert {one.tags["dagster/priority"] for one in requests} == {"40"}
    assert {one.tags[DAY_TAG] for one in requests} == {"2024-08-08"}
    assert sorted(house.source.asked) == ["binance", "upbit"], "one question a venue"
    assert house.look() == [], "the morning's first runs are the schedule's"

    # Evaluated again before its runs are there Dagster knows them by their keys, then we do.
    assert [one.run_key for one in house.eight()] == [one.run_key for one in requests]
    house.begin(requests)
    assert house.eight() == []
    house.now = EIGHT + dt.timedelta(minutes=20)
    assert house.look() == []


def test_a_schedule_that_comes_late_leaves_the_day_to_the_sensor(house_on_disk):
    house = house_on_disk
    house.source.until = dict.fromkeys(("binance", "upbit"), SECOND + dt.timedelta(days=1))
    house.now = EIGHT + dt.timedelta(hours=3)
    assert house.eight() == []
    assert _cells(house.look()) == {f"{SECOND}|{venue}" for venue in VENUES}


def test_after_a_downtime_every_missed_day_begins_once_the_newest_first(house):
    house.source.until = dict.fromkeys(("binance", "upbit"), SECOND + dt.timedelta(days=1))
    house.now = EIGHT + dt.timedelta(minutes=20)
    first = house.look()
    house.begin(first)

    house.now += dt.timedelta(days=3)
    house.source.until = dict.fromkeys(("binance", "upbit"), SECOND + dt.timedelta(days=4))
    missed = house.look()
    days = [SECOND + dt.timedelta(days=number) for number in (3, 2, 1)]
    assert _cells(missed) == {f"{day}|{venue}" for day in days for venue in VENUES}
    priorities = {one.tags[DAY_TAG]: int(one.tags["dagster/priority"]) for one in missed}
    assert [priorities[str(day)] for day in days] == [40, 39, 38]
    again = house.look()
    assert {one.run_key for one in again} == {one.run_key for one in missed}
    house.begin(missed)
    assert house.look() == []


def test_a_day_goes_from_listing_to_tables_and_a_late_venue_follows(house):
    house.source.until = {"binance": SECOND + dt.timedelta(days=1)}
    house.now = EIGHT + dt.timedelta(minutes=20)
    works = house.carry_on()
    assert [work for _, work in works] == [
        "listing 2024-08-08 binance 0",
        "ticks 2024-08-08 binance 0",
        "record 2024-08-08 binance 0",
        "candles 2024-08-08 binance 0",
        "features 2024-08-08 binance 0",
        "tables 2024-08-08 all 1",
    ]
    assert "upbit 2024-08-08 is not exported (exportedUntil 2024-08-08T00:00Z)" in house.said
    asked = len(house.source.asked)
    house.look()
    assert len(house.source.asked) == asked, "asked a moment ago"

    house.source.until["upbit"] = SECOND + dt.timedelta(days=1)
    house.now += dt.timedelta(minutes=6)
    works = [work for _, work in house.carry_on()]
    assert works[0] == "listing 2024-08-08 upbit 0"
    assert works[-1] == "tables 2024-08-08 all 2"
    assert len(works) == 6
    assert house.said == "Nothing is owed."

    # A clock that lost its memory starts nothing twice.
    house.forget()
    house.now += dt.timedelta(minutes=20)
    assert house.look() == []

    # The next day closes this one: a run of both days of what reads the new ticks.
    house.now += dt.timedelta(days=1)
    house.source.until = dict.fromkeys(("binance", "upbit"), SECOND + dt.timedelta(days=2))
    found = {}
    for _ in range(12):
        requests = house.look()
        found |= {one.run_key: one for one in requests}
        house.begin(requests, dg.DagsterRunStatus.SUCCESS)
    spans = {
        key.split()[0]: tuple(one.tags.get(tag) for tag in RANGE_TAGS)
        for key, one in found.items()
        if "upbit" in key or "tables" in key
    }
    assert spans == {
        "daily_listing": (None, None),
        "daily_ticks": (None, None),
        "daily_record": (None, None),
        "daily_candles": ("2024-08-08|upbit", "2024-08-09|upbit"),
        "daily_features": ("2024-08-08|upbit", "2024-08-09|upbit"),
        "daily_tables": ("2024-08-08", "2024-08-09"),
    }
    assert len(found) == 11


def test_what_somebody_made_or_is_making_is_not_run_again(house):
    house.source.until = {"binance": SECOND + dt.timedelta(days=1)}
    platform, cell = house.platform, f"{SECOND}|binance"
    platform.prepare("binance", cell)
    assert platform.run("raw_ticks/trades", partition=cell).success
    house.now = EIGHT + dt.timedelta(minutes=20)
    job = house.repository.get_job("daily_record")
    other = house.instance.create_run_for_job(
        job,
        tags={"dagster/partition": cell},
        asset_selection=frozenset({dg.AssetKey("completeness")}),
    )
    assert [one.job_name for one in house.look()] == ["daily_candles"]
    candles = {dg.AssetKey(["candles", "24h"]): [cell]}
    backfill = start_partitions(
        house.instance,
        candles,
        partitions_of(house.repository.assets_defs_by_key.values()),
        tags={},
        title="by hand",
    )
    assert house.look() == [], "asked for by hand, and not begun yet"
    house.instance.report_run_canceled(other)
    assert [one.job_name for one in house.look()] == ["daily_record"]
    asked = house.instance.get_backfill(backfill)
    house.instance.update_backfill(asked.with_status(BulkActionStatus.CANCELED))
    assert {one.job_name for one in house.look()} == {"daily_candles", "daily_record"}


def test_every_family_of_assets_has_a_stage_or_a_reason_to_have_none():
    repository = build_definitions(Settings()).get_repository_def()
    families = {key.path[0] for key in repository.asset_graph.get_all_asset_keys()}
    assert families <= STAGE_OF.keys() | LEFT_OUT
    assert not STAGE_OF.keys() & LEFT_OUT
    assert repository.get_schedule_def(SCHEDULE).default_status.value == "STOPPED"
