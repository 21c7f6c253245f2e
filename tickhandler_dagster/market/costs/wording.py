"""Amounts as text, each with its unit and its range.

What belongs here: forms. What does not: tables (`cli/plan.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from tickhandler_dagster.market.costs.amounts import Amount

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000.0
_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def byte_text(value: float) -> str:
    """Bytes in the largest unit that leaves a whole number before the point.

    Example:
        >>> byte_text(1_234_567), byte_text(12)
        ('1.2 MB', '12 B')
    """
    for unit in _BYTES:
        if abs(value) < _STEP or unit == _BYTES[-1]:
            break
        value /= _STEP
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


def time_text(seconds: float) -> str:
    """Seconds in the unit people think in.

    Example:
        >>> time_text(0.4), time_text(90), time_text(7200), time_text(200_000)
        ('0.4 s', '1.5 min', '2.0 h', '2.3 days')
    """
    for length, unit in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def count_text(value: float) -> str:
    """A number of things; from a million on in millions.

    Example:
        >>> count_text(12_345), count_text(2_500_000)
        ('12,345', '2.50 M')
    """
    million = 1e6
    return f"{value / million:,.2f} M" if value >= million else f"{value:,.0f}"


def money_text(value: float) -> str:
    """USD with cents.

    Example:
        >>> money_text(12.3), money_text(0.0004), money_text(0)
        ('$12.30', '<$0.01', '$0.00')
    """
    cent = 0.01
    return "<$0.01" if 0 < value < cent else f"${value:,.2f}"


def ranged(amount: Amount, text: Callable[[float], str]) -> str:
    """The likely value with its range behind it; the value alone where it is certain.

    Example:
        >>> ranged(Amount(2.0, 1.0, 3.0), count_text)
        '2 (1 to 3)'
    """
    likely, low, high = map(text, (amount.likely, amount.low, amount.high))
    return likely if low == high else f"{likely} ({low} to {high})"
