"""Cutting a symbol without separator, such as `1INCHUSDT`, into base and quote.

What belongs here: the cut. The quote assets of a venue are in the venue's module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def split_quote(symbol: str, quotes: Sequence[str]) -> tuple[str, str] | None:
    """Base and quote by the longest quote asset at the end of `symbol`; None where none fits.

    Only the end counts: `USDTBIDR` is quoted in BIDR although it begins with the name of another
    quote asset.

    Example:
        >>> split_quote("USDTBIDR", ("USDT", "BIDR"))
        ('USDT', 'BIDR')
    """
    fitting = [quote for quote in quotes if symbol.endswith(quote) and symbol != quote]
    if not fitting:
        return None
    quote = max(fitting, key=len)
    return symbol.removesuffix(quote), quote
