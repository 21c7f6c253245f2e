"""The commands of live data as a user runs them: the real sidecar, an exchange on loopback.

Rows that the exchange said are the rows that arrive, over a lost connection, in the lake and in
BigQuery; bars of them are published, and their last word is a view.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from doubles.mock_exchange import MockExchange, deribit_book, deribit_trades

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.live.live_tables import live_candle_table
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import CONFIG_FILE_VARIABLE, ENV_FILE_VARIABLE, Settings

SYMBOL, KEY = "BTC-PERPETUAL", "DERIBIT:PERPETUAL:BTC-USD"
TRADES, BOOKS = "live.ticks_trades", "live.ticks_book_snapshot_5"
WAIT_S = 120
BAR_S = 15
SETTINGS = {name.upper() for name in Settings.model_fields} | {
    *(CONFIG_FILE_VARIABLE, ENV_FILE_VARIABLE)
}


class Session:
    """The command at work. What it says goes to files: nobody reads a pipe while it runs."""

    def __init__(self, words, folder, number, environment):
        self._out, self._errors = (folder / f"session-{number}.{end}" for end in ("out", "err"))
        with self._out.open("w") as out, self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                words, stdout=out, stderr=errors, cwd=folder, env=environment
            )

    @property
    def errors(self):
        return self._errors.read_text()

    def wait_until(self, is_so):
        end = time.monotonic() + WAIT_S
        while not is_so():
            assert self._process.poll() is None, self.errors
            assert time.monotonic() < end, f"it did not come about in time: {self.errors}"
            time.sleep(0.1)

    def ended(self):
        """What a session that is told to end says."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(WAIT_S)
        assert self._process.returncode == 0, self.errors
        told = json.loads(self._out.read_text())
        assert told["failure"] == "", self.errors
        return told

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Desk:
    """An exchange, a lake that knows its perpetual, BigQuery, and the command over them."""

    def __init__(self, folder, exchange, cloud, writes):
        self.folder, self.exchange, self.cloud, self.writes = folder, exchange, cloud, writes
        self.lake = Lake(LocalObjectStore(folder / "lake"))
        self.settings = folder / "settings.yaml"
        self.spool = folder / "spool"
        self.said = []
        self._sessions = []

    def prepare(self, programs):
        self.spool.mkdir()
        (self.spool / "programs").symlink_to(programs)
        settings = {
            "LAKE_ROOT": str(self.folder / "lake"),
            "STREAMING_SPOOL_FOLDER": str(self.spool),
            "STREAMING_BIGQUERY_DATASET": "live",
            "STREAMING_BIGQUERY_ENDPOINT": self.writes.endpoint,
            "BIGQUERY_ENDPOINT": self.cloud.endpoint,
            "GCP_PROJECT_ID": "tests-project",
        }
        self.settings.write_text(yaml.safe_dump(settings))
        row = dict.fromkeys(INSTRUMENTS_TABLE.names) | {
            "date": dt.date(2024, 8, 8),
            "instrument_key": KEY,
            "venue": "deribit",
            "instrument_type": "PERPETUAL",
            "symbol": "BTC-USD",
            "tardis_symbol": SYMBOL,
            "exchange_raw_symbol": SYMBOL,
            "available_from": dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
            "data_types": ["trades", "book_snapshot_5"],
            "base_asset": "BTC",
            "quote_asset": "USD",
            "settle_asset": "USD",
            "is_inverse": False,
            "is_quanto": False,
            "amount_unit": "base",
            "contract_size": 1.0,
            "tick_size": 0.5,
            "terms_source": "venue_rule",
            "is_simulated": False,
        }
        frame = pl.DataFrame([row], schema=INSTRUMENTS_TABLE.polars_schema)
        item = InstrumentsFile(dt.date(2024, 8, 8), VenueId.DERIBIT)
        self.lake.write_table(item, frame, INSTRUMENTS_TABLE)

    def start(self, command, *options):
        # A variable of whoever runs the tests would go before the file.
        kept = {
            name: text
            for name, text in os.environ.items()
            if "COV" not in name and name not in SETTINGS
        }
        words = [
            *(sys.executable, "-m", "tickhandler_dagster", command, "--symbol", SYMBOL),
            *("--venues", "deribit", "--data-types", "trades,book_snapshot_5"),
            *("--config-file", str(self.settings), "--json", "--no-dagster", *options),
        ]
        environment = kept | {"WSS_URL_DERIBIT": self.exchange.url}
        self._sessions.append(Session(words, self.folder, len(self._sessions), environment))
        return self._sessions[-1]

    def connected(self, session, connections):
        """Wait until so many connections have ever been made."""
        session.wait_until(lambda: len(self.exchange.channels) >= connections)

    def heard(self, session):
        """Wait until the sidecar has written down the last trade: nothing is on its way."""
        last = f",{self.said[-1]['id']},"
        folder = self.spool / "deribit" / DataType.TRADES
        session.wait_until(lambda: any(last in one.read_text() for one in folder.glob("*.csv")))

    def say(self, count):
        """Trades, each after a new book."""
        for _ in range(count):
            number = len(self.said)
            now_ms = time.time_ns() // 1_000_000
            trade = {"id": f"t{number}", "price": 60_000 + number / 2, "amount": 10.0 + number}
            book = deribit_book(SYMBOL, now_ms, [(59_999.5, 5 + number)], [(60_001.0, 7)])
            full = {**trade, "direction": "buy", "timestamp": now_ms}
            self.exchange.say(book, deribit_trades(SYMBOL, [full]))
            self.said.append(trade)

    def close(self):
        for session in self._sessions:
            session.close()


