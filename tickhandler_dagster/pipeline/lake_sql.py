"""Questions in SQL over a span of the lake: which views, of which days.

What belongs here: from tables and days to views. What does not: making them
(`adapters/duckdb_lake_views.py`) and the warehouse (`warehouse_publish.py`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tickhandler_dagster.adapters.duckdb_lake_views import LakeView
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.linked_copies import linked_copies
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseTable
from tickhandler_dagster.pipeline.warehouse_days import table_days

_DAY = re.compile(r"day-(\d{4}-\d{2}-\d{2})")
_LAYERS = (
    "processed_candles/by_date",
    "mft_features/by_date",
    "options_surface/by_date",
    "instrument_availability/by_date",
    "completeness/by_date",
)


@contextlib.contextmanager
def views_root(lake: Lake, views: Sequence[LakeView]) -> Iterator[Path]:
    """The folder that the views' files stand in: the lake's own, or one of copies of a bucket's.

    DuckDB could read a bucket by itself with an extension and keys of its own, which would be a
    second way to read one.

    Raises:
        MissingUpstream: the bucket has nothing of these tables on these days.
    """
    if isinstance(lake.store, LocalObjectStore):
        yield lake.store.root
        return
    paths = [item.path for view in views for day in view.days for item in day.objects]
    if views and not paths:
        names = ", ".join(view.table.name for view in views)
        raise MissingUpstream(
            "the lake",
            f"nothing of {names} on these days",
            remedy="Ask for other days, or make these: tickhandler candle-processing "
            "--start-date D --end-date D",
        )
    with linked_copies(lake.store, paths) as folder:
        yield folder


def days_of_lake(lake: Lake, start: dt.date | None, end: dt.date | None) -> list[dt.date]:
    """The days of a span, both ends included, that can be asked about.

    Raises:
        InvalidInput: the lake is in a bucket, and an end of the span is open.
        MissingUpstream: a folder has no day of it.
    """
    store = lake.store
    if isinstance(store, LocalObjectStore):
        first, last = start or dt.date.min, end or dt.date.max
        days = [day for day in days_in(store) if first <= day <= last]
        if not days:
            raise MissingUpstream(
                "the lake",
                f"no day from {start or 'its first'} to {end or 'its last'}",
                remedy="Run: tickhandler candle-processing --start-date D --end-date D",
            )
        return days
    if start is None or end is None:
        raise InvalidInput(
            "the lake",
            "in a bucket, of which named days alone are copied to be asked",
            remedy="Give --start-date and --end-date, or ask the warehouse (--warehouse)",
        )
    return [start + dt.timedelta(days=number) for number in range((end - start).days + 1)]


def days_in(store: LocalObjectStore) -> list[dt.date]:
    """The days that any table of the lake has a folder of."""
    names = {
        match.group(1)
        for layer in _LAYERS
        if (store.root / layer).is_dir()
        for folder in (store.root / layer).iterdir()
        if (match := _DAY.fullmatch(folder.name))
    }
    return sorted(parse_date(name) for name in names)


def lake_views(
    lake: Lake, tables: Sequence[WarehouseTable], days: Iterable[dt.date]
) -> list[LakeView]:
    """The tables as the lake has them on these days.

    Raises:
        CorruptData: a manifest cannot be read.
    """
    wanted = list(days)
    return [LakeView(table, table_days(lake, table, wanted, list(VenueId))) for table in tables]


def tables_in(question: str, tables: Iterable[WarehouseTable]) -> list[WarehouseTable]:
    """The tables whose name, or whose view of final rows, is a word of the question.

    Example:
        >>> from tickhandler_dagster.market.mft.windows import Windows
        >>> from tickhandler_dagster.market.warehouse_tables import warehouse_tables
        >>> question = "from candles_1m_final c join instruments"
        >>> found = tables_in(question, warehouse_tables(Windows()))
        >>> [table.name for table in found]
        ['candles_1m', 'instruments']
    """
    words = set(re.findall(r"\w+", question.lower()))
    return [table for table in tables if words & {table.name, table.final_view}]
