"""The trades of an instrument's exchange day out of its raw files.

What belongs here: reading trades as the bar kernel takes them. What does not: which files there are
(`candle_inputs.py`) and what the trades become.
"""

from __future__ import annotations

from collections.abc import Iterator

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.ticks import TradeTicks, concatenated, trade_ticks
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.channel_reading import trade_columns
from tickhandler_dagster.pipeline.channel_rows import DayRows

_REACH_US = 60_000_000


class DayTrades:
    """The trades of one instrument and day.

    Args:
        inputs: Which files they are in.
        lake: Where these are.

    Raises:
        MissingUpstream: a raw file that a manifest names is not in the lake.
        CorruptData: a raw file cannot be read.
    """

    def __init__(self, inputs: InstrumentDay, lake: Lake) -> None:
        self._has_dense_ids = VENUES[inputs.facts.venue].has_dense_trade_ids
        self.rows = DayRows(
            lake,
            inputs.trades,
            trade_columns(has_dense_ids=self._has_dense_ids),
            day=inputs.facts.day,
            key=inputs.facts.instrument_key,
        )

    @property
    def before(self) -> TradeTicks | None:
        """The trades of the minute before the day, else the latest before it, in total order.

        Nulls: None where the files have none.
        """
        rows = self.rows.before(reach_us=_REACH_US)
        if rows is None:
            return None
        return in_total_order(trade_ticks(rows, has_dense_ids=self._has_dense_ids))

    @property
    def previous(self) -> PreviousTrade | None:
        """The last trade before the day; None where the files have none."""
        return previous_trade(self.before)

    def slices(self) -> Iterator[TradeTicks]:
        """The trades in spans of ascending exchange time.

        Raises:
            CorruptData: a file cannot be read; when all is read, its rows of the day are not as
                many as its manifest says.
        """
        for parts in self.rows.slices():
            ticks = [trade_ticks(part, has_dense_ids=self._has_dense_ids) for part in parts]
            yield concatenated(ticks)


def previous_trade(before: TradeTicks | None) -> PreviousTrade | None:
    """The last of some trades: its time, and the latest arrival of those of that time."""
    if before is None:
        return None
    last_us = int(before.timestamp[-1])
    arrivals = before.local_timestamp[before.timestamp == last_us]
    return PreviousTrade(last_us, int(arrivals.max()))


def rows_of_day(inputs: InstrumentDay) -> int:
    """Rows of the day in all its trade files, by their manifests."""
    return sum(inputs.trades.rows_of_day(row) for row in inputs.files)
