"""One venue's live bars: rows in, rounds of bars out, and the way back after a kill.

What belongs here: one venue's parts put together: rows, records, larger bars, checkpoint. What does
not: reading (`venue_rows.py`), several venues, sinks and the loop (`engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.spool import SPOOL_START
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.amendments import AmendedRows, amended_spans
from tickhandler_dagster.streaming.bar_records import WIDTH_US, InstrumentRecords
from tickhandler_dagster.streaming.checkpoint import CheckpointFiles
from tickhandler_dagster.streaming.closing import (
    AMEND_US,
    CLOCKS_US,
    Due,
    Edges,
    ticker_from,
)
from tickhandler_dagster.streaming.day_memories import DayMemories, MemoryOf
from tickhandler_dagster.streaming.day_tallies import DayTallies
from tickhandler_dagster.streaming.duplicates import REACH_US
from tickhandler_dagster.streaming.instruments import LiveInstrument
from tickhandler_dagster.streaming.intake import Spool
from tickhandler_dagster.streaming.larger_rounds import Completer, LargerRounds
from tickhandler_dagster.streaming.ports import BarBatch, FeedStatus
from tickhandler_dagster.streaming.rounds import VenueBars, date_of
from tickhandler_dagster.streaming.starting import SessionStart
from tickhandler_dagster.streaming.tails import SYMBOL
from tickhandler_dagster.streaming.venue_rows import Rows, VenueRows
from tickhandler_dagster.streaming.venue_state import Intent, VenueState
from tickhandler_dagster.streaming.windows import AHEAD_US, PRIMING_US, Built

_SETTLED_US = 100_000
"""How long after a bar's end it is prepared: nearly all of its rows are in."""

_ROWS_US = 1_000_000
"""How long before a bar's end the rows that are there are made ready for it."""

_AHEAD, _TURN_US = 8, 250_000
"""Windows prepared at once, and how long a step prepares: between steps what has come is read, and
other venues are served."""

WINDOWS = 2_048
"""Windows built for the first time in a round at most, which takes some ten seconds and a core: so
long a session that is to end waits in a backlog. A round makes one bar of each instrument at least.
"""

_LARGER = "larger"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOptions:
    """How one venue's bars are made.

    Attributes:
        grace_us: How long after a bar's end rows are waited for.
        chunk: Instruments whose bars are made into rows together.
        moments: Bars of an instrument made in a round at most; fewer where there are more than
            thirty instruments (`WINDOWS`).
        reads: Micro-batches of each type taken at once at most.
        timeframes: Which bars are made, besides those of 15 s.
        begin_us: Without a checkpoint, arrival of the first row that is read; None for the
            beginning of the spool.
    """

    grace_us: int = US_PER_SECOND
    chunk: int = 256
    moments: int = 64
    reads: int = 8
    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)
    begin_us: int | None = None


