"""The best quotes of an instrument's day, from whichever files serve them.

What belongs here: the choice of files and the conversion of their rows. What does not: levels
behind the best one, and what quotes become.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.quotes import TopTicks, top_concatenated, top_ticks
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.pipeline.candle_channels import ChannelFiles
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.channel_reading import as_top, open_channel, top_columns
from tickhandler_dagster.pipeline.channel_rows import DayRows
from tickhandler_dagster.pipeline.mid_window import MidWindow

STATE_REACH_US = 60_000_000
"""How long before a day a state of the book can still matter."""


def quote_files(inputs: InstrumentDay) -> ChannelFiles | None:
    """The files of the best quotes: a feed of its own, else book snapshots; None without either."""
    return inputs.channels.get(Channel.TOP) or inputs.channels.get(Channel.LEVELS)


class DayQuotes:
    """The best quotes of one instrument and day.

    Args:
        inputs: The instrument and its files.
        files: Those of the best quotes (`quote_files`).
        lake: Where they are.
    """

    def __init__(self, inputs: InstrumentDay, files: ChannelFiles, lake: Lake) -> None:
        self._terms = inputs.facts.terms
        self._type = files.data_type
        self.rows = DayRows(
            lake,
            files,
            top_columns(files.data_type),
            day=inputs.facts.day,
            key=inputs.facts.instrument_key,
            marks_start=True,
        )

    @property
    def before(self) -> TopTicks | None:
        """The states of the minute before the day, else the latest; None where there are none."""
        rows = self.rows.before(reach_us=STATE_REACH_US)
        return None if rows is None else self._states(rows)

    def slices(self) -> Iterator[TopTicks]:
        """The states of the day in spans of ascending exchange time."""
        for parts in self.rows.slices():
            yield top_concatenated([self._states(part) for part in parts])

    def after(self, span: Span) -> list[TopTicks]:
        """The states of a span after the day, which its next file holds."""
        return [
            self._states(part)
            for parts in self.rows.reader.slices(span)
            for part in parts
            if part.height
        ]

    def _states(self, rows: pl.DataFrame) -> TopTicks:
        return top_ticks(as_top(rows, self._type), self._terms)


def mid_window(inputs: InstrumentDay, files: ChannelFiles, lake: Lake) -> MidWindow:
    """The mids of the best quotes by arrival."""
    columns = top_columns(files.data_type)
    reader = open_channel(lake, files.files, columns)

    def states(rows: pl.DataFrame) -> TopTicks:
        return top_ticks(as_top(rows, files.data_type), inputs.facts.terms)

    return MidWindow(reader.arrivals_from, states)
