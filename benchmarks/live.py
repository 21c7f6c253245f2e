"""The live engine's cost and delay: a synthetic feed through spool and engine, in CPU time.

What belongs here: making a feed of a given rate, playing it, printing numbers. What does not: the
feed's own process (Node) and sinks that write.

The clock of the engine is simulated: it stands at the arrival of the newest row and goes on by the
CPU time that a step takes. A machine that is busy with other things then measures nearly the same,
and a step that takes longer than its turn delays the ones after it, as it would live. Between steps
the engine waits as long as it says.

Run: `python benchmarks/live.py --instruments 200 --rate 20000 --seconds 60`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.engine import CandleEngine, EngineOptions
from tickhandler_dagster.streaming.instruments import live_instruments
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.process_memory import resident_bytes
from tickhandler_dagster.streaming.venue import VenueOptions

VENUE = VenueId.BINANCE_FUTURES
START_US = 1_723_082_400 * US_PER_SECOND
SHARES = {
    DataType.TRADES: 0.6,
    DataType.BOOK_SNAPSHOT_5: 0.3,
    DataType.DERIVATIVE_TICKER: 0.09,
    DataType.LIQUIDATIONS: 0.01,
}
APPEND_US = 50_000
GRACE_US = US_PER_SECOND


@dataclass
class CpuClock:
    """Stands at a simulated moment and goes on by the CPU time used since."""

    base_us: int = START_US
    _used_ns: int = field(default_factory=time.process_time_ns)

    def set(self, moment_us: int) -> None:
        """Stand at a moment."""
        self.base_us, self._used_ns = moment_us, time.process_time_ns()

    def now_us(self) -> int:
        """The simulated moment."""
        return self.base_us + (time.process_time_ns() - self._used_ns) // 1_000

    def elapsed_us(self) -> int:
        """The same."""
        return self.now_us()


@dataclass
class DelaySink:
    """Notes how long after the end of its grace each first publication of a bar came."""

    clock: CpuClock
    delays_us: dict[str, list[int]] = field(default_factory=lambda: {"15 s": [], "larger": []})
    bars: int = 0

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Take bars."""
        now = self.clock.now_us()
        for batch in batches:
            self.bars += batch.bars.height
            first = batch.bars.filter(pl.col("revision") == 1)
            ends = first.get_column("ts_close").to_physical().to_list()
            name = "15 s" if batch.timeframe is Timeframe.S15 else "larger"
            self.delays_us[name].extend(now - end - GRACE_US for end in ends)

    def flush(self) -> None:
        """Nothing is kept."""


def universe(instruments: int) -> pl.DataFrame:
    """So many perpetuals, the venue's reference among them."""
    rows = [
        dict.fromkeys(INSTRUMENTS_TABLE.names)
        | {
            "instrument_key": f"BINANCE-FUTURES:PERPETUAL:{asset}-USDT",
            "venue": VENUE.value,
            "instrument_type": "PERPETUAL",
            "symbol": f"{asset}-USDT",
            "tardis_symbol": f"{asset}USDT",
            "data_types": [name.value for name in SHARES],
            "base_asset": asset,
            "quote_asset": "USDT",
            "settle_asset": "USDT",
            "is_inverse": False,
            "is_quanto": False,
            "contract_size": 1.0,
            "tick_size": 0.1,
        }
        for asset in ("BTC", *(f"A{number}" for number in range(1, instruments)))
    ]
    frame = pl.DataFrame(rows, schema=INSTRUMENTS_TABLE.polars_schema)
    return frame.with_columns(available_from=pl.lit(0).cast(TIMESTAMP))


