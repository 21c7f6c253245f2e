"""What one window of a day leaves to the window after it, as one small value.

What belongs here: putting the kernels' parts together, and their form as text. What does not: what
each part means (the kernel that reads it) and what goes from day to day (`day_memory.py`).

Bars are a function of the carry and the ticks around them: a window that is built from the carry of
the window before gives the bars that a build of the whole day gives, to the last bit. Whatever the
windows' length, it holds what bars of every timeframe need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.book_carry import BookCarry
from tickhandler_dagster.market.bars.flow_toxicity import VpinMemory
from tickhandler_dagster.market.bars.large_trades import LargeCarry
from tickhandler_dagster.market.bars.last_bars import LastBar
from tickhandler_dagster.market.bars.roll_covariance import RollCarry
from tickhandler_dagster.market.bars.second_grid import SecondCarry
from tickhandler_dagster.market.bars.ticker import TickerCarry
from tickhandler_dagster.market.bars.trade_quality import QualityCarry
from tickhandler_dagster.market.bars.trade_sequence import SequenceCarry
from tickhandler_dagster.market.json_fields import fields_by_name
from tickhandler_dagster.market.timeframes import Timeframe

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class TradesCarry:
    """What the kernels over trades carry.

    Attributes:
        first_us: Exchange time of the day's first trade; None where there was none yet.
        previous: Last trade before the next window; None where none is known.
        bars: Of each timeframe, the last bar with trades.
        quality: Order, delays and sizes.
        roll: The last two prices.
        bucket_volume: Base asset per bucket of the day; None where it is unknown.
        toxicity: The buckets.
    """

    first_us: int | None
    previous: PreviousTrade | None
    bars: Mapping[Timeframe, LastBar]
    quality: QualityCarry
    roll: RollCarry
    bucket_volume: float | None
    toxicity: VpinMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """The state of an instrument at a moment inside a day.

    Attributes:
        at_us: The moment: end of the window that left it and start of the one that takes it over.
        trades: Of the trades.
        seconds: Of the grid of seconds.
        top: Last state of the best quotes; None where there is none.
        levels: Last state of the book; None where there is none, or where it is the best quotes.
        ticker: Of the derivative ticker; None where the instrument has none.
    """

    at_us: int
    trades: TradesCarry
    seconds: SecondCarry
    top: BookCarry | None = None
    levels: BookCarry | None = None
    ticker: TickerCarry | None = None

    def to_json(self) -> str:
        """The carry as text; equal carries, equal texts."""
        return json.dumps(self, default=fields_by_name, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Carry:
        """The carry that `to_json` wrote."""
        found = json.loads(text)
        return cls(
            at_us=found["at_us"],
            trades=_trades(found["trades"]),
            seconds=SecondCarry(**found["seconds"]),
            top=_read(BookCarry.from_json, found["top"]),
            levels=_read(BookCarry.from_json, found["levels"]),
            ticker=_read(TickerCarry.from_json, found["ticker"]),
        )


def _trades(found: Mapping[str, Any]) -> TradesCarry:
    return TradesCarry(
        first_us=found["first_us"],
        previous=_read(lambda one: PreviousTrade(**one), found["previous"]),
        bars={Timeframe(name): LastBar(**bar) for name, bar in found["bars"].items()},
        quality=_quality(found["quality"]),
        roll=RollCarry(tuple(found["roll"]["prices"]), tuple(found["roll"]["arrivals"])),
        bucket_volume=found["bucket_volume"],
        toxicity=VpinMemory.from_json(found["toxicity"]),
    )


def _quality(found: Mapping[str, Any]) -> QualityCarry:
    return QualityCarry(
        _read(tuple, found["least_delays_us"]),
        _read(lambda one: SequenceCarry(**one), found["sequence"]),
        _read(lambda one: LargeCarry(**one), found["large"]),
    )


def _read(made: Callable[[Any], Part], found: object) -> Part | None:
    return None if found is None else made(found)
