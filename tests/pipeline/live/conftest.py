"""A live engine over the rows of a lab's lake: the same ticks, once as files, once as a feed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import polars as pl
import pytest

from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import NOT_COMPARABLE, LiveStage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.engine import CandleEngine, EngineOptions
from tickhandler_dagster.streaming.instruments import live_instruments

COMPARED = [name for name in CANDLE_TABLE.names if name not in NOT_COMPARABLE]


@dataclass
class HandClock:
    """A clock that goes on when told to."""

    us: int = 0

    def now_us(self):
        return self.us

    def elapsed_us(self):
        return self.us


@dataclass
class Collector:
    """A sink that keeps all bars, and how often it was flushed."""

    batches: list = field(default_factory=list)
    flushes: int = 0

    def publish(self, batches):
        self.batches.extend(batches)

    def flush(self):
        self.flushes += 1

    def bars(self, timeframe=Timeframe.S15):
        found = [batch.bars for batch in self.batches if batch.timeframe is timeframe]
        return pl.concat(found) if found else None

    def latest(self, timeframe=Timeframe.S15):
        """The highest revision of every bar, by instrument and time."""
        key = ["instrument_key", "ts_open"]
        rows = self.bars(timeframe).sort([*key, "revision"])
        return rows.group_by(key, maintain_order=True).last().select(rows.columns)


TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
TICKER, LIQUIDATIONS = DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS
FOUR = (TRADES, BOOK, TICKER, LIQUIDATIONS)


def market(lab, *, start=3_600, length=150, seed=1, price=100.0):
    """Rows of all channels, dense, in a stretch of a day."""
    chance = random.Random(seed)

    def moments(count):
        return sorted(round(start + chance.uniform(0, length), 3) for _ in range(count))

    def walk(count):
        level = price
        for _ in range(count):
            level = round(level + chance.choice((-0.5, -0.1, 0, 0.1, 0.5)), 1)
            yield level

    fills = [
        (t, level, round(chance.uniform(0.1, 9), 2), chance.choice(("buy", "sell")))
        for t, level in zip(moments(length * 2), walk(length * 2), strict=True)
    ]
    states = list(zip([start, *moments(length * 3)], walk(length * 3 + 1), strict=True))
    marks = [(float(t), price + (t % 60) / 10) for t in range(start, start + length, 7)]
    return {
        TRADES: lab.trades(lab.one, *fills),
        BOOK: at_once(lab.book(lab.one, *states)),
        TICKER: lab.ticker(lab.one, *marks),
        LIQUIDATIONS: lab.liquidations(lab.one, (start + 20.5, price, 2), (start + 70, price, 1)),
    }


def at_once(frame):
    """The first row arrives as it happens: a session that begins with it cuts off no bar."""
    is_first = pl.int_range(pl.len()) == 0
    arrival = pl.when(is_first).then("timestamp").otherwise("local_timestamp")
    return frame.with_columns(local_timestamp=arrival)


class LiveLab:
    """A lab's raw rows as a feed.

    Args:
        lab: The lab.
        root: Where spool and checkpoints go.
    """

    def __init__(self, lab, root):
        self.lab, self.root = lab, root
        self.rows, self.events = {}, []
        self.clock = HandClock()
        self.sink = Collector()
        self.reader = SpoolReader(root / "spool")
        self.writer = SpoolWriter(root / "spool", writer="test")

    def add(self, data_type, frame, *, symbol="BTCUSDT"):
        """Rows of the feed, in order of arrival."""
        named = frame.with_columns(symbol=pl.lit(symbol))
        before = self.rows.get(data_type)
        rows = named if before is None else pl.concat([before, named])
        self.rows[data_type] = rows.sort("local_timestamp", maintain_order=True)

    def trade(self, *keys, **changes):
        """Let instruments trade for a while: rows of all channels in the lake and in the feed."""
        self.lab.listed = []
        for number, key in enumerate(keys):
            asset = key.rpartition(":")[2].partition("-")[0]
            row = {"instrument_key": key, "tardis_symbol": f"{asset}USDT", "base_asset": asset}
            listed = self.lab.instrument(data_types=[name.value for name in FOUR], **row)
            self.lab.listed.append(listed)
            for data_type, frame in market(self.lab, seed=number, **changes).items():
                self.lab.put(self.lab.one, data_type, frame, key=key)
                self.add(data_type, frame, symbol=row["tardis_symbol"])

    def batch(self, live):
        """The batch's bars of the same moments."""
        self.lab.build(timeframes=(Timeframe.S15,))
        bars = [self.lab.bars(key=row["instrument_key"]) for row in self.lab.listed]
        return pl.concat(bars).filter(pl.col("ts_open").is_in(live["ts_open"].implode()))

    @property
    def types(self):
        return [DataType(name) for row in self.lab.listed for name in row["data_types"]]

    def engine(
        self, *, memory=lambda _date, _key: None, sink=None, spool=None, completer=None, **changes
    ):
        instruments = live_instruments(self.lab.universe, self.lab.venue, self.types)
        options = EngineOptions(checkpoints=self.root / "checkpoints", **changes)
        sinks = [sink or self.sink]
        return CandleEngine(
            instruments,
            spool or self.reader,
            sinks,
            self.clock,
            options,
            memory=memory,
            completer=completer,
        )

    def play(
        self,
        engine,
        *,
        step_us=5_000_000,
        seed=None,
        tail_us=60_000_000,
        since_us=None,
        until_us=None,
    ):
        """Append what arrives step by step, the clock being that of arrival, and step."""
        chance = random.Random(seed)
        arrivals = [rows["local_timestamp"].to_physical() for rows in self.rows.values()]
        now = min(one.min() for one in arrivals) - 1 if since_us is None else since_us
        end = until_us or max(one.max() for one in arrivals) + tail_us
        while now < end:
            later = min(now + (step_us if seed is None else chance.randrange(1, step_us)), end)
            self.append(now, later)
            now = self.clock.us = later
            engine.step()

    def append(self, start_us, end_us):
        for data_type, rows in self.rows.items():
            arrival = pl.col("local_timestamp").to_physical()
            part = rows.filter((arrival > start_us) & (arrival <= end_us))
            if part.height:
                self.writer.append(self.lab.venue, data_type, part)
        for event in self.events:
            if start_us < event.at_us <= end_us:
                self.writer.event(event)


