"""The clock: nothing twice, nothing forgotten, the order of questions decides nothing."""

import datetime as dt
import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.daily import (
    AGAIN_AFTER,
    MAX_ATTEMPTS,
    DailyStage,
    Installation,
    Progress,
    Work,
    WorkStatus,
    due,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId

VENUES = (VenueId.BINANCE, VenueId.DERIBIT, VenueId.UPBIT)
DAY = dt.date(2024, 8, 8)
START = dt.datetime(2024, 8, 9, 8, tzinfo=dt.UTC)
ONE_DAY = dt.timedelta(days=1)


def _installation(**more):
    return Installation(
        **{
            "venues": VENUES,
            "option_venues": frozenset({VenueId.DERIBIT}),
            "first_day": dt.date(2024, 1, 1),
            "last_day": None,
            "catch_up_days": 7,
            **more,
        }
    )


class World:
    """Runs that end when told to, a vendor that exports when told to, and a clock."""

    def __init__(self, installation, *, now=START, since=DAY):
        self.installation, self.now, self.since = installation, now, since
        self.exported, self.progress = {}, {}
        self.closed, self.started = set(), []

    @property
    def days(self):
        return self.installation.days(self.now, self.since, self.closed)

    def look(self, days=None):
        return due(
            self.now,
            self.days if days is None else days,
            self.installation,
            self.exported,
            self.progress,
        )

    def tick(self):
        found = self.look()
        for start in found.starts:
            known = self.progress.get(start.work)
            assert known is None or known.status is WorkStatus.FAILED, f"{start.work} twice"
            assert start.attempt == (known.attempts if known else 0) + 1
            self.progress[start.work] = Progress(WorkStatus.UNDER_WAY, start.attempt)
            self.started.append(start)
        self.closed |= found.closed
        return found

    def end(self, work, *, has_failed=False):
        known = self.progress[work]
        status = WorkStatus.FAILED if has_failed else WorkStatus.OVER
        self.progress[work] = Progress(status, known.attempts, self.now)

    @property
    def under_way(self):
        return [w for w, p in self.progress.items() if p.status is WorkStatus.UNDER_WAY]

    def is_to_be_tried_again(self, work):
        # Tables of fewer venues are not published again once there is a further venue.
        newest = max(w.venues for w in self.progress if (w.stage, w.day) == (work.stage, work.day))
        found = self.progress[work]
        has_failed = found.status is WorkStatus.FAILED and not found.is_given_up
        return has_failed and work.venues == newest

    def to_the_end(self):
        for _ in range(400):
            self.tick()
            if not self.under_way and not self.look().starts:
                if not any(self.is_to_be_tried_again(work) for work in self.progress):
                    return
                self.now += AGAIN_AFTER
            for work in self.under_way:
                self.end(work)
        raise AssertionError("no end")


def _works(world):
    return [start.work for start in world.started]


def _an_eventful_morning(world, choice, newest):
    """Venues come out, runs end and fail, in any order, for five hours."""
    for _ in range(60):
        world.now += dt.timedelta(minutes=5)
        for venue in VENUES:
            if choice.random() < 0.2:
                last = world.exported.get(venue, DAY - ONE_DAY)
                world.exported[venue] = min(last + ONE_DAY, newest)
        world.tick()
        for work in world.under_way:
            if choice.random() < 0.5:
                world.end(work, has_failed=choice.random() < 0.1)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32), n_days=st.integers(1, 5))
def test_whatever_fails_and_however_late_all_is_done_once_and_in_order(seed, n_days):
    now = START + (n_days - 1) * ONE_DAY
    world = World(_installation(), now=now)
    _an_eventful_morning(world, random.Random(seed), DAY + (n_days - 1) * ONE_DAY)
    world.exported = dict.fromkeys(VENUES, DAY + (n_days - 1) * ONE_DAY)
    world.to_the_end()

    owed = {DAY + back * ONE_DAY for back in range(n_days)}
    assert world.closed >= owed
    for venue in VENUES:
        for day in owed:
            listing = world.progress[Work(DailyStage.LISTING, day, venue)]
            if listing.is_given_up:
                continue
            for stage in (DailyStage.TICKS, DailyStage.RECORD, DailyStage.CANDLES):
                found = world.progress[Work(stage, day, venue)]
                assert found.status is WorkStatus.OVER or found.is_given_up
    assert max(start.attempt for start in world.started) <= MAX_ATTEMPTS
    assert len({(s.work, s.attempt) for s in world.started}) == len(world.started)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations([DAY - back * ONE_DAY for back in range(4)]),
    venues=st.permutations(VENUES),
    late=st.sampled_from(VENUES),
)
def test_the_order_of_days_and_venues_decides_nothing(order, venues, late):
    world = World(_installation(), since=DAY - 6 * ONE_DAY)
    world.exported = dict.fromkeys(VENUES, DAY) | {late: DAY - ONE_DAY}
    world.tick()
    for work in world.under_way[::2]:
        world.end(work)
    usual = world.look(sorted(order, reverse=True))
    other = due(world.now, order, _installation(venues=venues), world.exported, world.progress)
    assert set(usual.starts) == set(other.starts)
    assert set(usual.waiting) == set(other.waiting)
    assert usual.closed == other.closed


