"""Publishing days of the lake into the warehouse until the table holds what the lake has.

What belongs here: which days are loaded, again where the lake changed meanwhile, and what the table
holds afterwards. What does not: the objects of a day (`warehouse_days.py`) and how they get there
(`adapters/warehouse.py`).

Two runs that publish the same day at once may know different objects of it, and the later switch
may be the one that knows less. So whoever changed a table looks at the lake again afterwards: the
last one to change it then finds nothing newer, and the table ends as the lake does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.warehouse import Receipt, TableDay, Warehouse
from tickhandler_dagster.market.errors import ConcurrentWrite, PermanentError, TransientError
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_questions import final_rows_question
from tickhandler_dagster.market.warehouse_tables import WarehouseTable
from tickhandler_dagster.pipeline.warehouse_days import table_days

MOST_ROUNDS = 5
"""How often a day is published in a row while others change the lake."""


@dataclass(frozen=True, slots=True)
class DayPublication:
    """What a table holds of a day after it was published.

    Attributes:
        day: What the lake has.
        receipt: What was loaded, over all rounds.
        rows_by_venue: Rows in the table, counted there; venues without rows are left out.
        final_rows: How many of them nothing can change any more; None where rows do not say.
    """

    day: TableDay
    receipt: Receipt
    rows_by_venue: Mapping[VenueId, int]
    final_rows: int | None

    @property
    def rows(self) -> int:
        """Rows in the table."""
        return sum(self.rows_by_venue.values())

    @property
    def is_as_the_lake(self) -> bool:
        """Every venue has the rows in the table that its manifest names."""
        return dict(self.rows_by_venue) == dict(self.day.rows_by_venue)


@dataclass(frozen=True)
class Publisher:
    """Publishes days of one table.

    Attributes:
        table: Which table.
        lake: Where its rows come from.
        warehouse: Where they go.
        venues: Every venue of the grid: rows of others leave the table.
    """

    table: WarehouseTable
    lake: Lake
    warehouse: Warehouse
    venues: Sequence[VenueId]

    def publish(self, days: Sequence[dt.date]) -> list[DayPublication]:
        """Make the table hold these days as the lake has them; in the order given.

        A day that it holds already is not loaded again. Memory grows with the objects of the days,
        half a kilobyte each: `MonthlyPublication` takes long ranges apart.

        Raises:
            ConcurrentWrite: the lake was changed all the time, or holds objects that are being
                replaced.
            CorruptData: an object is not what its manifest says.
            InvalidSetting: the table has a column of another type.
        """
        self.warehouse.ensure(self.table)
        held: dict[dt.date, TableDay] = {}
        receipts: dict[dt.date, Receipt] = {}
        pending = self._read(days)
        for rounds_left in reversed(range(MOST_ROUNDS)):
            try:
                switched = self._switch(pending, receipts)
            except ConcurrentWrite:
                if not rounds_left:
                    raise
                pending = self._read([item.day for item in pending])
                continue
            held.update((item.day, item) for item in pending)
            pending = [
                item for item in self._read(switched) if item.digest != held[item.day].digest
            ]
            if not pending:
                return self._as_counted([held[day] for day in days], receipts)
        raise ConcurrentWrite(
            f"{self.table.name} {pending[0].day}",
            "the lake was changed each time it had been published",
            was=f"{MOST_ROUNDS} times",
            remedy="Publish again when the runs that build it are over",
        )

    def _read(self, days: Sequence[dt.date]) -> list[TableDay]:
        return table_days(self.lake, self.table, days, self.venues)

    def _switch(self, days: Sequence[TableDay], receipts: dict[dt.date, Receipt]) -> list[dt.date]:
        """Load these days, note what it took, and give those that the table did not hold."""
        switched = []
        for receipt in self.warehouse.publish(self.table, days):
            earlier = receipts.get(receipt.day)
            receipts[receipt.day] = receipt if earlier is None else _together(earlier, receipt)
            if receipt.is_new:
                switched.append(receipt.day)
        return switched

    def _as_counted(
        self, days: Sequence[TableDay], receipts: Mapping[dt.date, Receipt]
    ) -> list[DayPublication]:
        counts = self.warehouse.counts(self.table, [item.day for item in days])
        rows: dict[dt.date, dict[VenueId, int]] = {item.day: {} for item in days}
        for (day, venue), count in sorted(counts.items()):
            rows[day][venue] = count
        final = self._final_rows([day for day, by_venue in rows.items() if by_venue])
        return [
            DayPublication(
                day=item,
                receipt=receipts[item.day],
                rows_by_venue=rows[item.day],
                final_rows=final.get(item.day, 0) if self.table.has_final_rows else None,
            )
            for item in days
        ]

    def _final_rows(self, days: Sequence[dt.date]) -> Mapping[dt.date, int]:
        if not days or not self.table.has_final_rows:
            return {}
        answer = self.warehouse.query(final_rows_question(self.table, min(days), max(days)))
        return {row["day"]: int(row["final_rows"]) for row in answer.to_pylist()}


def _together(earlier: Receipt, later: Receipt) -> Receipt:
    """What two rounds did to a day."""
    return replace(
        later,
        bytes=earlier.bytes + later.bytes,
        job_id=later.job_id or earlier.job_id,
        is_new=earlier.is_new or later.is_new,
    )


class MonthlyPublication:
    """Days of a long range, given one by one and published a calendar month at a time.

    A month is what one load job takes, and what bounds the memory. Where a month fails, its days
    are published one by one, so that a bad day keeps back no other; where the warehouse does not
    answer, none of its other days is tried.

    Args:
        days: All days that will be asked for.
        publish: Publishes some of them.
        task: What progress calls it.
        on_progress: Told after every month.
    """

    def __init__(
        self,
        days: Sequence[dt.date],
        publish: Callable[[Sequence[dt.date]], Sequence[DayPublication]],
        *,
        task: str,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._total = len(days)
        self._publish = publish
        self._task = task
        self._on_progress = on_progress
        self._months = {month: list(some) for month, some in groupby(sorted(days), key=_month)}
        self._ready: dict[dt.date, DayPublication] = {}
        self._unanswered: dict[tuple[int, int], TransientError] = {}
        self._done = self._rows = self._bytes = 0

    def of(self, day: dt.date) -> DayPublication:
        """What the table holds of the day; with the first of a month all its days are published.

        Raises:
            TickhandlerError: the day could not be published.
        """
        if day not in self._ready:
            for item in self._published(day):
                self._ready[item.receipt.day] = item
                self._tell(item)
        return self._ready.pop(day)

    def _published(self, day: dt.date) -> Sequence[DayPublication]:
        if _month(day) in self._unanswered:
            raise self._unanswered[_month(day)]
        days = self._months.pop(_month(day), [day])
        try:
            return self._publish(days)
        except (PermanentError, ConcurrentWrite):
            if len(days) == 1:
                raise
        except TransientError as error:
            self._unanswered[_month(day)] = error
            raise
        return self._publish([day])

    def _tell(self, item: DayPublication) -> None:
        self._done += 1
        self._rows += item.rows
        self._bytes += item.receipt.bytes
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    task=self._task,
                    done=self._done,
                    total=self._total,
                    unit="days",
                    rows=self._rows,
                    bytes=self._bytes,
                )
            )


def _month(day: dt.date) -> tuple[int, int]:
    return day.year, day.month
