"""Bars of the hand-made market in every variant that a law compares, each built once.

What belongs here: from rows to bars the way the pipeline goes, and the variants. What does not: the
rows (`../conftest.py`) and the laws.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import io
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.base import PreviousTrade
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
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

START = 19_943 * US_PER_DAY
LINEAR = ContractTerms(32.0)
INVERSE = ContractTerms(10_000.0, is_inverse=True)
UNKNOWN = ContractTerms(None)
AFTER_US = 15_000_000
"""How far past the day's end quotes are read, for what happens after its last events."""

NEAR_EXPIRY = START + 9 * US_PER_DAY
FAR_EXPIRY = START + 37 * US_PER_DAY
WARM_SEED, SEED, REFERENCE_SEED, NEAR_SEED = 5, 7, 11, 13


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


INSTRUMENTS = {
    "perpetual": Instrument(),
    "future": Instrument(expiry_us=FAR_EXPIRY),
    "inverse": Instrument(INVERSE),
    "unknown units": Instrument(UNKNOWN),
}


DATE = dt.date(2024, 8, 8)
READ = (
    DataType.TRADES,
    DataType.QUOTES,
    DataType.BOOK_TICKER,
    DataType.BOOK_SNAPSHOT_5,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
)
FOREIGN = {
    "linear": (VenueId.BINANCE_FUTURES, "BTCUSDT", ContractTerms(1.0)),
    "inverse": (VenueId.BINANCE_DELIVERY, "BTCUSD_PERP", ContractTerms(100.0, is_inverse=True)),
    "spot": (VenueId.BINANCE, "BTCUSDT", ContractTerms(1.0)),
    "without dense ids": (
        VenueId.BITMEX,
        "XBTUSD",
        ContractTerms(1.0, is_inverse=True),
    ),
}


@dataclass(frozen=True)
class Markets:
    """Rows of the instrument, of the day before, and of the instruments its bars look at."""

    own: object
    warm: object
    reference: object
    near: object

    def each(self, change):
        return Markets(*(change(getattr(self, one.name)) for one in dataclasses.fields(self)))

    def later(self, change):
        """Changed after the day before, whose memory stays."""
        return dataclasses.replace(self.each(change), warm=self.warm)


class Reader:
    """Rows of one day as the pipeline gives them: by exchange time, ticker and mids by arrival."""

    def __init__(self, rows, instrument, start_us):
        self._frames = {name: with_file_starts(frame) for name, frame in rows.frames.items()}
        self._terms = instrument.terms
        self._has_dense_ids = VENUES[instrument.venue].has_dense_trade_ids
        self.day = Span(start_us, start_us + US_PER_DAY)

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
    """

    def __init__(
        self, rows, instrument, *, start_us=START, around=None, gaps=(), slice_rows=100_000,
        base=BASE_TIMEFRAME,
    ):  # fmt: skip
        self._reader = Reader(rows, instrument, start_us)
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
        facts = dataclasses.replace(facts, is_ingested=has[DataType.TRADES])
        self._day = DayBars(facts, channels, around or Surroundings(), base=base)
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
                self._day.add_trades(trades, self._mids(trades))

    def _mids(self, trades):
        """The states of the best quotes that arrived around the trades."""
        return None if self._reader.quote_type is None else self._reader.mids(trades)


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


def surface_frames():
    """An option surface that is there most of the day; its own laws are in its own tests."""
    rng = np.random.default_rng(17)
    frames = {}
    for timeframe in Timeframe:
        grid = DayGrid(START, timeframe)
        known = rng.random(grid.bars) < 0.9
        columns = {
            one.name: pl.Series(rng.uniform(0.2, 0.9, grid.bars)).set(~pl.Series(known), None)
            if one.dtype.is_float()
            else pl.Series(["deribit"] * grid.bars)
            for one in SURFACE
        }
        frames[timeframe] = pl.DataFrame(
            {"ts_open": pl.Series(grid.opens).cast(pl.Datetime("us", "UTC"))} | columns
        )
    return frames


def stored(body, data_type):
    """The rows of a vendor file as they are stored."""
    columns = RAW_TABLES[data_type].columns
    text = gzip.decompress(body)
    rows = pl.read_csv(io.BytesIO(text), infer_schema=False) if text else None
    if rows is None:
        return RAW_TABLES[data_type].stored.polars_schema.to_frame()
    return rows.select(
        (
            pl.col(column.csv_name).cast(pl.Int64)
            if column.stored.dtype.is_temporal()
            else pl.col(column.csv_name)
        )
        .cast(column.stored.dtype)
        .alias(column.stored.name)
        for column in columns
    )


def sandbox_files(venue, symbol):
    """The simulator's files of the day."""
    market = Simulator(7, scale=0.3)
    files = {name: market.dataset(venue, name, DATE, symbol) for name in READ}
    return {name: body for name, body in files.items() if body is not None}


def recorded_files(folder, venue, symbol):
    """The recorded files of the day."""
    paths = {name: folder / venue / name / f"{DATE:%Y/%m/%d}/{symbol}.csv.gz" for name in READ}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