class SyntheticFeed:
    """Rows of all instruments at a rate, a random walk each."""

    def __init__(self, symbols: Sequence[str], rate: int) -> None:
        self._symbols = np.array(symbols)
        self._rate = rate
        self._chance = np.random.default_rng(7)
        self._prices = np.full(len(symbols), 1_000.0)
        self._ids = 0

    def rows(self, start_us: int, length_us: int) -> Iterator[tuple[DataType, pl.DataFrame]]:
        """The rows that arrive in a span."""
        self._prices += self._chance.choice((-0.1, 0.0, 0.1), len(self._prices))
        for data_type, share in SHARES.items():
            count = int(self._rate * share * length_us / US_PER_SECOND)
            yield data_type, self._some(data_type, count, start_us, length_us)

    def _some(self, data_type: DataType, count: int, start_us: int, length_us: int) -> pl.DataFrame:
        which = self._chance.integers(0, len(self._symbols), count)
        arrival = np.sort(start_us + self._chance.integers(0, length_us, count))
        price = np.round(self._prices[which], 1)
        size = np.round(self._chance.uniform(0.1, 9, count), 2)
        delay = self._chance.exponential(12_000, count).astype(np.int64)
        columns: dict[str, object] = {
            "symbol": self._symbols[which],
            "timestamp": arrival - delay,
            "local_timestamp": arrival,
        }
        if data_type in {DataType.TRADES, DataType.LIQUIDATIONS}:
            columns["id"] = np.arange(self._ids, self._ids + count).astype(str)
            self._ids += count
            columns |= {"price": price, "amount": size}
            columns["side"] = np.where(self._chance.random(count) < 0.5, "buy", "sell")
        elif data_type is DataType.BOOK_SNAPSHOT_5:
            for level in range(1, 6):
                columns[f"ask_price_{level}"] = np.round(price + 0.1 * level, 1)
                columns[f"bid_price_{level}"] = np.round(price - 0.1 * level, 1)
                columns[f"ask_volume_{level}"] = size + level
                columns[f"bid_volume_{level}"] = size
        else:
            columns["funding_timestamp"] = np.full(count, START_US + 8 * 3_600 * US_PER_SECOND)
            columns |= dict.fromkeys(("funding_rate", "predicted_funding_rate"), size / 1e5)
            columns |= dict.fromkeys(("last_price", "index_price", "mark_price"), price)
            columns["open_interest"] = size * 1_000
        schema = empty_rows(data_type).schema
        return pl.DataFrame(columns).select(
            pl.col(name).cast(dtype) for name, dtype in schema.items()
        )


def main() -> None:
    """Play a feed and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instruments", type=int, default=200)
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--chunk", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        play(Path(folder), options)


def play(folder: Path, options: argparse.Namespace) -> None:
    """Append and step, poll by poll."""
    listed = live_instruments(universe(options.instruments), VENUE, list(SHARES))
    feed = SyntheticFeed([one.symbol for one in listed], options.rate)
    clock = CpuClock()
    sink = DelaySink(clock)
    venue = VenueOptions(grace_us=GRACE_US, chunk=options.chunk)
    engine = CandleEngine(
        listed,
        SpoolReader(folder / "spool"),
        [sink],
        clock,
        EngineOptions(checkpoints=folder / "checkpoints", venue=venue),
    )
    used_ns, messages, peak = 0, 0, 0
    moment, following = START_US, START_US + APPEND_US
    with SpoolWriter(folder / "spool", writer="bench") as writer:
        while moment < START_US + options.seconds * US_PER_SECOND:
            length = min(APPEND_US, following - moment)
            for data_type, rows in feed.rows(moment, length):
                writer.append(VENUE, data_type, rows)
                messages += rows.height
            moment += length
            if following > moment:
                continue
            clock.set(moment)
            began = time.process_time_ns()
            engine.step()
            used_ns += time.process_time_ns() - began
            following = max(clock.now_us() + engine.pause_us(moment), moment + 1)
            peak = max(peak, resident_bytes())
    show(sink, messages, (moment - START_US) / US_PER_SECOND, used_ns / 1e9, peak)


def show(sink: DelaySink, messages: int, fed_s: float, used_s: float, peak: int) -> None:
    """Print the numbers."""
    print(f"messages          {messages:,}")
    print(f"bars              {sink.bars:,}")
    cost = f"{used_s:.1f} CPU-s, {used_s / fed_s:.2f} per second of feed"
    print(f"engine            {cost}, {messages / used_s:,.0f} messages per CPU-s")
    for name, delays_us in sink.delays_us.items():
        if delays_us:
            p50, p90, p99, most = np.percentile(np.array(delays_us) / 1_000, (50, 90, 99, 100))
            print(
                f"after grace, {name:6s} p50 {p50:.0f} ms, p90 {p90:.0f} ms, p99 {p99:.0f} ms,"
                f" most {most:.0f} ms"
            )
    print(f"resident memory   {peak / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
