"""What bars take from other instruments and from the option surface, read once per cell.

What belongs here: reading them when the first instrument needs them. What does not: which they are
(`candle_context.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.quotes import top_in_order
from tickhandler_dagster.market.bars.second_grid import SecondDay, SecondGrid
from tickhandler_dagster.market.bars.ticker import DerivativeKind, NearContract, TickerDay
from tickhandler_dagster.market.bars.ticker_ticks import (
    TICKER_COLUMNS,
    TickerTicks,
    ticker_ticks,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.channel_reading import open_channel
from tickhandler_dagster.pipeline.channel_rows import check_rows
from tickhandler_dagster.pipeline.options_surface import surface_for
from tickhandler_dagster.pipeline.quote_rows import DayQuotes, quote_files

OnTicker: TypeAlias = Callable[[TickerTicks], None]

TICKER_REACH_US = 600_000_000
"""How long before a day a row of the ticker can still matter."""


class RelatedDays:
    """Days of other instruments, kept while a cell is built.

    Args:
        lake: Where their files are.
        cell: The day and venue.
    """

    def __init__(self, lake: Lake, cell: VenueDay) -> None:
        self._lake = lake
        self._cell = cell
        self._references: dict[str, SecondDay | None] = {}
        self._nears: dict[str, NearContract | None] = {}
        self._surfaces: dict[str, Mapping[Timeframe, pl.DataFrame] | None] = {}

    def reference(self, inputs: InstrumentDay | None) -> SecondDay | None:
        """The grid of seconds of the reference instrument; None where it has no quotes."""
        if inputs is None:
            return None
        key = inputs.facts.instrument_key
        if key not in self._references:
            self._references[key] = self._second_day(inputs)
        return self._references[key]

    def near(self, inputs: InstrumentDay | None) -> NearContract | None:
        """The marks of the contract that expires first; None where it has no ticker."""
        if inputs is None:
            return None
        key = inputs.facts.instrument_key
        if key not in self._nears:
            self._nears[key] = self._near_contract(inputs)
        return self._nears[key]

    def surface(self, asset: str) -> Mapping[Timeframe, pl.DataFrame] | None:
        """The option surface of an asset, cut to the columns that candles carry."""
        if asset not in self._surfaces:
            found = surface_for(self._lake, self._cell.date, asset, self._cell.venue)
            self._surfaces[asset] = (
                None
                if found is None
                else {
                    timeframe: frame.select(
                        "ts_open",
                        *(feature.name for feature in SURFACE if feature.name in frame.columns),
                        surface_venue=pl.lit(found[2].value),
                    )
                    for timeframe, frame in found[0].items()
                }
            )
        return self._surfaces[asset]

    def _second_day(self, inputs: InstrumentDay) -> SecondDay | None:
        files = quote_files(inputs)
        if files is None:
            return None
        quotes = DayQuotes(inputs, files, self._lake)
        grid = SecondGrid(inputs.facts.day.start)
        before = quotes.before
        if before is not None:
            grid.prime_top(top_in_order(before))
        for states in quotes.slices():
            grid.add_top(top_in_order(states))
        return grid.finish()

    def _near_contract(self, inputs: InstrumentDay) -> NearContract | None:
        if Channel.TICKER not in inputs.channels:
            return None
        kind = DerivativeKind(
            is_inverse=inputs.facts.terms.is_inverse, expiry_us=inputs.facts.expiry_us
        )
        day = TickerDay(DayGrid(inputs.facts.day.start), kind)
        read_ticker(inputs, self._lake, prime=day.prime, add=day.add)
        return day.mark_state()


def read_ticker(inputs: InstrumentDay, lake: Lake, *, prime: OnTicker, add: OnTicker) -> int:
    """Give the instrument's ticker before the day and of the day; returns the rows of the day.

    Raises:
        CorruptData: a file cannot be read, or the rows of the day are not as many as the manifest
            says.
        MissingUpstream: a file that a manifest names is not in the lake.
    """
    files = inputs.channels[Channel.TICKER]
    reader = open_channel(lake, files.files, TICKER_COLUMNS)
    span, terms = inputs.facts.day, inputs.facts.terms
    before = reader.arrived_before(span.start, reach_us=TICKER_REACH_US)
    if before is not None:
        prime(ticker_ticks(before, terms))
    total = 0
    for part in reader.by_arrival(span):
        add(ticker_ticks(part, terms))
        total += part.height
    if files.own is not None:
        # by arrival, and every row of a file arrived on its day
        check_rows(inputs.facts.instrument_key, files.own, used=total, expected=files.own.rows)
    return total
