"""The sidecar: the real Node process on the vendor's real mappers, and an exchange on loopback."""

from __future__ import annotations

import datetime as dt
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib import resources

import polars as pl
import pytest
from doubles.mock_exchange import (
    MockExchange,
    binance_trade,
    deribit_book,
    deribit_option,
    deribit_ticker,
    deribit_trades,
)
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters.spool import SPOOL_START, claim
from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidInput,
    MissingUpstream,
    StorageFull,
    VendorUnavailable,
)
from tickhandler_dagster.market.live.feed_events import FeedEventKind, feed_gaps
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.feeds import HostClock
from tickhandler_dagster.streaming.replay import ReplayFeed, ReplayOptions
from tickhandler_dagster.streaming.replay_sources import recorded_spool
from tickhandler_dagster.streaming.sidecar_feed import SidecarFeed
from tickhandler_dagster.streaming.sidecar_plan import Subscription
from tickhandler_dagster.streaming.sidecar_process import read_heartbeat
from tickhandler_dagster.streaming.sidecar_program import (
    SidecarProgram,
    find_program,
    install_sidecar,
)

VENUE = VenueId.DERIBIT
SYMBOL, OPTION = "BTC-PERPETUAL", "BTC-27DEC24-60000-P"
UP, DOWN = FeedEventKind.CONNECTED, FeedEventKind.DISCONNECTED
TRADES_ONLY = Subscription(venue=VENUE, symbols=(SYMBOL,), data_types=(DataType.TRADES,))


@pytest.fixture
def exchange(monkeypatch):
    server = MockExchange()
    server.start()
    for name in ("DERIBIT", "BINANCE_FUTURES"):
        monkeypatch.setenv(f"WSS_URL_{name}", server.url)
    yield server
    server.stop()


@pytest.fixture
def feeds_of():
    """Makes feeds and stops them in the end."""
    made = []

    def make(program, root, wanted=TRADES_ONLY, **options):
        made.append(SidecarFeed(program, wanted, root, **options))
        return made[-1]

    yield make
    for feed in made:
        feed.stop()


@pytest.fixture
def feeds(sidecar, feeds_of):
    return functools.partial(feeds_of, sidecar)


def now_ms():
    return time.time_ns() // 1_000_000


def trade(number, **values):
    row = {"id": f"t{number}", "price": 60_000.5, "amount": 10, "direction": "buy"}
    return {**row, "timestamp": now_ms(), **values}


def say_trades(exchange, numbers):
    exchange.say(*(deribit_trades(SYMBOL, [trade(number)]) for number in numbers))


def spooled(root, data_type=DataType.TRADES, venue=VENUE):
    frames, position, reader = [empty_rows(data_type)], SPOOL_START, SpoolReader(root)
    while True:
        frame, after = reader.tail(venue, data_type, position)
        if after == position:
            assert reader.dead_lines == 0
            return pl.concat(frames)
        frames.append(frame)
        position = after


def events_of(root, *kinds, venue=VENUE):
    reader = SpoolReader(root)
    events, _ = reader.events(venue)
    assert reader.dead_lines == 0
    return [event for event in events if not kinds or event.kind in kinds]


def wait_until(is_so, timeout=40):
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def wait_for_rows(root, count, data_type=DataType.TRADES):
    wait_until(lambda: spooled(root, data_type).height >= count)


