"""Whose ticks a file of a job holds: the join of cell, data type, job and instrument.

What does not belong here: where the ticks go (`market/paths.py`).
"""

from __future__ import annotations

from tickhandler_dagster.adapters.tick_writer import TickIdentity
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.planning import ExpectedInstrument, FileJob


def identity_of(
    cell: VenueDay, data_type: DataType, job: FileJob, item: ExpectedInstrument
) -> TickIdentity:
    """The identity of an instrument's ticks in a job's file."""
    return TickIdentity(
        date=cell.date,
        venue=cell.venue,
        data_type=data_type,
        instrument_key=item.instrument_key,
        tardis_symbol=item.tardis_symbol,
        source_symbol=job.source_symbol,
        is_simulated=item.is_simulated,
    )
