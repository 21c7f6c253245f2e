"""Completeness tables of six years, one per cell, without the years of ticks under them.

What belongs here: writing them where the asset would. They are written by polars as they are and
not through the lake, which waits for the disk at every object; the bytes differ in nothing that a
reader sees.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from tickhandler_dagster.market.completeness_table import Completeness, completeness_frame
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CompletenessFile
from tickhandler_dagster.market.quality.policy import DEFAULT_OF_STATE
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.market.venues import VENUES, VenueId

INSTRUMENTS = 4
FAILED_ONE_IN = 200


def write_tables(lake_root: Path, cells: Sequence[VenueDay], data_types: Sequence[DataType]) -> int:
    """A table for every cell; gives the number of rows."""
    forms = {
        (venue, is_whole): _rows(venue, data_types, is_whole=is_whole)
        for venue in {cell.venue for cell in cells}
        for is_whole in (True, False)
    }

    def write(numbered: tuple[int, VenueDay]) -> int:
        number, cell = numbered
        form = forms[cell.venue, number % FAILED_ONE_IN != 0]
        rows = form.with_columns(pl.lit(cell.date).alias("date"))
        path = lake_root / CompletenessFile(cell.date, cell.venue).path
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(path, compression="zstd", compression_level=1)
        return rows.height

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(write, enumerate(cells, 1)))


def _rows(venue: VenueId, data_types: Sequence[DataType], *, is_whole: bool) -> pl.DataFrame:
    day = dt.date(2000, 1, 1)
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    wanted = [one for one in DataType if one in data_types and one in VENUES[venue].data_types]
    rows = []
    for data_type in wanted:
        for number in range(INSTRUMENTS):
            is_failed = not is_whole and data_type is wanted[0] and number == 0
            state = DataState.FAILED if is_failed else DataState.PRESENT
            rows.append(
                Completeness(
                    date=day,
                    venue=venue,
                    data_type=data_type,
                    instrument_key=f"{VENUES[venue].key_name}:SPOT_PAIR:COIN{number}USDT",
                    instrument_type="SPOT_PAIR",
                    state=state,
                    reason=STATE_MEANINGS[state],
                    verdict=DEFAULT_OF_STATE[state],
                    is_simulated=True,
                    rows=0 if is_failed else 1_234_567,
                    bytes=0 if is_failed else 45_678_901,
                    first_timestamp=None if is_failed else start,
                    last_timestamp=None if is_failed else start + dt.timedelta(hours=23),
                )
            )
    return completeness_frame(rows)
