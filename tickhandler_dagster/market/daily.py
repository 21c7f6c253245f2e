"""What a day of the clock consists of, and what of it is due now.

What belongs here: the order of the work of a day and venue, which of it can begin, what is waited
for. One pure function decides, for the schedule and for the sensor. What does not: what was already
started (`automation/daily_look.py`) and how a piece of work becomes runs (`daily_jobs.py`).

Pieces of work are runs of their own: in a run that also asks for a type of which the day has
nothing, Dagster skips whatever is downstream.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId

STARTS_AT = dt.time(8)
"""UTC time of the next day at which a day is due: the vendor's files are usually out by then."""

MAX_ATTEMPTS = 3
"""How often a piece of work is started; Dagster's own restarts of a run do not count."""

AGAIN_AFTER = dt.timedelta(minutes=30)
"""Between a failed attempt and the next: longer than a lock on the vendor's key."""

NEWEST_PRIORITY, OLDEST_PRIORITY = 40, 20
"""Priority of runs in the queue: yesterday's days first, repairs (10) and backfills (0) after."""


class DailyStage(IntEnum):
    """Pieces of a day's work in the order in which they follow from each other."""

    LISTING = 0
    TICKS = 1
    SURFACE = 2
    RECORD = 3
    CANDLES = 4
    FEATURES = 5
    TABLES = 6


class WorkStatus(StrEnum):
    """Where a piece of work is that was begun, by the clock or by somebody."""

    UNDER_WAY = "under way"
    OVER = "over"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work.

    Attributes:
        stage: Which.
        day: Of which day; candles and features also close the day before.
        venue: Of which venue; None for what is made of all of them.
        venues: Number of venues that tables are published of, 0 elsewhere: tables of the day are
            published again when another venue came in.

    Example:
        >>> str(Work(DailyStage.TICKS, dt.date(2024, 8, 8), VenueId.BINANCE))
        'ticks 2024-08-08|binance'
    """

    stage: DailyStage
    day: dt.date
    venue: VenueId | None = None
    venues: int = 0

    def __str__(self) -> str:
        name = self.stage.name.lower()
        if self.venue is None:
            return f"{name} {self.day} of {self.venues} venues"
        return f"{name} {VenueDay(self.day, self.venue)}"


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of a piece of work so far.

    Attributes:
        status: Where it is.
        attempts: How often it was started.
        ended: When the last attempt ended; None while it goes on.
    """

    status: WorkStatus
    attempts: int = 1
    ended: dt.datetime | None = None

    @property
    def is_given_up(self) -> bool:
        """It failed as often as it is tried."""
        return self.status is WorkStatus.FAILED and self.attempts >= MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Start:
    """A piece of work to start now.

    Attributes:
        work: Which.
        attempt: 1 for the first.
        priority: In the queue.
    """

    work: Work
    attempt: int
    priority: int


@dataclass(frozen=True)
class Installation:
    """What the clock looks after.

    Attributes:
        venues: Venues that are downloaded.
        option_venues: Those of them that have option surfaces.
        first_day: First day of the grid.
        last_day: Last day of the grid; None where it grows.
        catch_up_days: Days back that are caught up after a downtime.
    """

    venues: Sequence[VenueId]
    option_venues: frozenset[VenueId]
    first_day: dt.date
    last_day: dt.date | None
    catch_up_days: int

    def newest_day(self, now: dt.datetime) -> dt.date:
        """The last day that is due: yesterday from the morning on."""
        back = 1 if now.time() >= STARTS_AT else 2
        day = now.date() - dt.timedelta(days=back)
        return day if self.last_day is None else min(day, self.last_day)

    def days(
        self, now: dt.datetime, since: dt.date, closed: Iterable[dt.date]
    ) -> tuple[dt.date, ...]:
        """Days that are owed, newest first.

        Args:
            now: The time.
            since: First day that the clock ever owed.
            closed: Days of which nothing is left.
        """
        newest, done = self.newest_day(now), frozenset(closed)
        some = (newest - dt.timedelta(days=back) for back in range(self.catch_up_days))
        first = max(since, self.first_day)
        return tuple(day for day in some if day >= first and day not in done)