class Bars:
    """The variants by name."""

    start_us = START

    def __init__(self, make_day, gap):
        self.markets = Markets(
            own=make_day(SEED, START),
            warm=make_day(WARM_SEED, START - US_PER_DAY, share=0.4),
            reference=make_day(REFERENCE_SEED, START, share=0.5),
            near=make_day(NEAR_SEED, START, share=0.1),
        )
        self._gaps = (gap,)
        self._surface = surface_frames()
        self._memories = []
        self.with_channels = cache(self._with_channels)
        self.known_at = cache(self._known_at)
        self.with_other_future = cache(self._with_other_future)
        self.scaled = cache(self._scaled)
        self.of_instrument = cache(self._of_instrument)
        self.directly = cache(self._directly)

    @property
    def rows(self):
        return self.markets.own

    def plain(self):
        return self.of_instrument("perpetual")

    def future(self):
        return self.of_instrument("future")

    def mirrored(self):
        return self.of(self.markets.each(lambda rows: rows.mirrored()))

    def of(self, markets, instrument=Instrument(), timeframes=tuple(Timeframe), **options):
        """The bars of all timeframes, after a day before that left its memory."""
        around = Surroundings(
            memory=self._memory(markets.warm, instrument),
            reference=reference_day(markets.reference),
            near=None if instrument.expiry_us is None else near_contract(markets.near),
            surface=self._surface,
        )
        day = Build(markets.own, instrument, around=around, gaps=self._gaps, **options)
        return day.finish(timeframes)

    def _of_instrument(self, name):
        return self.of(self.markets, INSTRUMENTS[name])

    def _with_channels(self, *types):
        own = self.markets.own.with_only(*types)
        return self.of(dataclasses.replace(self.markets, own=own))

    def of_files(self, files, instrument):
        """The bars of vendor files; their own book ticker serves where there are no quotes."""
        frames = {name: stored(body, name) for name, body in files.items()}
        ticker = frames.pop(DataType.BOOK_TICKER, None)
        if ticker is not None:
            frames.setdefault(DataType.QUOTES, ticker)
        rows = dataclasses.replace(self.rows, frames=frames)
        return Build(rows, instrument).finish()

    def just_before_the_latest(self, data_type):
        """A moment just before the row arrives that is furthest behind the end of its bar."""
        times = self.rows.frames[data_type].select(
            pl.col("timestamp", "local_timestamp").to_physical()
        )
        width = BASE_TIMEFRAME.us
        close = (pl.col("timestamp") // width + 1) * width
        inside = times.filter(pl.col("timestamp") < START + US_PER_DAY)
        latest = inside.sort(pl.col("local_timestamp") - close).row(-1, named=True)
        return latest["local_timestamp"] - 1

    def _known_at(self, moment, instrument):
        markets = self.markets.later(lambda rows: rows.arrived(moment))
        return self.of(markets, INSTRUMENTS[instrument])

    def _with_other_future(self, moment, instrument):
        markets = self.markets.later(lambda rows: rows.with_shuffled_future(moment, seed=3))
        return self.of(markets, INSTRUMENTS[instrument])

    def _scaled(self, price, size):
        markets = self.markets.each(lambda rows: rows.scaled(price=price, size=size))
        return self.of(markets, Instrument(tick_size=0.25 * price))

    def _memory(self, warm, instrument):
        """What the day before leaves; most variants share it."""
        for rows, listed, memory in self._memories:
            if rows is warm and listed == instrument:
                return memory
        day = Build(warm, instrument, start_us=START - US_PER_DAY)
        day.finish((BASE_TIMEFRAME,))
        self._memories.append((warm, instrument, day.memory()))
        return self._memories[-1][-1]

    def _directly(self, timeframe):
        return self.of(self.markets, base=timeframe, timeframes=(timeframe,))[timeframe]


@pytest.fixture(scope="session")
def foreign(bars):
    """Bars of a simulated instrument, or of one in a folder of recorded files."""

    @cache
    def built(name, folder=None):
        venue, symbol, terms = FOREIGN[name]
        files = (
            sandbox_files(venue, symbol)
            if folder is None
            else recorded_files(folder, venue, symbol)
        )
        return bars.of_files(files, Instrument(terms, tick_size=0.1, venue=venue))

    return built


@pytest.fixture(scope="session")
def bars(market_day, market_gap):
    return Bars(market_day, market_gap)


def _difference(one, other, rtol, atol):
    """Position of the first element that differs; None where none does."""
    if one.dtype.is_float() and rtol:
        left, right = (values.to_numpy() for values in (one, other))
        scale = np.nanmax(np.abs(left), initial=0.0)
        is_same = np.isclose(left, right, rtol=rtol, atol=atol * scale, equal_nan=True)
        wrong = np.flatnonzero(~is_same)
    else:
        wrong = one.ne_missing(other).arg_true().to_numpy()
    return int(wrong[0]) if len(wrong) else None


def _differing(one, other, names=None, *, rtol=0.0, atol=0.0, image=None):
    """Column → time, value and other value of the first bar in which the two frames differ.

    Args:
        one: A frame of bars.
        other: Another of the same bars.
        names: Columns to compare; every column where not given.
        rtol: Relative tolerance; 0 for bit-equal.
        atol: Tolerance besides, relative to the column's largest value.
        image: What the other frame's column has to be, from the name; the column itself else.
    """
    assert one["ts_open"].equals(other["ts_open"])
    found = {}
    for name in one.columns if names is None else names:
        expected = one[name]
        actual = other[name] if image is None else other.select(image(name).alias(name))[name]
        place = _difference(expected, actual, rtol, atol)
        if place is not None:
            found[name] = (str(one["ts_open"][place]), expected[place], actual[place])
    return found


@pytest.fixture(scope="session")
def differing():
    return _differing


@pytest.fixture(scope="session", params=list(Timeframe), ids=str)
def timeframe(request):
    return request.param


@pytest.fixture(scope="session")
def features(bars):
    """The entries of the registry, which the frames hold all of."""
    frame = bars.plain()[Timeframe.S15]
    assert [name for name in FEATURES if name not in frame.columns] == []
    return FEATURES
