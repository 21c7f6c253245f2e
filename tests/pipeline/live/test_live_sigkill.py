"""A process that is killed with SIGKILL, again and again, leaves the bars of one that was not."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time

import polars as pl
import pytest

from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.streaming.engine import CandleEngine, EngineOptions
from tickhandler_dagster.streaming.instruments import live_instruments
from tickhandler_dagster.streaming.venue import VenueOptions

MOST = 5
KEY = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"


class StillClock:
    """Only rows close bars, so that a run is the same however slow the machine is."""

    def now_us(self):
        return 0

    def elapsed_us(self):
        return 0


class FileSink:
    """A file for every batch; a name is taken only once it is whole."""

    def __init__(self, folder):
        self.folder = folder

    def publish(self, batches):
        for batch in batches:
            beside = self.folder / f".{os.getpid()}"
            batch.bars.write_parquet(beside)
            beside.rename(self.folder / f"{time.monotonic_ns()}.parquet")

    def flush(self):
        pass


def live(root, universe, venue, types, out):
    """Make bars until the rows are used up."""
    out.mkdir(exist_ok=True)
    engine = CandleEngine(
        live_instruments(universe, venue, types),
        SpoolReader(root / "spool", batch_bytes=2_500),
        [FileSink(out)],
        StillClock(),
        EngineOptions(checkpoints=out / "state", venue=VenueOptions(reads=1)),
    )
    before = None
    while (now := engine.step().feeds[0].rows) != before:
        before = dict(now)


def published(folder):
    bars = pl.concat(pl.read_parquet(path) for path in folder.glob("*.parquet"))
    rows = bars.drop("source_sha256").unique().sort("timeframe", "ts_open", "revision")
    assert not rows.select("timeframe", "ts_open", "revision").is_duplicated().any()
    return rows


@pytest.mark.parametrize("seed", range(2))
def test_sigkill_at_any_moment_changes_nothing(live_lab, tmp_path, seed):
    chance = random.Random(seed)
    live_lab.trade(KEY, length=120)
    live_lab.append(0, 2**60)
    common = live_lab.root, live_lab.lab.universe, live_lab.lab.venue, live_lab.types
    live(*common, tmp_path / "whole")
    context = multiprocessing.get_context("spawn")
    out, kills = tmp_path / "killed", 0
    while True:
        child = context.Process(target=live, args=(*common, out))
        child.start()
        if kills == MOST:
            child.join(120)
        wanted = len(list(out.glob("*.parquet"))) + chance.randrange(1, 4)
        while child.is_alive() and len(list(out.glob("*.parquet"))) < wanted:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        if not child.is_alive():
            break
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += 1
    assert child.exitcode == 0
    assert kills >= 3
    whole, killed = published(tmp_path / "whole"), published(out)
    assert whole.height > 10
    assert whole.equals(killed, null_equal=True)
