"""The bars of one venue that are due together: windows built, rows made, nothing delivered yet.

What belongs here: the order of instruments, the state each window starts from, and what is made of
late rows. What does not: when a round is due (`closing.py`), delivering, checkpoints (`venue.py`).

An instrument that is not listed yet, or no more, has no bar, as in the batch, unless it trades all
the same. Its windows are built, for what comes later stands on the state that they leave.

A bar is built twice: when its grace has ended, and when what it looks ahead to is in. The first
build starts from the state the first build before it left; should the second build leave another
one, because rows came late, the first builds after it are made anew for their state. Over midnight
it is the memory of the day that they stand on: every bar of the day before is in it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME
from tickhandler_dagster.streaming.bar_records import WIDTH_US, BarRecord, InstrumentRecords
from tickhandler_dagster.streaming.bar_rows import BarRows
from tickhandler_dagster.streaming.day_memories import DayMemories
from tickhandler_dagster.streaming.day_tallies import DayTallies
from tickhandler_dagster.streaming.instruments import LiveInstrument, Relations, relations
from tickhandler_dagster.streaming.live_rows import Publication, live_rows
from tickhandler_dagster.streaming.neighbours import Neighbours, Stand, as_reference
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.preparation import Preparation
from tickhandler_dagster.streaming.tick_blocks import SymbolRows
from tickhandler_dagster.streaming.windows import Built, Window, build_window

_EPOCH = dt.date(1970, 1, 1)

RowsOf = Callable[[LiveInstrument], tuple[Mapping[DataType, SymbolRows], pl.DataFrame]]
"""An instrument's rows by type, and its repeated trades."""

LatestOf = Callable[[str, int], Mapping[DataType, pl.DataFrame]]
"""By data type the latest rows of a symbol before a midnight, as far as they are kept."""


Made = tuple[BarBatch | None, Sequence[Built]]
"""Bars that are published together, None where there are none, and the windows they are of."""


