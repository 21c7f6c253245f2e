"""Which other instrument of the venue an instrument's features are measured against.

What belongs here: the choice, from the day's universe alone, so that it is the same in every run.
What does not: what is computed from it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from tickhandler_dagster.market.instrument_key import InstrumentType

REFERENCE_ASSET = "BTC"

_TYPES = (InstrumentType.PERPETUAL, InstrumentType.SPOT_PAIR, InstrumentType.FUTURE)
_QUOTES = ("USDT", "USDC", "USD")

Instrument = Mapping[str, Any]
"""A row of `INSTRUMENTS_TABLE`."""


def reference_key(universe: Iterable[Instrument]) -> str | None:
    """The venue's BTC instrument that correlations are taken with; None where it lists none.

    A perpetual before a spot pair before a future, linear before inverse, tether before other
    dollars, and then by key.
    """
    candidates = [row for row in universe if row["base_asset"] == REFERENCE_ASSET and _rank(row)]
    best = min(candidates, key=lambda row: (_rank(row), row["instrument_key"]), default=None)
    return None if best is None else str(best["instrument_key"])


def _rank(row: Instrument) -> tuple[int, bool, int] | None:
    if row["instrument_type"] not in _TYPES:
        return None
    quote = row["quote_asset"]
    return (
        _TYPES.index(row["instrument_type"]),
        bool(row["is_inverse"]),
        _QUOTES.index(quote) if quote in _QUOTES else len(_QUOTES),
    )


def near_key(
    instrument: Instrument, universe: Iterable[Instrument], day_end: dt.datetime
) -> str | None:
    """The dated future of the same kind that expires first after the day.

    Of the same kind: same base, quote and settlement. One that expires on the day itself would
    leave the spread without a second leg half way.

    Nulls: None where the instrument is no dated future, or expires no later than that one.
    """
    if instrument["instrument_type"] != InstrumentType.FUTURE or instrument["expiry"] is None:
        return None
    alike = [
        row
        for row in universe
        if row["instrument_type"] == InstrumentType.FUTURE
        and row["expiry"] is not None
        and row["expiry"] >= day_end
        and all(row[name] == instrument[name] for name in ("base_asset", "quote_asset"))
        and row["settle_asset"] == instrument["settle_asset"]
    ]
    near = min(alike, key=lambda row: (row["expiry"], row["instrument_key"]), default=None)
    if near is None or near["expiry"] >= instrument["expiry"]:
        return None
    return str(near["instrument_key"])
