"""SIGKILL through the command: no tick lost, none twice, bars as if nothing had happened."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from doubles.mock_exchange import MockExchange, deribit_trades
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.cli.streaming_session import LOCK
from tickhandler_dagster.market.errors import ConcurrentWrite
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.live.feed_events import feed_gaps
from tickhandler_dagster.market.live.live_candle_table import NOT_COMPARABLE
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings, child_environment
from tickhandler_dagster.streaming.sidecar_process import read_heartbeat

KEYS = ["instrument_key", "timeframe", "ts_open", "revision"]
BAR_S = 15
DERIBIT = {"venue": VenueId.DERIBIT, "asset": "BTC", "tardis_symbol": "BTC_USDC-PERPETUAL"}
FUTURES = {"venue": VenueId.BINANCE_FUTURES, "asset": "BTC", "tardis_symbol": "BTCUSDT"}


def write_universe(lake_root, day, *, venue, asset, tardis_symbol):
    quote = tardis_symbol.partition("_")[2].partition("-")[0] or "USDT"
    row = dict.fromkeys(INSTRUMENTS_TABLE.names) | {
        "date": day,
        "instrument_key": f"{venue.upper()}:PERPETUAL:{asset}-{quote}",
        "venue": venue.value,
        "instrument_type": "PERPETUAL",
        "symbol": f"{asset}-{quote}",
        "tardis_symbol": tardis_symbol,
        "exchange_raw_symbol": tardis_symbol,
        "data_types": ["trades", "book_snapshot_5"],
        "base_asset": asset,
        "quote_asset": quote,
        "settle_asset": quote,
        "is_inverse": False,
        "is_quanto": False,
        "amount_unit": "base",
        "contract_size": 1.0,
        "tick_size": 0.1,
        "terms_source": "venue_rule",
        "is_simulated": True,
    }
    frame = pl.DataFrame([row], schema=INSTRUMENTS_TABLE.polars_schema)
    frame = frame.with_columns(available_from=pl.lit(0).cast(TIMESTAMP))
    Lake(LocalObjectStore(lake_root)).write_table(
        InstrumentsFile(day, venue), frame, INSTRUMENTS_TABLE
    )


class Session:
    """The command on a folder of its own: killed, started again, ended."""

    def __init__(self, root, *options, more_environment=None):
        self.root = root
        settings = Settings(lake_root=root / "lake", streaming_spool_folder=root / "spool")
        environment = child_environment(settings) | (more_environment or {})
        self._environment = {name: text for name, text in environment.items() if "COV" not in name}
        self._command = [sys.executable, "-m", "tickhandler_dagster", "streaming-candles"]
        self._command += [*options, "--keep-ticks", "--no-dagster", "--json"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )

    def is_up(self):
        """It holds its spool; signals are taken right after."""
        try:
            with exclusive_lock(self.root / "spool" / LOCK, timeout_s=0):
                return False
        except ConcurrentWrite:
            time.sleep(1)
            return True

    def kill(self):
        """The process and what it started, but for a sidecar, which has a session of its own."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in children:
            with contextlib.suppress(psutil.Error):
                if "sidecar" not in " ".join(child.cmdline()):
                    child.kill()
        self.process.communicate()

    def end(self, timeout=240):
        """Wait for its own end; what it says of itself."""
        out, errors = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, errors
        return json.loads(out)

    def stop(self):
        wait_until(self.is_up)
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def ticks(self, data_type="trades"):
        files = sorted((self.root / "lake/live_ticks").rglob("*.parquet"))
        frames = [pl.read_parquet(one) for one in files if f"data_type-{data_type}" in str(one)]
        return pl.concat(frames).sort("sequence")

    def bars(self):
        """Every publication once; the same one twice has to be the same."""
        files = sorted((self.root / "lake/live_candles").rglob("*.parquet"))
        rows = pl.concat([pl.read_parquet(one) for one in files]).drop("published_at").unique()
        assert not rows.select(KEYS).is_duplicated().any()
        return rows.sort(KEYS)

    def last_words(self, begin, end):
        """The highest revision of each bar of a span, without how it came about."""
        is_last = pl.col("revision") == pl.col("revision").max().over(KEYS[:3])
        rows = self.bars().filter(
            is_last & (pl.col("ts_open") >= begin) & (pl.col("ts_close") <= end)
        )
        assert rows.height
        assert set(rows["stage"]) <= {"complete", "amended"}
        return rows.drop(*NOT_COMPARABLE, "revision", "stage", "rows_after_first")


@pytest.fixture
def sessions():
    """Takes sessions and ends them, with their sidecars."""
    made = []

    def take(session):
        made.append(session)
        return session

    yield take
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
        for venue in VenueId:
            beat = read_heartbeat(one.root / "spool" / venue)
            if beat is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(beat.pid, signal.SIGKILL)


def replay(root, recorded, speed):
    """A session that plays recorded days as fast as it is told to."""
    write_universe(root / "lake", dt.date(2024, 8, 8), **FUTURES)
    options = ["--symbol", "BTC-USDT", "--venues", "binance-futures", "--speed", speed]
    options += ["--data-types", "trades,book_snapshot_5", "--timeframes", "15s,1m,5m"]
    options += ["--replay", str(recorded), "--spool", str(root / "spool")]
    return Session(root, *options)


