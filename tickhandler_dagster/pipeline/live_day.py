"""A day's live bars instrument by instrument, however many there are.

What belongs here: turning hours, as bars are stored, into instruments, as they are compared. What
does not: the stored files (`live_candles.py`) and the comparison (`live_parity.py`).

Two hundred instruments' bars of a day are gigabytes, and each hour's file has some of every
instrument. Each hour is read once and put down again in the order of instruments, beside the lake
and for as long as the comparison takes; reading every hour anew for each instrument would take two
hundred times as long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.live_candles import live_candles_by_hour

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.market.days import VenueDay

INSTRUMENTS_AT_ONCE = 4
"""About 30 MB of bars: a day of an instrument is 7 MB over all timeframes."""

_GROUP_ROWS = 960
"""Rows of a row group: so many instruments' bars of 15 seconds in an hour, so that groups of others
are skipped."""

_KEY = "instrument_key"


@dataclass(frozen=True, slots=True)
class LiveDay:
    """The highest revision of every live bar of a day and venue.

    Attributes:
        keys: Instruments with live bars, sorted.
        files: Where their bars are while the day is open, by timeframe.
    """

    keys: tuple[str, ...]
    files: Mapping[Timeframe, list[Path]]

    def instruments(self) -> Iterator[tuple[str, dict[Timeframe, pl.DataFrame]]]:
        """Each instrument with its bars by timeframe, a few in memory at a time.

        Shape: bars by `ts_open`; timeframes without any are left out.
        """
        for start in range(0, len(self.keys), INSTRUMENTS_AT_ONCE):
            some = self.keys[start : start + INSTRUMENTS_AT_ONCE]
            bars = {timeframe: self._read(timeframe, some) for timeframe in self.files}
            for key in some:
                # Taken out, so that the next ones are not read beside these.
                found = {timeframe: frames.pop((key,), None) for timeframe, frames in bars.items()}
                yield key, {name: frame for name, frame in found.items() if frame is not None}

    def _read(
        self, timeframe: Timeframe, keys: Sequence[str]
    ) -> dict[tuple[object, ...], pl.DataFrame]:
        scan = pl.scan_parquet(self.files[timeframe], glob=False, hive_partitioning=False)
        bars = scan.filter(pl.col(_KEY).is_in(list(keys))).collect()
        return bars.partition_by(_KEY, as_dict=True, maintain_order=True)


@contextlib.contextmanager
def opened_live_day(lake: Lake, cell: VenueDay, columns: Sequence[str]) -> Iterator[LiveDay]:
    """The live bars of a cell, put down by instrument until the block ends.

    Args:
        lake: Where they are stored.
        cell: Day and venue.
        columns: What is read of them, `instrument_key` and `ts_open` among it.

    Raises:
        CorruptData: a file cannot be read.
        ConcurrentWrite: a live engine puts files together faster than they can be read.
        StorageFull: the device has no space left for the copy.
    """
    files: dict[Timeframe, list[Path]] = {}
    keys: set[str] = set()
    with lake.store.scratch() as folder:
        for timeframe in Timeframe:
            for bars in live_candles_by_hour(
                lake, cell.date, timeframe, cell.venue, columns=columns
            ):
                own = files.setdefault(timeframe, [])
                own.append(folder / f"{timeframe}-{len(own):02d}.parquet")
                keys.update(bars[_KEY].unique())
                with storage_errors(own[-1]):
                    bars.write_parquet(own[-1], compression="lz4", row_group_size=_GROUP_ROWS)
        yield LiveDay(tuple(sorted(keys)), files)
