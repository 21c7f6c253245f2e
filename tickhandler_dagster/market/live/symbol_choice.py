"""Which instruments somebody means by a text: a symbol, a canonical key, or a pattern.

What belongs here: the choice, and the answer where it is not one. What does not: where universes
come from (`pipeline/live_universe.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import polars as pl

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VenueId

SHOWN = 12
"""Choices that an error lists."""


def chosen_keys(
    universes: Mapping[VenueId, pl.DataFrame], texts: Sequence[str], *, is_each_venue: bool
) -> dict[VenueId, list[str]]:
    """The instruments that the texts name, by venue.

    A text without `*` and `?` names one instrument: of one venue, or of each where `is_each_venue`.
    One with them names all that it fits. Letter case does not matter.

    Args:
        universes: Rows of `INSTRUMENTS_TABLE` by venue: `instrument_key` and `tardis_symbol`.
        texts: Symbols such as `BTC-USDT`, the venue's own such as `BTCUSDT`, or canonical keys.
        is_each_venue: The venues were named, so that a symbol means that of each of them.

    Raises:
        InvalidInput: a text names nothing, or several instruments where it has to name one.
    """
    found: dict[VenueId, list[str]] = {}
    for text in texts:
        matches = {
            venue: keys for venue, frame in universes.items() if (keys := _matching(frame, text))
        }
        _check(text, matches, universes, is_each_venue=is_each_venue)
        for venue, keys in matches.items():
            found.setdefault(venue, []).extend(keys)
    return {venue: sorted(set(keys)) for venue, keys in sorted(found.items())}


def _matching(universe: pl.DataFrame, text: str) -> list[str]:
    wanted = text.upper()
    return [
        key
        for key, symbol in universe.select("instrument_key", "tardis_symbol").iter_rows()
        if any(fnmatchcase(name, wanted) for name in _names(key, symbol, is_key=":" in wanted))
    ]


def _names(key: str, symbol: str, *, is_key: bool) -> tuple[str, ...]:
    return (key.upper(),) if is_key else (key.rpartition(":")[2].upper(), symbol.upper())


def _check(
    text: str,
    matches: Mapping[VenueId, Sequence[str]],
    universes: Mapping[VenueId, pl.DataFrame],
    *,
    is_each_venue: bool,
) -> None:
    if not matches:
        raise InvalidInput(
            f"--symbol {text}",
            "no instrument of the newest universe",
            expected=f"an instrument of {', '.join(sorted(universes))}",
            remedy="Give a symbol such as BTC-USDT, a key VENUE:TYPE:SYMBOL, or a pattern with *",
        )
    is_pattern = any(sign in text for sign in "*?[")
    is_one = all(len(keys) == 1 for keys in matches.values()) and (
        is_each_venue or len(matches) == 1
    )
    if is_pattern or is_one:
        return
    choices = [key for keys in matches.values() for key in keys]
    hidden = len(choices) - SHOWN
    listed = ", ".join(choices[:SHOWN]) + (f" and {hidden:,} more" if hidden > 0 else "")
    raise InvalidInput(
        f"--symbol {text}",
        f"{len(choices)} instruments have it",
        expected=f"one of {listed}",
        remedy="Give its key, or name the venues with --venues",
    )