def test_rows_in_the_spool_are_what_the_exchange_said(exchange, feeds, tmp_path):
    types = (
        DataType.TRADES,
        DataType.BOOK_SNAPSHOT_5,
        DataType.BOOK_SNAPSHOT_25,
        DataType.DERIVATIVE_TICKER,
        DataType.LIQUIDATIONS,
    )
    wanted = Subscription(venue=VENUE, symbols=(SYMBOL,), data_types=types, options=(OPTION,))
    before = now_ms()
    feeds(tmp_path, wanted).start()
    exchange.wait_for(2)
    at = now_ms()
    exchange.say(
        deribit_trades(
            SYMBOL,
            [
                trade(1, timestamp=at, price=60_000.123456789, amount=1e-7),
                trade(2, timestamp=at + 1, direction="sell", liquidation="T"),
            ],
        ),
        deribit_book(SYMBOL, at + 2, [(60_000.0, 5), (59_999.5, 7)], [(60_001.0, 3)]),
        deribit_book(SYMBOL, at + 3, [(60_000.0, 0)], [(60_002.0, 4)], is_snapshot=False),
        deribit_ticker(SYMBOL, at + 4, current_funding=0.0001),
        deribit_option(OPTION, at + 5),
    )
    wait_for_rows(tmp_path, 1, DataType.OPTIONS_CHAIN)
    wait_for_rows(tmp_path, 2, DataType.BOOK_SNAPSHOT_25)
    after = now_ms()

    trades = spooled(tmp_path)
    assert trades.select("symbol", "id", "side", "price", "amount").rows() == [
        (SYMBOL, "t1", "buy", 60_000.123456789, 1e-7),
        (SYMBOL, "t2", "sell", 60_000.5, 10.0),
    ]
    assert trades["timestamp"].to_physical().to_list() == [at * 1000, (at + 1) * 1000]
    local = trades["local_timestamp"].to_physical()
    assert before * 1000 <= local.min() <= local.max() <= after * 1000

    liquidations = spooled(tmp_path, DataType.LIQUIDATIONS)
    assert liquidations.select("id", "side", "price").rows() == [("t2", "sell", 60_000.5)]

    book = spooled(tmp_path, DataType.BOOK_SNAPSHOT_5)
    assert book["timestamp"].to_physical().to_list() == [(at + 2) * 1000, (at + 3) * 1000]
    top = (
        "bid_price_1",
        "bid_volume_1",
        "bid_price_2",
        "ask_price_1",
        "ask_volume_1",
        "ask_price_2",
    )
    assert book.select(top).rows() == [
        (60_000.0, 5.0, 59_999.5, 60_001.0, 3.0, None),
        (59_999.5, 7.0, None, 60_001.0, 3.0, 60_002.0),
    ]
    deep = spooled(tmp_path, DataType.BOOK_SNAPSHOT_25)
    assert_frame_equal(deep.select(book.columns), book)

    (ticker,) = spooled(tmp_path, DataType.DERIVATIVE_TICKER).rows(named=True)
    assert (ticker["funding_rate"], ticker["open_interest"]) == (0.0001, 1_234_560)
    assert (ticker["index_price"], ticker["mark_price"]) == (60_010.5, 60_020.25)
    assert ticker["funding_timestamp"] is None

    (option,) = spooled(tmp_path, DataType.OPTIONS_CHAIN).rows(named=True)
    assert (option["symbol"], option["type"], option["strike_price"]) == (OPTION, "put", 60_000)
    assert option["expiration"] == dt.datetime(2024, 12, 27, 8, tzinfo=dt.UTC)
    assert (option["bid_price"], option["ask_iv"], option["gamma"]) == (0.0105, 53.1, 1e-7)
    assert (option["underlying_index"], option["last_price"]) == ("BTC-27DEC24", None)


def test_rows_faster_than_they_can_be_read_do_not_keep_the_others_from_the_disk(
    exchange, feeds, tmp_path
):
    feeds(tmp_path).start()
    exchange.wait_for(1)
    many = 400_000
    exchange.flood(deribit_trades(SYMBOL, [trade(1)]), many)
    while_rows_pour_in = []

    def has_beaten():
        beat = read_heartbeat(tmp_path / VENUE)
        if beat is not None and 0 < beat.rows < many:
            while_rows_pour_in.append((beat.rows, spooled_lines(tmp_path)))
        return beat is not None and beat.rows >= many

    wait_until(has_beaten, timeout=120)
    assert while_rows_pour_in, "no sign of life before the last row"
    assert all(written > received - 100_000 for received, written in while_rows_pour_in)
    wait_until(lambda: spooled_lines(tmp_path) == many)


def spooled_lines(root):
    files = (root / VENUE / DataType.TRADES).glob("*.csv")
    return sum(file.read_bytes().count(b"\n") - 1 for file in files)


