"""What the lake holds of a cell, in a few numbers, from its manifests alone.

What does not belong here: showing it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleManifest, InstrumentsFile
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class CellSummary:
    """A cell in numbers.

    Attributes:
        cell: Which.
        instruments: Rows of the universe.
        rows: Tick rows of all data types.
        missing: (instrument, data type) pairs whose data should be there and is not.
        bars: Bars of all timeframes.
        final_bars: Of these, those that no file still to come can change.
    """

    cell: VenueDay
    instruments: int
    rows: int
    missing: int
    bars: int
    final_bars: int


def summarize_cell(lake: Lake, cell: VenueDay) -> CellSummary:
    """The cell in numbers; zeros for what was never made.

    Raises:
        CorruptData: a manifest is not readable.
    """
    universe = lake.read_table(InstrumentsFile(cell.date, cell.venue), columns=["instrument_key"])
    raw = [row for data_type in DataType for row in read_raw_manifest(lake, cell, data_type) or ()]
    candles = [
        frame
        for timeframe in Timeframe
        if (frame := lake.read_table(CandleManifest(cell.date, timeframe, cell.venue))) is not None
    ]
    return CellSummary(
        cell=cell,
        instruments=0 if universe is None else universe.height,
        rows=sum(row.rows for row in raw),
        missing=sum(row.state.is_missing for row in raw),
        bars=sum(int(frame["bars"].sum()) for frame in candles),
        final_bars=sum(int(frame["final_bars"].sum()) for frame in candles),
    )
