"""A candle partition in a few numbers, and the bars worth looking at, from its manifest.

What does not belong here: building bars (`candles.py`) and drawing them (`reporting`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.timeframes import Timeframe

SHOWN = 6
# Fine enough to see a day's shape, coarse enough for a small picture.
_PICTURED = (Timeframe.M5, Timeframe.M15, Timeframe.M1, *Timeframe)


@dataclass(frozen=True, slots=True)
class CandleSums:
    """Sums over the instruments of a candle partition.

    Attributes:
        bars: All bars.
        final_bars: Bars that no file still to come can change.
        by_status: Bars by status.
        trades: Trades in the bars.
        rows_used: Raw rows of the day.
        bytes: Size of the files.
        data_version: Changes when and only when a file does.
        is_simulated: A source came from the sandbox.
        by_input: Instruments by what their features could stand on besides trades.
    """

    bars: int
    final_bars: int
    by_status: Mapping[str, int]
    trades: int
    rows_used: int
    bytes: int
    data_version: str
    is_simulated: bool
    by_input: Mapping[str, int]


_INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "book levels": "book_source",
        "best quotes": "quote_source",
        "derivative ticker": "ticker_state",
        "liquidations": "liquidations_state",
        "option surface": "surface_sha256",
        "state of the day before": "carried_sha256",
    }
)


def candle_sums(manifest: pl.DataFrame) -> CandleSums:
    """The sums of a frame of `CANDLE_MANIFEST_TABLE`."""
    hashes = "".join(manifest["content_sha256"].to_list())
    return CandleSums(
        bars=int(manifest["bars"].sum()),
        final_bars=int(manifest["final_bars"].sum()),
        by_status={status: int(manifest[status].sum()) for status in BarStatus},
        trades=int(manifest["trades"].sum()),
        rows_used=int(manifest["rows_used"].sum()),
        bytes=int(manifest["bytes"].sum()),
        data_version=hashlib.sha256(hashes.encode()).hexdigest(),
        is_simulated=bool(manifest["is_simulated"].any()),
        by_input={
            name: manifest.height - manifest[column].null_count()
            for name, column in _INPUTS.items()
        },
    )


def most_traded(
    lake: Lake, cell: VenueDay, manifests: Mapping[Timeframe, pl.DataFrame]
) -> list[tuple[str, pl.DataFrame]]:
    """Bars of the instruments with the most trades: (key, columns of `PriceChart`) pairs."""
    timeframe = next(item for item in _PICTURED if item in manifests)
    busiest = (
        manifests[timeframe]
        .filter(pl.col("trades") > 0)
        .sort("trades", "instrument_key", descending=[True, False])
        .head(SHOWN)
    )
    columns = ["ts_open", "close", "notional", "gap_ms"]
    return [
        (key, bars)
        for key in busiest["instrument_key"]
        if (bars := lake.read_table(CandleFile(cell.date, timeframe, key), columns=columns))
        is not None
    ]
