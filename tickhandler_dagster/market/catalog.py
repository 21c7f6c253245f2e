"""What a venue lists and the vendor exports: the exchange reply as a value that answers by day.

What belongs here: reading the reply and the questions planning asks. Only `datasets.symbols` is
consulted for them: the reply's other list, `availableSymbols`, has no data types and holds symbols
that were never exported; it lends nothing but the venue's own spelling. What does not belong here:
the fetch (`pipeline/exchange_catalog.py`) and keys (`instruments.py`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.json_fields import JsonObject, canonical_json
from tickhandler_dagster.market.venues import VenueId

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_GROUPS = frozenset(GroupSymbol)


@dataclass(frozen=True, slots=True)
class DatasetSymbol:
    """An id of `datasets.symbols`: an instrument, or a group of instruments.

    Attributes:
        id: As in CSV files and dataset addresses, upper case.
        type: The vendor's type.
        available_since: First moment of data, UTC.
        available_to: End of data, exclusive, UTC; None where the reply names none.
        data_types: As the vendor spells them; a type this project does not know stays in.
        exchange_raw_symbol: As the venue spells it; the id where the reply does not say.
    """

    id: str
    type: str
    available_since: dt.datetime
    available_to: dt.datetime | None
    data_types: tuple[str, ...]
    exchange_raw_symbol: str

    def covers(self, day: dt.date) -> bool:
        """There is data of the day: it has begun by then and does not end before it.

        The end is exclusive: a symbol whose `available_to` is the day's midnight has no file of
        that day, one that expires at 08:00 has.
        """
        ends_later = self.available_to is None or midnight(day) < self.available_to
        return self.available_since.date() <= day and ends_later


@dataclass(frozen=True, slots=True)
class Incident:
    """A time whose recording the vendor calls incomplete; `end` is None while it lasts."""

    start: dt.datetime
    end: dt.datetime | None
    status: str
    details: str


@dataclass(frozen=True)
class ExchangeCatalog:
    """The used part of `GET /v1/exchanges/{exchange}`.

    Attributes:
        venue: Exchange id.
        name: The vendor's name of it.
        available_since: Start of the vendor's recording, UTC.
        exported_from: First moment of CSV files, UTC.
        exported_until: End of CSV files, exclusive, UTC.
        symbols: Instruments in the reply's order.
        groups: Ids that stand for many instruments.
        incidents: Reported incidents.
        is_simulated: The reply came from the sandbox.

    Source: https://docs.tardis.dev/api/http-api-reference
    """

    venue: VenueId
    name: str
    available_since: dt.datetime
    exported_from: dt.datetime
    exported_until: dt.datetime
    symbols: tuple[DatasetSymbol, ...]
    groups: tuple[DatasetSymbol, ...]
    incidents: tuple[Incident, ...]
    is_simulated: bool

    @cached_property
    def _by_id(self) -> Mapping[str, tuple[DatasetSymbol, ...]]:
        found: dict[str, tuple[DatasetSymbol, ...]] = {}
        for symbol in (*self.symbols, *self.groups):
            found[symbol.id] = (*found.get(symbol.id, ()), symbol)
        return found

    @property
    def first_day(self) -> dt.date:
        """The first day of which there are files."""
        return self.exported_from.date()

    def is_exported(self, day: dt.date) -> bool:
        """All of the day's files are out."""
        return self.first_day <= day and midnight(day) + dt.timedelta(days=1) <= self.exported_until

    def lists(self, symbol: str, data_type: DataType, day: dt.date) -> bool:
        """The vendor has a file of that symbol (an instrument or a group), type and day."""
        return any(
            data_type in listed.data_types and listed.covers(day)
            for listed in self._by_id.get(symbol, ())
        )

    def groups_with(self, data_type: DataType, day: dt.date) -> tuple[GroupSymbol, ...]:
        """The groups whose one file of that day holds the type for many instruments."""
        return tuple(group for group in GroupSymbol if self.lists(group, data_type, day))

    def is_ongoing(self, symbol: DatasetSymbol) -> bool:
        """Its data goes on: it ends, if at all, where the vendor's export happens to end."""
        return symbol.available_to is None or symbol.available_to >= self.exported_until

    def incidents_on(self, span: tuple[int, int]) -> tuple[Incident, ...]:
        """The incidents that touch the half-open span.

        Units: `span` is microseconds since the Unix epoch, UTC, as `days.day_span_us` gives them.
        """
        start, end = (_EPOCH + dt.timedelta(microseconds=edge) for edge in span)
        return tuple(
            incident
            for incident in self.incidents
            if incident.start < end and (incident.end is None or incident.end > start)
        )

    def to_json(self) -> bytes:
        """The used part in the vendor's form: equal catalogues give equal bytes.

        `parse_catalog(catalog.to_json()) == catalog`. What is not used is not kept: the reply's
        counters change every day and would make two copies of the same listing differ.
        """
        return canonical_json(
            {
                "id": self.venue,
                "name": self.name,
                "availableSince": _text(self.available_since),
                "availableSymbols": [
                    {"id": symbol.exchange_raw_symbol}
                    for symbol in (*self.symbols, *self.groups)
                    if symbol.exchange_raw_symbol != symbol.id
                ],
                "incidentReports": [
                    {
                        "from": _text(incident.start),
                        "to": None if incident.end is None else _text(incident.end),
                        "status": incident.status,
                        "details": incident.details,
                    }
                    for incident in self.incidents
                ],
                "datasets": {
                    "exportedFrom": _text(self.exported_from),
                    "exportedUntil": _text(self.exported_until),
                    "symbols": [_symbol_json(symbol) for symbol in (*self.symbols, *self.groups)],
                },
                "simulated": self.is_simulated,
            }
        )


