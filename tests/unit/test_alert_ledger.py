"""The ledger step by step: windows, flapping, urgency, reminders, late signals, bounded size."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from tickhandler_dagster.market.alerts.deliveries import MAX_BACKLOG
from tickhandler_dagster.market.alerts.incidents import Status
from tickhandler_dagster.market.alerts.ledger import MAX_CLOSED, Ledger
from tickhandler_dagster.market.alerts.ledger_json import from_json, to_json
from tickhandler_dagster.market.alerts.messages import TRANSITION_MEANINGS, Transition
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.alerts.telling import TRANSITION_OF
from tickhandler_dagster.market.alerts.wording import (
    KIND_WORDS,
    TRANSITION_WORDS,
    headline,
    lines_of,
    plain_text,
)
from tickhandler_dagster.market.errors import CorruptData

US = 1_000_000
DAY_S = 86_400
NOON_US = int(dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC).timestamp()) * US
LOG = {"log": {"type": "file", "path": "x"}}
POLICY = parse_alerts({"notifiers": LOG, "group_within_s": 60})
QUIET = parse_alerts(
    {
        "notifiers": LOG,
        "group_within_s": 60,
        "quiet_hours": {"timezone": "UTC", "from": "22:00", "to": "07:00"},
    }
)
WARNING, ERROR = Urgency.WARNING, Urgency.ERROR


def seen(at_s, *, is_bad=True, subject="s", urgency=WARNING, group="g", **given):
    return Signal(
        kind=IncidentKind.FAILED_CHECK,
        subject=subject,
        is_bad=is_bad,
        urgency=urgency,
        group=group,
        at_us=NOON_US + at_s * US,
        summary=f"at {at_s} s",
        **given,
    )


class Life:
    """A ledger through time with a notifier that takes everything."""

    def __init__(self, policy=POLICY):
        self.policy, self.ledger, self.told = policy, Ledger(), []

    def at(self, now_s, *signals):
        now_us = NOON_US + now_s * US
        self.ledger = self.ledger.taking(signals, now_us).telling(self.policy, now_us)
        new = [item for queue in self.ledger.due(self.policy, now_us).values() for item in queue]
        for delivery in new:
            self.ledger = self.ledger.delivered(delivery)
        self.told += [delivery.message for delivery in new]
        return [
            (item.message.transition.value, item.message.urgency, item.message.count)
            for item in new
        ]


def test_what_comes_within_the_window_is_one_message():
    life = Life()
    assert life.at(0, seen(0, subject="a")) == []
    assert life.at(59, seen(59, subject="b"), seen(59, subject="c", group="other")) == []
    assert life.at(60) == [("opened", WARNING, 2)]
    assert life.at(119) == [("opened", WARNING, 1)]
    assert life.at(500, seen(500, subject="a"), seen(500, subject="b")) == []
    assert life.at(600) == []


def test_what_fails_and_heals_within_the_window_is_one_line_that_says_both():
    life = Life()
    life.at(0, seen(0))
    life.at(30, seen(30, is_bad=False))
    assert life.at(60) == [("healed", WARNING, 1)]
    assert headline(life.told[0]).startswith(
        "FAILED AND RECOVERED WARNING check failed: g, 1 after"
    )
    assert life.told[0].lines[0].facts.summary == "at 0 s"
    assert life.ledger.incidents == {}
    assert life.at(9999) == []


def test_what_flaps_before_anybody_heard_is_told_in_its_last_state():
    life = Life()
    life.at(0, seen(0), seen(1, is_bad=False), seen(2), seen(3, is_bad=False), seen(4))
    assert life.at(60) == [("opened", WARNING, 1)]
    assert life.at(70, seen(70, is_bad=False)) == []
    assert life.at(80, seen(80)) == []
    assert life.at(999) == []
    assert [item.status for item in life.ledger.open_incidents] == [Status.TOLD]


def test_quiet_hours_hold_warnings_to_their_end_and_let_errors_through():
    life, night, morning = Life(QUIET), 11 * 3600, 19 * 3600
    life.at(night, seen(night, subject="a"), seen(night, subject="b"))
    life.at(night, seen(night, subject="c", urgency=ERROR))
    assert life.at(night + 60) == [("opened", ERROR, 1)]
    assert life.at(night + 70, seen(night + 70, subject="b", is_bad=False)) == []
    assert life.at(morning - 1) == []
    assert life.at(morning) == [("healed", WARNING, 1), ("opened", WARNING, 1)]


def test_a_warning_that_becomes_an_error_is_told_again_and_recovers_once():
    life = Life()
    life.at(0, seen(0))
    assert life.at(60) == [("opened", WARNING, 1)]
    life.at(100, seen(100, urgency=ERROR))
    assert life.at(160) == [("opened", ERROR, 1)]
    life.at(200, seen(200, urgency=WARNING))
    life.at(300, seen(300, is_bad=False))
    assert life.at(360) == [("recovered", ERROR, 1)]
    assert life.told[-1].lines[0].since_us == NOON_US


def test_an_error_that_was_over_before_it_was_told_recovers_as_what_was_told():
    life = Life()
    life.at(0, seen(0))
    life.at(60)
    life.at(100, seen(100, urgency=ERROR), seen(110, is_bad=False))
    assert life.at(160) == [("recovered", WARNING, 1)]


def test_late_signals_neither_open_nor_close():
    life = Life()
    life.at(0, seen(0), seen(-5, is_bad=False))
    assert life.at(60) == [("opened", WARNING, 1)]
    life.at(100, seen(100, is_bad=False), seen(100), seen(99))
    assert life.at(160) == [("recovered", WARNING, 1)]
    life.at(200, seen(100), seen(99), seen(50, is_bad=False))
    assert life.ledger.incidents == {}
    life.at(200, seen(101))
    assert life.at(260) == [("opened", WARNING, 1)]


def test_good_news_of_what_nobody_knows_is_no_news():
    life = Life()
    life.at(0, seen(0, is_bad=False))
    assert life.ledger == Ledger()


def test_closed_incidents_are_forgotten_after_some_days():
    life = Life()
    life.at(0, seen(0), seen(1, is_bad=False))
    life.at(60)
    assert list(life.ledger.closed) == [("failed_check", "s")]
    life.at(29 * DAY_S)
    assert life.ledger.closed
    life.at(31 * DAY_S)
    assert life.ledger == Ledger(sequence=1)


def test_reminders_come_at_their_interval_and_end_with_the_incident():
    life = Life(parse_alerts({"notifiers": LOG, "group_within_s": 0, "remind_after_s": 3600}))
    assert life.at(0, seen(0)) == [("opened", WARNING, 1)]
    assert life.at(3599) == []
    assert life.at(3600) == [("reminder", WARNING, 1)]
    assert headline(life.told[-1]) == (
        "STILL WARNING check failed: g, 1 since 2026-11-02 12:00 UTC"
    )
    assert life.at(7200) == [("reminder", WARNING, 1)]
    assert life.at(7300, seen(7300, is_bad=False)) == [("recovered", WARNING, 1)]
    assert life.at(99999) == []


def test_what_is_routed_to_nobody_opens_and_closes_in_silence():
    life = Life(parse_alerts({"notifiers": LOG, "group_within_s": 0, "routes": [{"notify": []}]}))
    assert life.at(0, seen(0)) == []
    assert [item.subject for item in life.ledger.open_incidents] == ["s"]
    assert life.at(10, seen(10, is_bad=False)) == []
    assert life.ledger.incidents == {}
    assert life.ledger.sequence == 0


def test_a_message_names_twenty_subjects_and_counts_the_rest():
    life = Life()
    life.at(0, *(seen(number, subject=f"s{number:03d}") for number in range(100)))
    assert life.at(60) == [("opened", WARNING, 100)]
    (message,) = life.told
    assert [line.subject for line in message.lines] == [f"s{number:03d}" for number in range(20)]
    assert all(line.facts.summary for line in message.lines)
    assert lines_of(message)[-1] == "and 80 more"


def test_long_facts_are_cut_and_long_subjects_stay_apart():
    life = Life()
    signals = [
        seen(0, subject="x" * 1000 + end, details={f"k{n}": "y" * 999 for n in range(99)})
        for end in "ab"
    ]
    life.at(0, *signals)
    assert life.at(60) == [("opened", WARNING, 2)]
    assert len(to_json(life.ledger)) < 2000
    assert len(plain_text(life.told[0])) < 6000
    life.at(100, *(seen(100, subject="x" * 1000 + end, is_bad=False) for end in "ab"))
    assert life.at(160) == [("recovered", WARNING, 2)]


def test_the_link_leads_to_the_page_of_the_first_subject_that_has_one():
    life = Life(parse_alerts({"notifiers": LOG, "group_within_s": 0, "ui": "http://d/"}))
    life.at(0, seen(0, subject="a"), seen(1, subject="b", link="/runs/1"))
    assert life.told[0].link == "http://d/runs/1"
    assert "http://d/runs/1" in plain_text(life.told[0]).splitlines()


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_the_ledger_of_many_incidents_in_one_group_stays_compact(count):
    life = Life()
    subjects = [f"raw_ticks/trades complete 2024-08-08|binance {number}" for number in range(count)]
    life.at(0, *(seen(0, subject=name, details={"state": "failed"}) for name in subjects))
    pending = len(to_json(life.ledger))
    assert life.at(60) == [("opened", WARNING, count)]
    opened = len(to_json(life.ledger))
    life.at(100, *(seen(100, subject=name, is_bad=False) for name in subjects))
    assert life.at(160) == [("recovered", WARNING, count)]
    for size in (pending, opened, len(to_json(life.ledger))):
        assert size < 10_000 + 120 * count
    assert len(life.ledger.closed) == min(count, MAX_CLOSED)


def test_a_notifier_that_is_dead_for_long_gets_the_oldest_in_one_and_nothing_is_uncounted():
    policy = parse_alerts({"notifiers": LOG, "group_within_s": 0})
    ledger, rounds = Ledger(), 350
    for number in range(rounds):
        now_us = NOON_US + number * US
        signals = [seen(number, subject=f"s{number}", group=f"g{number}", urgency=ERROR)]
        ledger = ledger.taking(signals, now_us).telling(policy, now_us)
        assert len(ledger.deliveries) <= MAX_BACKLOG
    text = to_json(ledger)
    assert len(text) < 1000 * MAX_BACKLOG + 120 * rounds
    assert from_json(text) == ledger
    messages = ledger.messages
    assert messages[0].transition is Transition.DIGEST
    assert sum(message.count for message in messages) == rounds
    assert sum(message.messages for message in messages) == rounds
    assert len({message.message_id for message in messages}) == len(messages)
    assert headline(messages[0]).endswith(" opened")
    assert lines_of(messages[0])[0].startswith("g0 (since 2026-11-02 12:00 UTC): opened: 1")
    failed = ledger.failed(ledger.deliveries[0], NOON_US, is_refused=False)
    assert failed.due(policy, NOON_US) == {}
    assert len(failed.due(policy, NOON_US + 30 * US)["log"]) == len(messages)


def test_a_warning_left_from_the_day_goes_out_at_night_only_before_an_error_of_its_queue():
    evening, night = 10 * 3600 - 60, 11 * 3600
    ledger = Ledger()
    for now_s, signals in (
        (evening - 60, [seen(evening, subject="a"), seen(evening, subject="x", group="other")]),
        (evening, []),
        (night, [seen(night, subject="b", urgency=ERROR)]),
        (night + 60, []),
    ):
        now_us = NOON_US + now_s * US
        ledger = ledger.taking(signals, now_us).telling(QUIET, now_us)
    due = ledger.due(QUIET, NOON_US + (night + 60) * US)["log"]
    assert [(item.message.group, item.message.urgency) for item in due] == [
        ("g", WARNING),
        ("g", ERROR),
    ]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"version": 2}', '{"version": 1}', '{"version":1,"sequence":0}']
)
def test_a_text_that_is_no_ledger_is_an_error_with_a_remedy(text):
    with pytest.raises(CorruptData, match="ledger of alerts: cannot be read"):
        from_json(text)


def test_nothing_stored_is_an_empty_ledger():
    assert from_json(None) == from_json("") == Ledger()
    assert json.loads(to_json(Ledger()))["version"] == 1


def test_tables_over_enums_are_total():
    assert set(TRANSITION_OF) == set(Status)
    assert set(TRANSITION_WORDS) == set(TRANSITION_MEANINGS) == set(Transition)
    assert set(KIND_WORDS) == set(IncidentKind)
