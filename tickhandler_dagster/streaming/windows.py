"""One window of one instrument: the state before it and the rows around it, through the kernel.

What belongs here: giving the bar kernel what the batch gives it (`pipeline/candle_build.py`), of a
span of whole base bars. What does not: arithmetic (`market/bars`), which windows are due
(`closing.py`) and where rows are kept (`tails.py`).

Rows are of the window by the clock that the batch cuts them by: exchange time, and arrival for the
derivative ticker and for the mids that trades are held against.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day import DayBars, Surroundings
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.day_tally import DayTally
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.levels import level_ticks
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.second_grid import SecondDay
from tickhandler_dagster.market.bars.stacked_grid import has_bars
from tickhandler_dagster.market.bars.ticker import NearContract
from tickhandler_dagster.market.bars.ticks import TradeTicks, trade_ticks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME
from tickhandler_dagster.pipeline.day_trades import previous_trade
from tickhandler_dagster.pipeline.related_days import TICKER_REACH_US
from tickhandler_dagster.streaming.feed_gaps import book_spans, is_seen, spans_of
from tickhandler_dagster.streaming.instruments import LiveInstrument
from tickhandler_dagster.streaming.neighbours import Stand
from tickhandler_dagster.streaming.tick_blocks import SymbolRows

PRIMING_US = 60 * US_PER_SECOND
"""How long before a window without a carry rows are handed to the kernel."""

AHEAD_US = 30 * US_PER_SECOND
"""How long after a window's end rows can still matter to it."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What an instrument's window is built from.

    Attributes:
        instrument: The instrument.
        span: Whole base bars of one day.
        carry: The state at its start; None where a day, or the feed, begins with it.
        memory: What is known of the days before.
        rows: The instrument's rows around the window by data type, in order of arrival.
        latest: Its latest rows before the rows above, as far as the window may begin from them.
        repeated: Trades that were kept out because their id was there already.
        gaps: Holes of the feed.
        is_complete: Rows up to `AHEAD_US` after its end are there.
    """

    instrument: LiveInstrument
    span: Span
    carry: Carry | None
    memory: DayMemory | None
    rows: Mapping[DataType, SymbolRows]
    latest: Mapping[DataType, pl.DataFrame] = field(default_factory=dict)
    repeated: pl.DataFrame
    gaps: Sequence[FeedGap]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a window gave.

    Attributes:
        instrument: Whose.
        span: The window.
        began: The state it started from.
        memory: What was known of the days before.
        stand: What it took from others.
        facts: What the frame needs besides the parts.
        parts: What the kernels found.
        carry: The state at the window's end.
        tally: What the window adds to the memory of its day.
        seconds: The grid of seconds, for those measured against this instrument.
        near: Its marks, for later futures.
        rows: Rows in the window.
        has_bar: There is a bar; outside the listing there is none, unless something traded. The
            state at the end is there all the same, for what comes later stands on it.
    """

    instrument: LiveInstrument
    span: Span
    began: Carry | None
    memory: DayMemory | None
    stand: Stand
    facts: DayFacts
    parts: DayParts
    carry: Carry
    tally: DayTally
    seconds: SecondDay | None
    near: NearContract | None
    rows: int
    has_bar: bool


def build_window(window: Window, stand: Stand) -> Built:
    """Build one window of one instrument."""
    return _WindowBuild(window, stand).run()


