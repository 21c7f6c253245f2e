"""Real files in a folder, served byte for byte under a catalogue read off the folder.

What belongs here: reading the folder `{exchange}/{data_type}/{YYYY}/{MM}/{DD}/{SYMBOL}.csv.gz`.
What does not: HTTP, access.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.catalog_reply import midnight_iso
from tickhandler_dagster.sandbox.dataset_gate import DatasetRequest
from tickhandler_dagster.sandbox.listing import GROUP_OF_KIND, Kind
from tickhandler_dagster.sandbox.source import Json

_SUFFIX = ".csv.gz"
_INSTRUMENTS_FILE = "instruments.json"
_PATH_PARTS = 6
_OPTION = re.compile(r".+-[0-9D]+-[CP]")
_DATED = re.compile(r".+([_-]\d{6}|-\d{1,2}[A-Z]{3}\d{2}|[HMUZ]\d{2})")
_SPOT_VENUES = frozenset(
    {VenueId.BINANCE, VenueId.BYBIT_SPOT, VenueId.OKEX, VenueId.UPBIT, VenueId.COINBASE}
)
_KIND_OF_GROUP = {group.value: kind for kind, group in GROUP_OF_KIND.items()}


def kind_of(exchange: str, symbol: str) -> str:
    """The kind of instrument, from its name and the venue.

    Example:
        >>> kind_of("binance-futures", "BTCUSDT"), kind_of("binance-futures", "BTCUSDT_241227")
        ('perpetual', 'future')
        >>> [kind_of("deribit", name) for name in ("BTC-28MAR25-50000-C", "BTC_USDC", "FUTURES")]
        ['option', 'spot', 'future']
    """
    if symbol in _KIND_OF_GROUP:
        return _KIND_OF_GROUP[symbol].value
    if symbol == GroupSymbol.COMBOS:
        return "combo"
    if exchange in _SPOT_VENUES:
        return Kind.SPOT.value
    if _OPTION.fullmatch(symbol):
        return Kind.OPTION.value
    if _DATED.fullmatch(symbol):
        return Kind.FUTURE.value
    is_deribit_pair = exchange == VenueId.DERIBIT and "_" in symbol and "-" not in symbol
    return Kind.SPOT.value if is_deribit_pair else Kind.PERPETUAL.value


def _is_dataset(parts: tuple[str, ...]) -> bool:
    return len(parts) == _PATH_PARTS and parts[1] in set(DataType) and parts[-1].endswith(_SUFFIX)


def _datasets_below(root: Path) -> list[DatasetRequest]:
    found = []
    for file in root.glob(f"*/*/*/*/*/*{_SUFFIX}"):
        parts = file.relative_to(root).parts
        if _is_dataset(parts):
            exchange, data_type, year, month, day, name = parts
            date = dt.date(int(year), int(month), int(day))
            symbol = name.removesuffix(_SUFFIX)
            found.append(DatasetRequest(exchange, DataType(data_type), date, symbol))
    return found


class FolderSource:
    """A folder of datasets as a source.

    Args:
        root: The folder.
        exported_until: First day that is not exported; None is the day after an exchange's last.
        is_simulated: The files were made by a simulator; the server then says so.

    Raises:
        InvalidInput: there is no dataset in the folder, or none before `exported_until`.
    """

    def __init__(
        self, root: Path, *, exported_until: dt.date | None = None, is_simulated: bool = False
    ) -> None:
        self._root = root
        self._is_simulated = is_simulated
        found = _datasets_below(root)
        self._exported_until = exported_until
        self._requests = frozenset(
            one for one in found if exported_until is None or one.day < exported_until
        )
        if not self._requests:
            raise InvalidInput(
                str(root),
                "no datasets in the folder",
                expected="{exchange}/{data_type}/{YYYY}/{MM}/{DD}/{SYMBOL}.csv.gz",
                remedy="Name the folder above the exchanges",
            )

    @property
    def is_simulated(self) -> bool:
        """As the folder's owner said."""
        return self._is_simulated

    def exchanges(self) -> list[Json]:
        """The exchanges that have files."""
        return [self._summary(exchange) for exchange in sorted(self._by_exchange)]

    def exchange(self, exchange: str) -> Json | None:
        """The catalogue read off the exchange's files."""
        requests = self._by_exchange.get(exchange)
        if requests is None:
            return None
        by_symbol: dict[str, list[DatasetRequest]] = defaultdict(list)
        for request in requests:
            by_symbol[request.symbol].append(request)
        symbols = [
            self._entry(exchange, symbol, files) for symbol, files in sorted(by_symbol.items())
        ]
        groups = set(GroupSymbol)
        return {
            **self._summary(exchange),
            "availableChannels": [],
            "availableSymbols": [
                {name: entry[name] for name in ("id", "type", "availableSince")}
                for entry in symbols
                if entry["id"] not in groups
            ],
            "incidentReports": [],
            "channelDetails": [],
            "datasets": {
                "formats": ["csv"],
                "exportedFrom": midnight_iso(min(request.day for request in requests)),
                "exportedUntil": midnight_iso(self._end_of(exchange)),
                "stats": {"trades": 0, "bookChanges": 0},
                "symbols": symbols,
            },
        }

    def instruments(self, exchange: str) -> list[Json] | None:
        """The records beside the files, where somebody put them there."""
        file = self._root / exchange / _INSTRUMENTS_FILE
        if exchange not in self._by_exchange or not file.is_file():
            return None
        records: list[Json] = json.loads(file.read_text(encoding="utf-8"))
        return records

    def dataset(
        self, exchange: str, data_type: DataType, day: dt.date, symbol: str
    ) -> bytes | None:
        """The file's bytes; None where it is not in the folder."""
        request = DatasetRequest(exchange, data_type, day, symbol)
        return (self._root / request.path).read_bytes() if request in self._requests else None

    @cached_property
    def _by_exchange(self) -> dict[str, list[DatasetRequest]]:
        result: dict[str, list[DatasetRequest]] = defaultdict(list)
        for request in self._requests:
            result[request.exchange].append(request)
        return dict(result)

    def _end_of(self, exchange: str) -> dt.date:
        """The first day of which the exchange has nothing."""
        last = max(request.day for request in self._by_exchange[exchange])
        return self._exported_until or last + dt.timedelta(days=1)

    def _summary(self, exchange: str) -> Json:
        first = min(request.day for request in self._by_exchange[exchange])
        summary: Json = {
            "id": exchange,
            "name": f"{exchange.title()} (simulated)" if self._is_simulated else exchange.title(),
            "enabled": True,
            "supportsDatasets": True,
            "availableSince": midnight_iso(first),
        }
        return {**summary, "simulated": True} if self._is_simulated else summary

    def _entry(self, exchange: str, symbol: str, files: list[DatasetRequest]) -> Json:
        present = {file.data_type for file in files}
        return {
            "id": symbol,
            "type": kind_of(exchange, symbol),
            "availableSince": midnight_iso(min(file.day for file in files)),
            "availableTo": midnight_iso(self._end_of(exchange)),
            "dataTypes": [data_type.value for data_type in DataType if data_type in present],
        }
