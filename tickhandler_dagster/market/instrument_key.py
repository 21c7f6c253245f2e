"""The canonical name of an instrument, `VENUE:TYPE:SYMBOL`, as a value that prints and parses.

What belongs here: the grammar of keys. What does not: how a venue spells its symbols (`symbols/`)
and what a contract is worth (`contract_terms.py`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VENUES, VenueId, parse_venue


class InstrumentType(StrEnum):
    """What kind of thing is traded. The value is the type part of a key."""

    SPOT_PAIR = "SPOT_PAIR"
    PERPETUAL = "PERPETUAL"
    FUTURE = "FUTURE"
    OPTION = "OPTION"

    @property
    def is_dated(self) -> bool:
        """It ends on a day fixed in advance."""
        return self in {InstrumentType.FUTURE, InstrumentType.OPTION}


class OptionType(StrEnum):
    """The right an option gives: to buy or to sell."""

    CALL = "CALL"
    PUT = "PUT"


# An asset goes into file names, so it must hold no path or partition separator. Quotes hold no
# hyphen: a key is read from the right, which is what lets a base hold one.
_WORD = r"[\w.@$+]+"
_BASE = re.compile(rf"{_WORD}(?:-{_WORD})*")
_QUOTE = re.compile(_WORD)
_STRIKE = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_PAIR = r"(?P<base>.+)-(?P<quote>[^-]+)"
_DATED = _PAIR + r"-(?P<expiry>[0-9]{6})"
_SYMBOLS: Mapping[InstrumentType, re.Pattern[str]] = MappingProxyType(
    {
        InstrumentType.SPOT_PAIR: re.compile(_PAIR),
        InstrumentType.PERPETUAL: re.compile(_PAIR),
        InstrumentType.FUTURE: re.compile(_DATED),
        InstrumentType.OPTION: re.compile(
            _DATED + rf"-(?P<strike>{_DECIMAL.pattern})-(?P<option_type>CALL|PUT)"
        ),
    }
)
_TYPE_NAMES: Mapping[str, InstrumentType] = MappingProxyType(
    {kind.value: kind for kind in InstrumentType} | {"PERP": InstrumentType.PERPETUAL}
)
_FORMS: Mapping[InstrumentType, str] = MappingProxyType(
    {
        InstrumentType.SPOT_PAIR: "BASE-QUOTE",
        InstrumentType.PERPETUAL: "BASE-QUOTE",
        InstrumentType.FUTURE: "BASE-QUOTE-YYMMDD",
        InstrumentType.OPTION: "BASE-QUOTE-YYMMDD-STRIKE-CALL or -PUT",
    }
)
_CENTURY = 2000


def canonical_strike(text: str) -> str:
    """The one spelling of a strike: plain decimal notation without needless zeros.

    Raises:
        InvalidInput: not a positive decimal number.

    Example:
        >>> canonical_strike("050000.00"), canonical_strike("0.480")
        ('50000', '0.48')
    """
    if _DECIMAL.fullmatch(text):
        whole, _, fraction = text.partition(".")
        strike = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
        if strike != "0":
            return strike
    raise InvalidInput(
        f"strike '{text}'",
        "not a strike",
        expected="a positive decimal number",
        remedy="Write it as 50000 or 0.48",
    )


@dataclass(frozen=True, slots=True)
class InstrumentKey:
    """An instrument of a venue. `parse(str(key)) == key` holds for every key that can be built.

    Attributes:
        venue: Tardis exchange id; printed as the venue's key name.
        type: Kind of instrument.
        base: What is traded, upper case. May hold hyphens and multipliers (`1000SHIB`, `XYZ-TSLA`).
        quote: What the price or the strike is counted in, upper case.
        expiry: Day of expiry of futures and options, else None. The hour is the venue's and no part
            of the name.
        strike: Strike of an option as `canonical_strike` spells it, else None. Text, for a float
            would print in two ways.
        option_type: Right of an option, else None.

    Raises:
        InvalidInput: a part breaks the grammar, or is set for a type that does not have it.

    Example:
        >>> key = InstrumentKey.parse("deribit:option:btc-usd-241225-50000.0-call")
        >>> str(key), key.expiry
        ('DERIBIT:OPTION:BTC-USD-241225-50000-CALL', datetime.date(2024, 12, 25))
    """

    venue: VenueId
    type: InstrumentType
    base: str
    quote: str
    expiry: dt.date | None = None
    strike: str | None = None
    option_type: OptionType | None = None

    def __post_init__(self) -> None:
        self._check_asset("base", self.base, _BASE)
        self._check_asset("quote", self.quote, _QUOTE)
        is_option = self.type is InstrumentType.OPTION
        self._check_presence("expiry", self.expiry, is_due=self.type.is_dated)
        self._check_presence("strike", self.strike, is_due=is_option)
        self._check_presence("option_type", self.option_type, is_due=is_option)
        if self.expiry is not None and not _CENTURY <= self.expiry.year < _CENTURY + 100:
            raise _broken("expiry", self.expiry, "a day of the years 2000 to 2099")
        if self.strike is not None and (self.strike == "0" or not _STRIKE.fullmatch(self.strike)):
            raise _broken("strike", self.strike, "positive, in plain decimal notation")

    @staticmethod
    def _check_asset(part: str, asset: str, pattern: re.Pattern[str]) -> None:
        if not pattern.fullmatch(asset) or asset != asset.upper():
            raise _broken(
                part, asset, "upper case letters, digits and . @ $ + _, hyphens only inside a base"
            )

    @staticmethod
    def _check_presence(part: str, value: object, *, is_due: bool) -> None:
        if (value is not None) != is_due:
            raise _broken(part, value, "set for dated types and options, else absent")

    def __str__(self) -> str:
        return f"{VENUES[self.venue].key_name}:{self.type}:{self.symbol}"

    @property
    def pair(self) -> str:
        """`BASE-QUOTE`, the underlying of a future or an option."""
        return f"{self.base}-{self.quote}"

    @property
    def symbol(self) -> str:
        """The symbol part of the key."""
        dated = "" if self.expiry is None else f"-{self.expiry:%y%m%d}"
        right = "" if self.strike is None else f"-{self.strike}-{self.option_type}"
        return f"{self.pair}{dated}{right}"

    @classmethod
    def parse(cls, text: str) -> InstrumentKey:
        """The key written as `text`, in any letter case.

        `PERP` is read as `PERPETUAL`, a venue by its key name or its Tardis id.

        Raises:
            InvalidInput: the text is no key; the message names the part that is wrong.
        """
        venue, type_name, symbol = _three_parts(text)
        kind = _TYPE_NAMES.get(type_name)
        if kind is None:
            raise _not_a_key(text, f"a type of {', '.join(_TYPE_NAMES)}")
        match = _SYMBOLS[kind].fullmatch(symbol)
        if match is None:
            raise _not_a_key(text, f"{kind}:{_FORMS[kind]}")
        parts = match.groupdict()
        expiry, strike, right = (parts.get(name) for name in ("expiry", "strike", "option_type"))
        return cls(
            parse_venue(venue),
            kind,
            parts["base"],
            parts["quote"],
            expiry=None if expiry is None else _parse_expiry(text, expiry),
            strike=None if strike is None else canonical_strike(strike),
            option_type=None if right is None else OptionType(right),
        )


def _three_parts(text: str) -> tuple[str, str, str]:
    parts = text.strip().upper().split(":")
    if len(parts) != len(("venue", "type", "symbol")):
        raise _not_a_key(text, "VENUE:TYPE:SYMBOL")
    return parts[0], parts[1], parts[2]


def _parse_expiry(text: str, yymmdd: str) -> dt.date:
    try:
        return dt.date(_CENTURY + int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:]))
    except ValueError:
        raise _not_a_key(text, "an expiry YYMMDD that is in the calendar") from None


def _not_a_key(text: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"'{text}'",
        "not an instrument key",
        expected=expected,
        remedy="Write it as BINANCE:SPOT_PAIR:BTC-USDT or DERIBIT:OPTION:BTC-USD-241225-50000-CALL",
    )


def _broken(part: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(
        f"instrument key, {part}",
        "breaks the grammar of keys",
        was=repr(value),
        expected=expected,
        remedy="Correct the part",
    )