class _WindowBuild:
    def __init__(self, window: Window, stand: Stand) -> None:
        self._window, self._stand = window, stand
        self._instrument = window.instrument
        self._before = self._trades_before()
        self._facts = _facts(window, self._before)
        date = (_EPOCH + dt.timedelta(microseconds=window.span.start)).date()
        self._bars = DayBars(
            self._facts,
            self._instrument.kernel_channels(date),
            Surroundings(memory=window.memory, reference=stand.reference, near=stand.near),
            carry=window.carry,
        )
        self._rows = 0

    def run(self) -> Built:
        if self._before is not None:
            self._bars.prime_trades(self._before)
        self._add_levels()
        trades = self._trades()
        top = self._add_quotes(None if trades is None else TradeImpact.needed_arrivals(trades))
        self._add_trades(trades, top)
        self._add_liquidations()
        self._add_ticker()
        bars, window = self._bars, self._window
        parts = bars.parts((BASE_TIMEFRAME,))
        has_seen = is_seen(window.gaps, self._instrument, window.span)
        return Built(
            instrument=self._instrument,
            span=window.span,
            began=window.carry,
            memory=window.memory,
            stand=self._stand,
            facts=bars.facts,
            parts=parts,
            carry=bars.carry(),
            tally=dataclasses.replace(bars.tally(), is_seen=has_seen),
            seconds=bars.seconds() if self._instrument.quote_type is not None else None,
            near=bars.near_mark(),
            rows=self._rows,
            has_bar=has_bars(bars.facts, parts, BASE_TIMEFRAME),
        )

    def _of(self, channel: Channel) -> SymbolRows | None:
        data_type = self._instrument.channels.get(channel)
        return None if data_type is None else self._window.rows.get(data_type)

    def _trades_before(self) -> TradeTicks | None:
        found = self._rows_before(DataType.TRADES)
        if found is None:
            return None
        return in_total_order(trade_ticks(found, has_dense_ids=self._instrument.has_dense_ids))

    def _rows_before(self, data_type: DataType) -> pl.DataFrame | None:
        """Without a carry the rows of the minute before, else the latest; None without any."""
        if self._window.carry is not None:
            return None
        known = []
        if data_type in self._window.latest:
            known.append(self._window.latest[data_type])
        if data_type in self._window.rows:
            known.append(self._window.rows[data_type].frame())
        known = [rows for rows in known if rows.height]
        return rows_before(known, self._window.span.start, reach_us=PRIMING_US)

    def _add_levels(self) -> None:
        data_type = self._instrument.channels.get(Channel.LEVELS)
        depth = self._instrument.depth
        if data_type is None or depth is None:
            return
        before = self._rows_before(data_type)
        if before is not None:
            self._bars.prime_levels(level_ticks(before, self._facts.terms, depth=depth))
        rows, span = self._window.rows.get(data_type), self._window.span
        inside = (
            None
            if rows is None
            else rows.levels(span.start, span.end, self._facts.terms, depth=depth)
        )
        if inside is not None:
            self._rows += len(inside)
            self._bars.add_levels(inside)

    def _add_quotes(self, arrivals: tuple[int, int] | None) -> TopTicks | None:
        """The best quotes around the window; None where there are none.

        Args:
            arrivals: First and last arrival of what trades are held against.
        """
        data_type = self._instrument.quote_type
        if data_type is None:
            return None
        before = self._rows_before(data_type)
        if before is not None:
            self._bars.prime_quotes(SymbolRows.of(before).top(data_type, self._facts.terms))
        rows, span = self._window.rows.get(data_type), self._window.span
        around = (span.start, span.end + AHEAD_US)
        if arrivals is not None:
            around = (min(around[0], arrivals[0]), max(around[1], arrivals[1] + 1))
        top = no_quotes() if rows is None else rows.top(data_type, self._facts.terms, around)
        inside, after = (
            top.take(_mask(top.timestamp, start, end))
            for start, end in ((span.start, span.end), (span.end, span.end + AHEAD_US))
        )
        if len(inside):
            self._bars.add_quotes(inside)
        if Channel.TOP in self._instrument.channels:
            self._rows += len(inside)
        if self._window.is_complete:
            self._bars.add_quotes_after(after, known_until_us=span.end + AHEAD_US)
        else:
            self._bars.add_quotes_after(no_quotes(), known_until_us=span.end)
        return top

    def _trades(self) -> TradeTicks | None:
        """The trades of the window; None where there are none."""
        rows, span = self._window.rows.get(DataType.TRADES), self._window.span
        if rows is None:
            return None
        return rows.trades(span.start, span.end, has_dense_ids=self._instrument.has_dense_ids)

    def _add_trades(self, ticks: TradeTicks | None, top: TopTicks | None) -> None:
        span = self._window.span
        if ticks is not None:
            mids = None if top is None else mids_between(top, *TradeImpact.needed_arrivals(ticks))
            self._rows += len(ticks)
            self._bars.add_trades(ticks, mids)
        repeated = self._window.repeated
        if repeated.height:
            found = _between(repeated, span.start, span.end)
            times = found.select(pl.col("timestamp", "local_timestamp").to_physical())
            self._bars.add_duplicates(
                times["timestamp"].to_numpy(), times["local_timestamp"].to_numpy()
            )

    def _add_liquidations(self) -> None:
        rows = self._of(Channel.LIQUIDATIONS)
        if rows is None:
            return
        span = self._window.span
        inside = rows.trades(span.start, span.end, has_dense_ids=False)
        if inside is not None:
            self._rows += len(inside)
            self._bars.add_liquidations(inside)

    def _add_ticker(self) -> None:
        rows = self._of(Channel.TICKER)
        if rows is None:
            return
        span, terms = self._window.span, self._facts.terms
        if self._window.carry is None:
            before = rows.ticker(span.start - TICKER_REACH_US, span.start, terms)
            if before is not None:
                self._bars.prime_ticker(before)
        inside = rows.ticker(span.start, span.end, terms)
        if inside is not None:
            self._rows += len(inside)
            self._bars.add_ticker(inside)


