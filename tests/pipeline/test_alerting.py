"""From signals to receivers: stored before sent, nobody blocks, nothing is lost."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest

from tickhandler_dagster.adapters.notifiers.building import build_notifiers
from tickhandler_dagster.adapters.notifiers.json_lines import FileNotifier
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.ledger_json import from_json, to_json
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.errors import StorageDenied, StorageFull, TransientError
from tickhandler_dagster.pipeline.alerting import alert

US = 1_000_000


def signal(subject="s", at_s=0, *, is_bad=True, urgency=Urgency.ERROR):
    return Signal(
        kind=IncidentKind.FAILED_CHECK,
        subject=subject,
        is_bad=is_bad,
        urgency=urgency,
        group="g",
        at_us=at_s * US,
        summary="12 rows",
    )


def policy_of(tmp_path, *names, **parts):
    files = {name: {"type": "file", "path": str(tmp_path / name)} for name in names}
    return parse_alerts({"group_within_s": 0, "notifiers": files, **parts})


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Hangs:
    def __init__(self):
        self.release = threading.Event()

    def send(self, _message):
        self.release.wait(30)


class Fails:
    def __init__(self, error):
        self.error = error

    def send(self, _message):
        raise self.error


def test_a_failure_and_its_recovery_are_told_once_each(tmp_path):
    policy = policy_of(tmp_path, "log")
    notifiers, ledger, stored = build_notifiers(policy, {}), Ledger(), []
    for now_s, signals in enumerate(
        [[signal()], [signal(at_s=1)], [], [signal(at_s=3, is_bad=False)], []]
    ):
        ledger = alert(
            ledger,
            signals,
            policy=policy,
            notifiers=notifiers,
            now_us=now_s * US,
            store=stored.append,
        )
    assert [line["transition"] for line in read(tmp_path / "log")] == ["opened", "recovered"]
    assert stored[-1] == ledger
    assert ledger.deliveries == ()
    assert ledger.open_incidents == []


def test_a_notifier_that_hangs_neither_blocks_the_others_nor_the_tick(tmp_path, caplog):
    policy = policy_of(tmp_path, "hangs", "log")
    hangs = Hangs()
    notifiers = build_notifiers(policy, {}) | {"hangs": hangs}
    started = time.monotonic()
    ledger = alert(
        Ledger(),
        [signal()],
        policy=policy,
        notifiers=notifiers,
        now_us=0,
        store=lambda _: None,
        budget_s=0.5,
    )
    assert time.monotonic() - started < 5
    assert len(read(tmp_path / "log")) == 1
    (waiting,) = ledger.deliveries
    assert (waiting.notifier, waiting.attempts, waiting.next_us) == ("hangs", 1, 30 * US)
    assert "of g not delivered to hangs, attempt 1: hangs: no answer" in caplog.text
    hangs.release.set()


def test_what_a_dead_notifier_missed_it_gets_in_order_once_it_is_back(tmp_path):
    policy = policy_of(tmp_path, "room", "log")
    alive = build_notifiers(policy, {})
    dead = alive | {"room": Fails(TransientError("room", "down", remedy="Wait"))}
    ledger = Ledger()
    for now_s, is_bad, notifiers in ((0, True, dead), (60, False, dead), (3600, True, alive)):
        ledger = alert(
            from_json(to_json(ledger)),
            [signal(at_s=now_s, is_bad=is_bad)],
            policy=policy,
            notifiers=notifiers,
            now_us=now_s * US,
            store=lambda _: None,
        )
    expected = ["opened", "recovered", "opened"]
    assert [line["transition"] for line in read(tmp_path / "log")] == expected
    assert [line["transition"] for line in read(tmp_path / "room")] == expected


def test_the_wait_doubles_up_to_a_quarter_of_an_hour_or_as_long_as_was_asked_for(tmp_path):
    policy = policy_of(tmp_path, "room")
    ledger, now_us, waits = Ledger(), 0, []
    for asked in (None, None, None, 500.0, None, None, None):
        error = TransientError("room", "down", remedy="Wait", retry_after_s=asked)
        ledger = alert(
            ledger,
            [signal()],
            policy=policy,
            notifiers={"room": Fails(error)},
            now_us=now_us,
            store=lambda _: None,
        )
        waits.append((ledger.deliveries[0].next_us - now_us) // US)
        now_us = ledger.deliveries[0].next_us
    assert waits == [30, 60, 120, 500, 480, 900, 900]


def test_the_ledger_is_stored_before_anything_is_sent(tmp_path):
    policy = policy_of(tmp_path, "log")

    def full(_ledger):
        raise StorageFull("ledger", "no space", remedy="Free some")

    with pytest.raises(StorageFull):
        alert(
            Ledger(),
            [signal()],
            policy=policy,
            notifiers=build_notifiers(policy, {}),
            now_us=0,
            store=full,
        )
    assert read(tmp_path / "log") == []


def test_a_crash_after_sending_repeats_the_same_message_id(tmp_path):
    policy = policy_of(tmp_path, "log")
    notifiers, kept = build_notifiers(policy, {}), []

    def store(ledger):
        if kept:
            raise StorageDenied("ledger", "gone", remedy="Wait")
        kept.append(to_json(ledger))

    given = {"policy": policy, "notifiers": notifiers, "now_us": 0}
    with pytest.raises(StorageDenied):
        alert(Ledger(), [signal()], store=store, **given)
    alert(from_json(kept[0]), [], store=lambda _: None, **given)
    first, second = read(tmp_path / "log")
    assert first == second


def test_an_unforeseen_error_of_a_notifier_stays_inside_and_shows_its_type_alone(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    policy = policy_of(tmp_path, "room", "log")
    notifiers = build_notifiers(policy, {}) | {"room": Fails(RuntimeError("pa55word"))}
    ledger = alert(
        Ledger(), [signal()], policy=policy, notifiers=notifiers, now_us=0, store=lambda _: None
    )
    assert [item.notifier for item in ledger.deliveries] == ["room"]
    assert "room: failed with RuntimeError" in caplog.text
    assert "pa55word" not in caplog.text


def test_a_message_that_is_always_refused_stops_holding_up_the_next(tmp_path):
    policy = policy_of(tmp_path, "room")

    class RefusesTheFirst(FileNotifier):
        def send(self, message):
            if message.sequence == 1:
                raise StorageDenied("room", "not this one", remedy="None")
            super().send(message)

    notifiers = {"room": RefusesTheFirst("room", tmp_path / "room")}
    ledger = Ledger()
    for number in range(4):
        ledger = alert(
            ledger,
            [signal(f"s{number}", number)],
            policy=policy,
            notifiers=notifiers,
            now_us=number * 3600 * US,
            store=lambda _: None,
        )
    assert [line["subjects"][0]["subject"] for line in read(tmp_path / "room")] == [
        "s1",
        "s2",
        "s3",
    ]
    assert [item.message.sequence for item in ledger.deliveries] == [1]


def test_a_notifier_that_the_policy_dropped_loses_its_queue_and_one_not_built_keeps_it(tmp_path):
    both, one = policy_of(tmp_path, "room", "log"), policy_of(tmp_path, "log")
    ledger = alert(Ledger(), [signal()], policy=both, notifiers={}, now_us=0, store=lambda _: None)
    assert [item.notifier for item in ledger.deliveries] == ["room", "log"]
    ledger = alert(ledger, [], policy=one, notifiers={}, now_us=0, store=lambda _: None)
    assert [item.notifier for item in ledger.deliveries] == ["log"]


def test_a_recovery_waits_behind_its_failure_that_is_still_to_be_tried_again(tmp_path):
    policy = policy_of(tmp_path, "room")
    alive = build_notifiers(policy, {})
    dead = {"room": Fails(TransientError("room", "down", remedy="Wait"))}
    ledger, seen = Ledger(), []
    for now_s, is_bad, notifiers in ((0, True, dead), (10, False, alive), (30, False, alive)):
        ledger = alert(
            ledger,
            [signal(at_s=now_s, is_bad=is_bad)],
            policy=policy,
            notifiers=notifiers,
            now_us=now_s * US,
            store=lambda _: None,
        )
        seen.append([line["transition"] for line in read(tmp_path / "room")])
    assert seen == [[], [], ["opened", "recovered"]]
