"""From rows to bars the way the pipeline goes, without files.

What belongs here: one instrument's day out of the rows of its channels. What does not: the rows
(`../conftest.py`) and what is compared (`every_feature/`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day import Channels, DayBars, Surroundings
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.levels import level_ticks
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import top_in_order, top_ticks
from tickhandler_dagster.market.bars.second_grid import SecondGrid
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.ticker import DerivativeKind, TickerDay
from tickhandler_dagster.market.bars.ticker_ticks import ticker_ticks
from tickhandler_dagster.market.bars.ticks import trade_ticks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId

START = 19_943 * US_PER_DAY
LINEAR = ContractTerms(32.0)
NEAR_EXPIRY = START + 9 * US_PER_DAY
AFTER_US = 15_000_000
"""How far past the day's end quotes are read, for what happens after its last events."""


@dataclass(frozen=True)
class Instrument:
    """What is listed."""

    terms: ContractTerms = LINEAR
    expiry_us: int | None = None
    tick_size: float = 0.25
    venue: VenueId = VenueId.BINANCE_FUTURES

    def facts(self, start_us, gaps, previous):
        day = Span(start_us, start_us + US_PER_DAY)
        kind = "PERPETUAL" if self.expiry_us is None else "FUTURE"
        return DayFacts(
            instrument_key=f"BINANCE-FUTURES:{kind}:BTC-USDT",
            venue=self.venue,
            day=day,
            listed=day,
            terms=self.terms,
            closing=Closing(day, has_previous=True, has_next=True),
            gaps=gaps,
            previous=previous,
            is_perpetual=self.expiry_us is None,
            expiry_us=self.expiry_us,
            tick_size=self.tick_size,
            book_source="book_snapshot_5",
            quote_source="quotes",
        )


class Reader:
    """Rows of one day as the pipeline gives them: by exchange time, ticker and mids by arrival."""

    def __init__(self, rows, instrument, start_us, window=None):
        self._frames = {name: with_file_starts(frame) for name, frame in rows.frames.items()}
        self._terms = instrument.terms
        self._has_dense_ids = VENUES[instrument.venue].has_dense_trade_ids
        self.day = window or Span(start_us, start_us + US_PER_DAY)

    def frame(self, data_type):
        return self._frames.get(data_type)

    def trades(self, start, end, data_type=DataType.TRADES):
        return trade_ticks(self._between(data_type, start, end), has_dense_ids=self._has_dense_ids)

    @property
    def quote_type(self):
        """A feed of quotes, else the first level of snapshots, else nothing."""
        types = (DataType.QUOTES, DataType.BOOK_SNAPSHOT_5)
        return next((name for name in types if self.frame(name) is not None), None)

    def quotes(self, start, end, clock="timestamp"):
        if self.quote_type is DataType.BOOK_SNAPSHOT_5:
            return self.levels(start, end, clock).top
        return top_ticks(self._between(DataType.QUOTES, start, end, clock), self._terms)

    def levels(self, start, end, clock="timestamp"):
        rows = self._between(DataType.BOOK_SNAPSHOT_5, start, end, clock)
        return level_ticks(rows, self._terms, depth=5)

    def ticker(self, start, end):
        rows = self._between(DataType.DERIVATIVE_TICKER, start, end, clock="local_timestamp")
        return ticker_ticks(rows, self._terms)

    def mids(self, trades):
        first, last = TradeImpact.needed_arrivals(trades)
        states = self.quotes(first, last + 1, "local_timestamp")
        return states.take(states.is_normal)

    def spans(self, data_type, rows, base):
        """The day cut at bar edges into spans of about that many rows."""
        times = self.frame(data_type)["timestamp"].to_physical().sort().to_numpy()
        inside = times[(times >= self.day.start) & (times < self.day.end)]
        cuts = inside[rows::rows] // base.us * base.us
        edges = np.unique(np.concatenate(([self.day.start], cuts, [self.day.end])))
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))

    def _between(self, data_type, start, end, clock="timestamp"):
        moment = pl.col(clock).to_physical()
        return self.frame(data_type).filter((moment >= start) & (moment < end))


def with_file_starts(frame):
    """Marks the first row of each day's file."""
    day = pl.col("local_timestamp").to_physical() // US_PER_DAY
    return frame.with_columns(is_start=day.is_first_distinct())