def test_binance_s_trades_come_in_its_own_words_without_those_off_the_book(
    exchange, feeds, tmp_path
):
    venue = VenueId.BINANCE_FUTURES
    wanted = Subscription(venue=venue, symbols=("BTCUSDT",), data_types=(DataType.TRADES,))
    feeds(tmp_path, wanted).start()
    exchange.wait_for(1)
    at = now_ms()
    exchange.say(
        binance_trade("BTCUSDT", 1, "60000.10", "0.001", at, is_sell=True),
        binance_trade("BTCUSDT", 2, "60000.10", "5.000", at, is_sell=True, kind="INSURANCE_FUND"),
        binance_trade("BTCUSDT", 3, "60000.20", "0.002", at, is_sell=False),
    )
    wait_until(lambda: spooled(tmp_path, venue=venue).height == 2)
    assert spooled(tmp_path, venue=venue).select("id", "side", "price", "amount").rows() == [
        ("1", "sell", 60_000.1, 0.001),
        ("3", "buy", 60_000.2, 0.002),
    ]


def test_symbols_are_spread_over_connections_and_options_have_their_own(exchange, feeds, tmp_path):
    wanted = Subscription(
        venue=VENUE,
        symbols=tuple(f"C{number}-PERPETUAL" for number in range(60)),
        data_types=(DataType.TRADES,),
        options=(OPTION,),
    )
    feeds(tmp_path, wanted).start()
    exchange.wait_for(3)
    assert sorted(len(channels) for channels in exchange.channels) == [1, 10, 50]
    assert [f"ticker.{OPTION}.100ms"] in exchange.channels


@pytest.mark.parametrize("interruption", ["disconnect", "garble"])
def test_a_lost_connection_leaves_a_gap_from_its_last_row_to_the_next(
    exchange, feeds, tmp_path, interruption
):
    feeds(tmp_path).start()
    exchange.wait_for(1)
    say_trades(exchange, range(5))
    wait_for_rows(tmp_path, 5)
    last_us = int(spooled(tmp_path)["local_timestamp"].to_physical()[-1])
    getattr(exchange, interruption)()
    exchange.wait_for(2)
    say_trades(exchange, range(5, 8))
    wait_for_rows(tmp_path, 8)
    wait_until(lambda: len(events_of(tmp_path, UP)) == 2)
    next_us = int(spooled(tmp_path)["local_timestamp"].to_physical()[5])
    gaps = feed_gaps(events_of(tmp_path))
    assert [(gap.start_us, gap.end_us) for gap in gaps[1:]] == [(last_us, next_us)]
    assert gaps[1].touches(DataType.TRADES, SYMBOL)
    assert not gaps[1].touches(DataType.TRADES, "ETH-PERPETUAL")


def test_a_stopped_feed_has_written_all_it_received_and_says_that_it_ended(
    exchange, feeds, tmp_path
):
    feed = feeds(tmp_path)
    feed.start()
    exchange.wait_for(1)
    say_trades(exchange, range(500))
    wait_for_rows(tmp_path, 1)
    feed.stop()
    assert not feed.is_alive
    assert feed.failure is None
    ids = spooled(tmp_path)["id"].to_list()
    assert ids == [f"t{number}" for number in range(len(ids))]
    last_us = int(spooled(tmp_path)["local_timestamp"].to_physical()[-1])
    (down,) = events_of(tmp_path, DOWN)
    assert (down.last_arrival_us, down.text) == (last_us, "the feed was stopped")
    claim(tmp_path, VENUE).close()


