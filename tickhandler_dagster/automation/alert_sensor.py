"""The sensor `alerts`: what Dagster recorded and the clock says, told to people once.

What belongs here: one tick, from the memory of the last one to the memory for the next. What does
not: what is seen (`alert_watch.py`) and who hears of it (`pipeline/alerting.py`).

It is a sensor of the plain kind. Dagster's own kind for failed runs does not see a failed check in
a green run, and moves on when its function raises, so that the alert is lost. Here nothing moves
before it is stored: a tick that fails is done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.adapters.notifiers.notifier import Notifier
from tickhandler_dagster.automation.alert_store import read_memory, store_memory
from tickhandler_dagster.automation.alert_watch import Step, Watch, look, look_at_clock
from tickhandler_dagster.automation.freshness_signals import Expected, expected_cells
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.signal import Signal
from tickhandler_dagster.pipeline.alerting import alert
from tickhandler_dagster.settings import Settings, load_secrets

NAME = "alerts"
INTERVAL_S = 30
# A tick has a minute. What a backfill of years left behind is read over several.
MAX_PAGES = 10

NowUs = Callable[[], int]
"""The time, microseconds since the epoch, UTC."""


def now_us() -> int:
    """The machine's time: the one place where automation asks for it."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Timing:
    """When ticks are and what they take for now.

    Attributes:
        clock: The time.
        interval_s: Seconds between two ticks at least.
    """

    clock: NowUs = now_us
    interval_s: int = INTERVAL_S


@dataclass(frozen=True, slots=True)
class Alerting:
    """What a tick needs besides the instance.

    Attributes:
        policy: Who hears of what.
        notifiers: Builds the ways to reach them, by name.
        expected: Cells with a deadline.
        clock: The time.
    """

    policy: AlertPolicy
    notifiers: Callable[[], Mapping[str, Notifier]]
    expected: Expected
    clock: NowUs = now_us


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick did.

    Attributes:
        events: Events read.
        signals: Signals taken.
        ledger: The ledger afterwards.
        is_last: Nothing was left to read.
    """

    events: int
    signals: int
    ledger: Ledger
    is_last: bool

    @property
    def text(self) -> str:
        """The tick in one line."""
        waiting = len(self.ledger.deliveries)
        more = "" if self.is_last else "; more events wait for the next tick"
        return (
            f"{self.events:,} events, {self.signals:,} signals; "
            f"{len(self.ledger.open_incidents):,} incidents open, "
            f"{waiting:,} deliveries waiting{more}"
        )


def build_alerts(
    settings: Settings,
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
    timing: Timing | None = None,
) -> list[dg.SensorDefinition]:
    """The sensor, where the setting ALERTS names somebody to tell; else none.

    It is on from the start wherever a daemon runs: alerts that wait for somebody to switch them on
    are found out to be off on the day they were needed.
    """
    policy, timing = settings.alerts, timing or Timing()
    if policy is None or not policy.notifiers:
        return []
    expected = expected_cells(assets, settings, policy)
    alerting = Alerting(policy, lambda: _notifiers(policy), expected, timing.clock)

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=timing.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells people of failed checks, failed runs, late partitions and an exhausted quota, "
            "once, and of their recovery. The policy is the setting ALERTS."
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(tick(context.instance, alerting).text)

    return [alerts]


def _notifiers(policy: AlertPolicy) -> Mapping[str, Notifier]:
    """Built at every tick: a secret that was set meanwhile is used."""
    from tickhandler_dagster.adapters.notifiers.building import (  # noqa: PLC0415  (mail, HTTP)
        build_notifiers,
    )

    return build_notifiers(policy, load_secrets(policy.secrets))


def tick(instance: dg.DagsterInstance, alerting: Alerting) -> Tick:
    """Read what is new, tell what is to be told, remember both."""
    now = alerting.clock()
    stored = read_memory(instance)
    watch, ledger = stored or (Watch.from_now(instance), Ledger())
    seen = _look(instance, watch, alerting.expected, now)

    def store(value: Ledger) -> None:
        nonlocal stored
        store_memory(instance, seen.watch, value)
        stored = seen.watch, value

    ledger = alert(
        ledger,
        seen.signals,
        policy=alerting.policy,
        notifiers=alerting.notifiers(),
        now_us=now,
        store=store,
    )
    if stored != (seen.watch, ledger):  # an event can say nothing and is read all the same
        store(ledger)
    return Tick(seen.events, len(seen.signals), ledger, seen.is_last)


def _look(instance: dg.DagsterInstance, watch: Watch, expected: Expected, now: int) -> Step:
    signals: list[Signal] = []
    events, is_last = 0, False
    for _ in range(MAX_PAGES):
        step = look(instance, watch, now_us=now)
        signals += step.signals
        events += step.events
        watch, is_last = step.watch, step.is_last
        if is_last:
            break
    late = look_at_clock(instance, watch, expected=expected, now_us=now)
    return Step((*signals, *late.signals), late.watch, events, is_last)