@dataclass(slots=True)
class VenueBars:
    """The bars of one venue's instruments.

    Attributes:
        instruments: The instruments.
        memories: What is known of days before.
        records: What was published, by key.
        tallies: What the day's bars add up to.
        chunk: Instruments whose bars are made into rows together.
        gaps: Holes of the feed.
        clocks: Clock that each instrument's trades were cut by last.
        latest: Gives a symbol's latest rows before a midnight.
    """

    instruments: Sequence[LiveInstrument]
    memories: DayMemories
    records: dict[str, InstrumentRecords]
    tallies: DayTallies
    chunk: int
    gaps: Sequence[FeedGap] = ()
    clocks: dict[str, str] = field(default_factory=dict)
    latest: LatestOf = lambda _symbol, _midnight_us: {}
    _relations: dict[int, Relations] = field(default_factory=dict)
    _prepared: Preparation | None = None

    def make_ready(self, open_us: int, rows_of: RowsOf) -> None:
        """Turn the rows that are there into what kernels take, before time is short.

        They are turned for all instruments at once, when the first window asks: so one is built.
        """
        keys = {instrument.key for instrument in self.instruments[:1]}
        for _ in self._windows(open_us, rows_of, Neighbours(), keys=keys, is_complete=False):
            pass

    def prepare(self, open_us: int, gaps: Sequence[FeedGap], rows_of: RowsOf) -> None:
        """Begin to build a bar's windows while its grace still runs (`prepare_more`)."""
        keys = {instrument.key for instrument in self.instruments}
        windows = self._windows(open_us, rows_of, Neighbours(), keys=keys, is_complete=False)
        self._prepared = Preparation(open_us, gaps, keys, windows)

    def prepare_more(self, at_most: int) -> None:
        """Build so many more windows of the bar that is being prepared."""
        if self._prepared is not None:
            self.gaps = self._prepared.gaps
            self._prepared.go_on(at_most)

    @property
    def prepared_us(self) -> int | None:
        """The bar that was prepared, or is being; None where none is."""
        return None if self._prepared is None else self._prepared.open_us

    @property
    def is_preparing(self) -> bool:
        """A bar is being prepared, and not all of it is there."""
        return self._prepared is not None and not self._prepared.is_over

    def disturb(self, symbols: Collection[str]) -> None:
        """Rows of these instruments came that belong to the bar that was prepared, or before it."""
        if self._prepared is not None:
            self._prepared.disturb([one.key for one in self.instruments if one.symbol in symbols])

    def provisional(self, open_us: int, rows_of: RowsOf, published_us: int) -> Iterator[Made]:
        """Bars published for the first time: those that were prepared, then the others."""
        for built, rows in self._first_rows(open_us, rows_of):
            for one in built:
                records = self.records[one.instrument.key]
                records.bars[open_us] = BarRecord(0, one.rows, 0, one.carry, one.tally)
            self.tallies.changed(open_us)
            for known, digest in self._published(rows):
                known.revision, known.digest = 1, digest
            yield self._batch(rows, LiveStage.PROVISIONAL, published_us), built

    def _first_rows(
        self, open_us: int, rows_of: RowsOf
    ) -> Iterator[tuple[Sequence[Built], BarRows]]:
        keys, neighbours = {instrument.key for instrument in self.instruments}, Neighbours()
        legs: list[Built] = []
        prepared, self._prepared = self._prepared, None
        if (
            prepared is not None
            and prepared.open_us == open_us
            and list(prepared.gaps) == list(self.gaps)
        ):
            held, legs = self._held(prepared, rows_of, neighbours)
            yield held, prepared.rows(held)
            keys -= {one.instrument.key for one in (*held, *legs)}
        others = self._windows(open_us, rows_of, neighbours, keys=keys, is_complete=False)
        for built in self._chunks(itertools.chain(legs, others)):
            yield built, BarRows.of(built)

    def _held(
        self, prepared: Preparation, rows_of: RowsOf, neighbours: Neighbours
    ) -> tuple[list[Built], list[Built]]:
        """The windows that hold as they were prepared; those of legs that do not, built anew."""
        held, legs, open_us = [], [], prepared.open_us
        related = self.relations_on(open_us)
        for instrument in related.order(self.instruments):
            key = instrument.key
            stand = neighbours.stand_of(key, related.near.get(key))
            carry = self.records[key].carry_at(open_us)
            memory = self.memories.of(date_of(open_us), key)
            built = prepared.window(key, carry, memory, stand)
            if built is not None:
                held.append(built)
            elif key in related.legs:
                window = self._window(instrument, open_us, rows_of, is_complete=False)
                built = build_window(window, stand)
                legs.append(built)
            if built is not None:
                self._note(built, related, neighbours)
        return held, legs

    def complete(self, open_us: int, rows_of: RowsOf, published_us: int) -> Iterator[Made]:
        """The same bars when all they look ahead to is in.

        An instrument that a restart has added has no record of before, and no bar then.
        """
        windows = self._windows(open_us, rows_of, Neighbours(), keys=None, is_complete=True)
        for chunk in self._chunks(windows):
            built = [one for one in chunk if open_us in self.records[one.instrument.key].bars]
            rows = BarRows.of(built)
            for known, digest in self._published(rows):
                known.revision += 1
                known.digest = digest
            batch = self._batch(rows, LiveStage.COMPLETE, published_us)
            for one in built:
                is_carried, is_other = self._replace(self._record(one), one)
                if is_other:
                    self._rebase(one.instrument, open_us + WIDTH_US, rows_of, is_carried=is_carried)
            yield batch, built

    def amended(
        self,
        spans: Mapping[str, tuple[int, int]],
        edge_us: int,
        rows_of: RowsOf,
        published_us: int,
    ) -> Iterator[Made]:
        """Bars that late rows changed, and those that follow as long as their state differs.

        Args:
            spans: First and last bar to build again, by key.
            edge_us: The first bar that is not complete.
            rows_of: Rows around the bars, the late ones among them.
            published_us: The moment of publication.
        """
        open_us = min((first for first, _ in spans.values()), default=edge_us)
        marks = _Marks()
        while open_us < edge_us:
            if open_us % US_PER_DAY == 0:
                marks.renewed = {key for key in marks.other if self._renew(open_us, key)}
            wanted = {
                key
                for key, (first, last) in spans.items()
                if (first <= open_us <= last or key in marks.carried or key in marks.renewed)
                and open_us in self.records[key].bars
            }
            if wanted:
                keys = self._with_legs(open_us, wanted)
                windows = self._windows(open_us, rows_of, Neighbours(), keys=keys, is_complete=True)
                changed = [one for one in windows if one.instrument.key in wanted]
                yield self._differing(changed, marks, published_us)
            open_us += WIDTH_US
        for instrument in self.instruments:
            if instrument.key in marks.other:
                is_carried = instrument.key in marks.carried
                self._rebase(instrument, edge_us, rows_of, is_carried=is_carried)

    def _differing(self, built: Sequence[Built], marks: _Marks, published_us: int) -> Made:
        """Those of the bars whose content is another one; notes whose state is."""
        for one in built:
            is_carried, is_other = self._replace(self._record(one), one)
            (marks.carried.add if is_carried else marks.carried.discard)(one.instrument.key)
            if is_other:
                marks.other.add(one.instrument.key)
        rows = BarRows.of(built)
        kept = []
        for number, (known, digest) in enumerate(self._published(rows)):
            if digest != known.digest:
                known.digest = digest
                known.revision += 1
                kept.append(number)
        # All windows are handed on: a larger bar starts from a state that no bar here may show.
        return self._batch(rows.only(kept), LiveStage.AMENDED, published_us), built

    def _record(self, one: Built) -> BarRecord:
        return self.records[one.instrument.key].bars[one.span.start]

    def _published(self, rows: BarRows) -> Iterator[tuple[BarRecord, int]]:
        """The record of each bar, and the number of its content now."""
        for one, digest in zip(rows.built, rows.digests, strict=True):
            yield self._record(one), digest

    def _batch(self, rows: BarRows, stage: LiveStage, published_us: int) -> BarBatch | None:
        """The bars as they are published; None where there are none."""
        if not rows.built:
            return None
        records = [self._record(one) for one in rows.built]
        late = [
            0 if stage is LiveStage.PROVISIONAL else max(one.rows - known.first_rows, 0)
            for one, known in zip(rows.built, records, strict=True)
        ]
        publication = Publication(stage, [one.revision for one in records], late, published_us)
        return BarBatch(BASE_TIMEFRAME, live_rows(rows.bars, BASE_TIMEFRAME, publication))

    def _replace(self, record: BarRecord, one: Built) -> tuple[bool, bool]:
        """Take what a newer build of a bar left; whether its state, or anything, is other."""
        is_carried, is_counted = record.replace_carry(one.carry), record.replace_tally(one.tally)
        if is_counted:
            self.tallies.changed(one.span.start)
        return is_carried, is_carried or is_counted

    def _rebase(
        self, instrument: LiveInstrument, open_us: int, rows_of: RowsOf, *, is_carried: bool
    ) -> None:
        """Make the states after a bar anew, as far as bars were published provisionally.

        Args:
            instrument: Whose.
            open_us: The first bar after it.
            rows_of: Rows around the bars.
            is_carried: The state it starts from is another one; else only what the bar added to
                its day is, which shows at midnight.
        """
        records, key = self.records[instrument.key], instrument.key
        while open_us in records.bars:
            if open_us % US_PER_DAY == 0:
                is_carried |= self._renew(open_us, key)
            if is_carried:
                window = self._window(instrument, open_us, rows_of, is_complete=False)
                built = build_window(window, Stand(None, None))
                is_carried, _ = self._replace(records.bars[open_us], built)
            open_us += WIDTH_US

    def _renew(self, open_us: int, key: str) -> bool:
        """A day's eve is another one; says whether the day has another memory."""
        return self.memories.renew(date_of(open_us), key)

    def _chunks(self, windows: Iterator[Built]) -> Iterator[Sequence[Built]]:
        while chunk := tuple(itertools.islice(windows, self.chunk)):
            yield chunk

    def _windows(
        self,
        open_us: int,
        rows_of: RowsOf,
        neighbours: Neighbours,
        *,
        keys: Collection[str] | None,
        is_complete: bool,
    ) -> Iterator[Built]:
        """Windows of one bar, those that others stand on first.

        Args:
            open_us: The bar.
            rows_of: Rows around it.
            neighbours: Takes what others stand on, and may hold some of it already.
            keys: Whose windows, looked at as each is begun; None for all instruments.
            is_complete: What they look ahead to is in.
        """
        related = self.relations_on(open_us)
        for instrument in related.order(self.instruments):
            if keys is not None and instrument.key not in keys:
                continue
            window = self._window(instrument, open_us, rows_of, is_complete=is_complete)
            near_key = related.near.get(instrument.key)
            built = build_window(window, neighbours.stand_of(instrument.key, near_key))
            self._note(built, related, neighbours)
            yield built

    def _note(self, built: Built, related: Relations, neighbours: Neighbours) -> None:
        key = built.instrument.key
        if key == related.reference and built.seconds is not None:
            neighbours.reference = (key, as_reference(built.seconds))
        if key in related.legs and built.near is not None:
            neighbours.near[key] = built.near
        self.clocks[key] = built.facts.clock

    def _window(
        self, instrument: LiveInstrument, open_us: int, rows_of: RowsOf, *, is_complete: bool
    ) -> Window:
        rows, repeated = rows_of(instrument)
        return Window(
            instrument=instrument,
            span=Span(open_us, open_us + WIDTH_US),
            carry=self.records[instrument.key].carry_at(open_us),
            memory=self.memories.of(date_of(open_us), instrument.key),
            rows=rows,
            latest=self.latest_before(instrument, open_us),
            repeated=repeated,
            gaps=self.gaps,
            is_complete=is_complete,
        )

    def latest_before(
        self, instrument: LiveInstrument, open_us: int
    ) -> Mapping[DataType, pl.DataFrame]:
        """What a window that begins a day may begin from; nothing for others."""
        return {} if open_us % US_PER_DAY else self.latest(instrument.symbol, open_us)

    def _with_legs(self, open_us: int, keys: set[str]) -> set[str]:
        """The instruments and those they stand on."""
        related = self.relations_on(open_us)
        legs = {related.near[key] for key in keys if key in related.near}
        return keys | legs | ({related.reference} if keys and related.reference else set())

    def relations_on(self, open_us: int) -> Relations:
        """The relations among the instruments on the day of the bar."""
        day = open_us // US_PER_DAY
        if day not in self._relations:
            self._relations = {day: relations(self.instruments, date_of(open_us))}
        return self._relations[day]


@dataclass(slots=True)
class _Marks:
    """What amended bars change behind them, as keys of instruments.

    Attributes:
        carried: The state after the bar made last is another one.
        other: Some bar left another state, or adds something else to its day.
        renewed: The day has another memory.
    """

    carried: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    renewed: set[str] = field(default_factory=set)


def date_of(moment_us: int) -> dt.date:
    """The UTC day of a moment."""
    return _EPOCH + dt.timedelta(days=moment_us // US_PER_DAY)
