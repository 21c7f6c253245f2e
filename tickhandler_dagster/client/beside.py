"""Candles of another timeframe beside the bars of a question.

What belongs here: which of them are read. What does not: the join (`joining.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.client.arguments import deferred
from tickhandler_dagster.client.bars import BarQuestion
from tickhandler_dagster.client.choice import InstrumentChoice
from tickhandler_dagster.client.listing import DayListing
from tickhandler_dagster.client.rows import Rows
from tickhandler_dagster.client.rules import BarRules, Fill
from tickhandler_dagster.client.sources import candle_source
from tickhandler_dagster.client.spans import days_of
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class TimeframeBeside:
    """Candles of a timeframe, from the bar that was known at the start of the span on.

    Attributes:
        lake: Where they are.
        choice: Which instruments.
        span: The span of the bars beside which they are.
        timeframe: Length of the candles.
        rules: Those of the question.
    """

    lake: Lake
    choice: InstrumentChoice
    span: Span
    timeframe: Timeframe
    rules: BarRules

    def joined(self, rows: Rows, names: Sequence[str]) -> Rows:
        """The rows, each with the latest of these candles that was known when it was."""
        return rows.known_with(
            deferred(lambda: self._question(names).rows()),
            list(names),
            suffix=f"_{self.timeframe}",
        )

    def _question(self, names: Sequence[str]) -> BarQuestion:
        source, days = candle_source(self.timeframe), days_of(self.span)
        # the bar that was known at the start closed before it: two lengths back it surely opened
        wider = Span(self.span.start - 2 * self.timeframe.us, self.span.end)
        own = DayListing(self.lake, self.choice, days).files(source)
        # of days before the span what there is: where nothing is, nothing was known
        earlier = [day for day in days_of(wider) if day not in set(days)]
        held = DayListing(self.lake, self.choice, earlier).held_files(source)
        files = sorted([*held, *own], key=lambda file: (file.key, file.cell.date))
        rules = dataclasses.replace(self.rules, fill=Fill.NULL, is_provisional_masked=True)
        return BarQuestion(self.lake, source, files, wider, names, rules)
