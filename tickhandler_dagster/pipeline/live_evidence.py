"""The trades of a day as live received them against those of the vendor's files.

What belongs here: reading both sides of an instrument, where live ticks were kept, a bounded number
of trades at a time. What does not: matching them (`market/live/trade_evidence.py`).

Live ticks are stored as they come, all instruments in one file and a file a minute; both sides are
in the order of arrival, which is not the same on both. Each is read once and put down again so that
the trades of one instrument and of some names lie together, as live bars are (`live_day.py`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.table_batches import read_batches
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_files import LiveTicksFile
from tickhandler_dagster.market.live.trade_evidence import (
    TRADE_COLUMNS,
    matched_trades,
    summed_evidence,
    trade_evidence,
    trade_name,
)
from tickhandler_dagster.market.paths import RawTickFile, parse_path
from tickhandler_dagster.market.timeframes import Timeframe

ROWS_AT_ONCE = 250_000
"""Trades in memory: about 100 MB of either side with all that matching them needs."""

_GROUPS = 16
"""Row groups of a file put down: those of other instruments and names are skipped."""

_BUCKETS = 64
"""Names by their hash: so often as many trades as are in memory can be matched."""

_KEY, _BUCKET = "instrument_key", "bucket"
_AROUND = (-1, 0, 1)
"""Days from the cell's: a bar is cut by exchange time and files by arrival."""


class LiveTrades:
    """Both sides of the trades of a cell, instrument by instrument.

    Args:
        lake: Where the vendor's trades are.
        cell: Day and venue.
        files: The live trades of the day, put down.
        at_once: Trades of a side that are matched at a time.
    """

    def __init__(self, lake: Lake, cell: VenueDay, files: Sequence[Path], *, at_once: int) -> None:
        self._lake = lake
        self._cell = cell
        self._files = files
        self._at_once = at_once
        self._kept: set[str] = set()
        self._last: tuple[str, Mapping[Timeframe, pl.DataFrame] | None] = ("", None)

    @property
    def kept(self) -> int:
        """Instruments whose live trades were there."""
        return len(self._kept)

    def evidence(self, key: str, timeframe: Timeframe) -> pl.DataFrame | None:
        """What became of the instrument's trades by bar; None where either side was not kept.

        That of the instrument asked for last is kept for its next timeframe.
        """
        if not self._files:
            return None
        if self._last[0] != key:
            self._last = (key, self._of(key))
        found = self._last[1]
        return None if found is None else found[timeframe]

    def _of(self, key: str) -> dict[Timeframe, pl.DataFrame] | None:
        live = _scan(self._files).filter(pl.col(_KEY) == key)
        if not _extent(live)[0]:
            return None
        with self._lake.store.scratch() as folder:
            files = _put_down(self._vendor(key), folder, (_BUCKET,))
            if not files:
                return None
            self._kept.add(key)
            return self._matched(live, _scan(files))

    def _matched(self, live: pl.LazyFrame, vendor: pl.LazyFrame) -> dict[Timeframe, pl.DataFrame]:
        """The evidence of all trades between the first and the last live one."""
        rows, first, last = _extent(live)
        vendor = vendor.filter(pl.col("timestamp").is_between(first, last))
        parts = min(-(-max(rows, _extent(vendor)[0]) // self._at_once), _BUCKETS)
        found: dict[Timeframe, list[pl.DataFrame]] = {timeframe: [] for timeframe in Timeframe}
        for part in range(parts):
            edges = (-(-part * _BUCKETS // parts), -(-(part + 1) * _BUCKETS // parts) - 1)
            is_in = pl.col(_BUCKET).is_between(*edges)
            matched = matched_trades(*(side.filter(is_in).collect() for side in (live, vendor)))
            for timeframe, own in found.items():
                own.append(trade_evidence(matched, timeframe))
        return {timeframe: summed_evidence(own) for timeframe, own in found.items()}

    def _vendor(self, key: str) -> Iterator[pl.DataFrame]:
        for days in _AROUND:
            file = RawTickFile(self._cell.date + dt.timedelta(days=days), DataType.TRADES, key)
            for batch in read_batches(self._lake, file, batch_rows=self._at_once):
                yield batch.filter(_is_of(self._cell)).select(TRADE_COLUMNS)


@contextlib.contextmanager
def opened_live_trades(
    lake: Lake, cell: VenueDay, *, at_once: int = ROWS_AT_ONCE
) -> Iterator[LiveTrades]:
    """The trades of a cell, those of live put down by instrument until the block ends.

    Args:
        lake: Where both sides are stored.
        cell: Day and venue.
        at_once: How many trades of a side are in memory at a time, beside one stored file of live.

    Raises:
        CorruptData: a file cannot be read.
        StorageFull: the device has no space left for the copy.
    """
    with lake.store.scratch() as folder:
        files = _put_down(_live(lake, cell, at_once), folder, (_KEY, _BUCKET))
        yield LiveTrades(lake, cell, files, at_once=at_once)


def _put_down(batches: Iterable[pl.DataFrame], folder: Path, order: Sequence[str]) -> list[Path]:
    """A file of each batch with rows, in the order, so that reading a part skips the rest."""
    files: list[Path] = []
    for trades in batches:
        if trades.height:
            files.append(folder / f"trades-{len(files):05d}.parquet")
            rows = trades.with_columns((trade_name().hash() % _BUCKETS).alias(_BUCKET))
            with storage_errors(files[-1]):
                rows.sort(order, maintain_order=True).write_parquet(
                    files[-1], compression="lz4", row_group_size=max(trades.height // _GROUPS, 1)
                )
    return files


def _live(lake: Lake, cell: VenueDay, at_once: int) -> Iterator[pl.DataFrame]:
    """The live trades of the day in the order of arrival, so many at a time."""
    waiting: list[pl.DataFrame] = []
    for file in (file for days in _AROUND for file in _live_files(lake, cell, days)):
        for batch in read_batches(lake, file, batch_rows=at_once):
            waiting.append(batch.filter(_is_of(cell)).select(_KEY, *TRADE_COLUMNS))
            if sum(frame.height for frame in waiting) >= at_once:
                yield pl.concat(waiting)
                waiting = []
    if waiting:
        yield pl.concat(waiting)


def _live_files(lake: Lake, cell: VenueDay, days: int) -> list[LiveTicksFile]:
    day = cell.date + dt.timedelta(days=days)
    any_file = LiveTicksFile(day, DataType.TRADES, cell.venue, "00", 0)
    prefix = any_file.path.rpartition("/hour-")[0]
    found = [parse_path(path) for path in sorted(lake.store.list(prefix))]
    return [file for file in found if isinstance(file, LiveTicksFile)]


def _is_of(cell: VenueDay) -> pl.Expr:
    return pl.col("timestamp").dt.date() == cell.date


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False)


def _extent(trades: pl.LazyFrame) -> tuple[int, dt.datetime | None, dt.datetime | None]:
    """Number of trades, and the first and last moment of any."""
    moment = pl.col("timestamp")
    found = trades.select(pl.len(), moment.min().alias("first"), moment.max().alias("last"))
    return found.collect(engine="streaming").row(0)
