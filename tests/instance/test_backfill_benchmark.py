"""The parts of the backfill's benchmark: the same work twice, whose time is counted, the sums."""

from __future__ import annotations

import datetime as dt
import importlib
import io
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from doubles.installation import settings_over
from rich.console import Console

from tickhandler_dagster.partitions.grid import build_grid
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator, Window

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
# A process that lets another one work, waits for it, and then waits to be ended.
PARENT = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.5: pass"])
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", name="load")
def benchmark_modules():
    sys.path.insert(0, BENCHMARKS)
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(BENCHMARKS)


def test_listing_and_every_type_of_a_venue_are_one_run(load):
    """Assets of one grid are: a type that a venue lacks would be a run and a look more."""
    backfill = load("backfill")
    grid = build_grid(backfill.VENUES, backfill.FIRST)
    assert all(grid.by_type[data_type] is grid.core for data_type in backfill.TYPES)
    assert len(set(backfill.VENUES)) * len(backfill.TYPES) >= 30


def test_the_work_without_dagster_makes_every_cell_and_makes_it_again(load, tmp_path):
    day = dt.date(2024, 1, 2)
    window = Window(day - dt.timedelta(days=31), day + dt.timedelta(days=2), day)
    with SandboxServer(Simulator(7, scale=0.001, window=window)) as server:
        settings = settings_over(
            server,
            tmp_path,
            ("okex",),
            lake_root=tmp_path,
            download_data_types=load("backfill").TYPES,
        )
        seconds = load("backfill_work").work_through(settings, [day])
    assert len(seconds) == load("backfill_work").PASSES
    assert min(seconds) > 0
    for data_type in settings.download_data_types:
        found = tmp_path.glob(f"raw_tick_data/by_date/day-{day}/data_type-{data_type}/*.parquet")
        assert list(found), data_type


def test_the_time_of_a_process_that_is_over_is_its_parents(load):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"done\n"
        assert load("backfill_services").cpu_s(psutil.Process(parent.pid)) >= 0.5
        parent.communicate()


def test_overhead_is_what_everything_took_beside_the_work(load):
    backfill = load("backfill")
    one = backfill.Pass(
        "fetching", 20, runs=2, wall_s=60, runs_s=5, daemon_s=2, command_s=1, work_s=4
    )
    assert one.overhead_s == pytest.approx(0.2)
    console = Console(width=200, file=io.StringIO())
    backfill.print_backfill(console, "a day", [one])
    (row,) = [line for line in console.file.getvalue().splitlines() if "20 " in line]
    assert row.split() == [
        *("fetching", "20", "2", "0", "60", "20"),
        *("5", "2", "1", "4", "0.200", "0.0"),
    ]