@dataclass(frozen=True)
class Due:
    """What a look says.

    Attributes:
        starts: Work to start, the newest day first.
        waiting: Days and venues that the vendor has not exported.
        closed: Days of which nothing is left.
    """

    starts: tuple[Start, ...] = ()
    waiting: tuple[VenueDay, ...] = ()
    closed: frozenset[dt.date] = field(default_factory=frozenset)


def due(
    now: dt.datetime,
    days: Sequence[dt.date],
    installation: Installation,
    exported: Mapping[VenueId, dt.date],
    progress: Mapping[Work, Progress],
) -> Due:
    """What can be started now, and what is waited for.

    It follows from its arguments alone: asked twice it says the same, and what was started in
    between is no longer in it.

    Args:
        now: The time, UTC.
        days: Days that are owed.
        installation: What is looked after.
        exported: Last day of which the vendor has all files, by venue; absent where unknown.
        progress: Work that was begun.
    """
    look = _Look(now, frozenset(days), installation, exported, progress)
    starts: list[Start] = []
    waiting: list[VenueDay] = []
    closed = set()
    for place, day in enumerate(sorted(set(days), reverse=True)):
        priority = max(NEWEST_PRIORITY - place, OLDEST_PRIORITY)
        late = [venue for venue in installation.venues if not look.is_exported(venue, day)]
        waiting += [VenueDay(day, venue) for venue in late]
        ready = [*look.of_cells(day), *look.of_tables(day)]
        starts += [Start(work, look.attempts(work) + 1, priority) for work in ready]
        if not late and look.is_closed(day):
            closed.add(day)
    return Due(tuple(starts), tuple(waiting), frozenset(closed))


