"""The closes of a cell's instruments beside other prices of the same thing that the lake holds.

What belongs here: which bars are read and which counterpart is taken. What does not: the bounds
(`market/audits/prices.py`) and what is stored (`bar_audit.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.audits.prices import (
    INDEX,
    MIN_BARS,
    NEAR_US,
    SPOT_PERPETUAL,
    Apart,
    Counterparts,
    bars_apart,
    venues_beside,
)
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.instrument_key import InstrumentKey
from tickhandler_dagster.market.paths import CandleFile, CandleManifest
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import Timeframe

_TIMEFRAME = Timeframe.M1
"""15 s bars would be four times as many, and fewer of them traded on both sides."""

_OTHER = ("ts_open", "status", "close", "close_time")
_OWN = (*_OTHER, "ts_close", "index_price", "ticker_age_ms")


@dataclass(frozen=True, slots=True)
class CandleKeys:
    """What a candle manifest says of its instruments.

    Attributes:
        traded: Bars with a trade by instrument key, in the order of the keys.
        simulated: Keys whose sources came from the sandbox.
    """

    traded: Mapping[str, int]
    simulated: frozenset[str]

    @classmethod
    def read(cls, lake: Lake, item: CandleManifest) -> CandleKeys | None:
        """The instruments of a stored manifest; None where it was never written."""
        columns = ["instrument_key", "traded", "is_simulated"]
        frame = lake.read_table(item, columns=columns)
        if frame is None:
            return None
        rows = list(frame.sort("instrument_key").iter_rows())
        return cls(
            {key: traded for key, traded, _ in rows},
            frozenset(key for key, _, is_simulated in rows if is_simulated),
        )


class PriceAudit:
    """Looks at one instrument after another.

    Args:
        lake: Where bars are.
        cell: Day and venue.
        own: The instruments of the cell.
    """

    def __init__(self, lake: Lake, cell: VenueDay, own: CandleKeys) -> None:
        self._lake = lake
        self._cell = cell
        self._own = own
        self.pairs: dict[str, str] = {}
        self.with_index = 0

    def of(self, key: str) -> Iterator[tuple[RuleName, str, Apart]]:
        """Broken rules of an instrument: rule, what it was held against, and the bars.

        Raises:
            CorruptData: a file that a manifest names cannot be read.
        """
        kind = InstrumentKey.parse(key).type
        other = self._counterpart(key)
        bound = INDEX.get(kind)
        if self._own.traded.get(key, 0) < MIN_BARS or (other is None and bound is None):
            return
        closes = self._closes(self._cell, key, _OWN)
        if other is not None:
            beside = _beside(closes, self._closes(*other, _OTHER))
            if beside.height >= MIN_BARS:
                self.pairs[key] = other[1]
            apart = bars_apart(beside, SPOT_PERPETUAL)
            if apart is not None:
                yield RuleName.SPOT_PERPETUAL_APART, other[1], apart
        if bound is not None:
            with_index = _with_index(closes)
            self.with_index += with_index.height >= MIN_BARS
            apart = bars_apart(with_index, bound)
            if apart is not None:
                yield RuleName.AWAY_FROM_INDEX, "its index", apart

    def _counterpart(self, key: str) -> tuple[VenueDay, str] | None:
        """The first other side that trades enough; a simulated one only of a simulated."""
        for cell, keys, sides in self._venues:
            for other in sides.of(key):
                is_alike = (other in keys.simulated) == (key in self._own.simulated)
                if is_alike and keys.traded[other] >= MIN_BARS:
                    return cell, other
        return None

    @cached_property
    def _venues(self) -> list[tuple[VenueDay, CandleKeys, Counterparts]]:
        """The venues of the day that are in the lake, from their manifests."""
        cells = [VenueDay(self._cell.date, venue) for venue in venues_beside(self._cell.venue)]
        found = (
            (cell, CandleKeys.read(self._lake, CandleManifest(cell.date, _TIMEFRAME, cell.venue)))
            for cell in cells
        )
        return [(cell, keys, Counterparts(keys.traded)) for cell, keys in found if keys is not None]

    def _closes(self, cell: VenueDay, key: str, columns: tuple[str, ...]) -> pl.DataFrame:
        item = CandleFile(cell.date, _TIMEFRAME, key)
        frame = self._lake.read_table(item, columns=columns)
        if frame is None:
            raise CorruptData(
                item.path,
                "the manifest names an object that is not there",
                remedy=f"Materialize candles/{_TIMEFRAME} of its day and venue again",
            )
        return frame.filter(pl.col("status") == BarStatus.TRADED.value)


def _beside(closes: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Bars in which both traded at almost the same moment."""
    apart = (pl.col("close_time") - pl.col("close_time_right")).abs().dt.total_microseconds()
    return (
        closes.join(others, on="ts_open")
        .filter(apart <= NEAR_US)
        .select("ts_open", price="close", other="close_right")
    )


def _with_index(closes: pl.DataFrame) -> pl.DataFrame:
    """Bars that traded when the ticker's last row arrived, or almost."""
    age = (pl.col("ts_close") - pl.col("close_time")).dt.total_microseconds()
    apart = (age - pl.col("ticker_age_ms") * 1_000).abs()
    return closes.filter((apart <= NEAR_US) & pl.col("index_price").is_not_null()).select(
        "ts_open", price="close", other="index_price"
    )
