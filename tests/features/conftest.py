"""A small market made by hand for the laws of features: every channel, every odd state.

What belongs here: the rows of a few instrument-days in the stored form of each raw table, made from
one seeded book that trades hit. What does not: how bars are built from them (`laws/conftest.py`).

The sandbox's simulator has no crossed, one-sided or empty books, no silence and no trade that comes
a minute late; a law that never meets them proves little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.raw_tables import RAW_TABLES

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
GAP = Span(DAY.start + 50_400 * US_PER_SECOND, DAY.start + 54_600 * US_PER_SECOND)
"""An outage that the vendor reports: 14:00 to 15:10."""

TICK = 0.25
LEVELS = 5
KEPT = 9
SWEPT = 3
REACH = 24
NULL = math.nan

# From, to and events per second. The rest of the day has one event in about 25 s.
SESSIONS = (
    (0, 2_400, 1.5),
    (39_600, 42_300, 2.0),
    (42_300, 42_420, 12.0),
    (50_300, 50_400, 2.0),
    (84_600, 86_700, 1.5),
)
QUIET_RATE = 0.04
SILENCES = ((46_000, 46_900), (50_400, 54_600), (70_000, 71_500))
"""Nothing is sent at all: a calm of 15 minutes, the reported outage, 25 minutes."""

PRICES = {
    "price", "bid_price", "ask_price", "last_price", "index_price", "mark_price",
    *(f"{side}_price_{level}" for side in ("bid", "ask") for level in range(1, LEVELS + 1)),
}  # fmt: skip
SIZES = {
    "amount", "bid_amount", "ask_amount", "open_interest",
    *(f"{side}_volume_{level}" for side in ("bid", "ask") for level in range(1, LEVELS + 1)),
}  # fmt: skip
SWAPPED = {"buy": "sell", "sell": "buy"}


@dataclass(frozen=True)
class MarketRows:
    """Rows of every channel over consecutive days, in order of arrival.

    Attributes:
        frames: Per data type, in the stored form of its table.
    """

    frames: dict[DataType, pl.DataFrame]

    def arrived(self, until_us):
        """What the recorder had at that moment."""
        arrival = pl.col("local_timestamp").to_physical()
        return self.changed(lambda frame: frame.filter(arrival <= until_us))

    def with_shuffled_future(self, after_us, seed):
        """The same times of all rows, other contents of those that arrive after the moment."""
        return self.changed(lambda frame: _shuffled(frame, after_us, seed))

    def with_shuffled_ties(self, seed):
        """Rows of one exchange time and one arrival in another order, where an id orders them."""
        rng = np.random.default_rng(seed)
        keys = ["local_timestamp", "timestamp"]

        def shuffled(frame):
            if "id" not in frame.columns:
                return frame
            order = pl.Series("order", rng.permutation(frame.height))
            rows = frame.with_row_index("place").with_columns(order)
            rows = rows.with_columns(pl.col("place").min().over(keys))
            return rows.sort("place", "order").drop("place", "order")

        return self.changed(shuffled)

    def scaled(self, *, price, size):
        """Prices and the venue's amounts multiplied."""
        factors = dict.fromkeys(PRICES, price) | dict.fromkeys(SIZES, size)
        return self.changed(
            lambda frame: frame.with_columns(
                pl.col(name) * factor for name, factor in factors.items() if name in frame.columns
            )
        )

    def mirrored(self):
        """Every taker on the other side; the book stays."""
        return self.changed(
            lambda frame: (
                frame.with_columns(pl.col("side").replace(SWAPPED))
                if "side" in frame.columns
                else frame
            )
        )

    def with_only(self, *types):
        """The market with no more than these channels."""
        return replace(self, frames={name: self.frames[name] for name in types})

    def changed(self, change):
        return replace(self, frames={name: change(rows) for name, rows in self.frames.items()})


def _shuffled(frame, after_us, seed):
    arrival = frame["local_timestamp"].to_physical().to_numpy()
    order = np.arange(frame.height)
    future = np.flatnonzero(arrival > after_us)
    order[future] = np.random.default_rng(seed).permutation(future)
    times = ("timestamp", "local_timestamp")
    return frame[order].with_columns(frame[name] for name in times)


