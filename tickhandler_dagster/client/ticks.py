"""Ticks of a span, or around given moments: the row groups that hold them and no others.

What belongs here: which files of which days a span needs, and their rows as one answer. What does
not: row groups (`adapters/row_group_reads.py`).

A file holds what arrived on its day. Rows of a span of exchange time can lie in the files of the
days beside it, near midnight: these are read too, and where they are not in the lake the answer is
refused, because a file still to come could change it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from tickhandler_dagster.adapters.counted_file import ReadCount, open_counted
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.row_group_reads import RowGroupFile
from tickhandler_dagster.adapters.written_at import written_after
from tickhandler_dagster.client.listing import NO_ROWS, DayFile, DayListing
from tickhandler_dagster.client.missing import Missing
from tickhandler_dagster.client.rows import ReadPlan, Rows
from tickhandler_dagster.client.rules import OnGap
from tickhandler_dagster.client.spans import days_of, moment_of
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import CLOSING_WINDOW_US
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    NotAvailable,
)
from tickhandler_dagster.market.nearest import did_you_mean
from tickhandler_dagster.market.paths import RawManifest, RawTickFile, TickGapsFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState

KEY = "instrument_key"
_DAY = dt.timedelta(days=1)


class Clock(StrEnum):
    """Which of a tick's two times a span is of."""

    EXCHANGE = "exchange"
    LOCAL = "local"

    @property
    def column(self) -> str:
        """The column with this time."""
        return "timestamp" if self is Clock.EXCHANGE else "local_timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRules:
    """The rules of one question.

    Attributes:
        on_gap: Known holes are refused (`raise`) or passed over (`keep`); a hole has no rows that
            could be masked.
        include_provisional: Done without the files of days beside that are not in the lake.
        as_of_us: Only what had arrived then, in microseconds since the epoch; None for all.
        on_revised: With `as_of_us`, files that were written after it are refused or taken (`keep`).
        clock: Which time the spans are of.
    """

    on_gap: OnGap = OnGap.RAISE
    include_provisional: bool = False
    as_of_us: int | None = None
    on_revised: OnGap = OnGap.RAISE
    clock: Clock = Clock.EXCHANGE


