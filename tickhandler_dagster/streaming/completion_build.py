"""The complete bars of a larger timeframe, from ticks: windows of its length through the kernel.

What belongs here: reading spooled rows of a venue's instruments into `DayBars`, as the batch reads
files (`pipeline/candle_build.py`). What does not: slices (`spooled_slices.py`), when a bar is due,
and the process it is built in (`completion.py`).

The rows are read once per data type for `SYMBOLS_AT_ONCE` instruments together: reading is as dear
as building, and memory is that of their kernels and of one slice. The instruments that others are
measured against are built before these.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.bars.day import DayBars, Surroundings
from tickhandler_dagster.market.bars.frame import candle_frames_of_many
from tickhandler_dagster.market.bars.levels import level_ticks
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import TopTicks, top_ticks
from tickhandler_dagster.market.bars.ticker_ticks import ticker_ticks
from tickhandler_dagster.market.bars.ticks import TradeTicks, trade_ticks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.channel_reading import as_top, top_columns
from tickhandler_dagster.pipeline.day_trades import previous_trade
from tickhandler_dagster.streaming.book_starts import MARK
from tickhandler_dagster.streaming.completion_request import (
    CompletedBars,
    CompletionRequest,
    LargerWindow,
)
from tickhandler_dagster.streaming.instruments import LiveInstrument, Relations
from tickhandler_dagster.streaming.neighbours import Neighbours
from tickhandler_dagster.streaming.spooled_slices import (
    BY_ARRIVAL,
    BY_EXCHANGE,
    CLOCKS_US,
    LEAD_US,
    SlicedRows,
    SpooledRows,
    between,
    by_symbol,
)
from tickhandler_dagster.streaming.tails import SYMBOL
from tickhandler_dagster.streaming.windows import mids_between, no_quotes, rows_before

SYMBOLS_AT_ONCE: Mapping[Timeframe, int] = MappingProxyType(
    {
        Timeframe.S15: 256,
        Timeframe.M1: 256,
        Timeframe.M5: 256,
        Timeframe.M15: 128,
        Timeframe.H1: 128,
        Timeframe.H4: 64,
        Timeframe.H24: 32,
    }
)
"""Instruments whose kernels are open at a time: a day's hold some 20 to 50 MB each."""

PRIMING_US = 60 * US_PER_SECOND
"""How long before a window without a carry rows are handed to the kernel, as in the batch."""

TICKER_PRIMING_US = 600 * US_PER_SECOND
"""The same of the derivative ticker."""