def _facts(window: Window, before: TradeTicks | None) -> DayFacts:
    return dataclasses.replace(
        larger_facts(window.instrument, window.span, window.gaps),
        clock=_clock(window.rows.get(DataType.TRADES)),
        previous=previous_trade(before) if window.carry is None else None,
    )


def larger_facts(instrument: LiveInstrument, span: Span, gaps: Sequence[FeedGap]) -> DayFacts:
    """What is known of a window of any length besides its ticks.

    Holes are those of its whole day: one that is cut off at the window's start would look as if it
    began there.
    """
    day_start = span.start // US_PER_DAY * US_PER_DAY
    day = Span(day_start, day_start + US_PER_DAY)
    return dataclasses.replace(
        instrument.facts(span),
        gaps=spans_of(gaps, DataType.TRADES, instrument.symbol, day),
        book_gaps=book_spans(gaps, instrument, day),
    )


def _clock(trades: SymbolRows | None) -> str:
    """Local where every trade known carries its arrival as its exchange time."""
    return "local" if trades is not None and trades.has_one_clock() else "exchange"


def rows_before(
    known: Sequence[pl.DataFrame], moment_us: int, *, reach_us: int
) -> pl.DataFrame | None:
    """The rows stamped within the reach before the moment, else those of the latest time before.

    Args:
        known: Rows in order of arrival; a row may be in more than one frame.
        moment_us: The moment.
        reach_us: The reach.
    """
    if not known:
        return None
    rows = pl.concat(known).unique(maintain_order=True) if len(known) > 1 else known[0]
    recent = _between(rows, moment_us - reach_us, moment_us)
    if recent.height:
        return recent
    before = rows.filter(pl.col("timestamp").to_physical() < moment_us)
    if before.is_empty():
        return None
    return before.filter(pl.col("timestamp") == pl.col("timestamp").max())


def _between(rows: pl.DataFrame, start_us: int, end_us: int) -> pl.DataFrame:
    moments = rows.get_column("timestamp").to_physical().to_numpy()
    places = np.flatnonzero(_mask(moments, start_us, end_us))
    if not len(places):
        return rows.clear()
    first, length = int(places[0]), int(places[-1] - places[0]) + 1
    if length == len(places):
        return rows.slice(first, length)  # nearly always: a filter costs ten times as much
    return rows[places]


def _mask(
    moments: np.ndarray[tuple[int], np.dtype[np.int64]], start_us: int, end_us: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (moments >= start_us) & (moments < end_us)


def mids_between(top: TopTicks, first_us: int, last_us: int) -> TopTicks:
    """The normal states that arrived from `first_us` to `last_us` inclusive, in that order."""
    normal = top.take(top.is_normal)
    if bool((np.diff(normal.local_timestamp) < 0).any()):
        normal = normal.take(np.argsort(normal.local_timestamp, kind="stable"))
    first, end = np.searchsorted(normal.local_timestamp, [first_us, last_us + 1])
    return normal.take(slice(int(first), int(end)))


def no_quotes() -> TopTicks:
    """No states."""
    nothing, numbers = np.empty(0, dtype=np.int64), np.empty(0)
    return TopTicks(
        nothing, nothing, numbers, numbers, numbers, numbers, np.empty(0, dtype=np.bool_)
    )