def midnight(day: dt.date) -> dt.datetime:
    """The day's first moment, UTC."""
    return dt.datetime.combine(day, dt.time(0), dt.UTC)


def dataset_id(exchange_raw_symbol: str) -> str:
    """The dataset id of a symbol as the venue spells it.

    Source: https://docs.tardis.dev/downloadable-csv-files

    Example:
        >>> dataset_id("xyz:TSLA"), dataset_id("btcusdt")
        ('XYZ-TSLA', 'BTCUSDT')
    """
    return exchange_raw_symbol.upper().replace("/", "-").replace(":", "-")


def parse_catalog(reply: bytes | Mapping[str, object]) -> ExchangeCatalog:
    """The catalogue in an exchange reply; fields that are not used may be missing or new.

    Raises:
        CorruptData: not JSON, or a used field is missing or of another type; the message names it.
    """
    root = JsonObject("exchange reply", _decoded(reply))
    venue = root.text("id")
    if venue not in set(VenueId):
        raise root.broken("id", venue, f"one of {', '.join(VenueId)}")
    datasets = root.child("datasets")
    spellings = _spellings(root)
    listed = tuple(_parse_symbol(entry, spellings) for entry in datasets.children("symbols"))
    return ExchangeCatalog(
        venue=VenueId(venue),
        name=root.text("name"),
        available_since=root.time("availableSince"),
        exported_from=datasets.time("exportedFrom"),
        exported_until=datasets.time("exportedUntil"),
        symbols=tuple(symbol for symbol in listed if symbol.id not in _GROUPS),
        groups=tuple(symbol for symbol in listed if symbol.id in _GROUPS),
        incidents=tuple(_parse_incident(entry) for entry in root.children("incidentReports")),
        is_simulated=root.flag("simulated"),
    )


def _decoded(reply: bytes | Mapping[str, object]) -> object:
    if not isinstance(reply, bytes):
        return reply
    try:
        return json.loads(reply)
    except ValueError as error:  # also a wrong encoding: UnicodeDecodeError is a ValueError
        raise CorruptData(
            "exchange reply", "not JSON", was=str(error), remedy="Fetch the catalogue again"
        ) from error


def _spellings(root: JsonObject) -> dict[str, str]:
    # Two spellings of one id do occur (kPEPE beside KPEPE): the smaller one, so that order cannot
    # matter.
    spellings: dict[str, str] = {}
    for entry in root.children("availableSymbols") if root.has("availableSymbols") else ():
        raw = entry.text("id")
        symbol = dataset_id(raw)
        spellings[symbol] = min(raw, spellings.get(symbol, raw))
    return spellings


def _parse_symbol(entry: JsonObject, spellings: Mapping[str, str]) -> DatasetSymbol:
    symbol = entry.text("id")
    return DatasetSymbol(
        id=symbol,
        type=entry.text("type"),
        available_since=entry.time("availableSince"),
        available_to=entry.time("availableTo") if entry.has("availableTo") else None,
        data_types=entry.texts("dataTypes"),
        exchange_raw_symbol=spellings.get(symbol, symbol),
    )


def _parse_incident(entry: JsonObject) -> Incident:
    return Incident(
        start=entry.time("from"),
        end=entry.time("to") if entry.has("to") else None,
        status=entry.text("status"),
        details=entry.text("details"),
    )


def _symbol_json(symbol: DatasetSymbol) -> dict[str, object]:
    end = {} if symbol.available_to is None else {"availableTo": _text(symbol.available_to)}
    return {
        "id": symbol.id,
        "type": symbol.type,
        "availableSince": _text(symbol.available_since),
        "dataTypes": list(symbol.data_types),
        **end,
    }


def _text(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
