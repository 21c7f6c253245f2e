"""One simulated instrument: its names, its contract terms and how busy it is.

What belongs here: the record and what follows from it alone. Which venue lists what is
`universe.py`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.latent import ASSETS, USD_PER_UNIT
from tickhandler_dagster.sandbox.seeds import Floats


class Kind(StrEnum):
    """Kind of instrument, in the vendor's spelling."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class Margin(StrEnum):
    """What a contract is worth: coins, a sum of the quote currency, or coins paid otherwise."""

    LINEAR = "linear"
    INVERSE = "inverse"
    QUANTO = "quanto"


GROUP_OF_KIND = {
    Kind.SPOT: GroupSymbol.SPOT,
    Kind.PERPETUAL: GroupSymbol.PERPETUALS,
    Kind.FUTURE: GroupSymbol.FUTURES,
    Kind.OPTION: GroupSymbol.OPTIONS,
}

GROUP_DATA_TYPES = {
    GroupSymbol.SPOT: (DataType.TRADES,),
    GroupSymbol.FUTURES: (
        DataType.TRADES,
        DataType.INCREMENTAL_BOOK_L2,
        DataType.DERIVATIVE_TICKER,
        DataType.LIQUIDATIONS,
    ),
    GroupSymbol.PERPETUALS: (DataType.TRADES, DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS),
    GroupSymbol.OPTIONS: (
        DataType.TRADES,
        DataType.OPTIONS_CHAIN,
        DataType.QUOTES,
        DataType.LIQUIDATIONS,
    ),
}

_TICKERS = frozenset({DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS})


@dataclass(frozen=True, slots=True)
class Activity:
    """Rows of an ordinary day at scale one.

    Attributes:
        trades: Fills.
        books: Changes of the book.
        tickers: Rows of the derivative ticker.
        liquidations: Liquidations, where the kind and venue have them.
        level_usd: Typical worth of a level of the book.
        depth: Levels per side.
        idle_share: Share of days without a single trade.
    """

    trades: int
    books: int
    tickers: int = 0
    liquidations: int = 0
    level_usd: float = 20_000.0
    depth: int = 30
    idle_share: float = 0.0


@dataclass(frozen=True, slots=True)
class OptionTerms:
    """Strike and right of an option."""

    strike: float
    is_call: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A simulated instrument.

    Attributes:
        venue: Where it is listed.
        raw_id: Its id as the venue spells it.
        kind: Kind of instrument.
        base: What is bought and sold (as an asset of `latent.py`).
        quote: What the price is counted in.
        settle: What profit and loss are paid in.
        margin: What a contract is worth.
        multiplier: Base coins (linear, quanto) or quote currency (inverse) per unit of amount.
        tick: Price step.
        lot: Amount step.
        activity: How busy it is.
        listed_us: First moment it trades.
        delisted_us: End of trading, exclusive; None while it goes on.
        expiry_us: Expiry of a dated product.
        option: Strike and right of an option.
        price_factor: Units of base in one unit of the instrument, as in kPEPE (1000).
        old_multiplier: `(until_us, multiplier)` before a change of terms, which happens at a
            midnight.
    """

    venue: VenueId
    raw_id: str
    kind: Kind
    base: str
    quote: str
    settle: str
    margin: Margin
    tick: float
    lot: float
    activity: Activity
    listed_us: int
    multiplier: float = 1.0
    delisted_us: int | None = None
    expiry_us: int | None = None
    option: OptionTerms | None = None
    price_factor: float = 1.0
    old_multiplier: tuple[int, float] | None = None

    @property
    def dataset_id(self) -> str:
        """The symbol in files and addresses: upper case, without `/` and `:`.

        Example:
            `kPEPE` is `KPEPE`, a strike of `0d52` is `0D52`.
        """
        return self.raw_id.upper().replace("/", "-").replace(":", "-")

    @property
    def end_us(self) -> int | None:
        """End of trading, exclusive; None while it goes on."""
        ends = [end for end in (self.delisted_us, self.expiry_us) if end is not None]
        return min(ends) if ends else None

    @property
    def is_inverse(self) -> bool:
        """Contracts are worth a fixed sum of the quote, or the premium is paid in coins."""
        return self.margin is Margin.INVERSE

    @property
    def data_types(self) -> tuple[DataType, ...]:
        """Types exported under the instrument's own id."""
        absent = {DataType.OPTIONS_CHAIN}
        if self.kind in (Kind.SPOT, Kind.OPTION):
            absent |= _TICKERS
        return tuple(
            member for member in DataType if member in VENUES[self.venue].data_types - absent
        )

    @property
    def reference_usd(self) -> float:
        """An ordinary USD price of one unit of the instrument's base."""
        return ASSETS[self.base].price * self.price_factor

    @property
    def unit_quote_usd(self) -> float:
        """An ordinary USD price of one unit of the quote currency."""
        return USD_PER_UNIT[self.quote] if self.quote in USD_PER_UNIT else ASSETS[self.quote].price

    def multiplier_on(self, day: dt.date) -> float:
        """The multiplier in force on `day`."""
        if self.old_multiplier is None:
            return self.multiplier
        until, old = self.old_multiplier
        return old if (day - dt.date(1970, 1, 1)).days * US_PER_DAY < until else self.multiplier

    def unit_usd(self, prices: Floats, day: dt.date) -> Floats:
        """Worth in USD of one unit of amount at each price."""
        multiplier = self.multiplier_on(day)
        if self.kind is Kind.OPTION:
            return np.full(prices.shape, multiplier * self.reference_usd)
        if self.margin is Margin.INVERSE:
            return np.full(prices.shape, multiplier)
        settle_usd = (
            ASSETS[self.settle].price if self.margin is Margin.QUANTO else self.unit_quote_usd
        )
        return np.asarray(prices * (multiplier * settle_usd))

    def lives_in(self, start_us: int, end_us: int) -> tuple[int, int] | None:
        """The part of `[start_us, end_us)` in which it trades; None where there is none."""
        start = max(start_us, self.listed_us)
        end = end_us if self.end_us is None else min(end_us, self.end_us)
        return (start, end) if start < end else None


def decimals_of(step: float) -> int:
    """How many decimals a multiple of `step` needs.

    Example:
        >>> decimals_of(0.0005), decimals_of(5.0), decimals_of(1e-07)
        (4, 0, 7)
    """
    text = f"{step:.10f}".rstrip("0")
    return len(text.partition(".")[2])
