"""How far before a bar rows can matter to a column of it.

What belongs here: the vocabulary. What does not: how far each column looks (its entry) and what
follows from it for bars after lost rows (`market/live/parity.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tickhandler_dagster.market.days import US_PER_SECOND

_US_PER_MINUTE = 60 * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class LookBack:
    """What before a bar's open its value can depend on, within the same day.

    A row that lies further back than every limit says cannot change the value. Two are equal that
    reach equally far, whatever their texts.

    Attributes:
        text: In words, for the catalogue; empty where the bar alone matters.
        us: Rows of so much time before the open.
        trades: Rows back to so many trades before the open, however old.
        bars: So many bars before, of the same timeframe.
        is_unlimited: Any row of the day may matter.
    """

    text: str = field(default="", compare=False)
    us: int = 0
    trades: int = 0
    bars: int = 0
    is_unlimited: bool = False

    @property
    def is_within_day(self) -> bool:
        """Earlier rows of the same day matter; else earlier days at most."""
        return bool(self.us or self.trades or self.bars or self.is_unlimited)


def over(us: int, of: str = "") -> LookBack:
    """A look back over a span of time, its text from the number.

    Example:
        >>> over(600_000_000).text
        '10 min'
        >>> over(5_000_000, "of states by arrival").text
        '5 s of states by arrival'
    """
    minutes, rest = divmod(us, _US_PER_MINUTE)
    span = f"{minutes} min" if minutes > 1 and not rest else f"{us / US_PER_SECOND:g} s"
    return LookBack(f"{span} {of}".strip(), us=us)


BAR_ALONE = LookBack()
LAST_TRADE = LookBack("to the trade before the bar", trades=1)
EARLIER_DAY = LookBack("the last earlier day with enough data")
"""Nothing of the same day, so that what is lost in it shows on the days after."""
