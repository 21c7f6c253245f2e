"""The clock: the schedule `daily` at 08:00 UTC, and the sensor `daily_stages` that carries it on.

What belongs here: asking the vendor what it has exported, one tick, its memory. What does not: what
is due (`market/daily.py`), what was already started (`daily_look.py`).

The schedule begins the day at eight; everything after it, venues that are late and days that were
missed begin with the sensor. Both ask one function of what the instance knows, and never at the
same time: the schedule begins a day until ten past eight, the sensor from a quarter past on.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.exchange_catalog import KEY, catalog_metadata
from tickhandler_dagster.automation.alert_sensor import Timing
from tickhandler_dagster.automation.daily_jobs import DailyJob, daily_jobs, run_requests
from tickhandler_dagster.automation.daily_look import look_at
from tickhandler_dagster.automation.follow import build_follow
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.automation.repair_job import RepairScope
from tickhandler_dagster.market.daily import (
    STARTS_AT,
    DailyStage,
    Due,
    Installation,
    Start,
    due,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.exchange_catalog import MetadataSource, fetch_exchange_catalog
from tickhandler_dagster.resources.platform import Vendor
from tickhandler_dagster.settings import Settings

MEMORY = "tickhandler/daily"
SCHEDULE, SENSOR = "daily", "daily_stages"
SCHEDULE_BEGINS_FOR = dt.timedelta(minutes=10)
SENSOR_BEGINS_AFTER = dt.timedelta(minutes=15)
ASK_AGAIN = dt.timedelta(minutes=5)
ASK_OLD_AGAIN = dt.timedelta(hours=1)
"""Of a venue that is late since yesterday: it can be late for weeks."""

# A tick has a minute; a vendor that hangs takes this of it, and other venues are asked next time.
ASKING_S = 30.0


@dataclass(frozen=True)
class Memory:
    """What is not in the instance's runs.

    Attributes:
        since: First day that is owed; None before the first tick.
        closed: Days of which nothing is left.
        exported: Last day of which the vendor has all files, by venue.
        asked: When it was asked, by venue.
    """

    since: dt.date | None = None
    closed: frozenset[dt.date] = frozenset()
    exported: dict[VenueId, dt.date] = field(default_factory=dict)
    asked: dict[VenueId, dt.datetime] = field(default_factory=dict)

    def text(self) -> str:
        """The value as it is stored."""
        return json.dumps(
            {
                "since": None if self.since is None else self.since.isoformat(),
                "closed": sorted(day.isoformat() for day in self.closed),
                "exported": {str(k): day.isoformat() for k, day in self.exported.items()},
                "asked": {str(k): at.isoformat() for k, at in self.asked.items()},
            }
        )

    @classmethod
    def parse(cls, text: str) -> Memory:
        """The inverse of `text`."""
        found = json.loads(text)
        date, moment = dt.date.fromisoformat, dt.datetime.fromisoformat
        return cls(
            since=None if found["since"] is None else date(found["since"]),
            closed=frozenset(map(date, found["closed"])),
            exported={VenueId(k): date(day) for k, day in found["exported"].items()},
            asked={VenueId(k): moment(at) for k, at in found["asked"].items()},
        )


@dataclass(frozen=True)
class Ticked:
    """What a tick found.

    Attributes:
        requests: Runs to start.
        said: What it waits for, in one line.
    """

    requests: tuple[dg.RunRequest, ...]
    said: str


class Clock:
    """What the schedule and the sensor have in common.

    Args:
        jobs: Jobs of a day.
        installation: What is looked after.
        now: The time.
    """

    def __init__(
        self,
        jobs: Sequence[DailyJob],
        installation: Installation,
        now: Callable[[], dt.datetime],
    ) -> None:
        self._jobs = jobs
        self._installation = installation
        self.now = now

    def tick(self, instance: dg.DagsterInstance, source: Source, *, is_schedule: bool) -> Ticked:
        """Ask the vendor where that is due, and say what is to be started."""
        now = self.now()
        memory = _read(instance)
        memory = replace(memory, since=memory.since or self._installation.newest_day(now))
        days = self._installation.days(now, memory.since or now.date(), memory.closed)
        memory, troubles = self._asked(memory, days, now, source, instance)
        look = look_at(instance, self._jobs, days)
        progress = look.progress
        while True:
            found = due(now, days, self._installation, memory.exported, progress)
            starts = self._mine(found.starts, now, is_schedule=is_schedule)
            news = look.of_others(starts)
            if not news:
                break
            progress |= news
        store = replace(memory, closed=self._kept(memory.closed | found.closed, now))
        instance.daemon_cursor_storage.set_cursor_values({MEMORY: store.text()})
        requests = [
            request
            for start in starts
            for request in run_requests(start, look.to_run(start), look.closes(start))
        ]
        return Ticked(tuple(requests), _said(found, days, memory, troubles))

    def _mine(self, starts: Iterable[Start], now: dt.datetime, *, is_schedule: bool) -> list[Start]:
        """What this one of the two begins: the newest day in the morning is the schedule's."""
        newest = self._installation.newest_day(now)
        eight = dt.datetime.combine(now.date(), STARTS_AT, dt.UTC)
        is_morning = eight <= now < eight + SENSOR_BEGINS_AFTER

        def is_first(start: Start) -> bool:
            return start.work.stage is DailyStage.LISTING and start.work.day == newest

        if is_schedule:
            return [start for start in starts if is_first(start)]
        return [start for start in starts if not (is_morning and is_first(start))]

    def _kept(self, closed: Iterable[dt.date], now: dt.datetime) -> frozenset[dt.date]:
        """Closed days that would be looked at again if they were forgotten."""
        back = dt.timedelta(days=self._installation.catch_up_days)
        oldest = self._installation.newest_day(now) - back
        return frozenset(day for day in closed if day >= oldest)

    def _asked(
        self,
        memory: Memory,
        days: Sequence[dt.date],
        now: dt.datetime,
        source: Source,
        instance: dg.DagsterInstance,
    ) -> tuple[Memory, dict[VenueId, str]]:
        """The vendor's word on every venue of which a day is waited for, not asked lately."""
        exported, asked = dict(memory.exported), dict(memory.asked)
        troubles: dict[VenueId, str] = {}
        until = time.monotonic() + ASKING_S
        for venue in self._installation.venues:
            late = [day for day in days if venue not in exported or day > exported[venue]]
            if not late or time.monotonic() > until:
                continue
            pause = ASK_AGAIN if now.date() - max(late) <= dt.timedelta(days=1) else ASK_OLD_AGAIN
            if venue in asked and asked[venue] <= now < asked[venue] + pause:
                continue
            asked[venue] = now
            try:
                exported[venue] = source.last_day(instance, venue)
            except TickhandlerError as error:
                troubles[venue] = str(error)
        return replace(memory, exported=exported, asked=asked), troubles