@dataclass(frozen=True)
class _Look:
    """What is known at one moment."""

    now: dt.datetime
    days: frozenset[dt.date]
    installation: Installation
    exported: Mapping[VenueId, dt.date]
    progress: Mapping[Work, Progress]

    def is_exported(self, venue: VenueId, day: dt.date) -> bool:
        return venue in self.exported and day <= self.exported[venue]

    def attempts(self, work: Work) -> int:
        found = self.progress.get(work)
        return found.attempts if found else 0

    def is_settled(self, work: Work) -> bool:
        """Nothing more comes of it."""
        found = self.progress.get(work)
        return found is not None and (found.status is WorkStatus.OVER or found.is_given_up)

    def is_over(self, work: Work) -> bool:
        found = self.progress.get(work)
        return found is not None and found.status is WorkStatus.OVER

    def has_failed(self, work: Work) -> bool:
        found = self.progress.get(work)
        return found is not None and found.status is WorkStatus.FAILED

    def can_start(self, work: Work) -> bool:
        """It was never begun, or failed long enough ago."""
        found = self.progress.get(work)
        if found is None:
            return True
        if found.status is not WorkStatus.FAILED or found.is_given_up:
            return False
        return found.ended is None or self.now >= found.ended + AGAIN_AFTER

    def venues(self, day: dt.date) -> Iterator[VenueId]:
        """Venues whose files of the day are out."""
        return (one for one in self.installation.venues if self.is_exported(one, day))

    def stages(self, venue: VenueId) -> tuple[DailyStage, ...]:
        has_surface = venue in self.installation.option_venues
        return tuple(
            stage
            for stage in DailyStage
            if stage is not DailyStage.TABLES and (stage is not DailyStage.SURFACE or has_surface)
        )

    def of_cells(self, day: dt.date) -> Iterator[Work]:
        for venue in self.venues(day):
            for stage in self.stages(venue):
                work = Work(stage, day, venue)
                if self.can_start(work) and self.has_what_it_reads(work, venue):
                    yield work

    def of_tables(self, day: dt.date) -> Iterator[Work]:
        """The day's tables, when nothing of the day is on its way and a venue has come in."""
        settled = [venue for venue in self.venues(day) if self.is_settled_day(venue, day)]
        tables = Work(DailyStage.TABLES, day, None, len(settled))
        if not settled or not self.can_start(tables):
            return
        others = set(self.venues(day)) - set(settled)
        if all(self.is_held_up(venue, day) for venue in others) and not self.is_publishing(day):
            yield tables

    def is_publishing(self, day: dt.date) -> bool:
        return any(
            work.stage is DailyStage.TABLES
            and work.day == day
            and found.status is WorkStatus.UNDER_WAY
            for work, found in self.progress.items()
        )

    def is_closed(self, day: dt.date) -> bool:
        settled = [venue for venue in self.venues(day) if self.is_settled_day(venue, day)]
        is_whole = len(settled) == len(self.installation.venues)
        return is_whole and self.is_settled(Work(DailyStage.TABLES, day, None, len(settled)))

    def is_settled_day(self, venue: VenueId, day: dt.date) -> bool:
        """Nothing more comes of a venue's day: every piece is over, or reads what was given up."""
        return all(
            self.is_settled(work) or not self.can_ever_start(work, venue)
            for work in self.works(venue, day)
        )

    def is_held_up(self, venue: VenueId, day: dt.date) -> bool:
        """A piece failed and is tried again later: nobody else waits for it."""
        return any(
            self.has_failed(work) and not self.is_settled(work) for work in self.works(venue, day)
        )

    def works(self, venue: VenueId, day: dt.date) -> Iterator[Work]:
        return (Work(stage, day, venue) for stage in self.stages(venue))

    def can_ever_start(self, work: Work, venue: VenueId) -> bool:
        """Nothing that it cannot do without was given up."""
        needed = {
            DailyStage.TICKS: DailyStage.LISTING,
            DailyStage.SURFACE: DailyStage.LISTING,
            DailyStage.RECORD: DailyStage.LISTING,
            DailyStage.CANDLES: DailyStage.LISTING,
            DailyStage.FEATURES: DailyStage.CANDLES,
        }.get(work.stage)
        if needed is None:
            return True
        upstream = Work(needed, work.day, venue)
        is_lost = self.is_settled(upstream) and not self.is_over(upstream)
        return not is_lost and self.can_ever_start(upstream, venue)

    def has_what_it_reads(self, work: Work, venue: VenueId) -> bool:
        if not self.can_ever_start(work, venue):
            return False
        if work.stage is DailyStage.LISTING:
            return True
        if work.stage is DailyStage.TICKS:
            return self.is_over(Work(DailyStage.LISTING, work.day, venue))
        if work.stage is DailyStage.FEATURES:
            return self.is_over(Work(DailyStage.CANDLES, work.day, venue)) and self._is_calm(
                work.day, (DailyStage.CANDLES,), self.venues(work.day)
            )
        # What came in of the ticks is worked on, also where a type of them failed for good.
        if not self.is_settled(Work(DailyStage.TICKS, work.day, venue)):
            return False
        return work.stage is not DailyStage.CANDLES or self._is_turn_of_candles(work.day, venue)

    def _is_turn_of_candles(self, day: dt.date, venue: VenueId) -> bool:
        """Earlier days are over, whose state this day takes over, and so are option surfaces."""
        earlier = (
            Work(DailyStage.CANDLES, one, venue)
            for one in self.days
            if one < day and self.is_exported(venue, one)
        )
        in_order = all(
            self.is_settled(work) or self.has_failed(work) or not self.can_ever_start(work, venue)
            for work in earlier
        )
        options = (one for one in self.venues(day) if one in self.installation.option_venues)
        return in_order and self._is_calm(day, (DailyStage.SURFACE,), options)

    def _is_calm(
        self, day: dt.date, stages: Sequence[DailyStage], venues: Iterable[VenueId]
    ) -> bool:
        """These pieces of these venues are settled, or held up."""
        return all(
            self.is_settled(work)
            or not self.can_ever_start(work, venue)
            or self.is_held_up(venue, day)
            for venue in venues
            for work in (Work(stage, day, venue) for stage in stages)
        )
