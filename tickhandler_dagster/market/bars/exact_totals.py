"""Sums of floats that are exact, and so the same in whatever grouping they are added.

What does not belong here: what is added (`trade_tally.py`), and changes that are rounded so that
their sums are exact (`exact_sums.py`).
"""

from __future__ import annotations

from tickhandler_dagster.market.bars.ticks import Float64Array

_BITS = 1_074
_UNIT: int = 2**_BITS


def exact_total(values: Float64Array) -> int | None:
    """The sum in units of 2⁻¹⁰⁷⁴, of which every float is a whole multiple.

    A sum of floats is off by as many roundings as it has terms, and by others in another grouping.
    The road not taken, to keep all terms, takes a hundred times the room.

    Nulls: None where a value is infinite or undefined.
    """
    total = 0
    for value in values.tolist():
        try:
            numerator, denominator = value.as_integer_ratio()
        except (OverflowError, ValueError):  # infinite, undefined
            return None
        total += numerator << (_BITS + 1 - denominator.bit_length())
    return total


def rounded_total(total: int) -> float:
    """The float nearest to a sum.

    Example:
        >>> import numpy as np
        >>> rounded_total(exact_total(np.array([0.1] * 10))), sum([0.1] * 10)
        (1.0, 0.9999999999999999)
    """
    return total / _UNIT