@dataclass(frozen=True)
class Source:
    """Where the clock learns what is exported.

    Attributes:
        metadata: The vendor.
        lake: Where its answer is kept.
    """

    metadata: MetadataSource
    lake: Lake

    def last_day(self, instance: dg.DagsterInstance, venue: VenueId) -> dt.date:
        """Refresh the venue's catalogue; give the last day of which all files are out.

        Raises:
            TickhandlerError: the vendor could not be asked.
        """
        fetched = fetch_exchange_catalog(self.metadata, self.lake, venue)
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                KEY,
                partition=str(venue),
                metadata=catalog_metadata(fetched),
                tags={"dagster/data_version": fetched.sha256},
            )
        )
        return (fetched.catalog.exported_until - dt.timedelta(days=1)).date()


@dataclass(frozen=True)
class Daily:
    """The clock as a code location has it.

    Attributes:
        jobs: One for each kind of run.
        schedules: `daily`.
        sensors: `daily_stages`, and `follow` for what came in otherwise.
    """

    jobs: tuple[UnresolvedAssetJobDefinition | dg.JobDefinition, ...]
    schedules: tuple[dg.ScheduleDefinition, ...]
    sensors: tuple[dg.SensorDefinition, ...]


def build_daily(
    settings: Settings,
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
    scope: RepairScope,
    timing: Timing | None = None,
) -> Daily:
    """Schedule, sensors and jobs.

    They run from the start where the setting DAILY says so; else somebody switches them on in the
    page. It is off by default: a day of all venues is a large part of a vendor's quota.
    """
    timing = timing or Timing()
    jobs = daily_jobs(assets, settings.download_data_types)
    clock = Clock(jobs, _installation(settings, jobs), lambda: _moment(timing.clock()))
    job, follow = build_follow(
        scope, partitions_of(assets), interval_s=timing.interval_s, is_on=settings.daily
    )
    return Daily(
        (*(one.definition for one in jobs), job),
        (_schedule(clock, jobs, is_on=settings.daily),),
        (_sensor(clock, jobs, timing, is_on=settings.daily), follow),
    )


