"""The nearest known name to one that is unknown, for the remedy of an error.

What does not belong here: the lists of names and the errors, which are with each list.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(text: str, names: Iterable[str], *, otherwise: str) -> str:
    """A remedy: the known name that the text was most likely meant to be, or `otherwise`.

    Example:
        >>> did_you_mean("binanse", ["binance", "bitmex"], otherwise="Use a name from the list")
        'Did you mean binance?'
        >>> did_you_mean("nyse", ["binance", "bitmex"], otherwise="Use a name from the list")
        'Use a name from the list'
    """
    found = get_close_matches(text.strip().lower(), [name.lower() for name in names], n=1)
    return f"Did you mean {found[0]}?" if found else otherwise
