"""The measured files: a day of trades and a day of an option chain, of any number of rows.

What belongs here: growing a short real or simulated tape into a long one. What does not: measuring.

Blocks of consecutive trades are drawn with repetition, so that ties, runs of one side, round sizes
and the compressed size stay those of the short tape; a tape of independent random numbers would
compress half as well and parse slower than any market. Same rows, same seed: same bytes.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from job import Job

from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import US_PER_DAY, day_span_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

DAY = dt.date(2024, 8, 8)
VENUE = VenueId.BINANCE_FUTURES
TRADES_SYMBOL = "BTCUSDT"

_SEED = 7
_BLOCK = 256
_CHUNK_BLOCKS = 4096
_TICKS_PER_UNIT = 10
_FIRST_ID = 5_000_000_000
_US_PER_MS = 1_000
_LEVEL = 6
_DELAYS_US = (2_000, 1_000_000)
"""A recorder's clock can be behind the exchange's or far after it; a delay lies between these."""
_QUIET_END_MS = 2_000
"""The day ends this long after its last trade, so that the last arrival is inside it."""
_TAPE_SCALE = 10.0
"""A busier simulated market than the demo's: about 200,000 trades to draw from."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file and what its address and catalogue say of it."""

    path: Path
    catalog: Path
    venue: VenueId
    symbol: str
    origin: str

    def job(self, folder: Path, channels: Mapping[str, Path] | None = None) -> Job:
        """The job of ingesting it, or it and the other channels."""
        return Job(
            source=self.path,
            catalog=self.catalog,
            venue=self.venue,
            symbol=self.symbol,
            date=DAY.isoformat(),
            lake=folder,
            ticks=folder,
            folder=folder,
            channels=channels or {},
        )


def trades(rows: int, folder: Path, recorded: Path) -> Dataset:
    """A day of trades of a linear perpetual; made once for each number of rows.

    Args:
        rows: Number of trades.
        folder: Where it is kept.
        recorded: Recorded data sets in the vendor's layout; the simulator lends the short tape
            where this folder does not exist.
    """
    short, origin = short_tape(DataType.TRADES, recorded)
    path = folder / f"trades-{origin}-{rows}.csv.gz"
    if not path.exists():
        write(path, _long_trades(short(), rows))
    return Dataset(path, catalog(VENUE, folder), VENUE, TRADES_SYMBOL, origin)


def option_chain(rows: int, folder: Path) -> Dataset:
    """A day of an option venue's chain, all instruments in one file; at least that many rows."""
    venue = VenueId.DERIBIT
    path = folder / f"options-simulated-{rows}.csv.gz"
    if not path.exists():
        data = Simulator(_SEED).dataset(venue, DataType.OPTIONS_CHAIN, DAY, GroupSymbol.OPTIONS)
        write(path, _long_chain(pl.read_csv(data, infer_schema=False), rows))
    return Dataset(path, catalog(venue, folder), venue, GroupSymbol.OPTIONS, "simulated")


def short_tape(data_type: DataType, recorded: Path) -> tuple[Callable[[], pl.DataFrame], str]:
    """Reads a short real or simulated tape of the perpetual, and which of the two it is."""
    tape = recorded / VENUE / data_type / f"{DAY:%Y/%m/%d}" / f"{TRADES_SYMBOL}.csv.gz"
    if tape.exists():
        return lambda: pl.read_csv(tape.read_bytes()), "recorded"
    return lambda: pl.read_csv(_simulated(data_type)), "simulated"


def _simulated(data_type: DataType) -> bytes:
    market = Simulator(_SEED, scale=_TAPE_SCALE)
    data = market.dataset(VENUE, data_type, DAY, TRADES_SYMBOL)
    assert data is not None  # noqa: S101  (the simulator lists this symbol)
    return data


def catalog(venue: VenueId, folder: Path) -> Path:
    """The simulated vendor's reply on the venue, as a file."""
    path = folder / f"{venue}.json"
    if not path.exists():
        path.write_text(json.dumps(Simulator(_SEED).exchange(venue)))
    return path


