"""The demo from a terminal: it ends with features, does nothing twice, and survives a kill.

One venue shows it all; that of several none is left out, and none runs too early, is in the plan.
"""

import datetime as dt
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.cli.demo import Demo, plan_runs
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

DEMO = ("demo", "--scale", "0.02", "--venues", "okex-swap")
FIRST_FILES = 30
LIMIT_S = 600


def _command(home, *more):
    return [sys.executable, "-m", "tickhandler_dagster", *DEMO, "--home", str(home), *more]


def _demo(home, *more):
    """From a terminal."""
    return subprocess.run(
        _command(home, *more),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


def _demo_here(home, *more):
    """In this process, which has imported everything long ago."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [*DEMO, "--home", str(home), *more])


def _objects(home):
    lake = Path(home) / "lake"
    return {
        str(file.relative_to(lake)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(lake.rglob("*"))
        if file.is_file()
    }


def _parquet_files(folder):
    """How many there are; folders that vanish on the way are no accident while a run goes on."""
    return sum(name.endswith(".parquet") for _, _, names in os.walk(folder) for name in names)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    home = tmp_path_factory.mktemp("demo")
    done = _demo(home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home, done.stdout


def test_it_ends_with_features_a_table_and_the_next_command(finished):
    home, text = finished
    for word in (
        "Simulated",
        "partition",
        "instruments",
        "rows",
        "missing",
        "bars",
        "time",
        "candles_1h_final",
        "spread_bps",
        "make ui",
    ):
        assert word in text
    for cell in ("2024-08-08|okex-swap", "2024-08-09|okex-swap"):
        assert cell in text
    timeframes = {
        path.split("/")[3] for path in _objects(home) if path.startswith("processed_candles")
    }
    assert len(timeframes) == 7


def test_features_are_there_and_every_null_has_its_reason(finished):
    home, _ = finished
    folder = home / "lake" / "mft_features" / "by_date" / "day-2024-08-09"
    timeframes = sorted(path.name for path in folder.iterdir())
    assert timeframes == ["timeframe-1h", "timeframe-1m", "timeframe-24h"]
    warm = {}
    for timeframe in timeframes:
        manifest = pl.read_parquet(folder / timeframe / "_manifests" / "okex-swap.parquet")
        reasons = [name for name in manifest.columns if name.startswith("null_")]
        explained = manifest.select(pl.sum_horizontal("features_with_values", *reasons)).to_series()
        assert explained.to_list() == manifest["features"].to_list()
        warm[timeframe] = manifest["features_with_values"].max()
    assert warm["timeframe-1m"] > warm["timeframe-24h"]
    history = pl.read_parquet(folder / "timeframe-24h" / "_manifests" / "okex-swap.parquet")
    assert history["null_history"].max() + history["null_provisional"].max() > 0


def test_the_marts_are_asked_in_sql(finished):
    _, text = finished
    _, _, answer = text.partition("FROM spread_depth_days")
    assert "OKX-SWAP:PERPETUAL:BTC-USDT" in answer


def test_a_long_demo_is_warm_and_has_one_run_for_all_days(tmp_path):
    done = _demo_here(tmp_path, "--days", "8", "--scale", "0.05", "--no-marts")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "lake" / "mft_features" / "by_date"
    assert len(list(folder.iterdir())) == 8
    first, last = (
        pl.read_parquet(folder / f"day-{day}" / "timeframe-1h" / "_manifests" / "okex-swap.parquet")
        for day in ("2024-08-08", "2024-08-14")
    )
    assert last["features_with_values"].max() > first["features_with_values"].max() + 20
    assert last["null_history"].max() < first["null_history"].max()


def test_the_same_days_again_are_a_no_op_that_says_so(finished):
    home, _ = finished
    before = _objects(home)
    done = _demo_here(home, "--no-marts")
    assert done.exit_code == 0, done.output
    assert "Nothing to do" in done.stdout
    assert "0 files fetched" in done.stdout
    assert _objects(home) == before


def test_a_kill_leaves_no_half_file_and_the_next_run_ends_with_the_same_bytes(finished, tmp_path):
    home, _ = finished
    command = _command(tmp_path, "--no-marts")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + LIMIT_S
        while _parquet_files(tmp_path) < FIRST_FILES and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    left = [path for path in (tmp_path / "lake").rglob("*.parquet") if "_scratch" not in path.parts]
    assert len(left) >= FIRST_FILES // 2
    for file in left:
        pq.read_table(file)
    done = _demo_here(tmp_path, "--no-marts")
    assert done.exit_code == 0, done.output
    assert _objects(tmp_path) == _objects(home)


def test_a_last_day_before_the_first_is_an_answer(tmp_path):
    done = _demo(tmp_path, "--start-date", "2024-08-09", "--end-date", "2024-08-08")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "--end-date: before --start-date (was 2024-08-08; expected 2024-08-09"
    )


@pytest.mark.parametrize("days", [2, 8], ids=["short", "long"])
def test_all_venues_are_made_each_step_after_what_it_reads(tmp_path, days):
    first = dt.date(2024, 8, 8)
    venues = (VenueId.BINANCE, VenueId.OKEX_SWAP)
    demo = Demo(tmp_path, first, first + dt.timedelta(days - 1), venues, seed=7, scale=0.02)
    runs = list(plan_runs(demo, build_grid(venues, demo.start, demo.end)))
    cells = [(day.isoformat(), str(venue)) for day in demo.days for venue in venues]
    by_step = {}
    for place, run in enumerate(runs):
        for step in {key.path[0] for key in run.keys}:
            by_step.setdefault(step, []).append((place, run))

    def made(step):
        """Cells in the order in which they are made."""
        for _, run in by_step[step]:
            (low, venue), (high, _) = (
                end.split("|") for end in (run.partition, run.last or run.partition)
            )
            yield from ((day, name) for day, name in cells if low <= day <= high and name == venue)

    for step in ("instruments", "candles", "mft_features", "completeness"):
        found = list(made(step))
        assert sorted(found) == sorted(cells), step
        for venue in map(str, venues):
            days_made = [day for day, name in found if name == venue]
            assert days_made == sorted(days_made), step
    order = ("exchange_catalog", "instruments", "candles", "mft_features", "completeness")
    for earlier, later in itertools.pairwise((*order, "warehouse")):
        assert by_step[earlier][-1][0] < by_step[later][0][0]
    assert by_step["raw_ticks"][-1][0] < by_step["candles"][0][0]
    assert (len(by_step["candles"]) == len(venues)) is demo.is_long
