"""Which instruments of other venues an instrument is compared with.

What belongs here: the choice, from the universes of the day alone, so that it is the same in every
run. What does not: reading their bars (`pipeline`) and joining them (`joined.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.related_instruments import Instrument

DOLLARS = ("USD", "USDT", "USDC")
"""Quotes whose money is added up as if it were one: their distance is far below a share's noise."""


def peer_key(instrument: Instrument, reference_universe: Iterable[Instrument]) -> str | None:
    """The reference venue's instrument of the same pair and kind.

    Same base, quote, type, day of expiry and the same side of linear and inverse.

    Nulls: None where it lists none, or is the instrument's own venue; options have none.
    """
    keys = [
        str(row["instrument_key"])
        for row in reference_universe
        if _is_elsewhere(instrument, row)
        and _is_same_kind(instrument, row)
        and row["quote_asset"] == instrument["quote_asset"]
        and bool(row["is_inverse"]) is bool(instrument["is_inverse"])
    ]
    return min(keys, default=None)


def group_keys(instrument: Instrument, universes: Iterable[Instrument]) -> tuple[str, ...]:
    """Instruments of other venues whose money is one sum with this one's, in order of keys.

    Same base, type and day of expiry, and the same quote, where dollars and their tokens are one.

    Args:
        instrument: A row of the day's universe.
        universes: Rows of all venues of the day; those of its own venue are passed over.
    """
    return tuple(
        sorted(
            str(row["instrument_key"])
            for row in universes
            if _is_elsewhere(instrument, row)
            and _is_same_kind(instrument, row)
            and _quote(row) == _quote(instrument)
        )
    )


def _is_elsewhere(instrument: Instrument, other: Instrument) -> bool:
    return bool(other["venue"] != instrument["venue"])


def _is_same_kind(instrument: Instrument, other: Instrument) -> bool:
    return (
        instrument["instrument_type"] != InstrumentType.OPTION
        and all(other[name] == instrument[name] for name in ("base_asset", "instrument_type"))
        and _expiry_day(other) == _expiry_day(instrument)
    )


def _expiry_day(instrument: Instrument) -> object:
    expiry = instrument["expiry"]
    return None if expiry is None else expiry.date()


def _quote(instrument: Instrument) -> str:
    quote = str(instrument["quote_asset"])
    return DOLLARS[0] if quote in DOLLARS else quote