@pytest.fixture
def desk(tmp_path, sidecar, bigquery):
    from doubles.bigquery_write import BigQueryWriteStandIn  # noqa: PLC0415  (slow import)

    with contextlib.ExitStack() as stack:
        exchange = MockExchange()
        exchange.start()
        stack.callback(exchange.stop)
        writes = BigQueryWriteStandIn().start()
        stack.callback(writes.stop)
        made = Desk(tmp_path, exchange, bigquery, writes)
        stack.callback(made.close)
        made.prepare(sidecar.script.parent.parent)
        yield made


def test_ticks_in_bigquery_are_what_the_exchange_said_over_a_lost_connection(desk):
    session = desk.start("streaming-ticks", "--to", "bigquery")
    desk.connected(session, 1)
    desk.say(40)
    desk.heard(session)
    desk.exchange.disconnect()
    desk.connected(session, 2)
    desk.say(60)
    desk.heard(session)
    # Rows wait for a minute to be many in a request; at the end nothing waits.
    told = session.ended()
    rows = desk.writes.rows(f"tests-project.{TRADES}")
    assert rows.select("id", "price", "amount").to_dicts() == desk.said
    assert set(rows["instrument_key"]) == {KEY}
    assert rows["sequence"].n_unique() == rows.height == told["ticks_stored"]["deribit trades"]
    books = desk.writes.rows(f"tests-project.{BOOKS}")
    assert books.height == told["ticks_stored"]["deribit book_snapshot_5"] == 100
    tables = {item.table_id for item in desk.cloud.client().list_tables("live")}
    assert tables == {"ticks_trades", "ticks_book_snapshot_5"}


def test_ticks_in_the_lake_are_the_same_after_a_second_session(desk):
    for count in (30, 50):
        before = len(desk.exchange.channels)
        session = desk.start("streaming-ticks")
        desk.connected(session, before + 1)
        desk.say(count)
        desk.heard(session)
        assert session.ended()["ticks_stored"]["deribit trades"] == count
    files = sorted(Path(desk.folder, "lake", "live_ticks").rglob("*.parquet"))
    found = pl.concat(
        [pl.read_parquet(one) for one in files if f"data_type-{DataType.TRADES}" in str(one)]
    )
    assert found.sort("sequence").select("id", "price", "amount").to_dicts() == desk.said


def lose_inside_a_bar(desk, session, go_on):
    """Lose the connection and have it again inside one bar of 15 s; when that bar opened.

    On a machine that is too busy for one bar it is tried in the next.
    """
    opened = []

    def is_done():
        go_on()
        second = time.time() % BAR_S
        if not 2 <= second <= 6:
            return False
        first = time.time() // BAR_S
        connections = len(desk.exchange.channels)
        desk.exchange.disconnect()
        desk.connected(session, connections + 1)
        opened.append(dt.datetime.fromtimestamp(first * BAR_S, dt.UTC))
        return time.time() // BAR_S == first

    session.wait_until(is_done)
    return opened[-1]


def test_bars_reach_bigquery_with_the_hole_of_a_lost_connection_and_a_view_of_them(desk):
    session = desk.start("streaming-candles", "--to", "bigquery", "--timeframes", "15s")
    desk.connected(session, 1)
    name = "tests-project.live.candles_15s"

    def go_on():
        desk.say(3)
        time.sleep(0.3)
        return desk.writes.rows(name)

    at = lose_inside_a_bar(desk, session, go_on)

    def is_complete():
        rows = go_on()
        return rows.width > 0 and "complete" in set(rows.filter(ts_open=at)["stage"])

    session.wait_until(is_complete)
    session.ended()
    rows = desk.writes.rows(name)
    key = ["instrument_key", "timeframe", "ts_open", "revision"]
    assert rows.select(key).is_duplicated().sum() == 0
    assert set(rows["instrument_key"]) == {KEY}
    assert {"provisional", "complete"} <= set(rows["stage"])
    assert (rows.filter(ts_open=at)["gap_ms"] > 0).all()
    assert set(rows.columns) == set(live_candle_table(Timeframe.S15).table.names)
    views = {item.table_id for item in desk.cloud.client().list_tables("live")}
    assert views == {"candles_15s", "candles_15s_latest"}