def _schedule(clock: Clock, jobs: Sequence[DailyJob], *, is_on: bool) -> dg.ScheduleDefinition:
    listing = next(job for job in jobs if job.stage is DailyStage.LISTING)
    status = dg.DefaultScheduleStatus

    @dg.schedule(
        name=SCHEDULE,
        job_name=listing.name,
        cron_schedule=f"{STARTS_AT.minute} {STARTS_AT.hour} * * *",
        execution_timezone="UTC",
        default_status=status.RUNNING if is_on else status.STOPPED,
        description=(
            f"Begins yesterday on every venue that the vendor has exported; the sensor {SENSOR} "
            "goes on from there and begins venues that are late."
        ),
    )
    def daily(
        context: dg.ScheduleEvaluationContext,
        lake: dg.ResourceParam[Lake],
        vendor: dg.ResourceParam[Vendor],
    ) -> list[dg.RunRequest] | dg.SkipReason:
        if clock.now() >= context.scheduled_execution_time + SCHEDULE_BEGINS_FOR:
            return dg.SkipReason(f"Too late for this tick: the sensor {SENSOR} begins the day.")
        found = clock.tick(context.instance, Source(vendor.metadata, lake), is_schedule=True)
        return list(found.requests) or dg.SkipReason(found.said)

    return daily


def _sensor(
    clock: Clock, jobs: Sequence[DailyJob], timing: Timing, *, is_on: bool
) -> dg.SensorDefinition:
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=SENSOR,
        jobs=[job.definition for job in jobs],
        minimum_interval_seconds=timing.interval_s,
        default_status=status.RUNNING if is_on else status.STOPPED,
        description=(
            "Carries a day from listing to tables: starts each stage when the one before it is "
            "over, begins late venues when the vendor has exported them, and catches up on days "
            "that were missed."
        ),
    )
    def daily_stages(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        vendor: dg.ResourceParam[Vendor],
    ) -> list[dg.RunRequest] | dg.SkipReason:
        found = clock.tick(context.instance, Source(vendor.metadata, lake), is_schedule=False)
        return list(found.requests) or dg.SkipReason(found.said)

    return daily_stages


def _installation(settings: Settings, jobs: Sequence[DailyJob]) -> Installation:
    def having(stage: DailyStage) -> list[VenueId]:
        some = [job for job in jobs if job.stage is stage]
        return [one for one in settings.download_venues if any(job.has(one) for job in some)]

    return Installation(
        venues=having(DailyStage.TICKS),
        option_venues=frozenset(having(DailyStage.SURFACE)),
        first_day=settings.partition_start_date,
        last_day=settings.partition_end_date,
        catch_up_days=settings.daily_catch_up_days,
    )


def _moment(us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(us / 1_000_000, dt.UTC)


def _read(instance: dg.DagsterInstance) -> Memory:
    text = instance.daemon_cursor_storage.get_cursor_values({MEMORY}).get(MEMORY)
    return Memory() if text is None else Memory.parse(text)


def _said(found: Due, days: Sequence[dt.date], memory: Memory, troubles: dict[VenueId, str]) -> str:
    """What is waited for, in a line."""
    if not days:
        return "Nothing is owed."
    parts = [_late(cell, memory) for cell in found.waiting]
    parts += [f"{venue} could not be asked: {text}" for venue, text in troubles.items()]
    open_days = [day.isoformat() for day in days if day not in found.closed]
    if open_days and not parts:
        parts = [f"runs of {', '.join(open_days)} are under way, or given up"]
    return f"Waits: {'; '.join(parts)}" if parts else "Nothing is owed."


def _late(cell: VenueDay, memory: Memory) -> str:
    last = memory.exported.get(cell.venue)
    until = "unknown" if last is None else f"{last + dt.timedelta(days=1)}T00:00Z"
    return f"{cell.venue} {cell.date} is not exported (exportedUntil {until})"