def test_asked_twice_without_news_nothing_is_started_again():
    world = World(_installation())
    world.exported = dict.fromkeys(VENUES, DAY)
    assert world.tick().starts
    assert world.tick().starts == ()


@pytest.mark.parametrize(("hour", "newest"), [(7, DAY - ONE_DAY), (8, DAY), (23, DAY)])
def test_yesterday_is_due_from_eight_in_the_morning(hour, newest):
    now = START.replace(hour=hour)
    assert _installation().newest_day(now) == newest


def test_a_downtime_is_caught_up_newest_day_first_within_the_bound():
    world = World(_installation(catch_up_days=3), now=START + 9 * ONE_DAY)
    newest = DAY + 9 * ONE_DAY
    assert world.days == tuple(newest - back * ONE_DAY for back in range(3))
    world.exported = dict.fromkeys(VENUES, newest)
    starts = world.tick().starts
    assert [start.work.day for start in starts] == sorted(
        (start.work.day for start in starts), reverse=True
    )
    by_day = {start.work.day: start.priority for start in starts}
    assert by_day[newest] > by_day[newest - ONE_DAY] > by_day[newest - 2 * ONE_DAY] > 10


def test_the_first_day_ever_is_yesterday_and_a_grid_that_ends_is_never_passed():
    assert _installation(last_day=DAY).days(START + 5 * ONE_DAY, DAY, ()) == (DAY,)
    assert _installation().days(START, DAY, ()) == (DAY,)
    assert _installation(first_day=DAY).days(START, DAY - 9 * ONE_DAY, ()) == (DAY,)


def test_a_late_vendor_delays_its_own_venue_and_says_so():
    world = World(_installation())
    world.exported = {VenueId.BINANCE: DAY, VenueId.DERIBIT: DAY}
    found = world.tick()
    assert found.waiting == (VenueDay(DAY, VenueId.UPBIT),)
    world.to_the_end()
    tables = [work for work in _works(world) if work.stage is DailyStage.TABLES]
    assert [work.venues for work in tables] == [2]
    assert world.closed == set()
    world.exported[VenueId.UPBIT] = DAY
    world.to_the_end()
    tables = [work for work in _works(world) if work.stage is DailyStage.TABLES]
    assert [work.venues for work in tables] == [2, 3]
    assert world.closed == {DAY}


def test_candles_wait_for_ticks_for_earlier_days_and_for_surfaces_of_the_day():
    world = World(_installation(), now=START + ONE_DAY)
    world.exported = dict.fromkeys(VENUES, DAY + ONE_DAY)

    def advance(stage, venue, day):
        world.tick()
        world.end(Work(stage, day, venue))

    for day in (DAY, DAY + ONE_DAY):
        for venue in VENUES:
            advance(DailyStage.LISTING, venue, day)
            advance(DailyStage.TICKS, venue, day)
    world.tick()
    assert not [work for work in _works(world) if work.stage is DailyStage.CANDLES]
    advance(DailyStage.SURFACE, VenueId.DERIBIT, DAY)
    advance(DailyStage.SURFACE, VenueId.DERIBIT, DAY + ONE_DAY)
    world.tick()
    made = [work for work in _works(world) if work.stage is DailyStage.CANDLES]
    assert {work.day for work in made} == {DAY}
    world.end(Work(DailyStage.CANDLES, DAY, VenueId.UPBIT))
    world.tick()
    assert Work(DailyStage.CANDLES, DAY + ONE_DAY, VenueId.UPBIT) in world.progress


def test_what_failed_is_tried_again_later_and_holds_up_nobody_else():
    world = World(_installation())
    world.exported = dict.fromkeys(VENUES, DAY)
    world.tick()
    failed = Work(DailyStage.LISTING, DAY, VenueId.DERIBIT)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert world.progress[failed].attempts == attempt
        world.end(failed, has_failed=True)
        world.now += AGAIN_AFTER - dt.timedelta(seconds=1)
        assert failed not in {start.work for start in world.tick().starts}
        world.now += dt.timedelta(seconds=1)
        world.tick()
    assert world.progress[failed].is_given_up
    world.to_the_end()
    assert world.closed == {DAY}
    features = {work.venue for work in _works(world) if work.stage is DailyStage.FEATURES}
    assert features == {VenueId.BINANCE, VenueId.UPBIT}
    assert Work(DailyStage.TICKS, DAY, VenueId.DERIBIT) not in world.progress
