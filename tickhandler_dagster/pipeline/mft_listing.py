"""Which candle files there are: manifests of candle partitions, each read once.

What belongs here: partitions and what their manifests say of an instrument's file. What does not:
which of them a day of features reads (`mft_inputs.py`) and reading bars (`mft_bars.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.paths import CandleManifest
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True, order=True)
class CandleDay:
    """A candle partition that is read."""

    venue: VenueId
    timeframe: Timeframe
    date: dt.date

    def __str__(self) -> str:
        return f"candles/{self.timeframe} {VenueDay(self.date, self.venue)}"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """What a candle manifest says of one instrument's file."""

    sha256: str
    is_simulated: bool


class CandleListing:
    """Candle manifests, each read once.

    Args:
        lake: Where they are.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._found: dict[CandleDay, Mapping[str, ListedFile] | None] = {}

    def files(self, day: CandleDay) -> Mapping[str, ListedFile] | None:
        """Files of the partition by instrument key, options left out; None where never made.

        Raises:
            CorruptData: the manifest cannot be read.
        """
        self.read([day])
        return self._found[day]

    def read(self, days: Iterable[CandleDay]) -> None:
        """Read the manifests of these partitions, many on the way at once: a halo has dozens.

        Raises:
            CorruptData: one of them cannot be read.
        """
        unread = [day for day in dict.fromkeys(days) if day not in self._found]
        items = [CandleManifest(day.date, day.timeframe, day.venue) for day in unread]
        for day, item, local in zip(unread, items, self._lake.fetch(items), strict=True):
            self._found[day] = None if local is None else self._listed(item, local)

    def file(self, day: CandleDay, key: str) -> ListedFile | None:
        """The instrument's file of the partition; None where there is none."""
        return (self.files(day) or {}).get(key)

    def _listed(self, item: CandleManifest, local: Path) -> Mapping[str, ListedFile] | None:
        frame = self._lake.read_table(
            item, columns=("instrument_key", "content_sha256", "is_simulated"), local=local
        )
        if frame is None:
            return None
        return {
            key: ListedFile(sha256, is_simulated)
            for key, sha256, is_simulated in frame.iter_rows()
            if f":{InstrumentType.OPTION}:" not in key
        }
