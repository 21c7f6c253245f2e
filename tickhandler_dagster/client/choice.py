"""Which instruments: canonical keys, patterns of keys, attributes of contracts.

What belongs here: reading a choice and applying it to a universe. What does not: reading the
universe of a day (`listing.py`). A choice is applied to each day's own universe, so that it never
sees what a later day knew.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tickhandler_dagster.client.spans import moment_of, moment_us
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentKey
from tickhandler_dagster.market.nearest import did_you_mean
from tickhandler_dagster.market.venues import VENUES, VenueId, parse_venue

_COLUMNS: Mapping[str, str] = {
    "venue": "venue",
    "type": "instrument_type",
    "base": "base_asset",
    "quote": "quote_asset",
    "settle": "settle_asset",
    "underlying": "underlying",
    "option_type": "option_type",
    "expiry": "expiry",
    "strike": "strike",
    "is_inverse": "is_inverse",
    "is_quanto": "is_quanto",
}
_WILD = ("*", "?")
_TYPES = {"PERP": "PERPETUAL", "SPOT": "SPOT_PAIR"}
_PAIR = 2


@dataclass(frozen=True, slots=True)
class InstrumentChoice:
    """What a caller wants of the instruments there are.

    Attributes:
        keys: Canonical keys.
        patterns: Keys with `*` and `?`, upper case.
        attributes: Values by the name of the attribute.
    """

    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Keys alone: no universe has to be read to know which they are."""
        return bool(self.keys) and not self.patterns and not self.attributes

    def venues(self) -> list[VenueId]:
        """Venues that can have such instruments."""
        venues = self._venues_of_names()
        if "venue" in self.attributes:
            wanted = {parse_venue(str(name)) for name in _listed(self.attributes["venue"])}
            return [venue for venue in venues if venue in wanted]
        return venues

    def keys_of(self, venue: VenueId) -> list[str]:
        """The keys that are the venue's."""
        return [key for key in self.keys if key.partition(":")[0] == VENUES[venue].key_name]

    def of(self, universe: pl.DataFrame) -> pl.DataFrame:
        """The rows of a universe that are chosen."""
        chosen = universe
        if self.keys or self.patterns:
            wanted = set(self.keys)
            names = chosen.get_column("instrument_key")
            is_named = [
                name in wanted or any(fnmatch.fnmatchcase(name, one) for one in self.patterns)
                for name in names
            ]
            chosen = chosen.filter(pl.Series(is_named, dtype=pl.Boolean))
        for name, value in self.attributes.items():
            chosen = chosen.filter(_holds(name, value))
        return chosen

    def _venues_of_names(self) -> list[VenueId]:
        names = [*self.keys, *self.patterns]
        if not names:
            return list(VenueId)
        parts = {name.partition(":")[0] for name in names}
        return [
            venue
            for venue in VenueId
            if any(fnmatch.fnmatchcase(VENUES[venue].key_name, part) for part in parts)
        ]


def parse_choice(
    instruments: str | Sequence[str] | None, attributes: Mapping[str, Any]
) -> InstrumentChoice:
    """The choice of these names and attributes; what is None is not asked for.

    Args:
        instruments: A key, a pattern such as `BINANCE:*:BTC-USDT`, or several.
        attributes: `venue`, `type`, `base`, `quote`, `settle`, `underlying`, `option_type`,
            `expiry` (a day, or `(from, to)` half-open), `strike` (a number, or `(from, to)`, both
            included), `is_inverse`, `is_quanto`. A list stands for any of its values.

    Raises:
        InvalidInput: a name that is no key, an attribute that there is none of, or no choice.

    Example:
        >>> parse_choice("binance:perp:btc-usdt", {}).keys
        ('BINANCE:PERPETUAL:BTC-USDT',)
    """
    names = [instruments] if isinstance(instruments, str) else list(instruments or ())
    wanted = {name: value for name, value in attributes.items() if value is not None}
    for name in wanted:
        _require_known(name, _COLUMNS)
    if not names and not wanted:
        raise InvalidInput(
            "instruments",
            "none chosen",
            expected="a key, a pattern or attributes",
            remedy="Name some, as in 'BINANCE:SPOT_PAIR:BTC-USDT', 'BINANCE:*:BTC-USDT' or "
            "venue='deribit', type='OPTION'",
        )
    is_wild = [any(sign in name for sign in _WILD) for name in names]
    return InstrumentChoice(
        keys=tuple(
            str(InstrumentKey.parse(name))
            for name, wild in zip(names, is_wild, strict=True)
            if not wild
        ),
        patterns=tuple(_pattern(name) for name, wild in zip(names, is_wild, strict=True) if wild),
        attributes=wanted,
    )


def _require_known(name: str, known: Collection[str]) -> None:
    if name not in known:
        raise InvalidInput(
            f"'{name}'",
            "not an attribute of instruments",
            expected=f"one of {', '.join(known)}",
            remedy=did_you_mean(name, known, otherwise="Use a name from the list"),
        )


def _pattern(text: str) -> str:
    parts = text.upper().split(":")
    if len(parts) > 1:
        parts[1] = _TYPES.get(parts[1], parts[1])
    return ":".join(parts)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | set | frozenset) else [value]


def _holds(name: str, value: Any) -> pl.Expr:  # noqa: ANN401  (each attribute has its own type)
    column = pl.col(_COLUMNS[name])
    if name == "expiry":
        start, end = _expiry_span(value)
        return (column >= start) & (column < end)
    if name == "strike" and isinstance(value, tuple):
        lowest, highest = value
        return column.is_between(float(lowest), float(highest))
    if name == "strike":
        return column.is_in([float(str(one)) for one in _listed(value)])
    if name in {"is_inverse", "is_quanto"}:
        return column == bool(value)
    return _is_text(name, column, [str(one) for one in _listed(value)])


def _is_text(name: str, column: pl.Expr, texts: Sequence[str]) -> pl.Expr:
    if name == "venue":
        return column.is_in([parse_venue(text).value for text in texts])
    upper = [_TYPES.get(text.upper(), text.upper()) for text in texts]
    if name != "underlying":
        return column.is_in(upper)
    base = column.str.replace(r"-[^-]+$", "")  # a base may hold hyphens, a quote does not
    return column.is_in(upper) | base.is_in(upper)


def _expiry_span(value: Any) -> tuple[dt.datetime, dt.datetime]:  # noqa: ANN401  (see `_holds`)
    if isinstance(value, tuple) and len(value) == _PAIR:
        start, end = (moment_of(moment_us(one, "expiry")) for one in value)
        return start, end
    day = moment_of(moment_us(value, "expiry")).replace(hour=0, minute=0, second=0, microsecond=0)
    return day, day + dt.timedelta(days=1)