def test_a_killed_sidecar_is_started_again_and_leaves_a_gap_and_nothing_torn(
    exchange, feeds, tmp_path
):
    feed = feeds(tmp_path)
    feed.start()
    exchange.wait_for(1)
    said = 0
    for killed in range(1, 4):
        rows = spooled(tmp_path).height
        while spooled(tmp_path).height < rows + 300:
            say_trades(exchange, range(said, said + 200))
            said += 200
        os.kill(feed.pid, signal.SIGKILL)
        exchange.wait_for(killed + 1)
    rows = spooled(tmp_path).height
    say_trades(exchange, range(said, said + 10))
    wait_for_rows(tmp_path, rows + 10)
    wait_until(lambda: len(events_of(tmp_path, UP)) == 4)
    assert feed.restarts == 3
    assert feed.is_alive
    numbers = [int(text[1:]) for text in spooled(tmp_path)["id"]]
    assert numbers == sorted(set(numbers))
    arrivals = spooled(tmp_path)["local_timestamp"].to_physical()
    gaps = feed_gaps(events_of(tmp_path))[1:]
    assert len(gaps) == 3
    for gap in gaps:  # each begins and ends with a row that is there, and holds none
        assert arrivals.is_in([gap.start_us, gap.end_us]).sum() >= 2
        assert not ((arrivals > gap.start_us) & (arrivals < gap.end_us)).any()
    holes = [
        int(arrivals[at]) for at in range(1, len(numbers)) if numbers[at] > numbers[at - 1] + 1
    ]
    assert {at for at in holes if at not in {gap.end_us for gap in gaps}} == set()


def test_rows_beyond_what_memory_may_hold_are_given_up_and_said_to_be_missing(
    exchange, feeds, tmp_path
):
    feeds(tmp_path, buffer_bytes=4_000).start()
    exchange.wait_for(1)
    say_trades(exchange, [0])
    wait_for_rows(tmp_path, 1)
    exchange.say(deribit_trades(SYMBOL, [trade(number) for number in range(1, 2_001)]))
    wait_until(lambda: events_of(tmp_path, FeedEventKind.OVERFLOW))
    say_trades(exchange, [9_999])
    wait_until(lambda: spooled(tmp_path)["id"][-1] == "t9999")
    wait_until(lambda: len(events_of(tmp_path, UP)) == 2)
    ids = spooled(tmp_path)["id"].to_list()
    kept = len(ids) - 1
    assert ids[:-1] == [f"t{number}" for number in range(kept)]
    assert 10 < kept < 100
    (overflow,) = events_of(tmp_path, FeedEventKind.OVERFLOW)
    assert overflow.rows == 2_001 - kept
    gap = feed_gaps(events_of(tmp_path))[1]
    arrivals = spooled(tmp_path)["local_timestamp"].to_physical()
    assert (gap.start_us, gap.end_us) == (arrivals[kept - 1], arrivals[-1])


def test_a_recorded_stretch_played_again_gives_the_same_rows_and_gaps(exchange, feeds, tmp_path):
    feed = feeds(tmp_path / "live")
    feed.start()
    exchange.wait_for(1)
    say_trades(exchange, range(50))
    wait_for_rows(tmp_path / "live", 50)
    exchange.disconnect()
    exchange.wait_for(2)
    say_trades(exchange, range(50, 100))
    wait_for_rows(tmp_path / "live", 100)
    feed.stop()
    source = recorded_spool(tmp_path / "live")
    ReplayFeed(source, tmp_path / "again", options=ReplayOptions(speed=None)).run()
    assert_frame_equal(spooled(tmp_path / "again"), spooled(tmp_path / "live"), check_exact=True)
    again, live = (feed_gaps(events_of(tmp_path / name)) for name in ("again", "live"))
    assert again == live
    assert len(live) == 3


def test_a_full_spool_stops_capture_with_a_sentence_and_goes_on_when_there_is_room(
    exchange, feeds, tmp_path
):
    ballast = tmp_path / "ballast"
    ballast.write_bytes(b"x" * 100_000)
    feed = feeds(tmp_path, max_bytes=100_000)
    feed.start()
    wait_until(lambda: feed.failure is not None)
    assert isinstance(feed.failure, StorageFull)
    assert "its limit is reached, capture stops" in str(feed.failure)
    assert events_of(tmp_path, FeedEventKind.SPOOL_FULL)
    ballast.unlink()
    exchange.wait_for(1)
    say_trades(exchange, range(3))
    wait_for_rows(tmp_path, 3)
    wait_until(lambda: feed.failure is None)


