"""The path grammar of the lake: an object is a value that writes its path and reads it back.

What belongs here: every relative path the project stores under, and no root. Instrument keys go
into file names as they are; their grammar (`instrument_key.py`) keeps them free of `/`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """What a venue lists: `catalog` is the exchange reply, `contracts` the instruments reply."""

    venue: VenueId
    name: str

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return f"exchange_catalog/venue-{self.venue}/{self.name}.json"


@dataclass(frozen=True, slots=True)
class InstrumentsFile:
    """The universe of a venue on a day."""

    date: dt.date
    venue: VenueId

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"instrument_availability/by_date/day-{self.date}"
            f"/venue-{self.venue}/instruments.parquet"
        )


@dataclass(frozen=True, slots=True)
class RawTickFile:
    """The verified ticks of an instrument, one file per day and data type."""

    date: dt.date
    data_type: DataType
    instrument_key: str

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"raw_tick_data/by_date/day-{self.date}/data_type-{self.data_type}"
            f"/{self.instrument_key}.parquet"
        )


@dataclass(frozen=True, slots=True)
class RawManifest:
    """The manifest of a raw partition."""

    date: dt.date
    data_type: DataType
    venue: VenueId

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"raw_tick_data/by_date/day-{self.date}/data_type-{self.data_type}"
            f"/_manifests/{self.venue}.parquet"
        )


@dataclass(frozen=True, slots=True)
class CandleFile:
    """The bars of an instrument, one file per day and timeframe."""

    date: dt.date
    timeframe: Timeframe
    instrument_key: str

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"processed_candles/by_date/day-{self.date}/timeframe-{self.timeframe}"
            f"/{self.instrument_key}.parquet"
        )


@dataclass(frozen=True, slots=True)
class CandleManifest:
    """The manifest of a candle partition."""

    date: dt.date
    timeframe: Timeframe
    venue: VenueId

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"processed_candles/by_date/day-{self.date}/timeframe-{self.timeframe}"
            f"/_manifests/{self.venue}.parquet"
        )


@dataclass(frozen=True, slots=True)
class QuarantinedRows:
    """Rows of a raw file that were kept out, each with its reason."""

    date: dt.date
    data_type: DataType
    instrument_key: str

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"quarantine/rows/by_date/day-{self.date}/data_type-{self.data_type}"
            f"/{self.instrument_key}.parquet"
        )


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A vendor file that breaks its format, kept as it came."""

    date: dt.date
    data_type: DataType
    venue: VenueId
    source_symbol: str

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        return (
            f"quarantine/files/by_date/day-{self.date}/data_type-{self.data_type}"
            f"/venue-{self.venue}/{self.source_symbol}.csv.gz"
        )


LakeObject: TypeAlias = (
    CatalogFile
    | InstrumentsFile
    | RawTickFile
    | RawManifest
    | CandleFile
    | CandleManifest
    | QuarantinedRows
    | QuarantinedFile
)

_DAY = r"by_date/day-(?P<date>\d{4}-\d{2}-\d{2})"
_TYPE = r"data_type-(?P<data_type>\w+)"
_FRAME = r"timeframe-(?P<timeframe>\w+)"
_VENUE = r"(?P<venue>[a-z0-9-]+)"
_KEY = r"(?P<instrument_key>[^/]+)"

_GRAMMAR: tuple[tuple[Callable[..., LakeObject], re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (CatalogFile, rf"exchange_catalog/venue-{_VENUE}/(?P<name>\w+)\.json"),
        (InstrumentsFile, rf"instrument_availability/{_DAY}/venue-{_VENUE}/instruments\.parquet"),
        (RawManifest, rf"raw_tick_data/{_DAY}/{_TYPE}/_manifests/{_VENUE}\.parquet"),
        (RawTickFile, rf"raw_tick_data/{_DAY}/{_TYPE}/{_KEY}\.parquet"),
        (CandleManifest, rf"processed_candles/{_DAY}/{_FRAME}/_manifests/{_VENUE}\.parquet"),
        (CandleFile, rf"processed_candles/{_DAY}/{_FRAME}/{_KEY}\.parquet"),
        (QuarantinedRows, rf"quarantine/rows/{_DAY}/{_TYPE}/{_KEY}\.parquet"),
        (
            QuarantinedFile,
            rf"quarantine/files/{_DAY}/{_TYPE}/venue-{_VENUE}/(?P<source_symbol>[^/]+)\.csv\.gz",
        ),
    )
)

_PARTS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "date": parse_date,
        "venue": VenueId,
        "data_type": DataType,
        "timeframe": Timeframe,
        "instrument_key": str,
        "name": str,
        "source_symbol": str,
    }
)


def parse_path(path: str) -> LakeObject:
    """The object stored under `path`; the inverse of its `path`.

    Raises:
        InvalidInput: the path is in no form of the grammar.

    Example:
        >>> parse_path("exchange_catalog/venue-upbit/catalog.json")
        CatalogFile(venue=<VenueId.UPBIT: 'upbit'>, name='catalog')
    """
    for kind, pattern in _GRAMMAR:
        match = pattern.fullmatch(path)
        if match:
            try:
                return kind(
                    **{name: _PARTS[name](text) for name, text in match.groupdict().items()}
                )
            except ValueError:
                break  # the shape is right and a part is in no enum: not one of our objects
    raise InvalidInput(
        f"'{path}'",
        "not a path of the lake",
        expected="a form of docs/architecture.md",
        remedy="Check the spelling",
    )
