"""Whether two prices of one thing stay together over a day: spot and perpetual, bar and index.

What belongs here: the comparison of closes, its bounds with their reasons, and which instruments
stand for the same thing. What does not: which bars are read (`pipeline/bar_audit.py`).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.venues import VenueId

MADS = 20.0
"""How many median absolute deviations from the day's median a bar may lie. Where few trade, single
prints lie ten away every day; a wrong price lies hundreds away."""

MIN_BARS = 30
"""Bars that both traded, under which a median and its deviation say nothing."""

NEAR_US = 10_000_000
"""How far in time two prices may lie apart to be compared. A bar's close is its last trade: where
few trade, the closes of one minute are prices of different moments, and the market moved."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What two prices may differ by.

    Attributes:
        floor: Log distance from the day's median that is always allowed: closes of two venues are
            trades of different moments of the bar, and a quiet day has no deviation to scale by.
        day: Log distance of the day's median itself: past it every bar is wrong, as where an
            instrument has the unit or the symbol of another one.
    """

    floor: float
    day: float


SPOT_PERPETUAL = Bound(floor=50e-4, day=0.10)
"""50 bp hold the last trades of a minute on two venues; funding pulls a basis back long before
10 %, which not even USDT against dollars reached for a day's median."""

INDEX: Mapping[InstrumentType, Bound] = MappingProxyType(
    {
        # The index is older than the close by up to the ticker's age, and a fast minute is 1 %.
        InstrumentType.PERPETUAL: Bound(floor=100e-4, day=0.10),
        # Carry to expiry is in the median: a year at 50 % is far beyond what was ever paid.
        InstrumentType.FUTURE: Bound(floor=100e-4, day=0.50),
    }
)
"""Types whose price is near an index; an option's is not, and spot has none in its feeds."""

_DOLLARS = frozenset({"USD", "USDT", "USDC"})

_GROUPS: tuple[tuple[VenueId, VenueId], ...] = (
    (VenueId.BINANCE, VenueId.BINANCE_FUTURES),
    (VenueId.BINANCE, VenueId.BINANCE_DELIVERY),
    (VenueId.BYBIT_SPOT, VenueId.BYBIT),
    (VenueId.OKEX, VenueId.OKEX_SWAP),
    (VenueId.HYPERLIQUID, VenueId.HYPERLIQUID),
    (VenueId.BINANCE, VenueId.DERIBIT),
    (VenueId.COINBASE, VenueId.BITMEX),
    (VenueId.BINANCE, VenueId.HYPERLIQUID),
    (VenueId.BINANCE, VenueId.BITMEX),
)
"""(Spot, perpetual) venues that are held against each other: of one house, else the deepest spot
market. Every pair is looked at from both sides, whichever day comes in last."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Bars whose two prices are too far from each other.

    Attributes:
        bars: How many.
        of_bars: Bars that have both prices.
        median: Log distance over the day, median.
        bound: Log distance that was allowed: from the median, or of the median itself.
        worst: Largest log distance from the median; None where the median itself is too far.
        first_at: Open of the first.
        last_at: Open of the last.
        worst_at: Open of the worst.
    """

    bars: int
    of_bars: int
    median: float
    bound: float
    worst: float | None
    first_at: dt.datetime
    last_at: dt.datetime
    worst_at: dt.datetime

    @property
    def text(self) -> str:
        """The worst bar in words, or the whole day."""
        if self.worst is None:
            return (
                f"the day's median distance is {_percent(self.median)} "
                f"(allowed {_percent(self.bound)})"
            )
        return (
            f"{_percent(self.worst)} from the day's median of {_percent(self.median)} at "
            f"{self.worst_at:%H:%M:%S} (allowed {_percent(self.bound)})"
        )