@pytest.fixture
def lab(request, make_lab, new_lab, tmp_path):
    """A lab of the venue a test names, else of futures."""
    venue = getattr(request, "param", None)
    return make_lab() if venue is None else new_lab(tmp_path / "lake", venue)


@pytest.fixture
def live_lab(lab, tmp_path):
    made = LiveLab(lab, tmp_path / "live")
    yield made
    made.writer.close()


@pytest.fixture
def make_live_lab(lab, tmp_path):
    """Build further feeds of the same lab: `make_live_lab("name")`."""
    made = []

    def make(name):
        made.append(LiveLab(lab, tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.writer.close()


def first_difference(live, batch, *more):
    """Columns in which two frames of bars differ, with the first bar of each."""
    compared = [*COMPARED, *more]
    joined = batch.select(compared).join(
        live.select(compared), on=["instrument_key", "ts_open"], suffix="_live", how="right"
    )
    found = {}
    for name in compared:
        if f"{name}_live" in joined.columns:
            wrong = joined.filter(pl.col(name).ne_missing(pl.col(f"{name}_live")))
            if wrong.height:
                found[name] = wrong.select("ts_open", name, f"{name}_live").row(0)
    return found


@pytest.fixture(scope="session")
def differences():
    """Columns in which live bars differ from the batch's, with the first bar of each."""
    return first_difference


@pytest.fixture(scope="session")
def stages():
    return LiveStage


@pytest.fixture(scope="session")
def market_rows():
    """Rows of all channels, dense, in a stretch of a day: `market_rows(lab, start=..., ...)`."""
    return market


@pytest.fixture
def new_live_lab():
    """Build feeds over labs: `new_live_lab(lab, root)`."""
    made = []

    def make(lab, root):
        made.append(LiveLab(lab, root))
        return made[-1]

    yield make
    for one in made:
        one.writer.close()


@pytest.fixture(scope="session")
def live_lab_of():
    """A feed over a lab: `live_lab_of(lab, root)`; whoever makes one closes its writer."""
    return LiveLab
