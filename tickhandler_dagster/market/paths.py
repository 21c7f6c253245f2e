"""The path grammar of the lake: an object is a value that writes its path and reads it back.

What belongs here: every relative path the project stores under, and no root; those of what is live
are in `live/live_files.py`. An object's form is stated once and serves both directions. Instrument
keys go into file names as they are; their grammar (`instrument_key.py`) keeps them free of `/`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, get_args

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.live.live_files import (
    DeadLettersFile,
    LiveCandlesFile,
    LiveDifferencesFile,
    LiveTicksFile,
)
from tickhandler_dagster.market.path_form import PathForm
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class CatalogFile(PathForm):
    """What a venue lists: `catalog` is the exchange reply, `contracts` the instruments reply."""

    form = "exchange_catalog/venue-{venue}/{name}.json"

    venue: VenueId
    name: str


@dataclass(frozen=True, slots=True)
class InstrumentsFile(PathForm):
    """The universe of a venue on a day."""

    form = "instrument_availability/by_date/day-{date}/venue-{venue}/instruments.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class RawTickFile(PathForm):
    """The verified ticks of an instrument, one file per day and data type."""

    form = "raw_tick_data/by_date/day-{date}/data_type-{data_type}/{instrument_key}.parquet"

    date: dt.date
    data_type: DataType
    instrument_key: str


@dataclass(frozen=True, slots=True)
class RawManifest(PathForm):
    """The manifest of a raw partition."""

    form = "raw_tick_data/by_date/day-{date}/data_type-{data_type}/_manifests/{venue}.parquet"

    date: dt.date
    data_type: DataType
    venue: VenueId


@dataclass(frozen=True, slots=True)
class CandleFile(PathForm):
    """The bars of an instrument, one file per day and timeframe."""

    form = "processed_candles/by_date/day-{date}/timeframe-{timeframe}/{instrument_key}.parquet"

    date: dt.date
    timeframe: Timeframe
    instrument_key: str


@dataclass(frozen=True, slots=True)
class CandleManifest(PathForm):
    """The manifest of a candle partition."""

    form = "processed_candles/by_date/day-{date}/timeframe-{timeframe}/_manifests/{venue}.parquet"

    date: dt.date
    timeframe: Timeframe
    venue: VenueId


@dataclass(frozen=True, slots=True)
class CandleStateFile(PathForm):
    """What a venue's instruments hand over to the next day's bars."""

    form = "_state/candles/by_date/day-{date}/venue-{venue}.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class InformationBarFile(PathForm):
    """The information-driven bars of an instrument, one file per day and kind that has bars."""

    form = "processed_bars/by_date/day-{date}/kind-{kind}/{instrument_key}.parquet"

    date: dt.date
    kind: BarKind
    instrument_key: str


@dataclass(frozen=True, slots=True)
class InformationBarManifest(PathForm):
    """The manifest of a partition of information-driven bars."""

    form = "processed_bars/by_date/day-{date}/kind-{kind}/_manifests/{venue}.parquet"

    date: dt.date
    kind: BarKind
    venue: VenueId


@dataclass(frozen=True, slots=True)
class MftFile(PathForm):
    """The mid-frequency features of an instrument, one file per day and timeframe."""

    form = "mft_features/by_date/day-{date}/timeframe-{timeframe}/{instrument_key}.parquet"

    date: dt.date
    timeframe: Timeframe
    instrument_key: str


@dataclass(frozen=True, slots=True)
class MftManifest(PathForm):
    """The manifest of a partition of mid-frequency features."""

    form = "mft_features/by_date/day-{date}/timeframe-{timeframe}/_manifests/{venue}.parquet"

    date: dt.date
    timeframe: Timeframe
    venue: VenueId


@dataclass(frozen=True, slots=True)
class MftSetFile(PathForm):
    """A named choice of an instrument's mid-frequency features, one file per day and timeframe."""

    form = "mft_sets/{name}/by_date/day-{date}/timeframe-{timeframe}/{instrument_key}.parquet"

    name: str
    date: dt.date
    timeframe: Timeframe
    instrument_key: str


@dataclass(frozen=True, slots=True)
class MftSetManifest(PathForm):
    """The manifest of a partition of a named choice, all its timeframes in one."""

    form = "mft_sets/{name}/by_date/day-{date}/_manifests/{venue}.parquet"

    name: str
    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class OptionsSurfaceFile(PathForm):
    """The option surface of an underlying, one file per day, timeframe and venue."""

    form = (
        "options_surface/by_date/day-{date}/timeframe-{timeframe}/venue-{venue}"
        "/{underlying}.parquet"
    )

    date: dt.date
    timeframe: Timeframe
    venue: VenueId
    underlying: str


