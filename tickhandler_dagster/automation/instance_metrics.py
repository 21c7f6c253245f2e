"""Numbers of Dagster's instance for Prometheus: the page has none of its own.

What belongs here: names, labels and help texts, and the questions to the instance. Every question
is about a window of days or a few counts, so that a look costs the same in the sixth year as in the
first. What does not: when to look and who is told (`cli/metrics.py`), a live session's numbers
(`streaming/serving/metrics.py`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from tickhandler_dagster.automation.alert_store import read_memory
from tickhandler_dagster.automation.backfills import unfinished_backfills
from tickhandler_dagster.market.alerts.signal import IncidentKind
from tickhandler_dagster.market.days import VenueDay, parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.partitions.grid import VENUE

ALL_VENUES = "all"
"""The label `venue` of what is made over all venues of a day."""

_PREFIX = "tickhandler_"
_DAY = dt.timedelta(days=1)
_UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
_STATES = {"MATERIALIZED": "materialized", "FAILED": "failed", "IN_PROGRESS": "running"}
_MISSING = "missing"


@dataclass(frozen=True)
class Watched:
    """What is looked at.

    Attributes:
        partitions: The partitions definition of every asset, as the code location has it.
        checks: Every check of theirs.
        days: Length of the window.
    """

    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition]
    checks: Sequence[dg.AssetCheckKey]
    days: int


def instance_metrics(
    instance: dg.DagsterInstance, watched: Watched, *, now: dt.datetime
) -> list[Metric]:
    """Everything there is to say at a moment.

    Args:
        instance: Whose runs, partitions and checks.
        watched: The assets, and how many days back.
        now: The moment, with an offset.
    """
    days = [now.date() - _DAY * back for back in range(watched.days, 0, -1)]
    return [
        *_runs(instance, now),
        *_daemons(instance, now),
        *_partitions(instance, watched, days),
        _failed_checks(instance, watched, days),
        _open_alerts(instance),
    ]


def _runs(instance: dg.DagsterInstance, now: dt.datetime) -> Iterator[Metric]:
    open_runs = _gauge("runs", "Runs that are not over.", "status")
    for status in _UNFINISHED:
        count = instance.get_runs_count(dg.RunsFilter(statuses=[status]))
        open_runs.add_metric([status.value.lower()], count)
    yield open_runs
    ended = _gauge("runs_ended_24h", "Runs that changed last within 24 hours and ended.", "status")
    for status in _ENDED:
        recent = dg.RunsFilter(statuses=[status], updated_after=now - _DAY)
        ended.add_metric([status.value.lower()], instance.get_runs_count(recent))
    yield ended
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    oldest = instance.get_run_records(queued, limit=1, ascending=True)
    age = (now - _in_utc(oldest[0].create_timestamp)).total_seconds() if oldest else 0.0
    yield _plain("queue_oldest_seconds", "Age of the run that waits longest.", age)
    yield _plain("backfills", "Backfills that are not over.", len(unfinished_backfills(instance)))


def _daemons(instance: dg.DagsterInstance, now: dt.datetime) -> Iterator[Metric]:
    family = _gauge("daemon_heartbeat_age_seconds", "Time since a daemon spoke last.", "daemon")
    for name, heartbeat in sorted(instance.get_daemon_heartbeats().items()):
        family.add_metric([name.lower()], now.timestamp() - heartbeat.timestamp)
    yield family


def _partitions(
    instance: dg.DagsterInstance, watched: Watched, days: Sequence[dt.date]
) -> Iterator[Metric]:
    counts: Counter[tuple[str, str, str]] = Counter()
    newest: dict[tuple[str, str], dt.date] = {}
    for key, partitions in watched.partitions.items():
        wanted = _window(partitions, days)
        known = instance.get_status_by_partition(key, wanted, partitions) or {}
        for one in wanted:
            day, venue = _day_and_venue(one)
            status = known.get(one)
            state = _MISSING if status is None else _STATES[status.value]
            counts[key.path[0], venue, state] += 1
            if state == "materialized":
                place = (key.path[0], venue)
                newest[place] = max(newest.get(place, day), day)
    yield _counted(
        _gauge(
            "partitions",
            "Partitions of the window, over all assets of the family.",
            *("family", "venue", "state"),
        ),
        counts,
    )
    family = _gauge(
        "newest_day_end_timestamp_seconds",
        "End of the newest day of the window that is there; what it lags is time() less this.",
        *("family", "venue"),
    )
    for place, day in sorted(newest.items()):
        end = dt.datetime.combine(day + _DAY, dt.time(), dt.UTC)
        family.add_metric(list(place), end.timestamp())
    yield family


def _failed_checks(
    instance: dg.DagsterInstance, watched: Watched, days: Sequence[dt.date]
) -> Metric:
    counts: Counter[tuple[str, str, str]] = Counter()
    wanted = {one for part in watched.partitions.values() for one in _window(part, days)}
    found = instance.event_log_storage.get_asset_check_partition_info(
        list(watched.checks), partition_keys=sorted(wanted)
    )
    for info in found:
        has_failed = info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
        # One that was evaluated of an older version of its partition says nothing of this one.
        if has_failed and info.is_current and info.partition_key in wanted:
            venue = _day_and_venue(info.partition_key)[1]
            counts[info.check_key.asset_key.path[0], info.check_key.name, venue] += 1
    return _counted(
        _gauge(
            "failed_checks",
            "Partitions of the window whose last check failed.",
            *("family", "check", "venue"),
        ),
        counts,
    )


def _open_alerts(instance: dg.DagsterInstance) -> Metric:
    stored = read_memory(instance)
    kinds = Counter(one.kind for one in stored[1].open_incidents) if stored else Counter()
    family = _gauge("alerts_open", "Incidents that are open.", "kind")
    for kind in IncidentKind:
        family.add_metric([kind], kinds[kind])
    return family


def _window(partitions: dg.PartitionsDefinition, days: Sequence[dt.date]) -> list[str]:
    """The partitions of these days that there are; none where partitions are no days."""
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        venues = partitions.get_partitions_def_for_dimension(VENUE).get_partition_keys()
        keys = [f"{day}|{venue}" for day in days for venue in venues]
    else:
        keys = [str(day) for day in days]
    return [key for key in keys if partitions.has_partition_key(key)]


def _day_and_venue(partition: str) -> tuple[dt.date, str]:
    try:
        cell = VenueDay.parse(partition)
    except InvalidInput:
        return parse_date(partition), ALL_VENUES
    return cell.date, str(cell.venue)


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _plain(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _counted(
    family: GaugeMetricFamily, counts: Mapping[tuple[str, str, str], int]
) -> GaugeMetricFamily:
    for labels, count in sorted(counts.items()):
        family.add_metric(list(labels), count)
    return family
