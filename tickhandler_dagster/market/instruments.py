"""The universe of a venue on a day: rows of `INSTRUMENTS_TABLE`, and what was left out and why.

What belongs here: which listed symbols become rows. What does not: reading symbols (`symbols/`),
contract terms (`contract_terms.py`) and storage (`pipeline/universe.py`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.catalog import DatasetSymbol, ExchangeCatalog, midnight
from tickhandler_dagster.market.contract_terms import (
    ContractRecord,
    Contracts,
    contract_terms,
)
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol
from tickhandler_dagster.market.symbols.registry import parse_symbol

# A combo is a bundle of other instruments and can have negative prices; a prediction is no market
# in an asset. Neither has a key, and Deribit alone has listed tens of thousands of combos: they are
# counted, not reported one by one.
EXCLUDED_TYPES = frozenset({"combo", "prediction"})

# Data types that the vendor exports under a group only, so that no instrument lists them itself. A
# type that an instrument could list and does not is not added from its group: the vendor may well
# have none of it.
GROUP_ONLY: Mapping[InstrumentType, Mapping[DataType, GroupSymbol]] = MappingProxyType(
    {
        InstrumentType.SPOT_PAIR: {},
        InstrumentType.PERPETUAL: {},
        InstrumentType.FUTURE: {},
        InstrumentType.OPTION: {DataType.OPTIONS_CHAIN: GroupSymbol.OPTIONS},
    }
)


@dataclass(frozen=True, slots=True)
class Collision:
    """Symbols that read as one key; `kept` is the one that stays, None where no rule is certain."""

    key: str
    symbols: tuple[str, ...]
    kept: str | None


@dataclass(frozen=True)
class Universe:
    """The universe of a venue on a day.

    Attributes:
        frame: Rows of `INSTRUMENTS_TABLE`, ordered by instrument key.
        excluded: Number of listed symbols left out by policy, by the vendor's type.
        unparsed: Listed symbols that have no key, each with its reason.
        collisions: Symbols that read as one key.
    """

    frame: pl.DataFrame
    excluded: Mapping[str, int] = field(default_factory=dict)
    unparsed: tuple[tuple[str, str], ...] = ()
    collisions: tuple[Collision, ...] = ()


@dataclass(frozen=True, slots=True)
class _Listing:
    """A listed symbol, read, with the vendor's record of it where there is one."""

    symbol: DatasetSymbol
    parsed: ParsedSymbol
    record: ContractRecord | None


def build_universe(catalog: ExchangeCatalog, contracts: Contracts | None, day: dt.date) -> Universe:
    """The instruments the venue lists on the day, each under its key.

    A day that is not exported yet is no error: what is listed now and goes on is listed then as
    well.

    Args:
        catalog: What the venue lists.
        contracts: Records of the instruments reply by dataset id; None without entitlement. Terms
            then follow the venue's rules where there are any.
        day: UTC day.

    Raises:
        InvalidInput: the day lies before the venue's first.
    """
    _check_day(catalog, day)
    listed = [symbol for symbol in catalog.symbols if _may_be_listed(catalog, symbol, day)]
    excluded = Counter(symbol.type for symbol in listed if symbol.type in EXCLUDED_TYPES)
    by_key: dict[str, list[_Listing]] = {}
    unparsed: list[tuple[str, str]] = []
    for symbol in listed:
        if symbol.type in EXCLUDED_TYPES:
            continue
        try:
            parsed = parse_symbol(catalog.venue, symbol.id, symbol.type)
        except InvalidInput as error:
            unparsed.append((symbol.id, str(error)))
            continue
        if not _has_expired(catalog, symbol, parsed, day):
            record = None if contracts is None else contracts.get(symbol.id)
            by_key.setdefault(str(parsed.key), []).append(_Listing(symbol, parsed, record))
    collisions = tuple(
        _collision(key, listings) for key, listings in sorted(by_key.items()) if len(listings) > 1
    )
    kept = {collision.key: collision.kept for collision in collisions}
    rows = [
        _row(catalog, listing, day)
        for key, listings in sorted(by_key.items())
        for listing in listings
        if key not in kept or listing.symbol.id == kept[key]
    ]
    return Universe(
        frame=pl.DataFrame(rows, schema=INSTRUMENTS_TABLE.polars_schema, orient="row"),
        excluded=dict(sorted(excluded.items())),
        unparsed=tuple(sorted(unparsed)),
        collisions=collisions,
    )


