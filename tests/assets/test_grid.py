"""The grid has the days it is told to have, and a cell only where data can exist."""

import datetime as dt

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

START = dt.date(2024, 8, 8)
VENUES = [VenueId.BINANCE, VenueId.DERIBIT]


def test_the_grid_includes_its_last_day():
    grid = build_grid(VENUES, START, START + dt.timedelta(days=1))
    assert sorted(grid.core.get_partition_keys()) == [
        f"2024-08-0{day}|{venue}" for day in (8, 9) for venue in ("binance", "deribit")
    ]


def test_without_a_last_day_the_grid_ends_with_the_last_whole_day():
    now = dt.datetime(2024, 8, 10, 23, 59, tzinfo=dt.UTC)
    keys = build_grid(VENUES, START).core.get_partition_keys(current_time=now)
    assert {key.split("|")[0] for key in keys} == {"2024-08-08", "2024-08-09"}


def test_a_type_has_cells_only_at_the_venues_that_have_it():
    grid = build_grid(VENUES, START, START)
    assert grid.by_type[DataType.OPTIONS_CHAIN].get_partition_keys() == ["2024-08-08|deribit"]
    assert grid.by_type[DataType.TRADES] is grid.core
