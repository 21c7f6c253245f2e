"""Units of features, each with the powers of price and size it stands for.

What belongs here: the unit's text and its dimension. A test multiplies all prices and all sizes and
expects every feature to follow its dimension, so a wrong unit is a failing build.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure.

    Attributes:
        label: In words; empty where dimensionless.
        price: Power of price in it.
        size: Power of base quantity in it.
    """

    label: str
    price: int = 0
    size: int = 0


NONE = Unit("")
PRICE = Unit("the venue's price unit", price=1)
BASE = Unit("base asset", size=1)
BASE_SQUARED = Unit("base asset²", size=2)
QUOTE = Unit("quote asset", price=1, size=1)
BPS = Unit("basis points")
BPS_SQUARED = Unit("basis points²")
FRACTION = Unit("fraction")
MS = Unit("ms")
US = Unit("µs")
UTC = Unit("UTC")
PER_S = Unit("1/s")
PER_YEAR = Unit("per year")


def count_of(things: str) -> Unit:
    """The unit of a number of things."""
    return Unit(things)
