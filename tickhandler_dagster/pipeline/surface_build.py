"""Building the surface of one underlying from raw files, an expiry at a time.

What belongs here: which rows of a file are needed, and the memory that takes. The arithmetic is
`market/options`.

Of the rows of an option that arrive in one 15 s bar only the last can be anybody's state, so that a
file is read once, row group by row group, and leaves at most 5,760 rows and the one before the day.
Memory holds the options of one expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.adapters.tick_arrivals import ArrivalReader
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.options.chain import WING_AGE_US, ExpiryChain, OptionRows
from tickhandler_dagster.market.options.expiry import expiry_surface
from tickhandler_dagster.market.options.surface import surface_columns
from tickhandler_dagster.market.options.units import as_fraction
from tickhandler_dagster.market.options_surface_table import surface_frame
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.channel_reading import stored_ticks
from tickhandler_dagster.pipeline.surface_inputs import OptionInput, UnderlyingDay

_ARRIVAL = "local_timestamp"
_VALUES = {
    "mark_iv": "volatility",
    "underlying_price": "underlying",
    "bid_price": "bid",
    "ask_price": "ask",
    "mark_price": "mark",
    "delta": "delta",
    "open_interest": "open_interest",
}
"""Raw columns and the attributes of `OptionRows` they become."""


@dataclass(frozen=True, slots=True)
class BuiltSurface:
    """The surface of an underlying's day.

    Attributes:
        inputs: What it was built from.
        columns: An element per 15 s bar, of every column.
        expiries: Expiries with rows.
    """

    inputs: UnderlyingDay
    columns: dict[str, Float64Array]
    expiries: int

    def frame(self, timeframe: Timeframe) -> pl.DataFrame:
        """The rows of `OPTIONS_SURFACE_TABLE` of one timeframe."""
        cell = self.inputs.cell
        return surface_frame(
            self.columns,
            venue=cell.venue,
            underlying=self.inputs.underlying,
            start_us=day_span_us(cell.date)[0],
            timeframe=timeframe,
        )


def build_surface(inputs: UnderlyingDay, lake: Lake) -> BuiltSurface:
    """The underlying's surface at the end of every bar.

    Raises:
        CorruptData: a raw file cannot be read.
    """
    start, _ = day_span_us(inputs.cell.date)
    closes = DayGrid(start).closes
    expiries = [
        expiry_surface(_chain(options, inputs.cell.venue, lake=lake, start_us=start), closes)
        for options in inputs.expiries
    ]
    return BuiltSurface(inputs, surface_columns(expiries, len(closes)), len(expiries))


def _chain(
    options: Sequence[OptionInput], venue: VenueId, *, lake: Lake, start_us: int
) -> ExpiryChain:
    return ExpiryChain(
        expiry_us=options[0].expiry_us,
        pays_coin=options[0].pays_coin,
        options=[_rows(option, venue, lake=lake, start_us=start_us) for option in options],
    )


def _rows(option: OptionInput, venue: VenueId, *, lake: Lake, start_us: int) -> OptionRows:
    files = [
        TickFile(
            stored_ticks(lake, row),
            ["timestamp", _ARRIVAL, *_VALUES],
        )
        for row in option.files
    ]
    rows = last_per_bar(files, start_us)
    values = {
        attribute: rows[name].fill_null(np.nan).to_numpy() for name, attribute in _VALUES.items()
    }
    return OptionRows(
        strike=option.strike,
        is_call=option.is_call,
        contract_size=option.contract_size,
        arrival=rows[_ARRIVAL].to_physical().to_numpy(),
        **values | {"volatility": as_fraction(venue, values["volatility"])},
    )


def last_per_bar(files: Sequence[TickFile], start_us: int) -> pl.DataFrame:
    """The last row to arrive in each 15 s bar of the day and of the half hour before it.

    Args:
        files: Of one option, in the order of their days.
        start_us: First moment of the day.

    Shape: columns `local_timestamp` and the values, in order of arrival. Earlier rows are left out:
        none of them may count any more.
    """
    first = start_us - WING_AGE_US
    end = start_us + DayGrid(start_us).bars * BASE_TIMEFRAME.us
    arrival = pl.col(_ARRIVAL).to_physical()
    kept = pl.DataFrame(schema={_ARRIVAL: TIMESTAMP, **dict.fromkeys(_VALUES, pl.Float64())})
    for frame in ArrivalReader(files, first).until(end):
        inside = frame.select(_ARRIVAL, *_VALUES).filter((arrival >= first) & (arrival < end))
        kept = _reduced(pl.concat([kept, inside]))
    return kept


def _reduced(rows: pl.DataFrame) -> pl.DataFrame:
    bar = pl.col(_ARRIVAL).to_physical() // BASE_TIMEFRAME.us
    return rows.filter((bar != bar.shift(-1)).fill_null(value=True))
