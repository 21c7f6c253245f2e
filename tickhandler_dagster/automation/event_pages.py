"""What Dagster has recorded since a place in its event log, page by page, in one order.

What belongs here: reading. What an event means to a person is `check_signals.py` and
`run_signals.py`.

The log is read over all runs at once by storage id, which every storage indexes by event type. The
road not taken, asking run after run, sees nothing of a run before it ends, and on SQLite opens a
file per run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import dagster as dg
from dagster import DagsterEventType

FULL_EVENTS = (
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
    DagsterEventType.RUN_SUCCESS,
)
PAGE_SIZE = 500
# Postgres gives out ids before it commits: an event can come into sight after one with a higher id.
# Those of the last seconds wait for the next look.
SETTLING_US = 3_000_000
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Materialized:
    """A materialization without its payload, which can be a picture of fifty kilobytes.

    Attributes:
        asset_key: Which asset.
        partition: Which cell; None where the asset has none.
        run_id: The run that did it; empty where it was reported from outside.
        at_us: When, microseconds since the epoch.
    """

    asset_key: dg.AssetKey
    partition: str | None
    run_id: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its payload.

    Attributes:
        entry: As Dagster stores it.
        at_us: When, microseconds since the epoch.
    """

    entry: dg.EventLogEntry
    at_us: int

    @property
    def event(self) -> dg.DagsterEvent:
        """The event itself."""
        return self.entry.get_dagster_event()


Item: TypeAlias = Materialized | Recorded


@dataclass(frozen=True, slots=True)
class EventPage:
    """A stretch of the log.

    Attributes:
        items: Events of the kinds that are read, in the order in which they were stored.
        cursor: Storage id up to which the log is read.
        is_last: There was nothing more when it was read.
    """

    items: Sequence[Item]
    cursor: int
    is_last: bool


def end_of_log(instance: dg.DagsterInstance) -> int:
    """The storage id of the newest event; -1 in an empty log."""
    newest = instance.event_log_storage.get_maximum_record_id()
    return -1 if newest is None else int(newest)


def read_page(
    instance: dg.DagsterInstance, cursor: int, *, now_us: int, size: int = PAGE_SIZE
) -> EventPage:
    """The next events after the cursor.

    All kinds move on together: where one kind fills its page, the others are cut at the same place,
    so that nothing is ever read before something older.

    Args:
        instance: Whose log.
        cursor: Storage id; events after it are read.
        now_us: The time, microseconds since the epoch.
        size: Events of one kind in a page at most.
    """
    found: dict[int, Item] = {}
    ends: list[int] = []
    for pairs in _kinds(instance, cursor, size):
        found.update(pairs)
        if len(pairs) == size:
            ends.append(max(pairs))
    unsettled = [id_ for id_, item in found.items() if now_us - SETTLING_US < item.at_us <= now_us]
    ends += [id_ - 1 for id_ in unsettled]
    end = min(ends, default=max(found, default=cursor))
    return EventPage(
        items=[found[id_] for id_ in sorted(found) if id_ <= end],
        cursor=end,
        is_last=end == cursor or not ends,
    )


def _kinds(instance: dg.DagsterInstance, cursor: int, size: int) -> list[dict[int, Item]]:
    storage = instance.event_log_storage
    kinds: list[dict[int, Item]] = [
        {
            id_: Recorded(entry, round(entry.timestamp * _US))
            for id_, entry in storage.get_logs_for_all_runs_by_log_id(
                after_cursor=cursor, dagster_event_type=kind, limit=size
            ).items()
        }
        for kind in FULL_EVENTS
    ]
    summaries = instance.get_asset_event_summary_records(
        event_type=DagsterEventType.ASSET_MATERIALIZATION,
        after_storage_id=cursor,
        limit=size,
        ascending=True,
    )
    return [
        *kinds,
        {
            row.storage_id: Materialized(
                row.asset_key, row.partition, row.run_id or "", round(row.timestamp * _US)
            )
            for row in summaries
        },
    ]
