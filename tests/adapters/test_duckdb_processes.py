"""Many processes on one DuckDB warehouse: writers, readers meanwhile, and killed writers."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.duckdb_warehouse import open_for_reading
from tickhandler_dagster.market.errors import (
    MissingUpstream,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CompletenessFile
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_days import table_days

SCRIPT = Path(__file__).resolve().parents[1] / "doubles" / "publishing_process.py"
FIRST_DAY = dt.date(2024, 8, 1)
ROWS = 40
TABLES = {table.name: table for table in warehouse_tables(Windows())}
COMPLETENESS = TABLES["completeness"]

WHOLE_CELLS = (
    "SELECT date, venue, count(*), count(DISTINCT rows), min(rows) FROM completeness GROUP BY ALL"
)


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Reader(threading.Thread):
    """Asks again and again, as a dashboard does; keeps what it was told, and errors."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.answers, self.failure, self.is_over = folder, 0, None, False
        self.parts = []

    def run(self):
        try:
            while not self.is_over:
                self.ask()
                time.sleep(0.02)
        except Exception as error:  # noqa: BLE001  (whatever a reader meets is what is looked for)
            self.failure = error

    def ask(self):
        try:
            with open_for_reading(self.folder) as connection:
                cells = connection.execute(WHOLE_CELLS).fetchall()
        except MissingUpstream:
            return
        self.answers += 1
        self.parts += [cell for cell in cells if cell[2:4] != (ROWS, 1)]

    def stop(self):
        self.is_over = True
        self.join(30)


def as_the_lake(lake, warehouse):
    """The table has exactly the rows of the lake's objects."""
    cells = [CompletenessFile(day, venue) for day in days_of(10) for venue in VenueId]
    frames = [frame for cell in cells if (frame := lake.read_table(cell)) is not None]
    key = ["date", "venue", "instrument_key"]
    published = pl.from_arrow(warehouse.query("SELECT * FROM completeness")).sort(key)
    return published.equals(pl.concat(frames).sort(key))


def days_of(count):
    return [FIRST_DAY + dt.timedelta(days=place) for place in range(count)]


def test_processes_that_publish_venues_of_the_same_days_lose_nothing_and_readers_never_fail(
    tmp_path, lake, warehouse
):
    reader = Reader(warehouse.folder)
    reader.start()
    venues = [VenueId.BINANCE, VenueId.DERIBIT, VenueId.BYBIT, VenueId.OKEX]
    rounds, days = 2, 2
    processes = [
        start("slices", tmp_path / "lake", warehouse.folder, venue, days, rounds)
        for venue in venues
    ]
    failures = [text for process in processes if (text := process.communicate(timeout=400)[1])]
    reader.stop()
    assert failures == []
    assert [process.returncode for process in processes] == [0] * len(venues)
    assert reader.failure is None
    assert reader.answers > 0
    assert reader.parts == []
    assert as_the_lake(lake, warehouse)
    assert warehouse.counts(COMPLETENESS, days_of(days)) == {
        (day, venue): ROWS for day in days_of(days) for venue in venues
    }
    assert set(warehouse.query("SELECT DISTINCT rows FROM completeness")["rows"].to_pylist()) == {
        rounds
    }


def test_killed_at_twenty_moments_the_table_is_whole_and_the_next_publication_makes_it_right(
    tmp_path, lake, warehouse
):
    reader = Reader(warehouse.folder)
    reader.start()
    process = start("killed", tmp_path / "lake", warehouse.folder, 20, 7)
    told, failures = process.communicate(timeout=400)
    reader.stop()
    assert failures == ""
    killed = [line.split()[1] == "True" for line in told.splitlines()]
    assert len(killed) == 21
    assert sum(killed) >= 10
    assert reader.failure is None
    assert reader.parts == []
    days = table_days(lake, COMPLETENESS, days_of(2), tuple(VenueId))
    warehouse.ensure(COMPLETENESS)
    receipts = warehouse.publish(COMPLETENESS, days)
    assert [receipt.rows for receipt in receipts] == [2 * ROWS] * 2
    assert as_the_lake(lake, warehouse)
    leftovers = list((warehouse.folder / "_scratch").iterdir())
    assert leftovers == []