@dataclass
class _Book:
    """Levels as [ticks, lots], best first, and what trades do to them."""

    rng: np.random.Generator
    bids: list = field(default_factory=list)
    asks: list = field(default_factory=list)

    def __post_init__(self):
        self.bids = [[1_999 - step, self._lots()] for step in range(KEPT)]
        self.asks = [[2_001 + step, self._lots()] for step in range(KEPT)]

    def _lots(self):
        return int(min(self.rng.pareto(1.2) * 40 + 1, 4_000))

    @property
    def drift(self):
        """Ticks above the first price; takers lean against it, so that prices stay positive."""
        return self.bids[0][0] - 2_000

    def trade(self, side):
        """Fills of one taker: (ticks, lots) per level it reaches; what it took is gone."""
        levels = self.asks if side > 0 else self.bids
        wanted = int(min(self.rng.pareto(0.9) * 15 + 1, 3_000))
        fills = []
        while wanted and len(fills) < SWEPT:
            ticks, lots = levels[0]
            taken = min(wanted, lots)
            fills.append((ticks, taken))
            wanted -= taken
            levels[0][1] -= taken
            if not levels[0][1]:
                levels.pop(0)
                self.refill()
        return fills

    def quote(self):
        """One maker's order comes, changes or goes."""
        is_bid = self.rng.random() < 0.5
        levels, other, step = (self.bids, self.asks, 1) if is_bid else (self.asks, self.bids, -1)
        width = self.asks[0][0] - self.bids[0][0]
        draw = self.rng.random()
        if width > 1 and draw < (0.8 if width > 2 else 0.15):
            levels.insert(0, [other[0][0] - step * int(self.rng.integers(1, min(width, 3))), 0])
            levels[0][1] = self._lots()
        elif draw > 0.9:
            levels.pop(int(self.rng.integers(0, 2)))
        else:
            levels[int(self.rng.integers(0, LEVELS))][1] = self._lots()
        self.refill()

    def refill(self):
        """Keep both sides deep, here and there with a hole between levels."""
        for levels, step in ((self.bids, -1), (self.asks, 1)):
            levels[:] = [level for level in levels if abs(level[0] - levels[0][0]) < REACH]
            while len(levels) < KEPT:
                hole = 1 + int(self.rng.random() < 0.2)
                levels.append([levels[-1][0] + step * hole, self._lots()])
            del levels[KEPT:]

    def state(self):
        """The five best levels of both sides as cells, sometimes of a broken kind."""
        bids = [(ticks * TICK, lots / 16) for ticks, lots in self.bids[:LEVELS]]
        asks = [(ticks * TICK, lots / 16) for ticks, lots in self.asks[:LEVELS]]
        draw = self.rng.random()
        if draw < 0.006:  # locked
            asks[0] = (bids[0][0], asks[0][1])
        elif draw < 0.012:  # crossed
            asks[0] = (bids[0][0] - 2 * TICK, asks[0][1])
        elif draw < 0.018:  # one side empty
            (bids if draw < 0.015 else asks).clear()
        elif draw < 0.02:  # both
            bids.clear()
            asks.clear()
        elif draw < 0.06:  # a thin book
            del bids[int(self.rng.integers(1, LEVELS)) :]
            del asks[int(self.rng.integers(1, LEVELS)) :]
        missing = [(NULL, NULL)] * LEVELS
        return (bids + missing)[:LEVELS], (asks + missing)[:LEVELS]


def _event_seconds(rng, share):
    """Times of events from 20 s before midnight to 300 s after the next, in seconds of the day."""
    spans = [(-20, 86_700, QUIET_RATE), *SESSIONS, (-20, 0, 1.5)]
    found = []
    for start, end, rate in spans:
        count = int((end - start) * rate * share)
        found.append(rng.uniform(start, end, count))
    seconds = np.sort(np.concatenate(found))
    for start, end in SILENCES:
        seconds = seconds[(seconds < start) | (seconds >= end)]
    return seconds


def _delays(rng, count, *, late):
    """Microseconds from exchange to recorder: mostly milliseconds, some late, a few negative."""
    delays = rng.lognormal(9.2, 0.8, count)
    draw = rng.random(count)
    delays[draw < 0.01] -= 30_000
    slow = draw > 1 - late
    delays[slow] += rng.uniform(0.3e6, 4e6, int(slow.sum()))
    if late:
        delays[rng.integers(0, count, 3)] += 45e6
    return delays.astype(np.int64)


def _stored(data_type, columns, exchange_us, arrival_us):
    table = RAW_TABLES[data_type].stored
    order = np.argsort(arrival_us, kind="stable")
    frame = pl.DataFrame(
        {"timestamp": exchange_us, "local_timestamp": arrival_us} | columns, strict=False
    )[order]
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return frame.with_columns(pl.col(numbers).fill_nan(None)).select(
        pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items()
    )


def _milliseconds(seconds, start_us):
    """Exchange times come in whole milliseconds, so that many are equal."""
    return start_us + np.floor(seconds * 1_000).astype(np.int64) * 1_000


def _trades_and_books(rng, seconds, start_us):
    book, fills, states = _Book(rng), [], []
    for second in seconds.tolist():
        if rng.random() < 0.4:
            side = 1 if rng.random() < 0.5 - book.drift / 500 else -1
            known = "unknown" if rng.random() < 0.05 else "buy" if side > 0 else "sell"
            fills += [(second, known, ticks * TICK, lots / 16) for ticks, lots in book.trade(side)]
        else:
            book.quote()
        states.append(book.state())
    return _trade_frame(rng, fills, start_us), *_book_frames(rng, seconds, states, start_us)


