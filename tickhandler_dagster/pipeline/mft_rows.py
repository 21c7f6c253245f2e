"""Computing a cell's mid-frequency features: instrument by instrument, then over all of them.

What belongs here: which columns a series is given, and what of it is the day's. What does not:
expressions and joins (`market/mft`), reading (`mft_bars.py`), files (`mft_files.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.market.mft.catalog import MFT_KERNEL_VERSION
from tickhandler_dagster.market.mft.cross_section import compared_columns, cross_sectional
from tickhandler_dagster.market.mft.entry import Scope
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.halo import DAILY_INPUTS, SLOT_INPUTS, reads
from tickhandler_dagster.market.mft.joined import (
    DAY_CANDLE_COLUMNS,
    SLOT_CANDLE_COLUMNS,
    VENUE_CANDLE_COLUMNS,
    with_all_venues,
    with_other_venue,
    with_slot_volume,
    with_trailing_days,
)
from tickhandler_dagster.market.mft.warm_up import NullReason, Runs, null_reasons, runs_of
from tickhandler_dagster.market.mft_table import table_of
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.pipeline.mft_bars import BarReader, columns_for
from tickhandler_dagster.pipeline.mft_inputs import MftInputs
from tickhandler_dagster.pipeline.mft_peers import Peers

_REFERENCE = "ref_"
_KNOWN = (
    "available_at",
    "ref_available_at",
    "other_available_at",
    "all_venues_available_at",
    "cross_section_available_at",
)
"""A row is known with the last of these."""

_KEYS = ("instrument_key", "ts_open", "available_at", "is_valid")


@dataclass(frozen=True, slots=True)
class MftRows:
    """A day's rows of one instrument.

    Attributes:
        key: Instrument.
        frame: Its rows, with the columns of the stored table.
        reasons: Why a feature has no value on the day, by name.
    """

    key: str
    frame: pl.DataFrame
    reasons: dict[str, NullReason]


class MftDay:
    """The features of one cell and timeframe.

    Args:
        lake: Where candles are.
        inputs: What the cell is computed from.
        scratch: A folder for what lies between the two passes, so that a cell needs the memory of
            one instrument and of the columns that instruments are compared by.
        daily: 24 h candles that another timeframe of the cell read, by instrument.
    """

    def __init__(
        self, lake: Lake, inputs: MftInputs, scratch: Path, daily: dict[str, pl.DataFrame]
    ) -> None:
        plan = inputs.plan
        self._inputs = inputs
        self._reader = BarReader(lake, inputs, daily)
        self._scratch = scratch
        self._table = table_of(plan.features)
        self._cross = plan.of(Scope.CROSS_SECTION)
        self._own = tuple(one for one in plan.features if one.scope is not Scope.CROSS_SECTION)
        self._compared = compared_columns(plan.windows) if self._cross else ()
        names = {name for feature in self._own for name in feature.inputs} | set(self._compared)
        self._columns = columns_for(names)
        self._joined = tuple(sorted(names))
        self._reference = self._reference_series()
        self._runs: dict[str, Runs] = {}

    def rows(self) -> Iterator[MftRows]:
        """The rows of every instrument of the cell, ordered by key.

        Raises:
            MissingUpstream: a file that a manifest names is not in the lake.
            CorruptData: a file cannot be read, or has other columns.
        """
        keys = self._inputs.keys
        compared = [self._first_pass(place, key) for place, key in enumerate(keys)]
        across = self._across(compared)
        for place, key in enumerate(keys):
            day = pl.read_ipc(self._between(place))
            if across is not None:
                day = day.hstack(across.filter(pl.col("instrument_key") == key).drop(_KEYS))
            yield self._finished(key, day)

    # ---- one instrument --------------------------------------------------------------------

    def _first_pass(self, place: int, key: str) -> pl.DataFrame:
        """Evaluate the instrument's own series; gives what instruments are compared by."""
        series = evaluated(self._series(key), self._own)
        start = pl.lit(day_start_us(self._inputs.cell.date)).cast(TIMESTAMP)
        self._runs[key] = runs_of(series, start)
        is_of_day = (pl.col("ts_open") >= start) & pl.col("status").is_not_null()
        day = series.filter(is_of_day).with_columns(instrument_key=pl.lit(key))
        day.write_ipc(self._between(place))
        return day.select(*_KEYS, *self._compared)

    def _series(self, key: str) -> pl.DataFrame:
        """The instrument's bars with every column that its features read."""
        bars = self._reader.series(key, self._columns)
        # A late row makes its bar known after those that follow it, and a window reads them all.
        bars = bars.with_columns(pl.col("available_at").cum_max())
        if reads(self._own, SLOT_INPUTS):
            bars = with_slot_volume(bars, self._reader.slots(key, SLOT_CANDLE_COLUMNS))
        if reads(self._own, DAILY_INPUTS):
            bars = with_trailing_days(bars, self._reader.daily(key, DAY_CANDLE_COLUMNS))
        if self._reference is not None:
            bars = bars.join(self._reference, on="ts_open", how="left", maintain_order="left")
        if self._inputs.plan.of(Scope.VENUES):
            bars = self._with_venues(bars, self._inputs.peers.get(key))
        return bars

    def _reference_series(self) -> pl.DataFrame | None:
        """The reference's series under names of its own; nulls where the venue has none."""
        wanted = [name for name in self._joined if name.startswith(_REFERENCE)]
        if not wanted:
            return None
        key = self._inputs.reference
        bars = self._reader.series(key or "", self._columns)
        return bars.select(
            "ts_open",
            pl.col("available_at").cum_max().forward_fill().alias("ref_available_at"),
            *(pl.col(name.removeprefix(_REFERENCE)).alias(name) for name in wanted),
        )

    def _with_venues(self, bars: pl.DataFrame, peers: Peers | None) -> pl.DataFrame:
        peers = peers or Peers(None, None, ())
        other = None
        if peers.venue is not None and peers.key is not None:
            other = self._reader.elsewhere(peers.venue, peers.key, VENUE_CANDLE_COLUMNS)
        group = [
            self._reader.elsewhere(venue, key, VENUE_CANDLE_COLUMNS) for venue, key in peers.group
        ]
        joined = with_all_venues(with_other_venue(bars, other, peers.venue), group)
        return joined.with_columns(
            pl.col(name).cum_max().forward_fill()
            for name in ("other_available_at", "all_venues_available_at")
        )

    # ---- all instruments -------------------------------------------------------------------

    def _across(self, compared: list[pl.DataFrame]) -> pl.DataFrame | None:
        if not compared or not self._cross:
            return None
        # A feature that is compared is a column of the same name in the day's frame already.
        return cross_sectional(pl.concat(compared), self._cross).drop(self._compared)

    def _finished(self, key: str, day: pl.DataFrame) -> MftRows:
        cell = self._inputs.cell
        frame = day.with_columns(
            pl.max_horizontal(name for name in _KNOWN if name in day.columns).alias("available_at"),
            venue=pl.lit(cell.venue.value),
            timeframe=pl.lit(self._inputs.timeframe.value),
            row_version=pl.lit(1, pl.Int32),
            kernel_version=pl.lit(MFT_KERNEL_VERSION),
        ).select(self._table.names)
        empty = {name for name in day.columns if day[name].null_count() == day.height}
        nulls = [one for one in self._inputs.plan.features if one.name in empty]
        return MftRows(key, frame, null_reasons(nulls, self._runs[key], empty=empty))

    def _between(self, place: int) -> Path:
        return self._scratch / f"{place}.arrow"
