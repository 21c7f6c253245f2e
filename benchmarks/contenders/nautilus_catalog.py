"""nautilus_trader: its Tardis CSV loader into its catalog, its bar aggregation out of it.

Ticks become fixed-point objects, which its back tests need and columns do not. Bars are open, high,
low, close and volume alone, from the catalog of its own ingest (made before the measured time), for
traded and empty spans.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from job import Job
from nautilus_trader.adapters.tardis.loaders import TardisCSVDataLoader
from nautilus_trader.common.component import TestClock
from nautilus_trader.data.aggregation import TimeBarAggregator
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from timeframes import COMPARED

LIBRARY = "nautilus_trader"

_STEPS = {
    "15s": "15-SECOND",
    "1m": "1-MINUTE",
    "5m": "5-MINUTE",
    "15m": "15-MINUTE",
    "1h": "1-HOUR",
    "4h": "4-HOUR",
    "24h": "1-DAY",
}
_STEP_NS = 15 * 10**9
_DAY_NS = 86_400 * 10**9
_CHUNK = 500_000


def ingest(job: Job) -> None:
    """CSV to catalog, chunk by chunk."""
    _ingest(job, job.folder / "catalog")


def result_ingest(job: Job) -> Path:
    """The catalog's ticks with prices and amounts as numbers."""
    path = job.folder / "compared.parquet"
    ticks = ParquetDataCatalog(job.folder / "catalog").trade_ticks()
    pd.DataFrame({"amount": [float(tick.size) for tick in ticks]}).to_parquet(path)
    return path


def prepare_candles(job: Job) -> None:
    """A catalog of the same ticks."""
    if not _ingested(job).exists():
        unfinished = _ingested(job).with_suffix(".unfinished")
        _ingest(job, unfinished)
        unfinished.rename(_ingested(job))


def candles(job: Job) -> None:
    """All timeframes in one pass over the ticks."""
    begin_ns = int(pd.Timestamp(job.date, tz="UTC").value)
    clock = TestClock()
    clock.set_time(begin_ns)
    bars: list[Bar] = []
    aggregators = [_aggregator(step, bars, clock) for step in _STEPS.values()]
    close_ns = begin_ns
    for tick in ParquetDataCatalog(_ingested(job)).trade_ticks():
        if tick.ts_event >= close_ns:
            close_ns = _close_bars(clock, tick.ts_event)
        for aggregator in aggregators:
            aggregator.handle_trade_tick(tick)
    _close_bars(clock, begin_ns + _DAY_NS)
    bars.sort(key=lambda bar: bar.ts_init)
    ParquetDataCatalog(job.folder / "catalog").write_data(bars)


def result_candles(job: Job) -> Path:
    """The bars of one minute with prices and volumes as numbers."""
    found = ParquetDataCatalog(job.folder / "catalog").bars()
    path = job.folder / f"{COMPARED}.parquet"
    rows = [bar for bar in found if _STEPS[COMPARED] in str(bar.bar_type)]
    pd.DataFrame(
        {
            "ts_open": pd.to_datetime([bar.ts_event for bar in rows], unit="ns", utc=True),
            "high": [float(bar.high) for bar in rows],
            "low": [float(bar.low) for bar in rows],
            "close": [float(bar.close) for bar in rows],
            "volume": [float(bar.volume) for bar in rows],
        }
    ).to_parquet(path)
    return path


def _ingested(job: Job) -> Path:
    return job.source.with_suffix(".nautilus")


def _ingest(job: Job, folder: Path) -> None:
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    loader = TardisCSVDataLoader(
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        instrument_id=instrument.id,
    )
    catalog = ParquetDataCatalog(folder)
    # objects of the Rust core: what its documentation advises for a catalog
    for ticks in loader.stream_trades(job.source, chunk_size=_CHUNK, as_legacy_cython=False):
        catalog.write_data(ticks, skip_disjoint_check=True)


def _aggregator(step: str, bars: list[Bar], clock: TestClock) -> TimeBarAggregator:
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    return TimeBarAggregator(
        instrument=instrument,
        bar_type=BarType.from_str(f"{instrument.id}-{step}-LAST-INTERNAL"),
        handler=bars.append,
        clock=clock,
        interval_type="right-open",
        timestamp_on_close=False,
    )


def _close_bars(clock: TestClock, now_ns: int) -> int:
    """Let the timers up to now run; the next moment at which one can."""
    for event in clock.advance_time(now_ns):
        event.handle()
    return now_ns // _STEP_NS * _STEP_NS + _STEP_NS