def _check_day(catalog: ExchangeCatalog, day: dt.date) -> None:
    if day < catalog.first_day:
        raise InvalidInput(
            f"{catalog.venue} {day}",
            "before the venue's first day",
            expected=f"{catalog.first_day} or later",
            remedy="Choose a day on which the vendor has data of the venue",
        )


def _may_be_listed(catalog: ExchangeCatalog, symbol: DatasetSymbol, day: dt.date) -> bool:
    has_begun = symbol.available_since.date() <= day
    return has_begun and (catalog.is_ongoing(symbol) or symbol.covers(day))


def _has_expired(
    catalog: ExchangeCatalog, symbol: DatasetSymbol, parsed: ParsedSymbol, day: dt.date
) -> bool:
    # Where the vendor names an end, that is the end. A contract that goes on for now still ends
    # with its expiry.
    expiry = parsed.expiry
    return expiry is not None and catalog.is_ongoing(symbol) and expiry <= midnight(day)


def _collision(key: str, listings: Iterable[_Listing]) -> Collision:
    """Who keeps a key that several symbols claim.

    The one that the vendor's records confirm stays if it is the only one: assets as the symbol
    says, and not another name of something else. In every other case a choice would be a guess, and
    two instruments' ticks in one file cannot be told apart again, so none stays.
    """
    symbols = tuple(sorted(listing.symbol.id for listing in listings))
    confirmed = [listing.symbol.id for listing in listings if _is_confirmed(listing)]
    return Collision(key, symbols, confirmed[0] if len(confirmed) == 1 else None)


def _is_confirmed(listing: _Listing) -> bool:
    record, key = listing.record, listing.parsed.key
    return (
        record is not None
        and record.alias_for is None
        and (record.base, record.quote) == (key.base, key.quote)
    )


def _row(catalog: ExchangeCatalog, listing: _Listing, day: dt.date) -> tuple[object, ...]:
    symbol, key, record = listing.symbol, listing.parsed.key, listing.record
    terms = contract_terms(listing.parsed, record, day)
    values: dict[str, object] = {
        "date": day,
        "instrument_key": str(key),
        "venue": str(key.venue),
        "instrument_type": str(key.type),
        "symbol": key.symbol,
        "tardis_symbol": symbol.id,
        "exchange_raw_symbol": symbol.exchange_raw_symbol if record is None else record.id,
        "available_from": symbol.available_since,
        "available_to": terms.expiry if catalog.is_ongoing(symbol) else symbol.available_to,
        "data_types": _data_types(catalog, symbol, key.type, day),
        "base_asset": key.base,
        "quote_asset": key.quote,
        "settle_asset": terms.settle_asset,
        "is_inverse": terms.is_inverse,
        "is_quanto": terms.is_quanto,
        "amount_unit": terms.amount_unit,
        "contract_size": terms.contract_size,
        "tick_size": terms.tick_size,
        "amount_step": terms.amount_step,
        "min_size": terms.min_size,
        "expiry": terms.expiry,
        "strike": None if key.strike is None else float(key.strike),
        "option_type": key.option_type and str(key.option_type),
        "underlying": key.pair if key.type.is_dated else None,
        "terms_source": terms.terms_source,
        "is_simulated": catalog.is_simulated,
    }
    return tuple(values[name] for name in INSTRUMENTS_TABLE.names)


def _data_types(
    catalog: ExchangeCatalog, symbol: DatasetSymbol, kind: InstrumentType, day: dt.date
) -> list[str]:
    # In the order of the enum, so that the vendor's order cannot change a file. A type this project
    # does not know is left out: nothing here could read its files.
    listed = set(symbol.data_types)
    for data_type, group in GROUP_ONLY[kind].items():
        if any(
            entry.id == group
            and data_type in entry.data_types
            and _may_be_listed(catalog, entry, day)
            for entry in catalog.groups
        ):
            listed.add(data_type)
    return [str(data_type) for data_type in DataType if data_type in listed]