def bars_apart(prices: pl.DataFrame, bound: Bound) -> Apart | None:
    """The bars whose `price` is far from its `other` price, seen from the day's usual distance.

    Args:
        prices: `ts_open`, `price` and `other`; rows where either is null or not positive count as
            if they were not there.
        bound: What is allowed.

    Nulls: None where no bar is too far, or fewer than `MIN_BARS` have both.

    Example:
        >>> opens = pl.datetime_range(
        ...     dt.datetime(2024, 8, 8), dt.datetime(2024, 8, 8, 0, 59), "1m", eager=True
        ... )
        >>> day = pl.DataFrame({"ts_open": opens, "price": 100.0, "other": [101.0] * 59 + [90.0]})
        >>> bars_apart(day, SPOT_PERPETUAL).text
        "12.22 % from the day's median of -0.99 % at 00:59:00 (allowed 0.50 %)"
    """
    both = prices.filter((pl.col("price") > 0) & (pl.col("other") > 0)).select(
        "ts_open", distance=(pl.col("price") / pl.col("other")).log()
    )
    if both.height < MIN_BARS:
        return None
    median = _median(both["distance"])
    deviation = (both["distance"] - median).abs()
    allowed = max(bound.floor, MADS * _median(deviation))
    is_whole_day = abs(median) > bound.day
    wrong = both if is_whole_day else both.filter(deviation > allowed)
    if wrong.is_empty():
        return None
    opens = wrong["ts_open"]
    far = int((wrong["distance"] - median).abs().arg_max() or 0)
    return Apart(
        bars=wrong.height,
        of_bars=both.height,
        median=median,
        bound=bound.day if is_whole_day else allowed,
        worst=None if is_whole_day else float(wrong["distance"][far]) - median,
        first_at=opens[0],
        last_at=opens[-1],
        worst_at=opens[far],
    )


def _median(values: pl.Series) -> float:
    return float(values.median())  # type: ignore[arg-type]  # floats, not empty


def _percent(log_distance: float) -> str:
    return f"{math.expm1(log_distance):.2%}".replace("%", " %")


def venues_beside(venue: VenueId) -> tuple[VenueId, ...]:
    """Venues with the other side of the venue's instruments, the one to be preferred first.

    Example:
        >>> [str(other) for other in venues_beside(VenueId.BITMEX)]
        ['coinbase', 'binance']
    """
    others = [
        other for pair in _GROUPS if venue in pair for other in (set(pair) - {venue} or {venue})
    ]
    return tuple(dict.fromkeys(others))


class Counterparts:
    """Finds the spot of a perpetual and the perpetual of a spot pair among some instruments.

    The same base, and the same quote, where dollars of any name count as one. A base with a
    multiplier (`1000SHIB`) has no counterpart: its price is another one.

    Args:
        keys: Canonical keys to choose from.

    Example:
        >>> spot = Counterparts(["BINANCE:SPOT_PAIR:BTC-EUR", "BINANCE:SPOT_PAIR:BTC-USDT"])
        >>> spot.of("BINANCE-FUTURES:PERPETUAL:BTC-USDT")
        ['BINANCE:SPOT_PAIR:BTC-USDT']
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._known: dict[tuple[InstrumentType, str, str], list[InstrumentKey]] = {}
        for key in map(InstrumentKey.parse, keys):
            self._known.setdefault((key.type, key.base, _currency(key.quote)), []).append(key)

    def of(self, key: str) -> list[str]:
        """The counterparts of an instrument, the one with its very quote first."""
        own = InstrumentKey.parse(key)
        wanted = _OTHER_SIDE.get(own.type)
        if wanted is None:
            return []
        alike = self._known.get((wanted, own.base, _currency(own.quote)), [])
        return [
            str(one) for one in sorted(alike, key=lambda one: (one.quote != own.quote, str(one)))
        ]


_OTHER_SIDE: Mapping[InstrumentType, InstrumentType] = MappingProxyType(
    {
        InstrumentType.SPOT_PAIR: InstrumentType.PERPETUAL,
        InstrumentType.PERPETUAL: InstrumentType.SPOT_PAIR,
    }
)


def _currency(quote: str) -> str:
    return "USD" if quote in _DOLLARS else quote
