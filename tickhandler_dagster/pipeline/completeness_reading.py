"""The completeness of a span, day after day: stored tables, and rows for cells without one.

What belongs here: which cells a span has and their rows, in batches of bounded size. What does not:
what is made of the rows (`completeness_report.py`) and building a cell's table
(`completeness.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream
from tickhandler_dagster.market.paths import (
    CompletenessFile,
    FindingsFile,
    LakeObject,
    parse_path,
)
from tickhandler_dagster.market.quality.policy import QualityPolicy, Subject
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog

WHOLE_CELL = "*"
"""Instrument key and type of a row that speaks for all instruments of a venue, type and day."""

NEVER_MATERIALIZED = "completeness was never materialized"

_BATCH_ROWS = 250_000
_BATCH_DAYS = 31
_FIRST_DAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpan:
    """What a report is about; both days included.

    Raises:
        InvalidInput: the last day lies before the first, or no venue has one of the data types.
    """

    start: dt.date
    end: dt.date
    venues: tuple[VenueId, ...]
    data_types: tuple[DataType, ...]

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidInput(
                "--end-date",
                "before --start-date",
                was=self.end,
                expected=f"{self.start} or later",
                remedy="Swap the two",
            )
        if not self.streams:
            raise InvalidInput(
                "--data-types",
                "none of the venues has them",
                was=", ".join(self.data_types),
                remedy="Choose other data types or venues",
            )

    @property
    def days(self) -> list[dt.date]:
        """All days, earliest first."""
        count = (self.end - self.start).days + 1
        return [self.start + dt.timedelta(days=offset) for offset in range(count)]

    @property
    def streams(self) -> list[tuple[VenueId, DataType]]:
        """Every venue with each of its data types, in the order of the grid."""
        return [(venue, data_type) for venue in self.venues for data_type in self.types_of(venue)]

    def types_of(self, venue: VenueId) -> list[DataType]:
        """The wanted data types that the venue can have."""
        wanted = set(self.data_types) & VENUES[venue].data_types
        return [data_type for data_type in DataType if data_type in wanted]

    def has(self, day: dt.date, venue: VenueId) -> bool:
        """The cell belongs to the span."""
        return self.start <= day <= self.end and venue in self.venues


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of `COMPLETENESS_TABLE` of some days in a row, ordered by its key."""

    days: int
    rows: pl.DataFrame


def stored_objects(
    lake: Lake, kind: type[CompletenessFile | FindingsFile], span: ReportSpan
) -> list[CompletenessFile | FindingsFile]:
    """The span's objects of that kind, in one listing: stores charge for each question."""
    found = map(parse_path, lake.store.list(kind.form.partition("{")[0]))
    mine = [item for item in found if isinstance(item, CompletenessFile | FindingsFile)]
    return [item for item in mine if type(item) is kind and span.has(item.date, item.venue)]


def completeness_batches(span: ReportSpan, *, lake: Lake, policy: QualityPolicy) -> Iterator[Batch]:
    """The rows of the span in the order of its days, about `_BATCH_ROWS` of them at a time.

    A cell without a stored table has one row per data type, with `WHOLE_CELL` for the instrument.

    Raises:
        CorruptData: a stored table or a catalogue is not readable.
    """
    stored = {(item.date, item.venue): item for item in _completeness_files(lake, span)}
    catalogs = {venue: _catalog(lake, venue) for venue in span.venues}
    days, count = span.days, _FIRST_DAYS
    while days:
        some, days = days[:count], days[count:]
        cells = [VenueDay(day, venue) for day in some for venue in span.venues]
        items = [stored[cell.date, cell.venue] for cell in cells if _key(cell) in stored]
        absent = [cell for cell in cells if _key(cell) not in stored]
        rows = pl.concat([_stored_rows(lake, items, span), _absent(absent, span, catalogs, policy)])
        yield Batch(len(some), rows.sort(COMPLETENESS_TABLE.key))
        # Days differ little from their neighbours: the last batch tells how many days fit.
        count = max(1, min(_BATCH_DAYS, _BATCH_ROWS * len(some) // max(rows.height, 1)))


def read_all(lake: Lake, items: Iterable[LakeObject], names: Iterable[str]) -> pl.DataFrame:
    """The rows of several stored tables in one read; the tables exist and `items` is not empty.

    Raises:
        CorruptData: one of them is not readable.
    """
    items, names = list(items), list(names)
    files = [local for local in lake.fetch(items) if local is not None]
    try:
        lazy = pl.scan_parquet(files, glob=False, hive_partitioning=False)
        return lazy.select(names).collect()
    except (pl.exceptions.PolarsError, OSError):
        # One by one the reader names the broken object and what to do about it.
        tables = [lake.read_table(item, columns=names) for item in items]
        return pl.concat([table for table in tables if table is not None])


def _key(cell: VenueDay) -> tuple[dt.date, VenueId]:
    return cell.date, cell.venue


def _completeness_files(lake: Lake, span: ReportSpan) -> list[CompletenessFile]:
    found = stored_objects(lake, CompletenessFile, span)
    return [item for item in found if isinstance(item, CompletenessFile)]


def _catalog(lake: Lake, venue: VenueId) -> ExchangeCatalog | None:
    try:
        return stored_catalog(lake, venue)
    except MissingUpstream:
        return None  # then nothing says that the vendor has no such day


def _stored_rows(lake: Lake, items: list[CompletenessFile], span: ReportSpan) -> pl.DataFrame:
    if not items:
        return completeness_frame([])
    rows = read_all(lake, items, COMPLETENESS_TABLE.names)
    return rows.filter(pl.col("data_type").is_in(list(map(str, span.data_types))))


def _absent(
    cells: Iterable[VenueDay],
    span: ReportSpan,
    catalogs: Mapping[VenueId, ExchangeCatalog | None],
    policy: QualityPolicy,
) -> pl.DataFrame:
    rows = []
    for cell in cells:
        catalog = catalogs[cell.venue]
        state, reason = _state_without_table(cell.date, catalog)
        rows += [
            Completeness(
                date=cell.date,
                venue=cell.venue,
                data_type=data_type,
                instrument_key=WHOLE_CELL,
                instrument_type=WHOLE_CELL,
                state=state,
                reason=reason,
                verdict=policy.of_state(Subject(cell.venue, data_type), state),
                is_simulated=catalog is not None and catalog.is_simulated,
            )
            for data_type in span.types_of(cell.venue)
        ]
    return completeness_frame(rows)


def _state_without_table(day: dt.date, catalog: ExchangeCatalog | None) -> tuple[DataState, str]:
    if catalog is not None and day < catalog.first_day:
        return DataState.NOT_LISTED, f"the vendor's files begin on {catalog.first_day}"
    if catalog is not None and not catalog.is_exported(day):
        until = f"{catalog.exported_until:%Y-%m-%d %H:%M} UTC"
        return DataState.NOT_EXPORTED_YET, f"the vendor's files end at {until}"
    return DataState.NOT_INGESTED, NEVER_MATERIALIZED
