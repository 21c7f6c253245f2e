"""From signals to people: the ledger takes them, is stored, and what is due is sent.

What belongs here: the order of storing and sending, a thread for each notifier, the time that a
call may take. What does not: what is told to whom (`market/alerts`), how it travels
(`adapters/notifiers`), where the ledger is kept (the caller's `store`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tickhandler_dagster.adapters.notifiers.notifier import Notifier
from tickhandler_dagster.market.alerts.deliveries import Delivery
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.signal import Signal
from tickhandler_dagster.market.errors import PermanentError, TickhandlerError, TransientError

TIME_BUDGET_S = 20.0

_LOG = logging.getLogger(__name__)

Store = Callable[[Ledger], None]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an attempt; no error where it was delivered."""

    delivery: Delivery
    error: TickhandlerError | None


def alert(
    ledger: Ledger,
    signals: Iterable[Signal],
    *,
    policy: AlertPolicy,
    notifiers: Mapping[str, Notifier],
    now_us: int,
    store: Store,
    budget_s: float = TIME_BUDGET_S,
) -> Ledger:
    """Take the signals, tell what is ripe, and say what is known afterwards.

    The ledger is stored before anything is sent, so that a signal taken is never lost, and after
    every attempt. A notifier that hangs costs its own time: after `budget_s` it is left behind in
    its thread and its message counts as failed. Should it arrive after all, the next attempt
    carries the same `message_id`.

    Args:
        ledger: What was stored last.
        signals: What was seen since, in order.
        policy: Who hears of what.
        notifiers: How to reach them, by name; a name of the policy that is missing here keeps its
            messages.
        now_us: Now, microseconds since the epoch, UTC.
        store: Keeps a ledger; once it returns, the ledger survives a crash.
        budget_s: Seconds that sending may take.

    Raises:
        TickhandlerError: from `store` alone.
    """
    taken = ledger.taking(signals, now_us).telling(policy, now_us)
    if taken != ledger:
        store(taken)
    due = {name: found for name, found in taken.due(policy, now_us).items() if name in notifiers}
    return _Sending(taken, now_us, store).through(due, notifiers, budget_s) if due else taken


class _Sending:
    """One call's attempts: a thread for each notifier, the ledger in this one alone."""

    def __init__(self, ledger: Ledger, now_us: int, store: Store) -> None:
        self._ledger = ledger
        self._now_us = now_us
        self._store = store
        self._outcomes: queue.SimpleQueue[_Outcome | str] = queue.SimpleQueue()
        self._begun: dict[str, Delivery] = {}
        self._stop = threading.Event()

    def through(
        self,
        due: Mapping[str, list[Delivery]],
        notifiers: Mapping[str, Notifier],
        budget_s: float,
    ) -> Ledger:
        """Attempt all of it within the budget."""
        for name, deliveries in due.items():
            # A daemon: the process may end although a notifier hangs.
            arguments = (name, notifiers[name], deliveries)
            threading.Thread(
                target=self._attempt, args=arguments, name=f"alerts to {name}", daemon=True
            ).start()
        try:
            self._gather(set(due), time.monotonic() + budget_s)
        finally:
            self._stop.set()
        return self._ledger

    def _gather(self, running: set[str], end: float) -> None:
        while running:
            try:
                found = self._outcomes.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                self._stop.set()
                self._leave_behind(running)
                return
            if isinstance(found, str):
                running.discard(found)
            else:
                self._note(found)

    def _leave_behind(self, running: set[str]) -> None:
        for name in sorted(running):
            delivery = self._begun.get(name)
            if delivery is not None:
                error = TransientError(
                    name, "no answer within the time of a tick", remedy="It is tried again"
                )
                self._note(_Outcome(delivery, error))
        # What arrived while the line above was being noted did arrive.
        while not self._outcomes.empty():
            found = self._outcomes.get()
            if isinstance(found, _Outcome) and found.error is None:
                self._note(found)

    def _note(self, outcome: _Outcome) -> None:
        delivery, error = outcome.delivery, outcome.error
        if error is None:
            self._ledger = self._ledger.delivered(delivery)
        else:
            _LOG.warning(
                "alert %s of %s not delivered to %s, attempt %d: %s",
                delivery.message.message_id,
                delivery.message.group or "several groups",
                delivery.notifier,
                delivery.attempts + 1,
                error,
            )
            self._ledger = self._ledger.failed(
                delivery,
                self._now_us,
                is_refused=isinstance(error, PermanentError),
                wait_s=error.retry_after_s if isinstance(error, TransientError) else None,
            )
        self._store(self._ledger)

    def _attempt(self, name: str, notifier: Notifier, deliveries: list[Delivery]) -> None:
        """Runs in the notifier's thread: one after the other, until one is out of reach."""
        failed: list[Delivery] = []
        for delivery in deliveries:
            if self._stop.is_set():
                break
            if any(other.holds_up(delivery) for other in failed):
                continue
            self._begun[name] = delivery
            error = _sent(notifier, delivery)
            self._outcomes.put(_Outcome(delivery, error))
            self._begun.pop(name, None)
            if error is not None:
                failed.append(delivery)
            if isinstance(error, TransientError):
                break  # who is out of reach for one message is so for the next
        self._outcomes.put(name)


def _sent(notifier: Notifier, delivery: Delivery) -> TickhandlerError | None:
    try:
        notifier.send(delivery.message)
    except TickhandlerError as error:
        return error
    except Exception as error:  # noqa: BLE001  (a fault of one notifier must not stop the others)
        # Only its type: the text of an unforeseen error can hold an address or a password.
        return PermanentError(
            delivery.notifier, f"failed with {type(error).__name__}", remedy="Report it"
        )
    return None