def test_a_type_that_the_library_has_no_feed_of_is_refused_with_a_sentence(feeds, tmp_path):
    wanted = Subscription(
        venue=VenueId.BINANCE, symbols=("BTCUSDT",), data_types=(DataType.LIQUIDATIONS,)
    )
    feed = feeds(tmp_path, wanted)
    feed.start()
    wait_until(lambda: not feed.is_alive)
    assert "binance liquidations: tardis-dev has no live feed of it" in str(feed.failure)


def test_a_second_feed_with_other_symbols_is_refused(exchange, feeds, tmp_path):
    feeds(tmp_path).start()
    other = Subscription(venue=VENUE, symbols=("ETH-PERPETUAL",), data_types=(DataType.TRADES,))
    with pytest.raises(ConcurrentWrite, match="another process writes it"):
        feeds(tmp_path, other).start()


ORPHANED = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from tickhandler_dagster.market.data_types import DataType
    from tickhandler_dagster.market.venues import VenueId
    from tickhandler_dagster.streaming.sidecar_feed import SidecarFeed
    from tickhandler_dagster.streaming.sidecar_plan import Subscription
    from tickhandler_dagster.streaming.sidecar_program import install_sidecar
    root, cache, symbol = sys.argv[1:]
    wanted = Subscription(
        venue=VenueId.DERIBIT, symbols=(symbol,), data_types=(DataType.TRADES,)
    )
    feed = SidecarFeed(install_sidecar(Path(cache)), wanted, Path(root))
    feed.start()
    print(feed.pid, flush=True)
    os.kill(os.getpid(), 9)
    """
)


def test_capture_outlives_a_killed_parent_and_the_next_one_takes_it_over(
    sidecar, exchange, feeds, tmp_path
):
    cache = sidecar.script.parent.parent
    parent = subprocess.run(
        [sys.executable, "-c", ORPHANED, tmp_path, cache, SYMBOL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    pid = int(parent.stdout)
    exchange.wait_for(1)
    say_trades(exchange, range(5))
    wait_for_rows(tmp_path, 5)
    wait_until(lambda: read_heartbeat(tmp_path / VENUE) is not None)
    feed = feeds(tmp_path)
    feed.start()
    assert feed.pid == pid
    say_trades(exchange, range(5, 10))
    wait_for_rows(tmp_path, 10)
    assert len(exchange.channels) == 1
    assert events_of(tmp_path, DOWN) == []
    os.kill(pid, signal.SIGKILL)
    exchange.wait_for(2)
    assert feed.pid != pid
    assert len(events_of(tmp_path, DOWN)) == 1


class JumpingClock(HostClock):
    jump_us = 0

    def now_us(self):
        return super().now_us() + self.jump_us

    def elapsed_us(self):
        return super().elapsed_us() + self.jump_us


def test_a_sidecar_that_hangs_is_killed_and_started_again(exchange, feeds, tmp_path):
    clock = JumpingClock()
    feed = feeds(tmp_path, clock=clock)
    feed.start()
    exchange.wait_for(1)
    say_trades(exchange, range(3))
    wait_for_rows(tmp_path, 3)
    wait_until(lambda: read_heartbeat(tmp_path / VENUE) is not None)
    hung = feed.pid
    os.kill(hung, signal.SIGSTOP)
    clock.jump_us = 31_000_000
    exchange.wait_for(2)
    assert feed.pid != hung
    assert feed.restarts == 1
    assert isinstance(feed.failure, VendorUnavailable)
    assert "the sidecar ended (was exit code -9)" in str(feed.failure)
    assert len(events_of(tmp_path, DOWN)) == 1
    say_trades(exchange, range(3, 5))
    wait_for_rows(tmp_path, 5)
    wait_until(lambda: feed.failure is None)


def test_the_heartbeat_says_what_was_received(exchange, feeds, tmp_path):
    feed = feeds(tmp_path)
    feed.start()
    exchange.wait_for(1)
    say_trades(exchange, range(20))
    wait_until(lambda: (beat := read_heartbeat(tmp_path / VENUE)) is not None and beat.rows == 20)
    beat = read_heartbeat(tmp_path / VENUE)
    assert (beat.pid, beat.cpu_us > 0) == (feed.pid, True)
    wait_until(lambda: events_of(tmp_path, FeedEventKind.HEARTBEAT))


def test_no_heartbeat_can_be_read_from_garbage(tmp_path):
    assert read_heartbeat(tmp_path) is None
    (tmp_path / "heartbeat.json").write_text('{"pid": 1}')
    assert read_heartbeat(tmp_path) is None


def test_a_machine_without_node_is_told_what_to_install(tmp_path):
    with pytest.raises(MissingUpstream, match=r"no-such-node: not found .* Install Node\.js"):
        install_sidecar(tmp_path, node="no-such-node")
    with pytest.raises(MissingUpstream, match="no-such-npm"):
        install_sidecar(tmp_path, node=sys.executable, npm="no-such-npm")
    assert find_program(sys.executable) == sys.executable


BROKEN_NPM = {
    "no such version": "echo one >&2; echo 'no such version' >&2; exit 1",
    "no library": "exit 0",
    "nothing within": "sleep 9",
}


@pytest.mark.parametrize(("said", "script"), BROKEN_NPM.items(), ids=BROKEN_NPM.keys())
def test_a_failed_install_is_no_install_and_says_why(tmp_path, said, script):
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    with pytest.raises(VendorUnavailable, match=said):
        install_sidecar(tmp_path / "cache", node=sys.executable, npm=str(npm), timeout_s=1)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".install.lock"]


LIBRARIES = {
    "not installed beside the sidecar": None,
    "too old for tardis-dev 99.0.0": {"version": "99.0.0", "engines": {"node": ">=99.1"}},
    "(was 14.2.9; expected 14.3.0 or newer)": {"version": "14.2.9", "engines": {"node": ">=12"}},
}


@pytest.mark.parametrize(("said", "library"), LIBRARIES.items(), ids=LIBRARIES.keys())
def test_what_cannot_run_is_refused_before_anything_is_connected(
    tmp_path, sidecar, feeds_of, monkeypatch, *, said, library
):
    monkeypatch.delenv("WSS_URL_BINANCE_FUTURES", raising=False)
    folder = tmp_path / "program"
    (folder / "node_modules" / "tardis-dev").mkdir(parents=True)
    for file in resources.files("tickhandler_dagster.streaming").joinpath("sidecar").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if library is not None:
        manifest = folder / "node_modules" / "tardis-dev" / "package.json"
        manifest.write_text(json.dumps(library))
    wanted = Subscription(
        venue=VenueId.BINANCE_FUTURES, symbols=("BTCUSDT",), data_types=(DataType.TRADES,)
    )
    feed = feeds_of(
        SidecarProgram(sidecar.node, folder / "sidecar.mjs"), tmp_path / "spool", wanted
    )
    feed.start()
    wait_until(lambda: not feed.is_alive)
    assert isinstance(feed.failure, InvalidInput)
    assert said in str(feed.failure)
    assert SpoolReader(tmp_path / "spool").events(VenueId.BINANCE_FUTURES)[0] == []


def test_nothing_asked_for_and_types_without_a_live_feed_are_refused(sidecar, tmp_path):
    with pytest.raises(InvalidInput, match="nothing is asked for"):
        SidecarFeed(sidecar, Subscription(venue=VENUE), tmp_path)
    wanted = Subscription(venue=VENUE, symbols=("A",), data_types=(DataType.QUOTES,))
    with pytest.raises(InvalidInput, match="quotes: no live feed has it"):
        SidecarFeed(sidecar, wanted, tmp_path)


def test_every_file_of_the_sidecar_is_installed(sidecar):
    packaged = resources.files("tickhandler_dagster.streaming").joinpath("sidecar").iterdir()
    assert {file.name for file in packaged} <= {
        file.name for file in sidecar.script.parent.iterdir()
    }


def test_the_packaged_configuration_allows_the_versions_that_were_tested():
    package = json.loads(
        resources.files("tickhandler_dagster.streaming")
        .joinpath("sidecar/package.json")
        .read_text()
    )
    assert package["dependencies"] == {"tardis-dev": "^18.2.0 || ^13.35.3"}
