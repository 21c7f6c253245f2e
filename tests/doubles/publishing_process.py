"""A process that publishes, run as a script: one of many writers, or a parent of killed ones.

What belongs here: what a writer does in turn with the lake and the warehouse. What does not:
whether the table is right afterwards (`tests/adapters/test_duckdb_processes.py`).

A version of a cell is written whole into the lake, and every row of it carries the version, so that
a reader sees at once whether it was shown a part.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import sys
import time
from pathlib import Path

from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import ConcurrentWrite
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CompletenessFile
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_publish import Publisher

ROWS = 40
FIRST_DAY = dt.date(2024, 8, 1)
TABLE = next(table for table in warehouse_tables(Windows()) if table.name == "completeness")


def put(lake, day, venue, version):
    """Store a version of a cell; `rows` of every row is the version."""
    rows = [
        Completeness(
            date=day,
            venue=venue,
            data_type=DataType.TRADES,
            instrument_key=f"V:SPOT_PAIR:{number:03d}",
            instrument_type="SPOT_PAIR",
            state=DataState.PRESENT,
            reason="it is there",
            verdict=Verdict.IGNORE,
            is_simulated=True,
            rows=version,
        )
        for number in range(ROWS)
    ]
    lake.write_table(CompletenessFile(day, venue), completeness_frame(rows), COMPLETENESS_TABLE)


def publisher(lake_folder, warehouse_folder):
    lake = Lake(LocalObjectStore(Path(lake_folder)))
    warehouse = DuckDbWarehouse(Path(warehouse_folder), lake.store)
    return Publisher(TABLE, lake, warehouse, tuple(VenueId))


def write_slices(lake_folder, warehouse_folder, venue, days, rounds):
    """Change one venue's cell of every day and publish the day; in every round a new version."""
    mine = publisher(lake_folder, warehouse_folder)
    for version in range(1, int(rounds) + 1):
        for place in range(int(days)):
            day = FIRST_DAY + dt.timedelta(days=place)
            put(mine.lake, day, VenueId(venue), version)
            publish_with_retries(mine, day)


def publish_with_retries(mine, day):
    """Try again what can succeed when tried again, as a run's retry policy does."""
    while True:
        try:
            mine.publish([day])
        except ConcurrentWrite:
            continue
        return


def be_killed(lake_folder, warehouse_folder, kills, seed):
    """Publish two days in children that are killed at random moments of their work."""
    chance = random.Random(int(seed))
    longest = 0.0
    for version in range(1, int(kills) + 2):
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            mine = publisher(lake_folder, warehouse_folder)
            days = [FIRST_DAY + dt.timedelta(days=place) for place in range(2)]
            for day in days:
                for venue in (VenueId.BINANCE, VenueId.DERIBIT):
                    put(mine.lake, day, venue, version)
            mine.publish(days)
            os._exit(0)
        if version > 1:
            time.sleep(chance.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        took = time.monotonic() - started
        longest = took if version == 1 else longest
        print(version, os.WIFSIGNALED(status), f"{took:.3f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    {"slices": write_slices, "killed": be_killed}[sys.argv[1]](*sys.argv[2:])
