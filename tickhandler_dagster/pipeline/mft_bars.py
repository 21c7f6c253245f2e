"""Reading candles of several days as series of bars.

What belongs here: exact files, named by manifests, and no more columns than are asked for. What
does not: which days and instruments (`mft_inputs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.days import US_PER_DAY, VenueDay, day_start_us
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.mft.series import bar_series, dense_opens
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_inputs import MftInputs
from tickhandler_dagster.pipeline.mft_listing import CandleDay

CORE_COLUMNS = (
    "ts_open",
    "ts_close",
    "available_at",
    "status",
    "is_final",
    "gap_ms",
    "open",
    "high",
    "low",
    "close",
    "trade_count",
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
)
"""What every series stands on; other columns are read only where a feature asks for them."""


def columns_for(inputs: Iterable[str]) -> tuple[str, ...]:
    """Columns of candles to read for features with these inputs."""
    wanted = set(inputs)
    return (
        *CORE_COLUMNS,
        *(name for name in CANDLE_TABLE.names if name in wanted and name not in CORE_COLUMNS),
    )


class BarReader:
    """Bars of one cell and timeframe and of the days before it.

    Args:
        lake: Where candles are.
        inputs: Which files there are.
        daily: 24 h candles of the cell's instruments that were read before, by key; those read here
            are added: all timeframes of a cell read the same ones.
    """

    def __init__(self, lake: Lake, inputs: MftInputs, daily: dict[str, pl.DataFrame]) -> None:
        self._lake = lake
        self._inputs = inputs
        self._daily = daily

    def series(self, key: str, columns: Sequence[str]) -> pl.DataFrame:
        """The instrument's bars of the day and of the halo's series, on a dense grid.

        The grid starts as many days before the day as the longest look-back has, wherever the bars
        do: what depends on every bar before it has one value, whatever was made when.

        Raises:
            MissingUpstream: a file that a manifest names is not in the lake.
            CorruptData: a file cannot be read, or has other columns.
        """
        halo = self._inputs.halo.series
        start = day_start_us(self._inputs.cell.date)
        opens = dense_opens(
            start - len(halo) * US_PER_DAY, start + US_PER_DAY, self._inputs.timeframe.us
        )
        candles = self.bars(self._inputs.days({0, *halo}), key, columns)
        return bar_series(candles, opens, allow_gaps=self._inputs.plan.allow_gaps)

    def slots(self, key: str, columns: Sequence[str]) -> pl.DataFrame:
        """The instrument's bars of the days whole weeks back."""
        return self.bars(self._inputs.days(self._inputs.halo.slots), key, columns)

    def daily(self, key: str, columns: Sequence[str]) -> pl.DataFrame:
        """The instrument's 24 h candles of the days back that are read."""
        if key not in self._daily:
            days = self._inputs.days(self._inputs.halo.daily, daily=True)
            self._daily[key] = self.bars(days, key, columns)
        return self._daily[key]

    def elsewhere(self, venue: VenueId, key: str, columns: Sequence[str]) -> pl.DataFrame:
        """Bars of another venue's instrument, of the day and of the halo's series."""
        days = self._inputs.days({0, *self._inputs.halo.series}, venue=venue)
        return self.bars(days, key, columns)

    def bars(self, days: Iterable[CandleDay], key: str, columns: Sequence[str]) -> pl.DataFrame:
        """The instrument's candles of these partitions in their order; days may be missing."""
        listing = self._inputs.listing
        listed = [day for day in days if listing.file(day, key) is not None]
        files = self._lake.fetch([CandleFile(day.date, day.timeframe, key) for day in listed])
        parts = [
            self._read(day, key, columns, local) for day, local in zip(listed, files, strict=True)
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema=_schema(columns))

    def _read(
        self, day: CandleDay, key: str, columns: Sequence[str], local: Path | None
    ) -> pl.DataFrame:
        item = CandleFile(day.date, day.timeframe, key)
        cell = VenueDay(day.date, day.venue)
        again = f"Run: {materialize(f'candles/{day.timeframe}', cell)}"
        try:
            bars = self._lake.read_table(item, columns=columns, local=local)
        except pl.exceptions.ColumnNotFoundError as error:
            raise CorruptData(item.path, "columns are missing", remedy=again) from error
        if bars is None:
            raise MissingUpstream(item.path, "in the manifest, not in the lake", remedy=again)
        return bars


def _schema(columns: Sequence[str]) -> dict[str, pl.DataType]:
    """Types of candle columns, for an instrument without any file."""
    return {name: CANDLE_TABLE.column(name).dtype for name in columns}