@dataclass
class TickQuestion:
    """Ticks that are asked for.

    Attributes:
        lake: Where they are.
        data_type: What they are.
        listing: Universes and instruments, of the days of the spans.
        spans: Disjoint, in order.
        columns: Names of columns; None for all.
        rules: What is done about gaps, versions and the future.
        count: What was read so far.
    """

    lake: Lake
    data_type: DataType
    listing: Callable[[Sequence[dt.date]], DayListing]
    spans: Sequence[Span]
    columns: Sequence[str] | None
    rules: TickRules
    count: ReadCount = field(default_factory=ReadCount)

    def rows(self) -> Rows:
        """The answer, to be read."""
        return Rows(self._lazy, self._plan, collect=self._collect)

    def _collect(self) -> pl.DataFrame:
        names = self._names()
        frames = list(self._frames(self._files(), names, None))
        return pl.concat(frames) if frames else pl.DataFrame(schema=self._schema(names))

    def _lazy(self) -> pl.LazyFrame:
        from polars.io.plugins import register_io_source  # noqa: PLC0415  (seldom used)

        files, names = self._files(), self._names()

        def source(
            with_columns: list[str] | None,
            predicate: pl.Expr | None,
            n_rows: int | None,
            batch_size: int | None,  # noqa: ARG001  (a row group is a batch)
        ) -> Iterator[pl.DataFrame]:
            left = n_rows
            for frame in self._frames(files, with_columns or names, predicate):
                if left is not None and left <= 0:
                    return
                part = frame if left is None else frame.head(left)
                left = None if left is None else left - part.height
                yield part

        return register_io_source(source, schema=self._schema(names))

    def _plan(self) -> ReadPlan:
        wanted = [name for name in self._names() if name != KEY]
        files = self._files()
        groups = skipped = rows = size = 0
        for _, opened in self._opened(files):
            needed = opened.needed(self.spans, wanted)
            groups, skipped = groups + len(needed.groups), skipped + needed.skipped
            rows, size = rows + needed.rows, size + needed.bytes
        paths = tuple(file.item.path for file in files)
        return ReadPlan(len(files), groups, skipped, rows, size, paths)

    def _frames(
        self, files: Sequence[DayFile], names: Sequence[str], predicate: pl.Expr | None
    ) -> Iterator[pl.DataFrame]:
        stored = [name for name in names if name != KEY]
        asked = {*stored, *(predicate.meta.root_names() if predicate is not None else ())} - {KEY}
        arrival = "local_timestamp"
        read = list(asked | ({arrival} if self.rules.as_of_us is not None else set()))
        for file, opened in self._opened(files):
            for frame in opened.read(self.spans, read or [arrival]):
                part = frame.with_columns(pl.lit(file.key).alias(KEY))
                if self.rules.as_of_us is not None:
                    part = part.filter(pl.col(arrival) <= moment_of(self.rules.as_of_us))
                if predicate is not None:
                    part = part.filter(predicate)
                yield part.select(names)

    def _opened(self, files: Sequence[DayFile]) -> Iterator[tuple[DayFile, RowGroupFile]]:
        for file in files:
            path = file.item.path
            opened = open_counted(self.lake.store, path, self.count)
            if opened is None:
                raise ConcurrentWrite(
                    path,
                    "named by its manifest and not there",
                    remedy="Ask again if the partition is being made; else make it again",
                )
            with opened:
                yield file, RowGroupFile(opened, path, self.rules.clock.column)

    # ---- which files -----------------------------------------------------------------------

    def _files(self) -> list[DayFile]:
        """Files by instrument and day, of the days and of the days beside them.

        Raises:
            MissingUpstream: one that is needed is not in the lake.
            CorruptData: a span has a known hole.
            NotAvailable: what was known at `as_of_us` cannot be told any more.
        """
        days = sorted({day for span in self.spans for day in days_of(span)})
        listing = self.listing(days)
        missing = Missing(f"raw_ticks/{self.data_type}")
        cells = listing.cells()
        keys = listing.keys(cells)
        beside = [] if self.rules.clock is Clock.LOCAL else self._days_beside(days)
        wanted = {(cell, key): True for cell in cells for key in keys[cell]}
        for cell, key in list(wanted):
            for day in beside:
                if abs(day - cell.date) == _DAY:
                    wanted.setdefault((VenueDay(day, cell.venue), key), False)
        manifests = self._manifests({cell for cell, _ in wanted})
        found = []
        for (cell, key), is_own in wanted.items():
            reason = self._why_missing(listing, manifests[cell], cell, key, is_own=is_own)
            if reason is not None:
                missing.add(cell, reason, key=key)
            elif self._state(manifests[cell], key) is DataState.PRESENT:
                found.append(DayFile(cell, key, RawTickFile(cell.date, self.data_type, key)))
        missing.require_none()
        self._require_listed(listing, manifests, wanted)
        self._require_whole(found)
        self._require_unrevised(found)
        return sorted(found, key=lambda file: (file.key, file.cell.date))

    def _days_beside(self, days: Sequence[dt.date]) -> list[dt.date]:
        """Days whose files can hold rows of a span that is near their midnight."""
        near = {
            day
            for span in self.spans
            for day in days_of(Span(span.start - CLOSING_WINDOW_US, span.end + CLOSING_WINDOW_US))
        }
        return sorted(near - set(days))

    def _manifests(self, cells: set[VenueDay]) -> dict[VenueDay, Mapping[str, str] | None]:
        ordered = sorted(cells)
        items = [RawManifest(cell.date, self.data_type, cell.venue) for cell in ordered]
        found: dict[VenueDay, Mapping[str, str] | None] = {}
        for cell, item, local in zip(ordered, items, self.lake.fetch(items), strict=True):
            frame = None
            if local is not None:
                frame = self.lake.read_table(item, columns=(KEY, "state"), local=local)
            found[cell] = None if frame is None else dict(frame.iter_rows())
        return found

    @staticmethod
    def _state(manifest: Mapping[str, str] | None, key: str) -> DataState | None:
        return DataState(manifest[key]) if manifest is not None and key in manifest else None

    def _why_missing(
        self,
        listing: DayListing,
        manifest: Mapping[str, str] | None,
        cell: VenueDay,
        key: str,
        *,
        is_own: bool,
    ) -> str | None:
        """Why rows of an instrument are missing in a cell; None where nothing is."""
        if not is_own and (self.rules.include_provisional or self._has_none_beside(cell, key)):
            return None
        if manifest is None:
            return "not materialized" if is_own else "rows stamped near midnight can be in it"
        state = self._state(manifest, key)
        if state is None:
            terms = listing.terms(cell, key)
            types = [] if terms is None else list(terms["data_types"])  # type: ignore[call-overload]
            return "listed and not in the manifest" if self.data_type.value in types else None
        return None if state is DataState.PRESENT or state in NO_ROWS else str(state)

    def _has_none_beside(self, cell: VenueDay, key: str) -> bool:
        """The instrument was not listed yet, or no more, on a day beside the span."""
        for shift in (1, -1):
            own = cell.shifted(shift)
            terms = self.listing([own.date]).terms(own, key)
            if terms is None:
                continue
            start, end = (moment_of(us) for us in day_span_us(own.date))
            is_first = terms["available_from"] >= start  # type: ignore[operator]
            ends = [terms[name] for name in ("available_to", "expiry") if terms[name] is not None]
            is_last = any(one <= end for one in ends)  # type: ignore[operator]
            if (is_first and shift == 1) or (is_last and shift == -1):
                return True
        return False

    def _require_listed(
        self,
        listing: DayListing,
        manifests: Mapping[VenueDay, Mapping[str, str] | None],
        wanted: Mapping[tuple[VenueDay, str], bool],
    ) -> None:
        if self.spans and not any(
            self._state(manifests[cell], key) is not None for cell, key in wanted
        ):
            raise listing.nothing()

    def _require_whole(self, files: Sequence[DayFile]) -> None:
        if self.rules.on_gap is not OnGap.RAISE:
            return
        keys = {(file.cell.date, file.key) for file in files}
        cells = sorted({file.cell for file in files})
        items = [TickGapsFile(cell.date, self.data_type, cell.venue) for cell in cells]
        places = []
        for item, local in zip(items, self.lake.fetch(items), strict=True):
            gaps = None if local is None else self.lake.read_table(item, local=local)
            for gap in [] if gaps is None else gaps.iter_rows(named=True):
                if (gap["date"], gap[KEY]) in keys and self._meets(gap):
                    start, end = gap["gap_start"], gap["gap_end"]
                    places.append(f"{gap[KEY]} {start:%Y-%m-%dT%H:%M:%S}Z to {end:%H:%M:%S}Z")
        if places:
            raise CorruptData(
                f"raw_ticks/{self.data_type}",
                f"{len(places)} known holes in the span: {', '.join(places[:3])}",
                remedy="Ask with on_gap='keep', or for another span; completeness() says why",
            )

    def _meets(self, gap: Mapping[str, dt.datetime]) -> bool:
        return any(
            gap["gap_start"] < moment_of(span.end) and moment_of(span.start) < gap["gap_end"]
            for span in self.spans
        )

    def _require_unrevised(self, files: Sequence[DayFile]) -> None:
        if self.rules.as_of_us is None or self.rules.on_revised is not OnGap.RAISE:
            return
        then = moment_of(self.rules.as_of_us)
        later = written_after(self.lake, [file.item for file in files], then)
        places = [f"{file.cell} {file.key}" for file, one in zip(files, later, strict=True) if one]
        if places:
            raise NotAvailable(
                f"raw_ticks/{self.data_type}",
                f"{len(places)} files were written after {then.isoformat()} and have no versions, "
                f"so that nobody can tell whether they are as first published: {places[0]}",
                remedy="Ask with on_revised='keep' for what the lake has today of what had arrived "
                "then",
            )

    # ---- columns ---------------------------------------------------------------------------

    def _names(self) -> list[str]:
        known = RAW_TABLES[self.data_type].stored.names
        for name in self.columns or ():
            if name not in known and name != KEY:
                raise InvalidInput(
                    f"'{name}'",
                    f"no column of {self.data_type}",
                    remedy=did_you_mean(name, known, otherwise=f"Use one of {', '.join(known)}"),
                )
        chosen = known if self.columns is None else ["timestamp", "local_timestamp", *self.columns]
        return list(dict.fromkeys([KEY, *chosen]))

    def _schema(self, names: Sequence[str]) -> dict[str, pl.DataType]:
        stored: Mapping[str, pl.DataType] = RAW_TABLES[self.data_type].stored.polars_schema
        return {name: pl.String() if name == KEY else stored[name] for name in names}
