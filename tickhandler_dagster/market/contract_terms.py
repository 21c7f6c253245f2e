"""What a unit of `amount` is worth on a day: by the instruments reply, else by the venue's rule.

What belongs here: units and terms, and in `base_quantity_and_notional` what they mean. What does
not: the same arithmetic on columns of ticks, which is the bar kernel's (`bars/`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tickhandler_dagster.market.catalog import dataset_id, midnight
from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.json_fields import JsonObject
from tickhandler_dagster.market.symbols.bitmex import canonical_asset
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class ContractRecord:
    """A record of the instruments reply, read.

    Attributes:
        id: The symbol as the venue spells it.
        dataset_id: Id in `datasets.symbols`.
        base, quote: As the vendor says, for comparison only: OKX pairs against fiat come with quote
        USD, Deribit's
            coin-settled options with quote BTC. A key built from them would merge instruments that
            are different.
        is_inverse, is_quanto: The vendor's flags; an absent one is false.
        settle_asset: Where the vendor names it.
        expiry: Time of expiry, UTC.
        alias_for: The instrument this one is another name of.
        terms: Latest values of `TERMS`; a missing or non-positive one is None.
        changes: `(until, values)`, ascending: the values held up to `until`, exclusive.
    """

    id: str
    dataset_id: str
    base: str
    quote: str
    is_inverse: bool
    is_quanto: bool
    settle_asset: str | None
    expiry: dt.datetime | None
    alias_for: str | None
    terms: Mapping[str, float | None]
    changes: tuple[tuple[dt.datetime, Mapping[str, float | None]], ...]

    def term(self, name: str, at: dt.datetime) -> float | None:
        """The term at a moment: by the earliest change ahead that names it, else the latest."""
        for until, values in self.changes:
            if at < until and name in values:
                return values[name]
        return self.terms[name]


Contracts: TypeAlias = Mapping[str, ContractRecord]

MULTIPLIER = "contractMultiplier"
PRICE_STEP = "priceIncrement"
AMOUNT_STEP = "amountIncrement"
SMALLEST = "minTradeAmount"
CONTRACTS = "contracts"
TERMS = (MULTIPLIER, PRICE_STEP, AMOUNT_STEP, SMALLEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTerms:
    """The terms of an instrument on a day, named as the columns of `INSTRUMENTS_TABLE`."""

    amount_unit: str
    contract_size: float | None
    is_inverse: bool
    is_quanto: bool
    tick_size: float | None
    amount_step: float | None
    min_size: float | None
    settle_asset: str
    expiry: dt.datetime | None
    terms_source: str


# The unit of a linear and of an inverse contract. Spot is counted in the base asset everywhere.
# Source: the per-venue units at https://docs.tardis.dev/faq/data and the venues' contract
# specifications.
AMOUNT_UNITS: Mapping[VenueId, tuple[str, str]] = MappingProxyType(
    {
        VenueId.BINANCE: ("base", "base"),
        VenueId.BINANCE_FUTURES: ("base", "base"),
        VenueId.BINANCE_DELIVERY: ("contracts", "contracts"),
        VenueId.DERIBIT: ("base", "quote"),
        VenueId.BYBIT: ("base", "quote"),
        VenueId.BYBIT_SPOT: ("base", "base"),
        VenueId.OKEX: ("base", "base"),
        VenueId.OKEX_FUTURES: ("contracts", "contracts"),
        VenueId.OKEX_SWAP: ("contracts", "contracts"),
        VenueId.OKEX_OPTIONS: ("contracts", "contracts"),
        VenueId.UPBIT: ("base", "base"),
        VenueId.COINBASE: ("base", "base"),
        VenueId.HYPERLIQUID: ("base", "base"),
        VenueId.BITMEX: ("contracts", "contracts"),
    }
)
_DELIVERY_BITCOIN_USD = 100.0
_DELIVERY_OTHER_USD = 10.0
_BITMEX_BITCOIN_USD = 1.0


def contract_terms(
    parsed: ParsedSymbol, record: ContractRecord | None, day: dt.date
) -> ContractTerms:
    """The terms as of the day's first moment.

    A multiplier applies only where the venue counts contracts: where amounts are in base or quote
    asset already, the vendor's multiplier describes the venue's order size and would count twice.

    Args:
        parsed: What the symbol says. Kind and assets come from here, never from the record.
        record: The vendor's record, where the key is entitled to it.
        day: UTC day.

    Nulls: `contract_size` where neither record nor rule knows it, and for quanto contracts always:
        no factor turns their amounts into base asset. Steps and sizes without record.
    """
    key = parsed.key
    is_contract = key.type in {InstrumentType.PERPETUAL, InstrumentType.FUTURE}
    source = record if record is not None and is_contract else parsed
    unit = _amount_unit(key, is_inverse=source.is_inverse)
    at = midnight(day)
    size: float | None = 1.0
    if unit == CONTRACTS:
        multiplier = None if record is None else record.term(MULTIPLIER, at)
        size = multiplier or _rule_size(key, is_inverse=source.is_inverse)
    if source.is_quanto:
        size = None
    return ContractTerms(
        amount_unit=unit,
        contract_size=size,
        is_inverse=source.is_inverse,
        is_quanto=source.is_quanto,
        tick_size=None if record is None else record.term(PRICE_STEP, at),
        amount_step=None if record is None else record.term(AMOUNT_STEP, at),
        min_size=None if record is None else record.term(SMALLEST, at),
        settle_asset=(record and record.settle_asset) or parsed.settle_asset,
        expiry=(record and record.expiry) or parsed.expiry if key.type.is_dated else None,
        terms_source=_terms_source(record, size),
    )


def base_quantity_and_notional(
    terms: ContractTerms, price: float, amount: float
) -> tuple[float, float] | None:
    """What a trade moved, in asset and in money. The definition; the bar kernel does it on columns.

    Linear, spot and options: quantity `amount * contract_size`, notional `price * quantity`.
    Inverse: notional `amount * contract_size`, quantity `notional / price`.

    Units: Base asset; quote asset. A coin-settled option's price, and so its notional, is counted
        in the settle asset instead.
    Nulls: None where the contract size is unknown or the contract is quanto.

    Example:
        >>> inverse = ContractTerms(
        ...     amount_unit="contracts", contract_size=100.0, is_inverse=True, is_quanto=False,
        ...     tick_size=0.1, amount_step=1.0, min_size=1.0, settle_asset="BTC", expiry=None,
        ...     terms_source="venue_rule",
        ... )
        >>> base_quantity_and_notional(inverse, 50_000.0, 5.0)
        (0.01, 500.0)
    """
    if terms.contract_size is None:
        return None
    if terms.is_inverse:
        notional = amount * terms.contract_size
        return notional / price, notional
    quantity = amount * terms.contract_size
    return quantity, price * quantity


def _amount_unit(key: InstrumentKey, *, is_inverse: bool) -> str:
    if key.type is InstrumentType.SPOT_PAIR:
        return "base"
    unit_linear, unit_inverse = AMOUNT_UNITS[key.venue]
    return unit_inverse if is_inverse else unit_linear


def _rule_size(key: InstrumentKey, *, is_inverse: bool) -> float | None:
    """What one contract is worth where a rule of the venue is certain, in quote asset."""
    if key.venue is VenueId.BINANCE_DELIVERY:
        return _DELIVERY_BITCOIN_USD if key.base == "BTC" else _DELIVERY_OTHER_USD
    if key.venue is VenueId.BITMEX and is_inverse and key.pair == "BTC-USD":
        return _BITMEX_BITCOIN_USD
    return None


def _terms_source(record: ContractRecord | None, size: float | None) -> str:
    if record is not None:
        return "instruments_api"
    return "unknown" if size is None else "venue_rule"


def parse_contracts(reply: Iterable[object]) -> dict[str, ContractRecord]:
    """The records of an instruments reply by dataset id.

    Raises:
        CorruptData: a used field is missing or of another type; the message names record and field.
    """
    records = [
        _parse_record(JsonObject("instruments reply", entry, f"[{index}]"))
        for index, entry in enumerate(reply)
    ]
    return {record.dataset_id: record for record in records}


def _parse_record(entry: JsonObject) -> ContractRecord:
    raw = entry.text("id")
    changes = [
        (
            change.time("until"),
            {name: _positive(change, name) for name in TERMS if change.has(name)},
        )
        for change in (entry.children("changes") if entry.has("changes") else ())
    ]
    return ContractRecord(
        id=raw,
        dataset_id=_optional_text(entry, "datasetId") or dataset_id(raw),
        base=canonical_asset(entry.text("baseCurrency").upper()),
        quote=canonical_asset(entry.text("quoteCurrency").upper()),
        is_inverse=entry.flag("inverse"),
        is_quanto=entry.flag("quanto"),
        settle_asset=_asset(entry, "settlementCurrency"),
        expiry=entry.time("expiry") if entry.has("expiry") else None,
        alias_for=_optional_text(entry, "aliasFor"),
        terms={name: _positive(entry, name) for name in TERMS},
        changes=tuple(sorted(changes, key=lambda change: change[0])),
    )


def _optional_text(entry: JsonObject, field: str) -> str | None:
    return entry.text(field) if entry.has(field) else None


def _asset(entry: JsonObject, field: str) -> str | None:
    name = _optional_text(entry, field)
    return None if name is None else canonical_asset(name.upper())


def _positive(entry: JsonObject, field: str) -> float | None:
    # The vendor writes 0 where it does not know a step; a step of 0 has no other meaning.
    number = entry.number(field)
    return number if number is not None and number > 0 else None
