"""Laws of the alerts under random signals, clocks, dead notifiers and crashes."""

from __future__ import annotations

import datetime as dt
import threading
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.ledger_json import from_json, to_json
from tickhandler_dagster.market.alerts.messages import Transition
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.errors import PermanentError, TransientError
from tickhandler_dagster.pipeline.alerting import alert

US = 1_000_000
NOON_US = int(dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC).timestamp()) * US
SUBJECTS = ("trades binance 1", "trades binance 2", "runs deribit 1")
GROUP = {name: name[:-2] for name in SUBJECTS}
RANK = {Urgency.WARNING: 0, Urgency.ERROR: 1}

POLICY = parse_alerts(
    {
        "notifiers": {
            "pager": {"type": "file", "path": "pager.jsonl"},
            "room": {"type": "file", "path": "room.jsonl"},
        },
        "routes": [{"groups": ["runs *"], "urgency": "error", "notify": ["pager"]}],
        "quiet_hours": {"timezone": "UTC", "from": "22:00", "to": "07:00"},
        "group_within_s": 5,
        "remind_after_s": 14400,
    }
)


class StorageLost(Exception):
    pass


class Receiver:
    """A notifier whose state the test sets; it keeps what it took."""

    def __init__(self, world):
        self.world = world
        self.error = None
        self.taken = []

    def send(self, message):
        if self.error is not None:
            raise self.error("receiver", "down", remedy="Wait")
        self.taken.append((message, self.world.now_us))


class World:
    """The caller of `alert`, with a storage that can fail at any of its calls."""

    def __init__(self):
        self.now_us = NOON_US
        self.stored = to_json(Ledger())
        self.inbox = []
        self.receivers = {"pager": Receiver(self), "room": Receiver(self)}
        self.newest = {}
        self.was_bad = set()
        self.has_crashed = False

    def see(self, subject, is_bad, urgency, age_s):
        self.now_us += 1
        at_us = self.now_us - age_s * US
        if age_s and subject not in self.was_bad:
            return
        if is_bad:
            self.was_bad.add(subject)
        if subject in self.was_bad and at_us >= self.newest.get(subject, (0,))[0]:
            self.newest[subject] = (at_us, is_bad)
        self.inbox.append(
            Signal(
                kind=IncidentKind.FAILED_CHECK,
                subject=subject,
                is_bad=is_bad,
                urgency=urgency,
                group=GROUP[subject],
                at_us=at_us,
                summary=f"{subject} is {'bad' if is_bad else 'good'}",
            )
        )

    def tick(self, after_s, crash_at=None):
        self.now_us += after_s * US
        calls = 0

        def store(ledger):
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise StorageLost
            text = to_json(ledger)
            assert from_json(text) == ledger
            assert to_json(from_json(text)) == text
            self.stored = text
            self.inbox = []

        try:
            alert(
                from_json(self.stored),
                self.inbox,
                policy=POLICY,
                notifiers=self.receivers,
                now_us=self.now_us,
                store=store,
            )
            self.inbox = []
        except StorageLost:
            self.has_crashed = True
        for thread in threading.enumerate():
            if thread.name.startswith("alerts to"):
                thread.join(10)

    def settle(self):
        """Everybody is back, and time goes on until nothing waits: reminders alone never end."""
        for receiver in self.receivers.values():
            receiver.error = None
        for _ in range(16):
            self.tick(3600)


ACTIONS = st.one_of(
    st.tuples(
        st.just("see"),
        st.sampled_from(SUBJECTS),
        st.booleans(),
        st.sampled_from(Urgency),
        st.sampled_from([0, 0, 0, 20, 600]),
    ),
    st.tuples(
        st.just("tick"),
        st.sampled_from([1, 6, 6, 31, 90, 1200, 6 * 3600]),
        st.sampled_from([None, None, None, 1, 2, 3]),
    ),
    st.tuples(
        st.just("set"),
        st.sampled_from(["pager", "room"]),
        st.sampled_from([None, TransientError, PermanentError]),
    ),
)


def _lived(actions):
    world = World()
    for name, *arguments in actions:
        if name == "set":
            receiver, error = arguments
            world.receivers[receiver].error = error
        else:
            getattr(world, name)(*arguments)
    world.settle()
    return world


def _unique(receiver):
    return list({message.message_id: message for message, _ in receiver.taken}.values())


def _steps(receiver):
    """What was told of each subject, in order, repeats of a message left out."""
    told = defaultdict(list)
    for message in _unique(receiver):
        for line in message.lines:
            told[line.subject].append((message.transition, message.urgency))
    return told


def _told_state(steps):
    """The urgency at which a reader of these messages believes it is wrong; None where right."""
    known = None
    for transition, urgency in steps:
        if transition is Transition.OPENED:
            assert known is None or RANK[urgency] > RANK[known], steps
            known = urgency
        elif transition is Transition.HEALED:
            assert known is None, steps
        else:
            assert known is not None, steps
            known = None if transition is Transition.RECOVERED else known
    return known


def _without_refusals(actions):
    return [item for item in actions if not (item[0] == "set" and item[2] is PermanentError)]


@settings(max_examples=100)
@given(st.lists(ACTIONS, min_size=10, max_size=60))
def test_what_each_receiver_read_in_order_is_what_is_so(actions):
    world = _lived(_without_refusals(actions))
    for name, receiver in world.receivers.items():
        steps = _steps(receiver)
        for subject in SUBJECTS:
            believed = _told_state(steps[subject]) is not None
            is_bad = world.newest.get(subject, (0, False))[1]
            if name == "pager" or GROUP[subject].startswith("trades"):
                assert believed == is_bad
                assert bool(steps[subject]) == (subject in world.was_bad)
            elif not is_bad:
                assert not believed


@settings(max_examples=70)
@given(st.lists(ACTIONS, min_size=10, max_size=60))
def test_a_message_arrives_twice_only_after_a_crash_and_never_gets_lost(actions):
    world = _lived(actions)
    assert from_json(world.stored).deliveries == ()
    for receiver in world.receivers.values():
        ids = [message.message_id for message, _ in receiver.taken]
        assert world.has_crashed or len(ids) == len(set(ids))
    for subject in world.was_bad:
        assert _steps(world.receivers["pager"])[subject]


@settings(max_examples=100)
@given(st.lists(ACTIONS, min_size=10, max_size=60))
def test_quiet_hours_let_only_errors_through_and_what_has_to_be_read_before_them(actions):
    world = _lived(actions)
    for receiver in world.receivers.values():
        by_time = defaultdict(list)
        for message, at_us in receiver.taken:
            by_time[at_us].append(message)
        for at_us, messages in by_time.items():
            for place, message in enumerate(messages):
                if POLICY.holds(message.urgency, at_us):
                    later = messages[place + 1 :]
                    assert message.at_us < at_us
                    assert any(
                        not POLICY.holds(other.urgency, at_us) and other.queue == message.queue
                        for other in later
                    )