@dataclass(frozen=True, slots=True)
class OptionsSurfaceManifest(PathForm):
    """The manifest of an option surface partition, all timeframes in one."""

    form = "options_surface/by_date/day-{date}/_manifests/{venue}.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class QuarantinedRows(PathForm):
    """Rows of a raw file that were kept out, each with its reason."""

    form = "quarantine/rows/by_date/day-{date}/data_type-{data_type}/{instrument_key}.parquet"

    date: dt.date
    data_type: DataType
    instrument_key: str


@dataclass(frozen=True, slots=True)
class QuarantinedFile(PathForm):
    """A vendor file that breaks its format, kept as it came."""

    form = (
        "quarantine/files/by_date/day-{date}/data_type-{data_type}/venue-{venue}"
        "/{source_symbol}.csv.gz"
    )

    date: dt.date
    data_type: DataType
    venue: VenueId
    source_symbol: str


@dataclass(frozen=True, slots=True)
class TickAuditFile(PathForm):
    """What one look at every file of a raw partition found."""

    form = "raw_tick_data/by_date/day-{date}/data_type-{data_type}/_audits/{venue}.parquet"

    date: dt.date
    data_type: DataType
    venue: VenueId


@dataclass(frozen=True, slots=True)
class TickGapsFile(PathForm):
    """The known holes of a raw partition."""

    form = "raw_tick_data/by_date/day-{date}/data_type-{data_type}/_gaps/{venue}.parquet"

    date: dt.date
    data_type: DataType
    venue: VenueId


@dataclass(frozen=True, slots=True)
class QuoteAuditFile(PathForm):
    """What the trades of a venue's day are beside its quotes."""

    form = "quote_audits/by_date/day-{date}/venue-{venue}/quote_audits.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class FindingsFile(PathForm):
    """Broken rules of a source (a data type, candles, klines …) on a venue and day."""

    form = "findings/by_date/day-{date}/venue-{venue}/{name}.parquet"

    date: dt.date
    venue: VenueId
    name: str


@dataclass(frozen=True, slots=True)
class CompletenessFile(PathForm):
    """The state of everything a venue should have on a day."""

    form = "completeness/by_date/day-{date}/venue-{venue}/completeness.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class KlineDifferencesFile(PathForm):
    """Minutes in which our bars and the venue's klines differ."""

    form = "kline_differences/by_date/day-{date}/venue-{venue}/differences.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class RevisionsFile(PathForm):
    """What the vendor has today of the files that were taken on a day."""

    form = "revisions/by_date/day-{date}/venue-{venue}/revisions.parquet"

    date: dt.date
    venue: VenueId


LakeObject: TypeAlias = (
    CatalogFile
    | InstrumentsFile
    | RawTickFile
    | RawManifest
    | CandleFile
    | CandleManifest
    | CandleStateFile
    | InformationBarFile
    | InformationBarManifest
    | MftFile
    | MftManifest
    | MftSetFile
    | MftSetManifest
    | OptionsSurfaceFile
    | OptionsSurfaceManifest
    | QuarantinedRows
    | QuarantinedFile
    | TickAuditFile
    | TickGapsFile
    | QuoteAuditFile
    | FindingsFile
    | CompletenessFile
    | KlineDifferencesFile
    | RevisionsFile
    | LiveTicksFile
    | LiveCandlesFile
    | LiveDifferencesFile
    | DeadLettersFile
)

KINDS: tuple[type[LakeObject], ...] = get_args(LakeObject)

_PARTS: Mapping[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "date": (r"\d{4}-\d{2}-\d{2}", parse_date),
        "venue": (r"[a-z0-9-]+", VenueId),
        "data_type": (r"\w+", DataType),
        "timeframe": (r"\w+", Timeframe),
        "kind": (r"\w+", BarKind),
        "instrument_key": (r"[^/]+", str),
        "name": (r"\w+", str),
        "source_symbol": (r"[^/]+", str),
        "underlying": (r"[^/]+", str),
        "hour": (r"[01]\d|2[0-3]", str),
        "sequence": (r"0|[1-9]\d*", int),
    }
)


def _pattern(form: str) -> re.Pattern[str]:
    groups = {name: f"(?P<{name}>{pattern})" for name, (pattern, _) in _PARTS.items()}
    return re.compile(form.replace(".", r"\.").format_map(groups))


_GRAMMAR = tuple((kind, _pattern(kind.form)) for kind in KINDS)


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
                    **{name: _PARTS[name][1](text) for name, text in match.groupdict().items()}
                )
            except ValueError:
                break  # the shape is right and a part is in no enum: not one of our objects
    raise InvalidInput(
        f"'{path}'",
        "not a path of the lake",
        expected="a form of docs/architecture.md",
        remedy="Check the spelling",
    )