def write(path: Path, parts: Iterable[pl.DataFrame]) -> None:
    """The parts as one `.csv.gz`; the same bytes for the same parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as packed,
    ):
        for number, part in enumerate(parts):
            text = io.BytesIO()
            part.write_csv(text, include_header=number == 0, float_scientific=False)
            packed.write(text.getbuffer())
    unfinished.rename(path)


def _long_trades(short: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    rng = np.random.default_rng(_SEED)
    blocks = -(-rows // _BLOCK)
    tape = _Tape.of(short)
    starts = rng.integers(0, short.height - _BLOCK, blocks)
    signs = rng.choice(np.array([-1, 1]), blocks)  # else the short tape's drift would add up
    ends = np.append(0, np.cumsum(tape.gaps_ms))
    total_ms = int((ends[starts + _BLOCK] - ends[starts]).sum())
    stretch = (US_PER_DAY // _US_PER_MS - _QUIET_END_MS) / total_ms
    state = _State(elapsed_ms=0, ticks=tape.first_ticks, arrival_us=0, row=0)
    for chunk in range(0, blocks, _CHUNK_BLOCKS):
        chosen = slice(chunk, chunk + _CHUNK_BLOCKS)
        frame, state = tape.extended(state, starts[chosen], signs[chosen], stretch)
        yield frame.head(rows - chunk * _BLOCK)


@dataclass(frozen=True, slots=True)
class _State:
    """Where the long tape stands at the end of a part."""

    elapsed_ms: int
    ticks: int
    arrival_us: int
    row: int


@dataclass(frozen=True, slots=True)
class _Tape:
    """The short tape as steps from trade to trade."""

    gaps_ms: np.ndarray
    steps: np.ndarray
    delays_us: np.ndarray
    side: pl.Series
    amount: np.ndarray
    first_ticks: int
    labels: tuple[str, str]

    @classmethod
    def of(cls, short: pl.DataFrame) -> _Tape:
        times, arrivals = short["timestamp"].to_numpy(), short["local_timestamp"].to_numpy()
        ticks = np.rint(short["price"].to_numpy() * _TICKS_PER_UNIT).astype(np.int64)
        delays = arrivals - times
        least_us, most_us = _DELAYS_US
        shortest = np.quantile(delays, 0.01)  # the least of all can be a fault of a clock
        return cls(
            gaps_ms=np.maximum(np.diff(times, prepend=times[0]), 0) // _US_PER_MS,
            steps=np.diff(ticks, prepend=ticks[0]),
            delays_us=np.clip(delays - shortest + least_us, least_us, most_us).astype(np.int64),
            side=short["side"],
            amount=short["amount"].to_numpy(),
            first_ticks=int(ticks[0]),
            labels=(short["exchange"][0], short["symbol"][0]),
        )

    def extended(
        self, state: _State, starts: np.ndarray, signs: np.ndarray, stretch: float
    ) -> tuple[pl.DataFrame, _State]:
        """The rows of further blocks, and the state after them."""
        index = (starts[:, None] + np.arange(_BLOCK)).ravel()
        elapsed = state.elapsed_ms + np.cumsum(self.gaps_ms[index])
        times = day_span_us(DAY)[0] + (elapsed * stretch).astype(np.int64) * _US_PER_MS
        ticks = np.abs(state.ticks + np.cumsum(self.steps[index] * np.repeat(signs, _BLOCK)))
        arrivals = np.maximum.accumulate(
            np.maximum(times + self.delays_us[index], state.arrival_us)
        )
        exchange, symbol = self.labels
        frame = pl.DataFrame({"timestamp": times, "local_timestamp": arrivals}).select(
            pl.lit(exchange).alias("exchange"),
            pl.lit(symbol).alias("symbol"),
            "timestamp",
            "local_timestamp",
            pl.Series("id", _FIRST_ID + state.row + np.arange(len(index))),
            self.side.gather(index),
            pl.Series("price", (ticks + 1) / _TICKS_PER_UNIT),
            pl.Series("amount", self.amount[index]),
        )
        after = _State(int(elapsed[-1]), int(ticks[-1]), int(arrivals[-1]), state.row + len(index))
        return frame, after


def _long_chain(short: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The short chain again and again, each time in its share of the day."""
    copies = -(-rows // short.height)
    start = day_span_us(DAY)[0]
    arrival = pl.col("local_timestamp").cast(pl.Int64)
    delay = arrival - pl.col("timestamp").cast(pl.Int64)
    for copy in range(copies):
        moved = start + (arrival - start) // copies + copy * (US_PER_DAY // copies)
        yield short.with_columns(local_timestamp=moved, timestamp=moved - delay)