class VenueEngine:
    """Makes one venue's bars.

    Args:
        venue: The venue.
        instruments: Its instruments.
        spool: Where rows are.
        options: How bars are made.
        memory: What is known of days before.
        folder: Where checkpoints are.
        elapsed_us: The time passed now, by a clock that never goes back.
        now_us: The host's time.
    """

    def __init__(
        self,
        venue: VenueId,
        instruments: Sequence[LiveInstrument],
        spool: Spool,
        options: VenueOptions,
        *,
        memory: MemoryOf,
        folder: Path,
        elapsed_us: int,
        now_us: int,
    ) -> None:
        self.venue = venue
        self._spool = spool
        self._options = options
        self._moments = max(min(options.moments, WINDOWS // max(len(instruments), 1)), 1)
        self._rows = VenueRows(venue, instruments, spool)
        self._files = CheckpointFiles(folder, venue)
        self._round = 0
        self._intent: Intent | None = None
        self._making: Intent | None = None
        self._read_us = elapsed_us
        self._start = SessionStart(now_us, elapsed_us)
        self._ready_us = 0
        records = {one.key: InstrumentRecords() for one in instruments}
        self._tallies = DayTallies(records)
        self._memories = DayMemories(memory, self._tallies.memory)
        self._bars = VenueBars(
            instruments,
            self._memories,
            records,
            self._tallies,
            options.chunk,
            latest=self._rows.intake.latest_of,
        )
        self._larger = LargerRounds(venue, self._bars, options.timeframes, self._rows.firsts)
        self.is_behind = False
        """More was due than a round makes: it comes first, from the rows that were read."""
        self.amended = 0
        self.places = dict.fromkeys(self._rows.types, SPOOL_START)
        """Where a restart would read on: nothing after these places may go."""
        self._restore(elapsed_us, now_us)

    # ---- reading ---------------------------------------------------------------------------

    def read(self, elapsed: Callable[[], int]) -> None:
        """Take what came since the last time.

        Nothing is taken while there is work: neither what was begun before a kill, which is made of
        the rows it saw, nor a backlog, of which else ever more would be in memory.
        """
        if self._intent is not None or self.is_behind:
            return
        self._read_us = elapsed()
        for rows in self._rows.read(elapsed, self._options.reads):
            self._disturb(rows)

    def prepare(self, elapsed: Callable[[], int]) -> None:
        """Build some of the bar that is next while its grace still runs, if nothing is due.

        Args:
            elapsed: The time passed, by a clock that never goes back.
        """
        began_us = elapsed()
        edges, mark = self._rows.edges, self._rows.watermark(self._read_us, 0)
        if edges is None or mark is None or self._intent is not None:
            return
        open_us = edges.provisional_us
        passed_us = mark - open_us - WIDTH_US
        if passed_us >= _SETTLED_US and self._bars.prepared_us != open_us:
            self._rows.seal()
            self._bars.prepare(open_us, tuple(self._rows.holes(edges)), self._rows.of)
        elif passed_us >= -_ROWS_US and self._ready_us < open_us:
            self._rows.seal()
            self._bars.make_ready(open_us, self._rows.of)
            self._ready_us = open_us
        until_us = began_us + min(_TURN_US, self._options.grace_us - passed_us)
        while self._bars.is_preparing and elapsed() < until_us:
            self._bars.prepare_more(_AHEAD)
        if not self._bars.is_preparing:
            self._rows.let_go()

    def pause_us(self, elapsed_us: int) -> int | None:
        """How long nothing has to be done besides reading; None where that is not known."""
        edges, mark = self._rows.edges, self._rows.watermark(elapsed_us, 0)
        if edges is None or mark is None or self._intent is not None:
            return None
        if self.is_behind or self._bars.is_preparing:
            return 0
        open_us, wait_us = edges.provisional_us, self._options.grace_us
        if self._ready_us < open_us:
            wait_us = -_ROWS_US
        elif self._bars.prepared_us != open_us:
            wait_us = min(wait_us, _SETTLED_US)
        return max(open_us + WIDTH_US + wait_us - mark, 0)

    def _disturb(self, rows: Rows) -> None:
        """Say whose prepared windows lack rows that came now; repeated trades count too."""
        open_us = self._bars.prepared_us
        if open_us is None:
            return
        touched = self._rows.intake.take_repeated()
        for name, frame in rows.items():
            clock = "local_timestamp" if name is DataType.DERIVATIVE_TICKER else "timestamp"
            moments = frame.get_column(clock).to_physical()
            is_before = moments < open_us + WIDTH_US
            if is_before.any():
                touched |= set(frame.filter(is_before).get_column(SYMBOL).unique().to_list())
        if touched:
            self._bars.disturb(touched)

    def due(self, elapsed_us: int) -> Due | None:
        """What a round would make now; None where nothing is due.

        Time has come as far as it had when rows were last read: those that came while another
        venue's bars were made, or a backlog's, are not in yet.
        """
        if self._intent is not None:
            self._rows.read_up_to(self._intent.rows, elapsed_us)
            return self._intent.due
        edges, mark = self._rows.edges, self.watermark(self._read_us)
        if mark is None or edges is None:
            return None
        until_us = self._rows.intake.last_arrival_us or 0
        due = edges.due(mark, until_us, moments=self._moments)
        self.is_behind = due != edges.due(mark, until_us)
        return due or None

    def watermark(self, elapsed_us: int) -> int | None:
        """Exchange time up to which bars are closed; None before the first row."""
        return self._rows.watermark(elapsed_us, self._options.grace_us)

    # ---- a round ---------------------------------------------------------------------------

    def begin(self, due: Due, now_us: int) -> Iterator[BarBatch]:
        """The bars of a round that are published for the first time, a chunk at a time."""
        edges = self._rows.edges or Edges.at(due.provisional[0])
        self._making = intent = self._declared(due, edges, now_us)
        self._bars.gaps = intent.gaps
        self._rows.seal()
        moment = intent.published_us
        for open_us in due.provisional:
            whole: list[Built] = []  # larger bars are merged when all of the small ones are out
            for batch, built in self._bars.provisional(open_us, self._rows.of, moment):
                if batch is not None:
                    yield batch
                whole += built
            yield from self._larger.take(whole, moment, is_complete=False)

    def finish(self) -> Iterator[BarBatch]:
        """The bars of the round that was begun that were published before, a chunk at a time."""
        intent, edges, self._making = self._making, self._rows.edges, None
        if intent is None or edges is None:
            return
        due, moment = intent.due, intent.published_us
        for open_us in due.complete:
            whole: list[Built] = []
            for batch, built in self._bars.complete(open_us, self._rows.of, moment):
                if batch is not None:
                    yield batch
                    self._note_late(batch, is_amended=False)
                whole += built
            yield from self._larger.take(whole, moment, is_complete=True)
        edges.take(due)
        if due.amended:
            yield from self._amend(due, edges, moment)
        self._rows.let_go()

    def completed(self, completer: Completer, now_us: int) -> Iterator[BarBatch]:
        """Larger bars that were built from ticks; asks for those that are due."""
        edges = self._rows.edges
        if edges is None or self._intent is not None:
            return
        self._larger.give_up(completer.take_failed(self.venue))
        self._larger.ask(completer, edges.complete_us)
        found = completer.results(self.venue)
        yield from self._larger.results(found, now_us)

    def settled(self, now_us: int, elapsed_us: int) -> None:
        """The round's bars are durable: forget what no bar needs any more, and write it down."""
        edges, intake = self._rows.edges, self._rows.intake
        if edges is None:
            return
        self._round += 1
        kept_us = edges.complete_us - PRIMING_US - CLOCKS_US
        of_type = {DataType.DERIVATIVE_TICKER: min(kept_us, ticker_from(edges.complete_us))}
        intake.forget_before(kept_us, of_type)
        self._keep_days(edges)
        self._larger.forget_before(edges.complete_us - AMEND_US - AHEAD_US)
        floor = edges.complete_us - PRIMING_US - REACH_US - CLOCKS_US
        self._files.write_part(_LARGER, self._round, self._larger.merged.to_bytes())
        for name, latest in intake.latest.items():
            self._files.write_part(name.value, self._round, latest.to_bytes())
        of_type = {name: min(moment, floor) for name, moment in of_type.items()}
        seen = (self._rows.watermark(elapsed_us, 0) or 0, now_us)
        state = VenueState.of(self._round, edges, intake, floor, of_type, seen=seen)
        text = state.as_text(
            self._bars.records,
            self._larger.as_json(),
            memories=self._memories.parts,
            tallies=self._tallies.as_json(),
        )
        self._files.write_state(text)
        self.places = state.positions
        kept = self._memories.parts | self._tallies.parts
        self._files.drop_parts(but=self._round, kept=kept)

    def _keep_days(self, edges: Edges) -> None:
        """Write down what days remember, as far as it changed.

        A day's memory is made when the last bar before it is out, not when its first bar is due.
        """
        date = date_of(edges.provisional_us)
        for key in self._bars.records:
            self._memories.of(date, key)
        settled_us = edges.complete_us - AMEND_US - AHEAD_US
        self._tallies.store(self._files, self._round, settled_us=settled_us)
        self._memories.store(self._files, self._round)

    def _declared(self, due: Due, edges: Edges, now_us: int) -> Intent:
        """What is about to be made, written down; after a kill, what was about to be made."""
        if self._intent is not None:
            intent, self._intent = self._intent, None
            return intent
        readers = self._rows.intake.readers
        rows = {name: reader.read_since_floor for name, reader in readers.items()}
        intent = Intent(self._round + 1, rows, due, tuple(self._rows.holes(edges)), now_us)
        self._files.write_intent(intent.as_json())
        return intent

    def _amend(self, due: Due, edges: Edges, published_us: int) -> Iterator[BarBatch]:
        instruments = self._bars.instruments
        related = self._bars.relations_on(edges.complete_us)
        spans = amended_spans(due.amended, instruments, related, edges.first_us)
        if not spans:
            return
        rows = AmendedRows(self._spool, self.venue, self._rows.types, self._rows.firsts)
        needed = {*spans, related.reference, *related.near.values()}
        symbols = [one.symbol for one in instruments if one.key in needed]
        rows.read(symbols, min(first for first, _ in spans.values()), due.until_us + 1)
        for batch, built in self._bars.amended(spans, edges.complete_us, rows.of, published_us):
            if batch is not None:
                self.amended += batch.bars.height
                yield batch
                self._note_late(batch, is_amended=True)
            yield from self._larger.take(built, published_us, is_complete=True)

    def _note_late(self, batch: BarBatch, *, is_amended: bool) -> None:
        late = batch.bars.select(
            "instrument_key", pl.col("ts_open").to_physical(), "rows_after_first"
        )
        if not is_amended:
            late = late.filter(pl.col("rows_after_first") > 0)
        for key, open_us, rows in late.iter_rows():
            self._larger.late(key, open_us, rows, is_amended=is_amended)

    # ---- after a kill ----------------------------------------------------------------------

    def _restore(self, elapsed_us: int, now_us: int) -> None:
        found = self._files.state()
        if found is not None:
            self._restore_state(found, elapsed_us, now_us)
        elif self._options.begin_us is not None:
            self._rows.intake.begin_after(self._options.begin_us)
        intent = self._files.intent()
        if intent is not None and int(intent["round"]) == self._round + 1:
            self._intent = Intent.of_json(intent)

    def _restore_state(self, found: Mapping[str, Any], elapsed_us: int, now_us: int) -> None:
        state, texts = VenueState.of_json(found)
        self._round, self.places = state.round, state.positions
        self._larger.restore(found["larger"], self._files.part(_LARGER, self._round))
        for name, latest in self._rows.intake.latest.items():
            if name in state.places:
                latest.restore(self._files.part(name.value, self._round))
        self._memories.restore(self._files, found["memories"])
        self._bars.records |= self._tallies.restore(self._files, found["tallies"], texts)
        self._rows.go_on_from(state, now_us, elapsed_us)

    # ---- status ----------------------------------------------------------------------------

    @property
    def late_rows(self) -> int:
        """Rows too late for any amendment."""
        edges = self._rows.edges
        return 0 if edges is None else edges.late_rows

    def status(self, now_us: int, elapsed_us: int) -> FeedStatus:
        """How the feed is doing."""
        watermark_us = self.watermark(elapsed_us)
        return self._rows.status(now_us, watermark_us, start=self._start, elapsed_us=elapsed_us)
