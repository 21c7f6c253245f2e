"""Bars of the hand-made market in every variant that a law compares, each built once.

What belongs here: the variants and the comparison of two frames. What does not: the rows
(`../../conftest.py`), their way into bars (`../conftest.py`) and the laws.
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

from tickhandler_dagster.market.bars.day import Surroundings
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

DATE = dt.date(2024, 8, 8)
START = day_start_us(DATE)
WARM_SEED, SEED, REFERENCE_SEED, NEAR_SEED = 5, 7, 11, 13

INSTRUMENTS = {
    "perpetual": {},
    "future": {"expiry_us": START + 37 * US_PER_DAY},
    "inverse": {"terms": ContractTerms(10_000.0, is_inverse=True)},
    "unknown units": {"terms": ContractTerms(None)},
}
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

    def __init__(self, building, make_day, gap):
        self._building = building
        self.markets = Markets(
            own=make_day(SEED, START),
            warm=make_day(WARM_SEED, START - US_PER_DAY, share=0.4),
            reference=make_day(REFERENCE_SEED, START, share=0.5),
            near=make_day(NEAR_SEED, START, share=0.1),
        )
        self.gaps = (gap,)
        self._surface = surface_frames()
        self._memories = []
        self.with_channels = cache(self._with_channels)
        self.scaled = cache(self._scaled)
        self.of_instrument = cache(self._of_instrument)
        self.directly = cache(self._directly)
        self.mirrored = cache(self._mirrored)

    @property
    def rows(self):
        return self.markets.own

    def plain(self):
        return self.of_instrument("perpetual")

    def future(self):
        return self.of_instrument("future")

    def _mirrored(self):
        return self.of(self.markets.each(lambda rows: rows.mirrored()))

    def of(self, markets, instrument=None, timeframes=tuple(Timeframe), **options):
        """The bars of all timeframes, after a day before that left its memory."""
        instrument = instrument or self.instrument("perpetual")
        around = self.surroundings(instrument, markets)
        day = self._building.Build(
            markets.own, instrument, around=around, gaps=self.gaps, **options
        )
        return day.finish(timeframes)

    def surroundings(self, instrument, markets=None):
        """What the bars look at besides the rows of their own day."""
        markets = markets or self.markets
        return Surroundings(
            memory=self._memory(markets.warm, instrument),
            reference=self._building.reference_day(markets.reference),
            near=None
            if instrument.expiry_us is None
            else self._building.near_contract(markets.near),
            surface=self._surface,
        )

    def instrument(self, name):
        return self._building.Instrument(**INSTRUMENTS[name])

    def _of_instrument(self, name):
        return self.of(self.markets, self.instrument(name))

    def _with_channels(self, *types):
        own = self.markets.own.with_only(*types)
        return self.of(dataclasses.replace(self.markets, own=own))

    def rows_of(self, files):
        """The rows of vendor files; their own book ticker serves where there are no quotes."""
        frames = {name: stored(body, name) for name, body in files.items()}
        ticker = frames.pop(DataType.BOOK_TICKER, None)
        if ticker is not None:
            frames.setdefault(DataType.QUOTES, ticker)
        return dataclasses.replace(self.rows, frames=frames)

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

    def known_at(self, moment, instrument):
        markets = self.markets.later(lambda rows: rows.arrived(moment))
        return self.of(markets, self.instrument(instrument))

    def with_other_future(self, moment, instrument):
        markets = self.markets.later(lambda rows: rows.with_shuffled_future(moment, seed=3))
        return self.of(markets, self.instrument(instrument))

    def _scaled(self, price, size):
        markets = self.markets.each(lambda rows: rows.scaled(price=price, size=size))
        return self.of(markets, self._building.Instrument(tick_size=0.25 * price))

    def _memory(self, warm, instrument):
        """What the day before leaves; most variants share it."""
        for rows, listed, memory in self._memories:
            if rows is warm and listed == instrument:
                return memory
        day = self._building.Build(warm, instrument, start_us=START - US_PER_DAY)
        day.finish((BASE_TIMEFRAME,))
        self._memories.append((warm, instrument, day.memory()))
        return self._memories[-1][-1]

    def _directly(self, timeframe):
        return self.of(self.markets, base=timeframe, timeframes=(timeframe,))[timeframe]


@pytest.fixture(scope="session")
def foreign_rows(bars, building):
    """Rows of a simulated instrument, or of one in a folder of recorded files, and what it is."""

    @cache
    def read(name, folder=None):
        venue, symbol, terms = FOREIGN[name]
        files = (
            sandbox_files(venue, symbol)
            if folder is None
            else recorded_files(folder, venue, symbol)
        )
        return bars.rows_of(files), building.Instrument(terms, tick_size=0.1, venue=venue)

    return read


@pytest.fixture(scope="session")
def foreign(foreign_rows, building):
    """Bars of a simulated instrument, or of one in a folder of recorded files."""
    return cache(lambda *which: building.Build(*foreign_rows(*which)).finish())


@pytest.fixture(scope="session")
def bars(building, market_day, market_gap):
    return Bars(building, market_day, market_gap)


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