class Build:
    """One day from rows to bars.

    Args:
        rows: What there is.
        instrument: Of which instrument.
        start_us: First moment of the day.
        around: Other days and instruments.
        gaps: Reported outages.
        slice_rows: About how many rows are given at once.
        base: Length of the bars built from the rows.
        window: The part of the day that is built; all of it without.
        carry: What the window before left.
        known_until_us: First arrival of quotes that are not known yet; None where all are.
    """

    def __init__(
        self, rows, instrument, *, start_us=START, around=None, gaps=(), slice_rows=100_000,
        base=BASE_TIMEFRAME, window=None, carry=None, known_until_us=None,
    ):  # fmt: skip
        self._known_until_us = known_until_us
        self._reader = Reader(rows, instrument, start_us, window)
        has = {name: self._reader.frame(name) is not None for name in DataType}
        channels = Channels(
            depth=5 if has[DataType.BOOK_SNAPSHOT_5] else None,
            has_quotes=self._reader.quote_type is not None,
            is_quote_feed=has[DataType.QUOTES],
            has_ticker=has[DataType.DERIVATIVE_TICKER],
            has_liquidations=has[DataType.LIQUIDATIONS],
            is_throttled=False,
        )
        before = self._reader.trades(0, start_us) if has[DataType.TRADES] else None
        self._before = None if before is None else in_total_order(before)
        facts = instrument.facts(start_us, gaps, self._previous())
        facts = dataclasses.replace(facts, is_ingested=has[DataType.TRADES], day=self._reader.day)
        self._day = DayBars(facts, channels, around or Surroundings(), base=base, carry=carry)
        steps = (
            (self._reader.quote_type, self._quotes),
            (DataType.BOOK_SNAPSHOT_5, self._levels),
            (DataType.DERIVATIVE_TICKER, self._ticker),
            (DataType.LIQUIDATIONS, self._liquidations),
            (DataType.TRADES, self._trades),
        )
        for data_type, step in steps:
            if has.get(data_type):
                step(self._reader.spans(data_type, slice_rows, base))

    @property
    def day(self):
        """The kernel, with all rows in it."""
        return self._day

    def finish(self, timeframes=tuple(Timeframe)):
        return self._day.finish(timeframes)

    def memory(self):
        return self._day.memory()

    def _previous(self):
        if self._before is None or not len(self._before):
            return None
        last_us = self._before.timestamp[-1]
        arrivals = self._before.local_timestamp[self._before.timestamp == last_us]
        return PreviousTrade(int(last_us), int(arrivals.max()))

    def _quotes(self, spans):
        start, end = self._reader.day.start, self._reader.day.end
        self._day.prime_quotes(self._reader.quotes(0, start))
        for span in spans:
            self._day.add_quotes(self._reader.quotes(*span))
        if self._known_until_us is None:
            after = self._reader.quotes(end, end + AFTER_US)
            self._day.add_quotes_after(after, known_until_us=end + AFTER_US)

    def _levels(self, spans):
        self._day.prime_levels(self._reader.levels(0, self._reader.day.start))
        for span in spans:
            self._day.add_levels(self._reader.levels(*span))

    def _ticker(self, spans):
        self._day.prime_ticker(self._reader.ticker(0, self._reader.day.start))
        for span in spans:
            self._day.add_ticker(self._reader.ticker(*span))

    def _liquidations(self, spans):
        for span in spans:
            rows = self._reader.trades(*span, data_type=DataType.LIQUIDATIONS)
            self._day.add_liquidations(rows)

    def _trades(self, spans):
        self._day.prime_trades(self._before)
        for span in spans:
            trades = self._reader.trades(*span)
            if len(trades):
                self._day.add_trades(
                    trades, self._mids(trades), known_until_us=self._known_until_us
                )

    def _mids(self, trades):
        """The states of the best quotes that arrived around the trades."""
        if self._reader.quote_type is None:
            return None
        mids = self._reader.mids(trades)
        until = self._known_until_us
        return mids if until is None else mids.take(mids.local_timestamp < until)


class Windows:
    """The same day as windows, each from the carry of the one before.

    Args:
        rows: What there is.
        instrument: Of which instrument.
        start_us: First moment of the day.
        gaps: Reported outages.
    """

    def __init__(self, rows, instrument, *, start_us=START, gaps=()):
        self._rows, self._instrument = rows, instrument
        self._start_us, self._gaps = start_us, gaps

    def built(self, edges, arounds, carry=None, known_for_us=None):
        """The windows between the edges, each with what is around it.

        Args:
            edges: Start of the first, end of each.
            arounds: What each one's bars look at besides.
            carry: What the window before the first left.
            known_for_us: How long after its end a window is built; None for long enough.
        """
        for (start, end), around in zip(pairwise(edges), arounds, strict=True):
            window = Build(
                self._rows,
                self._instrument,
                start_us=self._start_us,
                around=around,
                gaps=self._gaps,
                window=Span(start, end),
                carry=carry,
                known_until_us=None if known_for_us is None else end + known_for_us,
            ).day
            yield window
            carry = Carry.from_json(window.carry().to_json())


def reference_day(rows):
    """The grid of seconds of the instrument that others are correlated with."""
    reader, grid = Reader(rows, Instrument(), START), SecondGrid(START)
    grid.prime_top(top_in_order(reader.quotes(0, START)))
    grid.add_top(top_in_order(reader.quotes(reader.day.start, reader.day.end)))
    return grid.finish()


def near_contract(rows):
    """The mark of the future that expires first."""
    reader = Reader(rows, Instrument(), START)
    kind = DerivativeKind(is_inverse=False, is_perpetual=False, expiry_us=NEAR_EXPIRY)
    ticker = TickerDay(DayGrid(START), kind, near=None, memory=None)
    ticker.prime(reader.ticker(0, START))
    ticker.add(reader.ticker(reader.day.start, reader.day.end))
    return ticker.mark_state()


@pytest.fixture(scope="session")
def building():
    """Instruments, days of bars and what bars look at besides."""
    return SimpleNamespace(
        start_us=START,
        near_expiry_us=NEAR_EXPIRY,
        Instrument=Instrument,
        Build=Build,
        Windows=Windows,
        reference_day=reference_day,
        near_contract=near_contract,
    )