AHEAD_US = 30 * US_PER_SECOND
"""How long after a window's end rows can still matter to it."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def complete_bars(request: CompletionRequest, rows: SpooledRows) -> CompletedBars:
    """Build the bars of a request from the rows around them.

    Args:
        request: Which bars, and the states they start from.
        rows: The spool, or anything that gives the same rows.
    """
    neighbours = Neighbours()
    frames = []
    for group in _groups(request):
        built = _Group(request, group, neighbours, rows).run()
        parts = [(bars.facts, bars.parts((request.timeframe,))) for bars in built.values()]
        frames.append(candle_frames_of_many(parts)[request.timeframe])
        for key, bars in built.items():
            _note(neighbours, request.relations, key, bars)
    order = {window.instrument.key: place for place, window in enumerate(request.windows)}
    rows_of_all = pl.concat(frames)
    place = rows_of_all["instrument_key"].replace_strict(order, return_dtype=pl.Int64)
    return CompletedBars(
        venue=request.venue,
        timeframe=request.timeframe,
        span=request.span,
        bars=rows_of_all.select(pl.all().sort_by(place)),
    )


def _groups(request: CompletionRequest) -> Iterator[list[LargerWindow]]:
    """Windows that are built together, those that others stand on first."""
    legs = set(request.relations.near.values())
    reference = request.relations.reference
    ranks: dict[int, list[LargerWindow]] = {0: [], 1: [], 2: []}
    for window in request.windows:
        key = window.instrument.key
        ranks[0 if key == reference else 1 if key in legs else 2].append(window)
    for windows in ranks.values():
        at_once = SYMBOLS_AT_ONCE[request.timeframe]
        for start in range(0, len(windows), at_once):
            yield windows[start : start + at_once]


def _note(neighbours: Neighbours, relations: Relations, key: str, bars: DayBars) -> None:
    """Keep what later windows stand on."""
    if key == relations.reference:
        neighbours.reference = (key, bars.seconds())
    near = bars.near_mark() if key in relations.near.values() else None
    if near is not None:
        neighbours.near[key] = near


class _Group:
    """Some instruments of a request, built in one reading of each data type."""

    def __init__(
        self,
        request: CompletionRequest,
        windows: Sequence[LargerWindow],
        neighbours: Neighbours,
        rows: SpooledRows,
    ) -> None:
        self._request, self._span = request, request.span
        self._windows = {window.instrument.symbol: window for window in windows}
        self._neighbours = neighbours
        self._rows = rows
        self._bars: dict[str, DayBars] = {}
        # A window with a carry needs no state before it: reading begins as late as clocks allow.
        self._has_carries = all(window.carry is not None for window in windows)
        self._lead_us = CLOCKS_US if self._has_carries else LEAD_US

    def run(self) -> dict[str, DayBars]:
        """Read everything; the kernels by the instruments' keys, not finished yet."""
        self._read_trades()
        for data_type in self._types(
            lambda one: (one.quote_type, one.channels.get(Channel.LEVELS))
        ):
            self._read_books(data_type)
        for data_type in self._types(lambda one: (one.channels.get(Channel.TICKER),)):
            self._read_ticker(data_type)
        for data_type in self._types(lambda one: (one.channels.get(Channel.LIQUIDATIONS),)):
            self._read_liquidations(data_type)
        return {
            window.instrument.key: self._bars[symbol] for symbol, window in self._windows.items()
        }

    def _types(
        self, types_of: Callable[[LiveInstrument], tuple[DataType | None, ...]]
    ) -> list[DataType]:
        found = {name for window in self._windows.values() for name in types_of(window.instrument)}
        return sorted(name for name in found if name is not None)

    def _sliced(self, data_type: DataType) -> SlicedRows:
        firsts = {
            symbol: window.firsts[data_type]
            for symbol, window in self._windows.items()
            if data_type in window.firsts
        }
        return SlicedRows(self._rows, self._request.venue, data_type, list(self._windows), firsts)

    def _read_trades(self) -> None:
        sliced = self._sliced(DataType.TRADES)
        slices = sliced.slices(self._span)
        self._open(by_symbol(next(slices)))
        for rows in _of_window(slices):
            ticks = {
                symbol: trade_ticks(part, has_dense_ids=self._has_dense_ids(symbol))
                for symbol, part in by_symbol(rows).items()
            }
            mids = self._mids(ticks)
            for symbol, trades in ticks.items():
                self._bars[symbol].add_trades(trades, mids.get(symbol))
        for rows in sliced.repeated:
            inside = between(rows, self._span.start, self._span.end)
            for symbol, part in by_symbol(inside).items():
                self._bars[symbol].add_duplicates(
                    *(part[clock].to_physical().to_numpy() for clock in _CLOCKS)
                )

    def _open(self, before: Mapping[str, pl.DataFrame]) -> None:
        """Make the kernels, which have to know the last trade before the window."""
        date = (_EPOCH + dt.timedelta(microseconds=self._span.start)).date()
        for symbol, window in self._windows.items():
            instrument = window.instrument
            rows = self._before(window, DataType.TRADES, before.get(symbol))
            ticks = (
                None
                if rows is None
                else in_total_order(trade_ticks(rows, has_dense_ids=self._has_dense_ids(symbol)))
            )
            bars = DayBars(
                dataclasses.replace(window.facts, previous=previous_trade(ticks)),
                instrument.kernel_channels(date),
                self._around(window),
                carry=window.carry,
            )
            if ticks is not None:
                bars.prime_trades(ticks)
            self._bars[symbol] = bars

    def _around(self, window: LargerWindow) -> Surroundings:
        reference, key = self._neighbours.reference, window.instrument.key
        near = self._request.relations.near.get(key)
        return Surroundings(
            memory=window.memory,
            reference=None if reference is None or reference[0] == key else reference[1],
            near=None if near is None else self._neighbours.near.get(near),
        )

    def _before(
        self, window: LargerWindow, data_type: DataType, read: pl.DataFrame | None
    ) -> pl.DataFrame | None:
        """Without a carry the rows of the minute before, else the latest; None without any."""
        if window.carry is not None:
            return None
        known = [] if read is None or read.is_empty() else [read.drop(SYMBOL)]
        latest = window.latest.get(data_type)
        if latest is not None and latest.height:
            known = [latest, *(rows.select(latest.columns) for rows in known)]
        return rows_before(known, self._span.start, reach_us=PRIMING_US)

    def _mids(self, ticks: Mapping[str, TradeTicks]) -> dict[str, TopTicks]:
        """The states of the best quotes that arrived around the trades."""
        found: dict[str, TopTicks] = {}
        for data_type in self._types(lambda one: (one.quote_type,)):
            needed = {
                symbol: TradeImpact.needed_arrivals(trades)
                for symbol, trades in ticks.items()
                if self._windows[symbol].instrument.quote_type is data_type
            }
            if not needed:
                continue
            first_us = min(first for first, _ in needed.values())
            last_us = max(last for _, last in needed.values())
            parts = by_symbol(self._sliced(data_type).arrived(first_us, last_us))
            for symbol, (first, last) in needed.items():
                rows = parts.get(symbol)
                found[symbol] = (
                    no_quotes()
                    if rows is None
                    else mids_between(self._top(symbol, data_type, rows), first, last)
                )
        return found

    def _read_books(self, data_type: DataType) -> None:
        """Book levels and best quotes, which the first level of snapshots may be."""
        slices = self._sliced(data_type).slices(self._span, lead_us=self._lead_us)
        read = by_symbol(next(slices))
        for symbol, window in self._windows.items():
            before = self._before(window, data_type, read.get(symbol))
            if before is not None:
                self._give_book(symbol, data_type, before, is_before=True)
        after: dict[str, pl.DataFrame] = {}
        for part in slices:
            after = by_symbol(between(part, self._span.end, self._span.end + AHEAD_US))
            inside = between(part, self._span.start, self._span.end)
            for symbol, rows in by_symbol(inside).items():
                self._give_book(symbol, data_type, rows, is_before=False)
        for symbol, window in self._windows.items():
            if window.instrument.quote_type is data_type:
                rows_after = after.get(symbol)
                self._bars[symbol].add_quotes_after(
                    no_quotes() if rows_after is None else self._top(symbol, data_type, rows_after),
                    known_until_us=self._span.end + AHEAD_US,
                )

    def _give_book(
        self, symbol: str, data_type: DataType, rows: pl.DataFrame, *, is_before: bool
    ) -> None:
        window, bars = self._windows[symbol], self._bars[symbol]
        instrument = window.instrument
        if instrument.channels.get(Channel.LEVELS) is data_type and instrument.depth is not None:
            levels = level_ticks(rows, window.facts.terms, depth=instrument.depth)
            (bars.prime_levels if is_before else bars.add_levels)(levels)
        if instrument.quote_type is data_type:
            top = self._top(symbol, data_type, rows)
            (bars.prime_quotes if is_before else bars.add_quotes)(top)

    def _top(self, symbol: str, data_type: DataType, rows: pl.DataFrame) -> TopTicks:
        marks = [name for name in (MARK,) if name in rows.columns]
        named = as_top(rows.select(*top_columns(data_type), *marks), data_type)
        return top_ticks(named, self._windows[symbol].facts.terms)

    def _read_ticker(self, data_type: DataType) -> None:
        slices = self._sliced(data_type).slices(
            self._span,
            clock=BY_ARRIVAL,
            lead_us=0 if self._has_carries else TICKER_PRIMING_US,
        )
        for symbol, rows in by_symbol(next(slices)).items():
            if self._has(symbol, Channel.TICKER, data_type):
                ticks = ticker_ticks(rows, self._windows[symbol].facts.terms)
                self._bars[symbol].prime_ticker(ticks)
        for part in _of_window(slices):
            for symbol, rows in by_symbol(part).items():
                if self._has(symbol, Channel.TICKER, data_type):
                    ticks = ticker_ticks(rows, self._windows[symbol].facts.terms)
                    self._bars[symbol].add_ticker(ticks)

    def _read_liquidations(self, data_type: DataType) -> None:
        slices = self._sliced(data_type).slices(self._span)
        next(slices)
        for part in _of_window(slices):
            for symbol, rows in by_symbol(part).items():
                if self._has(symbol, Channel.LIQUIDATIONS, data_type):
                    self._bars[symbol].add_liquidations(trade_ticks(rows, has_dense_ids=False))

    def _has(self, symbol: str, channel: Channel, data_type: DataType) -> bool:
        return self._windows[symbol].instrument.channels.get(channel) is data_type

    def _has_dense_ids(self, symbol: str) -> bool:
        return self._windows[symbol].instrument.has_dense_ids


_CLOCKS = (BY_EXCHANGE, BY_ARRIVAL)


def _of_window(slices: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """All but the last slice, which lies after the window."""
    held: pl.DataFrame | None = None
    for rows in slices:
        if held is not None and held.height:
            yield held
        held = rows
