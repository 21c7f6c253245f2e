"""The states at the end of a day of bars, in the lake.

What belongs here: reading and writing them. What does not: what is remembered (`market/bars`), the
ends of raw files (`candle_edges.py`) and what a day depends on (`candle_context.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.candle_state_table import (
    CANDLE_STATE_TABLE,
    CandleState,
    candle_state_frame,
    candle_states,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleStateFile


def read_candle_states(lake: Lake, cell: VenueDay) -> dict[str, CandleState]:
    """The states at the end of the cell's day; empty where its bars were never built.

    Raises:
        CorruptData: the states are not readable.
    """
    frame = lake.read_table(CandleStateFile(cell.date, cell.venue))
    return {} if frame is None else candle_states(frame)


def write_candle_states(
    lake: Lake,
    cell: VenueDay,
    states: Mapping[str, CandleState],
    *,
    stored: Mapping[str, CandleState],
) -> None:
    """Store the states where they differ from the ones in the lake."""
    item = CandleStateFile(cell.date, cell.venue)
    if dict(states) != dict(stored) or not lake.exists(item):
        frame = candle_state_frame(cell.date, cell.venue, states)
        lake.write_table(item, frame, CANDLE_STATE_TABLE, sorted_by=("instrument_key",))
