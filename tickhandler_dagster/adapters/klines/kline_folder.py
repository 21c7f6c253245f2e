"""Klines from files: one file, or a folder with files per symbol.

What belongs here: which file is whose. What does not: what is in it (`kline_csv.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.klines.kline_csv import SYMBOL, read_kline_csv
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.klines import RAW_VALUES, FetchedKlines, KlineInstrument, klines_of

SUFFIXES = (".csv", ".csv.gz", ".zip")
INTERVAL = "1m"


class KlineFolder:
    """A file of klines, or a folder of them.

    A folder has files `SYMBOL-1m-YYYY-MM-DD`, `SYMBOL-1m-YYYY-MM` or `SYMBOL`, as `.csv`, `.csv.gz`
    or `.zip`; where it has folders named as venues, their files are theirs alone. A single file is
    that of the symbol it is named for, or of those in its column `symbol`.

    Args:
        root: The file or the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # A file of a month serves thirty days, but a day is what a run asks for: the last few.
        self._read = lru_cache(maxsize=4)(read_kline_csv)

    def fetch(self, cell: VenueDay, instruments: Sequence[KlineInstrument]) -> FetchedKlines:
        """The klines of a day of each instrument.

        Raises:
            InvalidSetting: there is neither a file nor a folder.
            CorruptData: a file is not one of klines.
        """
        if not self._root.exists():
            raise InvalidSetting(
                "KLINES_SOURCE",
                "no such file or folder",
                was=self._root,
                remedy="Correct the path, or set it to venue",
            )
        frames, absent = {}, {}
        for instrument in instruments:
            found = next(self._rows(cell, instrument.symbol), None)
            if found is None:
                absent[instrument.instrument_key] = (
                    f"no klines of {instrument.symbol} on {cell.date} in {self._root.name}"
                )
            else:
                frames[instrument.instrument_key] = found
        return FetchedKlines(frames, absent)

    def _rows(self, cell: VenueDay, symbol: str) -> Iterator[pl.DataFrame]:
        """The days that files of the symbol hold; the most exact name first."""
        for path in self._files(cell, symbol):
            raw = self._read(path)
            if SYMBOL in raw.columns:
                raw = raw.filter(pl.col(SYMBOL).str.to_uppercase() == symbol)
            klines = klines_of(raw.select("ts_open", *RAW_VALUES), cell, subject=str(path))
            if klines.height:
                yield klines

    def _files(self, cell: VenueDay, symbol: str) -> Iterator[Path]:
        if self._root.is_file():
            is_named = self._root.name.upper().startswith((f"{symbol}-", f"{symbol}."))
            if is_named or SYMBOL in self._read(self._root).columns:
                yield self._root
            return
        own = self._root / cell.venue.value
        folder = own if own.is_dir() else self._root
        stem = f"{symbol}-{INTERVAL}-{cell.date.isoformat()}"
        for name in (stem, stem.removesuffix(f"-{cell.date.day:02}"), symbol):
            for suffix in SUFFIXES:
                if (folder / f"{name}{suffix}").is_file():
                    yield folder / f"{name}{suffix}"
