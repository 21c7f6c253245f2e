"""Ticks reach the lake and BigQuery once each, whatever breaks."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from doubles.tick_sink_processes import small_sink
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters.spool import SPOOL_START, SpoolPosition
from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_retention import SpoolCursors
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, PermanentError, StorageUnavailable
from tickhandler_dagster.market.live.live_files import DeadLettersFile, LiveTicksFile
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES
from tickhandler_dagster.market.paths import parse_path
from tickhandler_dagster.market.schema_check import pandera_schema
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.sinks.cursor import CursorFile, SinkCursor
from tickhandler_dagster.streaming.sinks.tick_sink import TickSink, TickStream, pause_after
from tickhandler_dagster.streaming.sinks.tick_sinks import TickSinks, cursor_path
from tickhandler_dagster.streaming.sinks.tick_target import (
    Delivered,
    DeliveryPolicy,
    LakeTickTarget,
)

STREAM = TickStream(VenueId.BINANCE, DataType.TRADES)
KEYS = {"btcusdt": "BINANCE:SPOT_PAIR:BTC-USDT"}
EAGER = DeliveryPolicy(seconds=0.0, rows=100, bytes=10**9)
DAY = dt.date(2024, 8, 8)


class HandClock:
    def __init__(self):
        self.us = 0

    def now_us(self):
        return self.us

    def elapsed_us(self):
        return self.us


def lake_ticks(lake):
    frames = [
        lake.read_table(item)
        for path in lake.store.list("live_ticks/")
        if isinstance(item := parse_path(path), LiveTicksFile)
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


@pytest.fixture(params=["lake", "bigquery"])
def place(request, lake, cloud):
    """A target, and what it holds."""
    if request.param == "lake":
        return LakeTickTarget(lake, EAGER), lambda: lake_ticks(lake)
    return cloud.ticks(), cloud.rows


def sink_of(spool, target, *, clock=None, policy=None, name="ticks"):
    return TickSink(
        STREAM,
        SpoolReader(spool.root, batch_bytes=3000),
        target,
        CursorFile(cursor_path(spool.root, name, STREAM)),
        keys=lambda: KEYS,
        clock=clock or HandClock(),
        policy=policy,
    )


def ids(rows):
    return sorted(int(text) for text in rows["id"])


def test_every_tick_is_there_once_numbered_and_under_its_key(spool, place, make_trades):
    target, held = place
    rows = make_trades(950)
    spool.add(rows)
    assert sink_of(spool, target).step(is_last=True) == 950
    found = held().sort("sequence")
    first = int(rows["local_timestamp"].to_physical()[0])
    assert found["sequence"].to_list() == list(range(first, first + 950))
    assert ids(found) == list(range(950))
    assert found["instrument_key"].null_count() == 317  # the universe does not know newusdt
    assert set(found["instrument_key"].drop_nulls()) == set(KEYS.values())
    names = rows.columns
    assert found.select(names).cast(dict(rows.schema)).equals(rows)


def test_a_sink_goes_on_where_the_one_before_it_ended(spool, place, make_trades):
    target, held = place
    for part in range(5):
        first = part * 130
        spool.add(make_trades(130, first=first, at=f"2024-08-08T1{part}:00:00"))
        sink_of(spool, target).step(is_last=True)
        assert ids(held()) == list(range(first + 130))


def test_rows_wait_until_they_are_old_or_many(spool, place, make_trades):
    target, held = place
    clock = HandClock()
    policy = DeliveryPolicy(seconds=60.0, rows=500, bytes=10**9)
    sink = sink_of(spool, target, clock=clock, policy=policy)
    assert sink.step() == 0
    spool.add(make_trades(50))
    assert sink.step() == 0
    assert sink.status.waiting == 50
    clock.us += 59_999_999
    assert sink.step() == 0
    clock.us += 1
    assert sink.step() == 50
    spool.add(make_trades(700, first=50, at="2024-08-08T11:00:00"))
    assert sink.step() >= 500
    assert ids(held())[:550] == list(range(550))


def test_the_place_in_the_spool_never_passes_a_row_that_is_not_delivered(spool, place, make_trades):
    target, held = place
    spool.add(make_trades(400))
    policy = DeliveryPolicy(seconds=60.0, rows=33, bytes=10**9)
    sink = sink_of(spool, target, policy=policy)
    assert sink.position == SPOOL_START
    sink.step()
    before, _ = _rows_up_to(spool, sink.position)
    assert before <= held().height < 400


def _rows_up_to(spool, position):
    """Rows of the spool before a position."""
    rows, place = 0, SPOOL_START
    reader = SpoolReader(spool.root, batch_bytes=3000)
    while place < position:
        frame, place = reader.tail(STREAM.venue, STREAM.data_type, place)
        rows += frame.height
    return rows, place


@pytest.mark.parametrize("target", ["-", "bigquery"])
def test_killed_at_twenty_moments_no_tick_is_lost_and_none_is_twice(
    target, spool, cloud, tmp_path, make_trades
):
    spool.add(make_trades(4000, step_ms=20))
    endpoint = "-" if target == "-" else cloud.api.endpoint
    arguments = [str(spool.root), str(tmp_path / "lake"), endpoint]
    moments = random.Random(7)
    kills = []
    with subprocess.Popen(
        [sys.executable, "-m", "doubles.tick_sink_processes", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as nursery:
        for _ in range(20):
            print(moments.uniform(0.005, 0.15), file=nursery.stdin, flush=True)
            kills.append(nursery.stdout.readline().strip())
        print(60, file=nursery.stdin, flush=True)
        assert nursery.stdout.readline() == "done\n"
        nursery.stdin.close()
    assert kills.count("killed") >= 10
    found = lake_ticks(cloud.lake) if target == "-" else cloud.rows()
    assert ids(found) == list(range(4000))
    assert found["sequence"].n_unique() == 4000
    assert found["sequence"].max() - found["sequence"].min() == 3999


FAULTS = ("unavailable", "drop", "internal", "full", None)
stories = st.tuples(
    st.lists(st.sampled_from(FAULTS), max_size=12),
    st.integers(1, 97),
    st.lists(st.booleans(), min_size=12, max_size=12),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=stories)
def test_faults_restarts_and_cuts_never_lose_or_repeat(make_spool, cloud, make_trades, story):
    faults, cut, restarts = story
    spool = make_spool()
    spool.add(make_trades(300))
    cloud.api.streams.clear()
    cloud.api.faults = list(faults)
    policy = DeliveryPolicy(seconds=0.0, rows=cut, bytes=10**9)
    target = cloud.ticks(policy)
    sink = sink_of(spool, target)
    for restart in restarts * 2:
        try:
            sink.step(is_last=True)
        except StorageUnavailable:
            if restart:
                sink = sink_of(spool, target)
    sink.step(is_last=True)
    assert ids(cloud.rows()) == list(range(300))


def test_rows_that_bigquery_refuses_are_kept_with_its_words(spool, cloud, make_trades):
    spool.add(make_trades(100))
    cloud.api.refuse = lambda row: row["id"] in {"7", "70"}
    cloud.api.faults = [None, None, "drop"]  # stream, refusal, and the answer to the rest is lost
    target = cloud.ticks()
    sink = sink_of(spool, target)
    with pytest.raises(StorageUnavailable):
        sink.step(is_last=True)
    sink = sink_of(spool, target)
    sink.step(is_last=True)
    assert (sink.status.rows, sink.status.dead) == (98, 2)
    assert ids(cloud.rows()) == [i for i in range(100) if i not in {7, 70}]
    (path,) = cloud.lake.store.list("dead_letters/")
    item = parse_path(path)
    assert item == DeadLettersFile("ticks_trades", DAY, VenueId.BINANCE, item.sequence)
    letters = cloud.lake.read_table(item)
    assert set(letters["reason"]) == {"cannot be taken"}
    assert '"id":"70"' in letters["row"][1]
    assert letters["sequence"].to_list() == [item.sequence + 7, item.sequence + 70]


def test_a_delivery_of_refused_rows_alone_is_passed(spool, cloud, make_trades):
    spool.add(make_trades(30))
    cloud.api.refuse = lambda row: int(row["id"]) < 20
    policy = DeliveryPolicy(seconds=0.0, rows=10, bytes=10**9)
    sink = sink_of(spool, cloud.ticks(policy))
    assert sink.step(is_last=True) == 30
    assert ids(cloud.rows()) == list(range(20, 30))


@pytest.mark.parametrize("sizes", [(10**6, 3000), (3000, 10**6)])
def test_a_delivery_that_ended_within_a_read_is_gone_on_with_by_reads_of_another_size(
    spool, cloud, make_trades, sizes
):
    spool.add(make_trades(500))
    cursor = CursorFile(cursor_path(spool.root, "ticks", STREAM))
    for size in sizes:
        sink = TickSink(
            STREAM,
            SpoolReader(spool.root, batch_bytes=size),
            cloud.ticks(DeliveryPolicy(seconds=10**6, rows=180, bytes=10**9)),
            cursor,
            keys=lambda: KEYS,
            clock=HandClock(),
        )
        cloud.api.faults = [None] * (size == sizes[0]) + [None, "unavailable"]
        with pytest.raises(StorageUnavailable):
            sink.step(is_last=True)
    sink_of(spool, cloud.ticks()).step(is_last=True)
    assert ids(cloud.rows()) == list(range(500))


def test_a_delivery_that_was_begun_is_tried_with_its_rows_though_more_have_come(
    spool, cloud, make_trades
):
    spool.add(make_trades(10))
    cloud.api.faults = [None, "drop"]
    with pytest.raises(StorageUnavailable):
        sink_of(spool, cloud.ticks()).step(is_last=True)
    spool.add(make_trades(50, first=10, at="2024-08-08T11:00:00"))
    assert sink_of(spool, cloud.ticks()).step(is_last=True) == 60
    assert ids(cloud.rows()) == list(range(60))
    assert [rows for _, _, rows in cloud.api.requests] == [10, 10, 50]


class ShortSpool:
    """Two reads: rows, and a segment that holds none."""

    def __init__(self, rows):
        places = [SpoolPosition(f"{i:016d}-a.csv", 1) for i in range(2)]
        self.places = places
        self._reads = {
            SPOOL_START: (rows, places[0]),
            places[0]: (rows.clear(), places[1]),
            places[1]: (rows.clear(), places[1]),
        }

    def tail(self, _venue, _data_type, position):
        return self._reads[position]


@pytest.mark.parametrize("count", [0, 12])
def test_segments_without_rows_are_passed(tmp_path, make_trades, count):
    spool = ShortSpool(make_trades(12).head(count))
    target = Moody(failures=0)
    cursor = CursorFile(tmp_path / "c.json")
    sink = TickSink(STREAM, spool, target, cursor, keys=dict, clock=HandClock())
    assert sink.step(is_last=True) == count
    assert sink.position == spool.places[1]


def test_a_connection_that_ends_is_opened_anew(spool, cloud, make_trades):
    spool.add(make_trades(5))
    cloud.api.faults = [None, "end"]
    sink = sink_of(spool, cloud.ticks())
    with pytest.raises(StorageUnavailable):
        sink.step(is_last=True)
    assert sink.step(is_last=True) == 5
    assert cloud.api.connections == 2


def test_a_table_that_is_not_there_is_said(spool, cloud, make_trades):
    spool.add(make_trades(5))
    cloud.api.tables = {}
    sink = sink_of(spool, cloud.ticks())
    sink.run(threading.Event())
    assert "there is no such table" in sink.status.failure


def test_a_stream_that_cannot_be_made_now_is_made_later(spool, cloud, make_trades):
    spool.add(make_trades(5))
    cloud.api.faults = ["unavailable"]
    sink = sink_of(spool, cloud.ticks())
    with pytest.raises(StorageUnavailable):
        sink.step(is_last=True)
    assert sink.step(is_last=True) == 5


def test_a_new_day_has_a_stream_of_its_own(spool, cloud, make_trades):
    spool.add(make_trades(20, at="2024-08-08T23:59:50"))
    target = cloud.ticks()
    sink_of(spool, target).step(is_last=True)
    spool.add(make_trades(20, first=20, at="2024-08-09T00:00:05"))
    sink_of(spool, target).step(is_last=True)
    assert [stream["rows"] for stream in cloud.api.streams.values()] == [20, 20]
    assert [stream["open"] for stream in cloud.api.streams.values()] == [False, True]
    cloud.api.streams.clear()  # what the service has forgotten cannot be closed, and need not be
    spool.add(make_trades(20, first=40, at="2024-08-10T00:00:05"))
    sink_of(spool, cloud.ticks()).step(is_last=True)
    assert ids(cloud.rows()) == list(range(40, 60))


def test_a_forgotten_stream_is_replaced_and_said(spool, cloud, make_trades, caplog):
    spool.add(make_trades(50))
    target = cloud.ticks()
    sink_of(spool, target).step(is_last=True)
    spool.add(make_trades(50, first=50, at="2024-08-08T11:00:00"))
    cloud.api.faults = ["gone"]
    sink_of(spool, target).step(is_last=True)
    assert ids(cloud.rows()) == list(range(100))
    assert "forgot the stream of ticks_trades" in caplog.text


def test_requests_stay_below_their_limit_on_one_connection(spool, cloud, make_trades):
    spool.add(make_trades(3000))
    policy = DeliveryPolicy(seconds=0.0, rows=10**6, bytes=10**9)
    target = cloud.ticks(policy, request_bytes=40_000)
    sink_of(spool, target).step(is_last=True)
    sizes = [rows for _, _, rows in cloud.api.requests]
    assert sum(sizes) == 3000
    assert max(sizes) < 700
    assert cloud.api.connections == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("schema", "differ in their columns"),
        ("denied", "roles/bigquery.dataEditor"),
        ("ahead", "fewer rows than were confirmed"),
    ],
)
def test_what_no_try_can_help_stops_the_sink_with_a_sentence(
    spool, cloud, make_trades, fault, words
):
    spool.add(make_trades(10))
    cloud.api.faults = [None, fault]
    sink = sink_of(spool, cloud.ticks())
    sink.run(threading.Event(), pause_s=0.01)
    assert words in sink.status.failure
    again = sink_of(spool, cloud.ticks())
    cloud.api.faults = [fault]
    with pytest.raises(PermanentError):
        again.step(is_last=True)
    again.step(is_last=True)  # and nothing was lost by it
    assert ids(cloud.rows()) == list(range(10))


def test_an_answer_that_never_comes_is_given_up_and_asked_again(spool, cloud, make_trades):
    cloud.writer = cloud.new_writer(timeout_s=0.3)
    spool.add(make_trades(10))
    cloud.api.faults = [None, "hang"]
    sink = sink_of(spool, cloud.ticks())
    with pytest.raises(StorageUnavailable, match="no answer in time"):
        sink.step(is_last=True)
    sink.step(is_last=True)
    assert ids(cloud.rows()) == list(range(10))


class Moody:
    """A target that cannot for a while."""

    policy = EAGER

    def __init__(self, failures):
        self.failures = failures
        self.rows = []

    def fit(self, rows, _):
        return rows.height

    def deliver(self, delivery, state, _):
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("x", "not now", remedy="Wait", retry_after_s=0.001)
        self.rows += delivery.rows["id"].to_list()
        return Delivered(delivery.rows.height, 0, state)

    def close(self):
        self.rows.append("closed")


def test_a_running_sink_tries_on_and_delivers_the_rest_when_it_is_stopped(spool, make_trades):
    spool.add(make_trades(25))
    target = Moody(failures=3)
    sink = sink_of(spool, target, policy=DeliveryPolicy(seconds=0.0, rows=10, bytes=10**9))
    stop = threading.Event()
    seen = []

    def after():
        seen.append(sink.position)
        stop.set()

    sink.run(stop, pause_s=0.001, after=after)
    assert target.rows == [str(i) for i in range(25)] + ["closed"]
    assert sink.status.tries_failed == 3
    assert seen


def test_a_sink_that_is_stopped_while_its_target_fails_leaves_the_rows_to_the_spool(
    spool, make_trades
):
    spool.add(make_trades(5))
    stop = threading.Event()
    stop.set()
    broken = Moody(failures=99)
    sink_of(spool, broken).run(stop)
    healed = Moody(failures=0)
    sink_of(spool, healed).step(is_last=True)
    assert broken.rows == ["closed"]
    assert healed.rows == [str(i) for i in range(5)]


def test_pauses_double_up_to_a_minute():
    assert 1.0 <= pause_after(1) <= 1.5
    assert 4.0 <= pause_after(3) <= 6.0
    assert 60.0 <= pause_after(20) <= 90.0
    assert 5.0 <= pause_after(1, 5.0) <= 7.5


def test_sinks_of_a_spool_run_together_and_say_what_it_may_forget(spool, lake, make_trades):
    spool.add(make_trades(200))
    sinks = TickSinks(
        spool.root,
        [STREAM, TickStream(VenueId.BINANCE, DataType.LIQUIDATIONS)],
        name="ticks-lake",
        make_target=lambda: LakeTickTarget(lake, EAGER),
        keys=lambda _: KEYS,
        clock=HandClock(),
    )
    sinks.start()
    cursors = SpoolCursors(spool.root)
    assert set(cursors.read("ticks-lake")) == {
        (VenueId.BINANCE, DataType.TRADES),
        (VenueId.BINANCE, DataType.LIQUIDATIONS),
    }
    assert sinks.stop()
    assert sinks.statuses[STREAM].rows == 200
    assert ids(lake_ticks(lake)) == list(range(200))
    end = SpoolReader(spool.root).end(*vars_of(STREAM))
    assert cursors.read("ticks-lake")[VenueId.BINANCE, DataType.TRADES] == end


def vars_of(stream):
    return stream.venue, stream.data_type


def test_a_cursor_reads_back_and_anything_else_is_refused(tmp_path):
    file = CursorFile(tmp_path / "deep" / "c.json")
    assert file.read() == SinkCursor()
    cursor = SinkCursor(
        position=SpoolPosition("1723075200000000-a.csv", 70),
        skip=3,
        sequence=12,
        pending=7,
        target={"stream": "s", "refused": {"3": "bad"}},
    )
    file.write(cursor)
    assert file.read() == cursor
    for text in ("{", '{"position": [1]}', '{"position": ["", 0]}', "[1]"):
        (tmp_path / "deep" / "c.json").write_text(text)
        with pytest.raises(CorruptData, match=r"cursor|position"):
            file.read()


def test_files_of_ticks_are_those_of_their_hour_and_keep_the_schema(spool, lake, make_trades):
    spool.add(make_trades(200))  # from 09:59:50 on, ten a second
    sink_of(spool, LakeTickTarget(lake), policy=EAGER).step(is_last=True)
    items = [parse_path(path) for path in lake.store.list("live_ticks/")]
    assert {item.hour for item in items} == {"09", "10"}
    for item in items:
        frame = lake.read_table(item)
        assert set(frame["local_timestamp"].dt.hour()) == {int(item.hour)}
        assert frame["sequence"][0] == item.sequence
        pandera_schema(LIVE_TICK_TABLES[DataType.TRADES]).validate(frame)


def test_option_summaries_are_ticks_like_others(spool, lake):
    moment = dt.datetime(2024, 8, 8, 10, tzinfo=dt.UTC)
    row = {
        "symbol": "BTC-27DEC24-60000-P",
        "timestamp": moment,
        "local_timestamp": moment + dt.timedelta(milliseconds=5),
        "type": "put",
        "strike_price": 60_000.0,
        "expiration": dt.datetime(2024, 12, 27, 8, tzinfo=dt.UTC),
        "mark_iv": 52.4,
    }
    rows = pl.DataFrame([row], schema=empty_rows(DataType.OPTIONS_CHAIN).schema)
    with SpoolWriter(spool.root) as writer:
        writer.append(VenueId.DERIBIT, DataType.OPTIONS_CHAIN, rows)
    stream = TickStream(VenueId.DERIBIT, DataType.OPTIONS_CHAIN)
    sink = TickSink(
        stream,
        SpoolReader(spool.root),
        LakeTickTarget(lake),
        CursorFile(cursor_path(spool.root, "ticks", stream)),
        keys=lambda: {row["symbol"]: "DERIBIT:OPTION:BTC-USD-20241227-60000-P"},
        clock=HandClock(),
    )
    assert sink.step(is_last=True) == 1
    found = lake_ticks(lake)
    assert found["instrument_key"].to_list() == ["DERIBIT:OPTION:BTC-USD-20241227-60000-P"]
    assert found.select(rows.columns).equals(rows)
    pandera_schema(LIVE_TICK_TABLES[DataType.OPTIONS_CHAIN]).validate(found)


def test_the_small_sink_of_the_kill_test_is_a_real_one(spool, lake, tmp_path, make_trades):
    spool.add(make_trades(60))
    small_sink(spool.root, tmp_path / "lake", "-").step(is_last=True)
    assert ids(lake_ticks(lake)) == list(range(60))
