"""Marts after their tables: a sensor that makes the marts of days whose tables were published.

What belongs here: which days and marts are due, and the runs that make them. What does not: making
them (`invocation.py`).

Dagster's conditions would ask for a run a day, and a dbt process takes half a minute whatever its
days are: here days in a row are one run. A table that was published again and had not changed is no
news. Nothing is made of a day that a mart's tables do not have yet: a green day would hide it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from tickhandler_dagster.assets.warehouse import GROUP as TABLES
from tickhandler_dagster.assets.warehouse import LOADED
from tickhandler_dagster.automation.daily_jobs import RANGE_TAGS
from tickhandler_dagster.automation.event_pages import end_of_log

NAME = "marts_after_tables"
INTERVAL_S = 60
_PAGE = 500

Sources = Mapping[dg.AssetKey, frozenset[dg.AssetKey]]
Days = Mapping[str, frozenset[dg.AssetKey]]


@dataclass(frozen=True)
class Due:
    """What is to be made.

    Attributes:
        by_day: Marts that are made a day at a time, by day.
        whole: Marts that are made whole.
    """

    by_day: Days
    whole: frozenset[dg.AssetKey]


def build_after_tables(
    marts: dg.AssetsDefinition, *, is_on: bool
) -> tuple[UnresolvedAssetJobDefinition, dg.SensorDefinition]:
    """The job of all marts, and the sensor that starts it.

    Args:
        marts: All of them.
        is_on: The sensor runs from the start.
    """
    job = dg.define_asset_job(
        NAME,
        selection=dg.AssetSelection.assets(*marts.keys),
        description="The marts of days whose tables were published, and their tests; also by hand.",
    )
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=status.RUNNING if is_on else status.STOPPED,
        description=(
            "Makes the marts of days whose tables of the warehouse are new, when nobody publishes "
            "at the moment. Days in a row are one run."
        ),
    )
    def marts_after_tables(
        context: dg.SensorEvaluationContext,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        instance, sources = context.instance, sources_of(marts)
        end = end_of_log(instance)
        if context.cursor is None:
            context.update_cursor(str(end))
            return dg.SkipReason("Begins with what is published from now on.")
        if is_publishing(instance, _tables(sources)):
            return dg.SkipReason("Waits until the tables that are being published are out.")
        due = due_marts(instance, marts, sources, int(context.cursor))
        context.update_cursor(str(end))
        return list(requests(due, str(end))) or dg.SkipReason("No table is new.")

    return job, marts_after_tables


def sources_of(marts: dg.AssetsDefinition) -> Sources:
    """The tables that every mart is made of, over other marts."""

    def below(key: dg.AssetKey) -> Iterator[dg.AssetKey]:
        for parent in marts.asset_deps[key]:
            if parent.path[0] == TABLES:
                yield parent
            elif parent in marts.keys:
                yield from below(parent)

    return {key: frozenset(below(key)) for key in marts.keys}


def is_publishing(instance: dg.DagsterInstance, tables: Iterable[dg.AssetKey]) -> bool:
    """The last run that said it would publish one of the tables is not over."""
    planned = map(instance.event_log_storage.get_latest_planned_materialization_info, tables)
    run_ids = {info.run_id for info in planned if info is not None}
    if not run_ids:
        return False
    unfinished = dg.RunsFilter(run_ids=sorted(run_ids), statuses=list(NOT_FINISHED_STATUSES))
    return bool(instance.get_runs(unfinished, limit=1))


def due_marts(
    instance: dg.DagsterInstance, marts: dg.AssetsDefinition, sources: Sources, cursor: int
) -> Due:
    """Marts whose tables were published after the cursor, and changed or were never taken up."""
    news = {table: _published(instance, table, cursor) for table in _tables(sources)}
    days = {day for of_table in news.values() for day in of_table}
    known = {table: _made(instance, table, days) for table in news}
    by_day: dict[str, set[dg.AssetKey]] = {}
    whole = set()
    for mart, tables in sources.items():
        partitions = marts.specs_by_key[mart].partitions_def
        if partitions is None:
            if any(any(news[table].values()) for table in tables):
                whole.add(mart)
            continue
        made = _made(instance, mart, days)
        for day in frozenset[str]().union(*(news[table] for table in tables)):
            is_new = day not in made or any(news[table].get(day) for table in tables)
            has_all = all(day in known[table] for table in tables)
            if is_new and has_all and partitions.has_partition_key(day):
                by_day.setdefault(day, set()).add(mart)
    return Due({day: frozenset(some) for day, some in by_day.items()}, frozenset(whole))


def requests(due: Due, look: str) -> Iterator[dg.RunRequest]:
    """A run for every stretch of days in a row with the same marts; the last makes whole ones too.

    Args:
        due: What is to be made.
        look: Names the look, in the keys of its runs.
    """
    stretches = list(_stretches(due.by_day))
    for place, days in enumerate(stretches):
        is_last = place == len(stretches) - 1
        keys = due.by_day[days[0]] | (due.whole if is_last else frozenset())
        yield dg.RunRequest(
            run_key=f"{look} {days[0]}",
            asset_selection=sorted(keys),
            tags=dict(zip(RANGE_TAGS, (days[0], days[-1]), strict=True)),
        )
    if due.whole and not stretches:
        yield dg.RunRequest(run_key=look, asset_selection=sorted(due.whole))


def _stretches(by_day: Days) -> Iterator[Sequence[str]]:
    found: list[str] = []
    for day in sorted(by_day):
        if found and (day != _after(found[-1]) or by_day[day] != by_day[found[-1]]):
            yield found
            found = []
        found.append(day)
    if found:
        yield found


def _after(day: str) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()


def _tables(sources: Sources) -> list[dg.AssetKey]:
    return sorted(frozenset[dg.AssetKey]().union(*sources.values()))


def _published(instance: dg.DagsterInstance, table: dg.AssetKey, cursor: int) -> dict[str, bool]:
    """Days of the table that were published after the cursor, each with whether it changed."""
    found: dict[str, bool] = {}
    wanted = dg.AssetRecordsFilter(asset_key=table, after_storage_id=cursor)
    page = None
    while True:
        page = instance.fetch_materializations(
            wanted, limit=_PAGE, cursor=page and page.cursor, ascending=True
        )
        for record in page.records:
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                loaded = event.metadata.get(LOADED)
                is_new = loaded is None or bool(loaded.value)
                found[event.partition] = found.get(event.partition, False) or is_new
        if not page.has_more:
            return found


def _made(instance: dg.DagsterInstance, key: dg.AssetKey, days: Iterable[str]) -> Collection[str]:
    wanted = set(days)
    if not wanted:
        return ()
    return instance.event_log_storage.get_latest_storage_id_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, partitions=wanted
    )