@pytest.fixture(scope="module")
def whole(recorded, tmp_path_factory):
    """The replay that nobody kills."""
    session = replay(tmp_path_factory.mktemp("whole"), recorded, "max")
    session.start()
    session.end()
    return session


@pytest.mark.parametrize("seed", [1, 2])
def test_a_replay_that_is_killed_again_and_again_ends_as_one_that_is_not(
    sessions, whole, recorded, tmp_path, seed
):
    chance = random.Random(seed)
    killed = sessions(replay(tmp_path, recorded, "40"))
    killed.start()
    for _ in range(2):
        wait_until((tmp_path / "spool").is_dir)
        time.sleep(chance.uniform(0.5, 6))
        if killed.process.poll() is not None:
            break
        killed.kill()
        killed.start()
    killed.end()
    for data_type in ("trades", "book_snapshot_5"):
        ticks = killed.ticks(data_type)
        assert ticks["sequence"].to_list() == list(
            range(ticks["sequence"][0], ticks["sequence"][0] + ticks.height)
        )
        assert_frame_equal(ticks, whole.ticks(data_type))
    # When the first look at the spool was, and how long a session waits at its end, is its own.
    moments = whole.ticks()["timestamp"]
    begin, end = moments.min(), moments.max()
    assert_frame_equal(killed.last_words(begin, end), whole.last_words(begin, end))


def wait_until(is_so, timeout=60):
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture
def exchange():
    server = MockExchange()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def live(sidecar, sessions, exchange, tmp_path):
    """A live session on an exchange on loopback."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/programs").symlink_to(sidecar.script.parent.parent)
    write_universe(tmp_path / "lake", dt.datetime.now(dt.UTC).date(), **DERIBIT)
    options = ("--symbol", "BTC-USDC", "--venues", "deribit", "--data-types", "trades")
    here = {"WSS_URL_DERIBIT": exchange.url}
    return sessions(Session(tmp_path, *options, more_environment=here))


class Market:
    """Trades in a row, each said once."""

    def __init__(self, exchange):
        self._exchange = exchange
        self.said = 0

    def say_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.said += 1
            trade = {"id": str(self.said), "price": 60_000.5, "amount": 10, "direction": "buy"}
            now_ms = time.time_ns() // 1_000_000
            self._exchange.say(
                deribit_trades("BTC_USDC-PERPETUAL", [trade | {"timestamp": now_ms}])
            )
            time.sleep(0.005)


def test_a_killed_engine_costs_no_tick_while_its_feed_goes_on(live, exchange):
    market, chance = Market(exchange), random.Random(5)
    live.start()
    exchange.wait_for(1, timeout=60)
    for _ in range(2):
        market.say_for(chance.uniform(2, 6))
        live.kill()
        market.say_for(chance.uniform(0, 2))
        live.start()
    market.say_for(6)
    wait_until(lambda: spooled(live.root) == market.said)
    live.stop()
    assert live.ticks()["id"].to_list() == [str(number) for number in range(1, market.said + 1)]
    bars = live.bars().filter(pl.col("timeframe") == "15s")
    assert bars.height, "no bar was published"
    assert len(exchange.channels) == 1, "the feed was not taken over"


def test_a_killed_feed_leaves_a_hole_that_bars_show_and_nothing_twice(live, exchange):
    market = Market(exchange)
    live.start()
    exchange.wait_for(1, timeout=60)
    market.say_for(4)
    os.kill(read_heartbeat(live.root / "spool/deribit").pid, signal.SIGKILL)
    exchange.wait_for(2, timeout=60)
    # The bar in which it was lost is over, and nothing of it is waited for any more.
    market.say_for(BAR_S - time.time() % BAR_S + 7)
    live.stop()
    ids = [int(text) for text in live.ticks()["id"]]
    assert ids == sorted(set(ids))
    assert len(ids) == spooled(live.root)
    events, _ = SpoolReader(live.root / "spool").events(VenueId.DERIBIT)
    gaps = [gap for gap in feed_gaps(events) if gap.start_us is not None and gap.end_us is not None]
    assert gaps, "no gap was noted"
    bars = live.bars().filter((pl.col("timeframe") == "15s") & (pl.col("gap_ms") > 0))
    width = 15_000_000
    touched = {gap.start_us // width * width for gap in gaps}
    assert touched & set(bars["ts_open"].to_physical())


def test_a_killed_group_begins_again_where_it_was(live, exchange):
    market = Market(exchange)
    live.start()
    exchange.wait_for(1, timeout=60)
    market.say_for(5)
    os.kill(read_heartbeat(live.root / "spool/deribit").pid, signal.SIGKILL)
    live.kill()
    before = spooled(live.root)
    live.start()
    exchange.wait_for(2, timeout=60)
    market.say_for(3)
    live.stop()
    ids = [int(text) for text in live.ticks()["id"]]
    assert ids == sorted(set(ids))
    assert len(ids) == spooled(live.root) > before


def spooled(root):
    """Whole lines of trades, headers and what was torn apart."""
    files = Path(root, "spool/deribit/trades").glob("*.csv")
    return sum(max(file.read_bytes().count(b"\n") - 1, 0) for file in files)