def _trade_frame(rng, fills, start_us):
    seconds, sides, prices, amounts = (list(column) for column in zip(*fills, strict=True))
    times = _milliseconds(np.array(seconds), start_us)
    steps = 1 + (rng.random(len(fills)) < 0.002)  # a few numbers are never seen
    columns = {
        "id": [str(number) for number in start_us // US_PER_DAY * 1_000_000 + np.cumsum(steps)],
        "side": sides,
        "price": prices,
        "amount": amounts,
    }
    # the fills of one taker travel together
    sweeps = np.concatenate(([0], np.cumsum(np.diff(seconds) > 0)))
    delays = _delays(rng, int(sweeps[-1]) + 1, late=0.01)[sweeps]
    return _stored(DataType.TRADES, columns, times, times + delays)


def _book_frames(rng, seconds, states, start_us):
    bids, asks = (np.array([state[side] for state in states]) for side in (0, 1))
    times = _milliseconds(seconds + 0.002, start_us)
    # channels of their own delays: a row that comes late in one is in time in the other
    arrivals, quoted = (
        np.maximum.accumulate(times + _delays(rng, len(times), late=0.001)) for _ in range(2)
    )
    levels = {
        f"{side}_{field}_{level + 1}": cells[:, level, place]
        for side, cells in (("bid", bids), ("ask", asks))
        for place, field in enumerate(("price", "volume"))
        for level in range(LEVELS)
    }
    top = {
        "bid_price": bids[:, 0, 0],
        "bid_amount": bids[:, 0, 1],
        "ask_price": asks[:, 0, 0],
        "ask_amount": asks[:, 0, 1],
    }
    return (
        _stored(DataType.BOOK_SNAPSHOT_5, levels, times, arrivals),
        _stored(DataType.QUOTES, top, times, quoted),
    )


def _ticker(rng, prices, start_us):
    """Derivative states every 20 s, the silences apart; interest in steps, funding three a day."""
    seconds = np.arange(-15, 86_700, 20) + rng.uniform(0, 5, 4_336)
    for start, end in SILENCES:
        seconds = seconds[(seconds < start) | (seconds >= end)]
    times = _milliseconds(seconds, start_us)
    interval = 8 * 3_600 * US_PER_SECOND
    following = (times // interval + 1) * interval
    last = np.interp(seconds, *prices)
    index = np.round(last * (1 + rng.normal(0, 2e-4, len(times))), 2)
    rate = np.round(1e-4 * np.sin(following / interval) + rng.normal(0, 1e-6, len(times)), 8)
    interest = 50_000 + np.cumsum(
        rng.integers(-40, 41, len(times)) * (rng.random(len(times)) < 0.3)
    )
    columns = {
        "funding_timestamp": following,
        "funding_rate": rate,
        "predicted_funding_rate": rate + 1e-5,
        "open_interest": np.where(rng.random(len(times)) < 0.02, NULL, interest),
        "last_price": np.round(last, 2),
        "index_price": np.where(rng.random(len(times)) < 0.02, NULL, index),
        "mark_price": np.round(index * (1 + rng.normal(0, 1e-4, len(times))), 2),
    }
    arrivals = np.maximum.accumulate(times + _delays(rng, len(times), late=0))
    return _stored(DataType.DERIVATIVE_TICKER, columns, times, arrivals)


def _liquidations(rng, trades):
    """Some of the known takers were forced."""
    known = trades.filter(pl.col("side") != "unknown")
    rows = known[np.sort(rng.choice(known.height, known.height // 12, replace=False))]
    times = rows["timestamp"].to_physical().to_numpy()
    return _stored(
        DataType.LIQUIDATIONS,
        {name: rows[name] for name in ("id", "price", "amount")}
        | {"side": np.where(rng.random(rows.height) < 0.05, "unknown", rows["side"].to_numpy())},
        times,
        times + _delays(rng, rows.height, late=0.01),
    )


def make_day(seed, start_us, *, share=1.0):
    """The rows of one day, a little of the days around it included.

    Args:
        seed: Of everything.
        start_us: First moment of the day.
        share: Of the events of the busy day.
    """
    rng = np.random.default_rng(seed)
    seconds = _event_seconds(rng, share)
    trades, levels, quotes = _trades_and_books(rng, seconds, start_us)
    moments = (trades["timestamp"].to_physical().to_numpy() - start_us) / US_PER_SECOND
    order = np.argsort(moments, kind="stable")
    prices = (moments[order], trades["price"].to_numpy()[order])
    return MarketRows(
        {
            DataType.TRADES: trades,
            DataType.BOOK_SNAPSHOT_5: levels,
            DataType.QUOTES: quotes,
            DataType.DERIVATIVE_TICKER: _ticker(rng, prices, start_us),
            DataType.LIQUIDATIONS: _liquidations(rng, trades),
        }
    )


@pytest.fixture(scope="session")
def market_gap():
    """The outage that the vendor reports."""
    return GAP


@pytest.fixture(scope="session")
def market_day():
    """Makes the rows of a day from a seed."""
    return make_day
