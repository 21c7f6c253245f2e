"""Which dataset requests are answered and which are refused, in the vendor's codes and words.

What belongs here: keys and their rights, the catalogue's windows, refusals. What does not: HTTP.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.sandbox.source import Json

SANDBOX_KEY = "TD.sandbox"
"""The key that opens everything in a sandbox that was given no keys."""


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What an API key covers.

    Attributes:
        exchanges: Exchanges it covers; None is all.
        first: First day it covers; None is no limit.
        end: Day after the last; None is no limit.
        has_instruments: It may read the instruments metadata.
    """

    exchanges: frozenset[str] | None = None
    first: dt.date | None = None
    end: dt.date | None = None
    has_instruments: bool = True

    def covers(self, exchange: str, day: dt.date) -> bool:
        """Whether the key opens a dataset."""
        return (
            (self.exchanges is None or exchange in self.exchanges)
            and (self.first is None or self.first <= day)
            and (self.end is None or day < self.end)
        )


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """A dataset somebody asks for."""

    exchange: str
    data_type: DataType
    day: dt.date
    symbol: str

    @property
    def path(self) -> str:
        """Its place below the version in an address, and in a folder of datasets."""
        return f"{self.exchange}/{self.data_type}/{self.day:%Y/%m/%d}/{self.symbol}.csv.gz"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than 200.

    Attributes:
        status: HTTP status.
        code: The vendor's code in the body.
        message: The vendor's message in the body.
        headers: Further response headers.
        extra: Further fields of the body.
    """

    status: int
    code: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, int] = field(default_factory=dict)

    @property
    def body(self) -> Json:
        """The JSON body."""
        return {"code": self.code, "message": self.message, **self.extra}


def is_free(day: dt.date) -> bool:
    """The first day of each month needs no key."""
    return day.day == 1


def unauthorized_dataset(day: dt.date) -> Refusal:
    """The answer without a key that covers the day."""
    return Refusal(
        401,
        10,
        "For unauthorized requests, only historical CSV market datasets "
        "for the first day of each month are available "
        f"(dataset for '{day}' has been requested).",
    )


def unauthorized_metadata() -> Refusal:
    """The answer to a metadata request without a key that covers it."""
    return Refusal(
        401, 10, "Instruments metadata is available for active pro and business subscriptions only."
    )


def unknown_exchange(exchange: str, allowed: list[str]) -> Refusal:
    """The answer to a wrong exchange id."""
    return Refusal(
        400,
        100,
        f"Invalid 'exchange' param provided: '{exchange}'. Allowed values: {', '.join(allowed)}",
    )


def unknown_symbol(symbol: str) -> Refusal:
    """The answer to a symbol the exchange never had, or not with this data type."""
    return Refusal(400, 300, f"Invalid 'symbol' param provided: '{symbol}'")


def refusal_by_key(request: DatasetRequest, rights: KeyRights | None) -> Refusal | None:
    """Whether the key, or its absence, stands in the way."""
    if is_free(request.day) or (
        rights is not None and rights.covers(request.exchange, request.day)
    ):
        return None
    return unauthorized_dataset(request.day)


def refusal_by_catalog(request: DatasetRequest, entry: Json | None) -> Refusal | None:
    """Whether the catalogue's entry of the symbol stands in the way.

    The first day counts whole, the end is exclusive to the microsecond: an option that expires at
    08:00 has that day's file.
    """
    if entry is None or request.data_type not in entry["dataTypes"]:
        return unknown_symbol(request.symbol)
    midnight = dt.datetime.combine(request.day, dt.time(), dt.UTC)
    since = dt.datetime.fromisoformat(entry["availableSince"])
    if midnight < since.replace(hour=0, minute=0, second=0, microsecond=0):
        return _outside(request, f"since '{since:%Y-%m-%d}'")
    until = entry.get("availableTo")
    if until is not None and midnight >= dt.datetime.fromisoformat(until):
        return _outside(request, f"until '{dt.datetime.fromisoformat(until):%Y-%m-%d}'")
    return None


def _outside(request: DatasetRequest, window: str) -> Refusal:
    return Refusal(
        400,
        140,
        f"Requested dataset is not available for '{request.day}'. "
        f"Data for '{request.symbol}' is available {window}.",
    )
