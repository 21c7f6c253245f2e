"""A live session's reports in a real instance: tables, checks, silence, and what never hurts it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time

import dagster as dg
import pytest

from tickhandler_dagster.assets.live_tables import (
    FEED,
    build_live_tables,
    live_candles_key,
    ticks_key,
)
from tickhandler_dagster.automation import live_checks
from tickhandler_dagster.automation.alert_watch import Watch, look, look_at_clock
from tickhandler_dagster.automation.freshness_signals import Expected
from tickhandler_dagster.automation.live_checks import build_live_checks, last_said
from tickhandler_dagster.automation.live_reports import QUEUE, DagsterReporter, SessionTables
from tickhandler_dagster.automation.live_schedule import build_live_schedules
from tickhandler_dagster.automation.live_signals import (
    GIVEN_UP_AFTER_US,
    SILENT_AFTER_US,
    silence_signals,
)
from tickhandler_dagster.checks.live_feed import LagLimits, fed_outcome, in_time_outcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus

BOTH = SessionTables(has_ticks=True, has_candles=True)
SECOND = 1_000_000
NOTHING = Expected((), dt.date(2024, 1, 1), None)


def status(*, at=None, connected=True, lag_us=20_000, overflows=0, close_ago_s=2, **more):
    at = at or dt.datetime.now(dt.UTC)
    now_us = round(at.timestamp() * SECOND)
    feed = FeedStatus(
        venue=VenueId.DERIBIT,
        is_connected=connected,
        last_arrival_us=now_us - lag_us,
        lag_us=lag_us,
        skew_us=3_000,
        watermark_us=now_us - SECOND,
        rows={"trades": 120, "book_snapshot_5": 3_000},
        gaps=1,
        overflows=overflows,
    )
    values = {
        "at": at,
        "feeds": [feed],
        "bars": {Timeframe.S15: 40, Timeframe.M1: 10},
        "newest_close_us": {
            Timeframe.S15: now_us - close_ago_s * SECOND,
            Timeframe.M1: now_us - 30 * SECOND,
        },
        "amended": 2,
        "late_rows": 1,
        "publish_delay_us": 120_000,
        "spool_bytes": 5_000_000,
        "memory_bytes": 300_000_000,
    }
    return LiveStatus(**values | more)


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def newest(instance, key):
    records = instance.fetch_materializations(key, limit=1).records
    return records[0].asset_materialization.metadata if records else None


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_report_is_a_materialization_of_every_table_that_has_news(instance):
    reporter = DagsterReporter(instance, BOTH)
    reporter.report(status())
    reporter.close()
    assert newest(instance, ticks_key(DataType.TRADES))["rows since the start"].value == 120
    assert newest(instance, ticks_key(DataType.LIQUIDATIONS)) is None
    candles = newest(instance, live_candles_key(Timeframe.S15))
    assert candles["bars since the start"].value == 40
    assert candles["lag ms"].value == pytest.approx(2_000)
    assert newest(instance, live_candles_key(Timeframe.H1)) is None
    feed = newest(instance, FEED)
    assert feed["session"].value == "ended"
    assert "| deribit | yes | 20 | 3.0 | 3,120 | 1 | 0 |" in feed["feeds"].value
    assert reporter.counts.sent == 2


def test_a_session_without_candles_reports_none(instance):
    reporter = DagsterReporter(instance, SessionTables(has_ticks=True, has_candles=False))
    reporter.report(status())
    reporter.close()
    assert newest(instance, live_candles_key(Timeframe.S15)) is None
    assert newest(instance, ticks_key(DataType.TRADES)) is not None


def test_reports_are_a_minute_apart_whatever_the_engine_says(instance):
    reporter = DagsterReporter(instance, BOTH)
    start = dt.datetime.now(dt.UTC)
    for second in range(130):
        reporter.report(status(at=start + dt.timedelta(seconds=second)))
        wait_for(lambda: not reporter._waiting.statuses)
    reporter.close()
    assert reporter.counts.sent == 3 + 1


def test_a_clock_that_was_set_back_does_not_silence_the_session(instance):
    reporter = DagsterReporter(instance, BOTH)
    now = dt.datetime.now(dt.UTC)
    reporter.report(status(at=now))
    reporter.report(status(at=now - dt.timedelta(days=1)))
    reporter.close()
    assert reporter.counts.sent == 3


def test_the_same_check_can_be_evaluated_again_and_the_newest_counts(instance):
    reporter = DagsterReporter(instance, BOTH, interval_us=1)
    reporter.report(status(connected=False))
    reporter.report(status())
    reporter.close()
    assert reporter.counts.failed == 0
    assert last_said(instance)[CheckName.FED].passed
    evaluations = list(
        instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(FEED, "fed"), limit=10
        )
    )
    assert len(evaluations) == 2


@pytest.mark.parametrize(
    ("more", "fed", "in_time"),
    [
        ({}, True, True),
        ({"connected": False}, False, True),
        ({"overflows": 3}, False, True),
        ({"lag_us": 61 * SECOND}, True, False),
        ({"close_ago_s": 60}, True, False),
        ({"publish_delay_us": 6 * SECOND}, True, False),
        ({"publish_delay_us": None}, True, True),
    ],
)
def test_a_session_is_fed_and_in_time_or_says_what_is_not(more, fed, in_time):
    told = status(**more)
    assert fed_outcome(told).has_passed is fed
    outcome = in_time_outcome(told)
    assert outcome.has_passed is in_time
    assert ("what is behind" in outcome.metadata) is not in_time


def test_a_venue_whose_session_has_just_begun_is_starting_and_not_failed():
    told = status(connected=False, lag_us=90 * SECOND)
    young = dataclasses.replace(told.feeds[0], is_starting=True)
    told = dataclasses.replace(told, feeds=[young])
    outcome = fed_outcome(told)
    assert outcome.has_passed
    assert outcome.metadata["starting"].value == 1
    assert "| deribit | starting |" in outcome.metadata["feeds"].value
    assert in_time_outcome(told).has_passed


def test_a_session_ended_in_order_before_its_feed_was_up_says_ended_not_failed(instance):
    reporter = DagsterReporter(instance, BOTH)
    reporter.report(status(connected=False, lag_us=90 * SECOND))
    wait_for(lambda: reporter.counts.sent == 1)
    assert {one.passed for one in last_said(instance).values()} == {False}
    reporter.close(is_orderly=True)
    said = last_said(instance)
    assert {name: one.passed for name, one in said.items()} == {
        CheckName.FED: True,
        CheckName.IN_TIME: True,
    }
    assert {one.metadata["session"].value for one in said.values()} == {"ended"}
    step = look(instance, Watch(cursor=-1), now_us=round(time.time() * SECOND) + 60 * SECOND)
    last = {one.subject: one.is_bad for one in step.signals}
    assert last["live/feed fed"] is False


def test_a_session_that_broke_off_leaves_its_checks_as_they_were(instance):
    reporter = DagsterReporter(instance, BOTH)
    reporter.report(status(connected=False))
    reporter.close()
    assert not last_said(instance)[CheckName.FED].passed
    assert newest(instance, FEED)["session"].value == "ended"


def test_rows_given_up_before_the_last_report_are_told_once():
    assert fed_outcome(status(overflows=3), overflows_before=3).has_passed
    assert not fed_outcome(status(overflows=4), overflows_before=3).has_passed


def test_limits_are_the_callers(instance):
    reporter = DagsterReporter(instance, BOTH, limits=LagLimits(feed_us=1_000))
    reporter.report(status())
    reporter.close()
    assert not last_said(instance)[CheckName.IN_TIME].passed


class Deaf:
    """An instance that fails, or hangs until it is let go."""

    def __init__(self, *, hangs=False):
        self.go = threading.Event()
        self.hangs = hangs

    def report_runless_asset_event(self, _):
        if self.hangs:
            self.go.wait(20)
        message = "no space left"
        raise OSError(message)


def test_an_instance_that_fails_is_counted_and_never_reaches_the_engine():
    reporter = DagsterReporter(Deaf(), BOTH)
    reporter.report(status())
    reporter.close()
    assert reporter.counts.failed == 2
    assert reporter.counts.last_error == "OSError: no space left"


def test_an_instance_that_hangs_costs_old_reports_and_no_time():
    deaf = Deaf(hangs=True)
    reporter = DagsterReporter(deaf, BOTH, interval_us=0)
    begun = time.monotonic()
    for _ in range(100):
        reporter.report(status())
    assert time.monotonic() - begun < 1
    assert len(reporter._waiting.statuses) <= QUEUE
    assert reporter.counts.dropped >= 100 - QUEUE - 1
    deaf.go.set()
    reporter.close()


def signals(instance, now_us):
    return [(one.is_bad, one.kind) for one in silence_signals(instance, now_us)]


def test_silence_of_a_session_that_nobody_ended_is_an_incident_and_then_its_recovery(instance):
    assert signals(instance, round(time.time() * SECOND)) == []
    reporter = DagsterReporter(instance, BOTH, interval_us=0)
    reporter.report(status())
    wait_for(lambda: reporter.counts.sent == 1)
    now_us = round(time.time() * SECOND)
    kind = IncidentKind.SILENT_SESSION
    assert signals(instance, now_us) == [(False, kind)]
    later = now_us + SILENT_AFTER_US + 2 * SECOND
    assert signals(instance, later) == [(True, kind)]
    assert signals(instance, now_us + GIVEN_UP_AFTER_US + SECOND) == [(False, kind)]
    step = look_at_clock(
        instance, Watch(cursor=-1, looked_us=later), expected=NOTHING, now_us=later
    )
    (signal,) = step.signals
    assert (signal.subject, signal.urgency) == ("live/feed", Urgency.ERROR)
    reporter.report(status())
    reporter.close()
    assert signals(instance, later) == [(False, kind)]


def test_a_lagging_session_is_a_failed_check_and_recovers(instance):
    reporter = DagsterReporter(instance, BOTH, interval_us=0)
    reporter.report(status(lag_us=90 * SECOND))
    reporter.report(status())
    reporter.close()
    step = look(instance, Watch(cursor=-1), now_us=round(time.time() * SECOND) + 60 * SECOND)
    seen = [
        (one.subject, one.is_bad)
        for one in step.signals
        if one.kind is IncidentKind.FAILED_CHECK and one.subject.endswith("in_time")
    ]
    assert seen == [("live/feed in_time", True), ("live/feed in_time", False)]


def test_every_report_is_of_a_defined_asset_and_check(instance):
    defs = dg.Definitions(build_live_tables(), asset_checks=build_live_checks())
    graph = defs.resolve_asset_graph()
    reporter = DagsterReporter(instance, BOTH)
    reporter.report(status())
    reporter.close()
    assert set(instance.all_asset_keys()) <= set(graph.get_all_asset_keys())
    assert {dg.AssetCheckKey(FEED, name.value) for name in last_said(instance)} == set(
        graph.asset_check_keys
    )
    assert not graph.materializable_asset_keys


def test_the_checks_run_by_hand_repeat_what_was_said_and_see_silence(instance, monkeypatch):
    defs = dg.Definitions(build_live_tables(), asset_checks=build_live_checks())
    job = defs.resolve_implicit_global_asset_job_def()

    def passed():
        result = job.execute_in_process(instance=instance)
        return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}

    assert passed() == {"fed": True, "in_time": True}
    reporter = DagsterReporter(instance, BOTH, interval_us=0)
    reporter.report(status(connected=False))
    wait_for(lambda: reporter.counts.sent == 1)
    assert passed() == {"fed": False, "in_time": True}
    later = round(time.time() * SECOND) + SILENT_AFTER_US + 60 * SECOND
    monkeypatch.setattr(live_checks, "now_us", lambda: later)
    assert passed() == {"fed": False, "in_time": False}
    reporter.close()


def test_the_schedule_asks_for_yesterday_of_every_venue():
    (schedule,) = build_live_schedules([VenueId.BINANCE, VenueId.DERIBIT])
    noon = dt.datetime(2024, 8, 9, 12, tzinfo=dt.UTC)
    context = dg.build_schedule_context(scheduled_execution_time=noon)
    requests = schedule(context)
    assert [one.partition_key for one in requests] == ["2024-08-08|binance", "2024-08-08|deribit"]
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_a_status_without_feeds_is_reported_all_the_same(instance):
    reporter = DagsterReporter(instance, BOTH)
    reporter.report(dataclasses.replace(status(), feeds=[], bars={}, newest_close_us={}))
    reporter.close()
    assert reporter.counts.failed == 0
