"""Replays: the rows of a recording, in order of arrival, once each, at the pace asked for."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import signal
import subprocess
import sys
import textwrap
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters.spool import SPOOL_START
from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidInput,
    MissingUpstream,
    StorageFull,
)
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind, feed_gaps
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.replay import ReplayFeed, ReplayOptions
from tickhandler_dagster.streaming.replay_sources import recorded_spool, tardis_folder

VENUE, TRADES = VenueId.DERIBIT, DataType.TRADES
START, SECOND = 1_723_075_200_000_000, 1_000_000
FAST = ReplayOptions(speed=None)


def trade(number, at, symbol):
    return f"deribit,{symbol},{at - 5_000},{at},{symbol}{number},buy,60000.5,10\n"


def write_day(folder, symbol, arrivals, day=dt.date(2024, 8, 8)):
    path = folder / f"deribit/trades/{day:%Y/%m/%d}/{symbol}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(trade(number, at, symbol) for number, at in enumerate(arrivals))
    path.write_bytes(gzip.compress((",".join(RAW_TABLES[TRADES].header) + "\n" + rows).encode()))


def spooled(root, data_type=TRADES, venue=VENUE):
    frames, position, reader = [empty_rows(data_type)], SPOOL_START, SpoolReader(root)
    while True:
        frame, after = reader.tail(venue, data_type, position)
        if after == position:
            assert reader.dead_lines == 0
            return pl.concat(frames)
        frames.append(frame)
        position = after


def events_of(root, venue=VENUE):
    return SpoolReader(root).events(venue)[0]


offsets = st.lists(st.integers(0, 40 * SECOND), max_size=30).map(sorted)


@settings(max_examples=15, deadline=None)
@given(symbols=st.dictionaries(st.sampled_from("ABCD"), offsets, min_size=1))
def test_symbols_are_merged_by_arrival_and_no_row_is_lost(tmp_path_factory, symbols):
    folder, root = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("spool")
    for symbol, times in symbols.items():
        write_day(folder, symbol, [START + at for at in times])
    ReplayFeed(tardis_folder(folder), root, options=FAST).run()
    found = spooled(root)
    expected = sorted(
        (START + at, symbol, f"{symbol}{number}")
        for symbol, times in symbols.items()
        for number, at in enumerate(times)
    )
    arrivals = found.get_column("local_timestamp").to_physical()
    assert arrivals.is_sorted()
    assert sorted(zip(arrivals, found["symbol"], found["id"], strict=True)) == expected
    for symbol in symbols:
        ids = found.filter(pl.col("symbol") == symbol)["id"].to_list()
        assert ids == [f"{symbol}{number}" for number in range(len(ids))]


def test_days_follow_each_other_and_a_span_is_played_alone(tmp_path):
    for day in (8, 9):
        date = dt.date(2024, 8, day)
        midnight = START + (day - 8) * 86_400 * SECOND
        write_day(tmp_path / "files", "A", [midnight + 5, midnight + 7 * SECOND], date)
    midnight = START + 86_400 * SECOND
    source = tardis_folder(tmp_path / "files")
    ReplayFeed(source, tmp_path / "all", options=FAST).run()
    assert spooled(tmp_path / "all").height == 4
    options = ReplayOptions(speed=None, start_us=START + 6, end_us=midnight + 6)
    ReplayFeed(source, tmp_path / "some", options=options).run()
    arrivals = spooled(tmp_path / "some")["local_timestamp"].to_physical().to_list()
    assert arrivals == [START + 7 * SECOND, midnight + 5]


@pytest.mark.parametrize("chosen", ["venues", "data_types", "symbols"])
def test_what_is_not_asked_for_is_not_played_and_nothing_at_all_is_an_error(tmp_path, chosen):
    write_day(tmp_path, "A", [START])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.csv.gz").write_bytes(b"")
    with pytest.raises(MissingUpstream, match="nothing to play"):
        tardis_folder(tmp_path, **{chosen: ()})


def test_a_replay_says_that_the_feed_came_up_and_went_down(tmp_path):
    write_day(tmp_path / "files", "A", [START, START + 9 * SECOND])
    ReplayFeed(tardis_folder(tmp_path / "files"), tmp_path / "spool", options=FAST).run()
    up, down = events_of(tmp_path / "spool")
    assert (up.kind, up.at_us) == (FeedEventKind.CONNECTED, START)
    assert (down.kind, down.last_arrival_us) == (FeedEventKind.DISCONNECTED, START + 9 * SECOND)


def test_a_recorded_spool_is_played_with_its_gaps(tmp_path):
    recorded = [
        FeedEvent(kind=FeedEventKind.CONNECTED, venue=VENUE, at_us=START, connection="c"),
        FeedEvent(
            kind=FeedEventKind.DISCONNECTED,
            venue=VENUE,
            at_us=START + 40 * SECOND,
            connection="c",
            symbols=("A",),
            last_arrival_us=START + 30 * SECOND,
        ),
        FeedEvent(
            kind=FeedEventKind.CONNECTED, venue=VENUE, at_us=START + 70 * SECOND, connection="c"
        ),
        FeedEvent(kind=FeedEventKind.HEARTBEAT, venue=VENUE, at_us=START + 900 * SECOND),
    ]
    with SpoolWriter(tmp_path / "one") as writer:
        for number in (*range(31), *range(70, 200)):
            writer.append(VENUE, TRADES, trade(number, START + number * SECOND, "A").encode())
        for event in recorded:
            writer.event(event)
    ReplayFeed(recorded_spool(tmp_path / "one"), tmp_path / "two", options=FAST).run()
    assert_frame_equal(spooled(tmp_path / "two"), spooled(tmp_path / "one"), check_exact=True)
    assert events_of(tmp_path / "two") == recorded
    assert feed_gaps(events_of(tmp_path / "two"))[1].start_us == START + 30 * SECOND


class SteppingClock:
    """Time goes on by a fixed step with each look."""

    def __init__(self, step_us):
        self.step_us = step_us
        self.us = 0

    def now_us(self):
        return START + 10**15 + self.elapsed_us()

    def elapsed_us(self):
        self.us += self.step_us
        return self.us


@pytest.mark.parametrize("speed", [1, 10, 100.0])
def test_rows_are_due_at_the_speed_asked_for(tmp_path, speed):
    write_day(tmp_path / "files", "A", [START + second * SECOND for second in range(40)])
    clock = SteppingClock(int(4 * SECOND / speed))
    feed = ReplayFeed(
        tardis_folder(tmp_path / "files"),
        tmp_path / "spool",
        options=ReplayOptions(speed=speed),
        clock=clock,
    )
    feed.run()
    assert spooled(tmp_path / "spool").height == 40
    assert clock.us * speed == pytest.approx(40 * SECOND, abs=8 * SECOND)


def test_rows_shifted_to_now_arrive_now_with_their_delays_kept(tmp_path):
    write_day(tmp_path / "files", "A", [START, START + 200_000, START + 400_000])
    feed = ReplayFeed(
        tardis_folder(tmp_path / "files"), tmp_path / "spool", options=ReplayOptions(to_now=True)
    )
    before = time.time_ns() // 1000
    feed.start()
    while feed.is_alive:
        time.sleep(0.01)
    after = time.time_ns() // 1000
    feed.stop()
    assert feed.failure is None
    rows = spooled(tmp_path / "spool")
    local = rows["local_timestamp"].to_physical()
    assert before <= local[0] <= after
    assert local.diff().to_list() == [None, 200_000, 200_000]
    assert (local - rows["timestamp"].to_physical()).to_list() == [5_000] * 3
    assert after >= local[2]
    assert events_of(tmp_path / "spool")[0].at_us == local[0]


@pytest.mark.parametrize(
    "options",
    [
        ReplayOptions(speed=0),
        ReplayOptions(to_now=True, speed=10),
        ReplayOptions(to_now=True, speed=None),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options):
    write_day(tmp_path, "A", [START])
    with pytest.raises(InvalidInput, match="speed"):
        ReplayFeed(tardis_folder(tmp_path), tmp_path / "spool", options=options)


def test_a_stopped_replay_says_so_and_the_next_goes_on_with_the_next_row(tmp_path):
    write_day(tmp_path / "files", "A", [START + number * 50_000 for number in range(40)])
    source = tardis_folder(tmp_path / "files")
    feed = ReplayFeed(source, tmp_path / "spool", options=ReplayOptions(speed=1))
    feed.start()
    while spooled(tmp_path / "spool").height < 3:
        time.sleep(0.01)
    feed.stop()
    assert not feed.is_alive
    played = spooled(tmp_path / "spool").height
    assert 3 <= played < 40
    ReplayFeed(source, tmp_path / "spool", options=FAST).run()
    assert spooled(tmp_path / "spool")["id"].to_list() == [f"A{number}" for number in range(40)]
    kinds = [event.kind for event in events_of(tmp_path / "spool")]
    assert kinds == [FeedEventKind.CONNECTED, FeedEventKind.DISCONNECTED] * 2


def test_a_spool_takes_one_replay_only(tmp_path):
    for name in ("one", "two"):
        write_day(tmp_path / name, "A", [START])
    ReplayFeed(tardis_folder(tmp_path / "one"), tmp_path / "spool", options=FAST).run()
    with pytest.raises(InvalidInput, match="holds another replay"):
        ReplayFeed(tardis_folder(tmp_path / "two"), tmp_path / "spool", options=FAST).run()


def test_a_state_that_cannot_be_read_is_named(tmp_path):
    write_day(tmp_path / "files", "A", [START])
    (tmp_path / "spool" / "replay").mkdir(parents=True)
    (tmp_path / "spool" / "replay" / "state.json").write_text('{"source": 1}')
    with pytest.raises(CorruptData, match="its state cannot be read"):
        ReplayFeed(tardis_folder(tmp_path / "files"), tmp_path / "spool", options=FAST).run()


def test_a_full_spool_ends_the_replay_with_a_failure_to_read(tmp_path):
    write_day(tmp_path / "files", "A", [START + number * 61 * SECOND for number in range(100)])
    feed = ReplayFeed(
        tardis_folder(tmp_path / "files"),
        tmp_path / "spool",
        options=ReplayOptions(speed=None, max_bytes=2_000),
    )
    feed.start()
    while feed.is_alive:
        time.sleep(0.01)
    assert isinstance(feed.failure, StorageFull)
    assert events_of(tmp_path / "spool")[-1].kind is FeedEventKind.DISCONNECTED


KILLED = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tickhandler_dagster.streaming.replay import ReplayFeed, ReplayOptions
    from tickhandler_dagster.streaming.replay_sources import tardis_folder
    folder, root, speed = sys.argv[1:]
    options = ReplayOptions(speed=float(speed))
    ReplayFeed(tardis_folder(Path(folder)), Path(root), options=options).run()
    """
)


def test_a_replay_killed_anywhere_and_started_again_plays_each_row_once(tmp_path):
    for symbol in "AB":
        write_day(tmp_path / "files", symbol, [START + number * 20_000 for number in range(6_000)])
    ReplayFeed(tardis_folder(tmp_path / "files"), tmp_path / "whole", options=FAST).run()
    root = tmp_path / "spool"
    for rows in (1, 3_000, 7_000):
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "files", root, "60"])
        while spooled(root).height < rows and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ReplayFeed(tardis_folder(tmp_path / "files"), root, options=FAST).run()
    assert_frame_equal(spooled(root), spooled(tmp_path / "whole"), check_exact=True)
    assert len(feed_gaps(events_of(root))) == len(feed_gaps(events_of(tmp_path / "whole")))


def test_recorded_files_of_an_exchange_are_played_whole(recorded, tmp_path):
    source = tardis_folder(recorded, symbols={"BTCUSDT"})
    ReplayFeed(source, tmp_path, options=FAST).run()
    for stream in source.streams:
        expected = pl.concat(stream.read(0))
        found = spooled(tmp_path, stream.data_type, stream.venue)
        assert found.height == expected.height > 0
        assert_frame_equal(found, expected, check_exact=True)
