"""Live bars in the lake and in BigQuery: every publication is there, and each once for a reader."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData, StorageUnavailable
from tickhandler_dagster.market.paths import parse_path
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.live_candles import (
    LiveHour,
    compact_hour,
    live_hours,
    read_live_candles,
    write_live_candles,
)
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.sinks import bigquery_bars, parquet_bars
from tickhandler_dagster.streaming.sinks.bigquery_bars import BigQueryBarSink
from tickhandler_dagster.streaming.sinks.parquet_bars import ParquetBarSink

DAY = dt.date(2024, 8, 8)
CELL = (DAY, Timeframe.S15, VenueId.BINANCE)
HOUR = LiveHour(dt.datetime(2024, 8, 8, 10, tzinfo=dt.UTC), Timeframe.S15, VenueId.BINANCE)
SHOWN = ("instrument_key", "ts_open", "revision")


def batch(frame):
    return [BarBatch(Timeframe.S15, frame)]


def shown(frame):
    return [(key, f"{at:%H:%M:%S}", revision) for key, at, revision in frame.select(SHOWN).rows()]


def names(lake):
    return [parse_path(path).name for path in lake.store.list("live_candles/")]


def test_a_bar_reads_back_by_its_last_word_and_on_request_by_every_one(lake, make_bars):
    sink = ParquetBarSink(lake)
    first = make_bars(("A", "10:00:00", 1, 1), ("B", "10:00:00", 1, 1))
    sink.publish(batch(first))
    assert read_live_candles(lake, *CELL).is_empty()
    sink.flush()
    assert read_live_candles(lake, *CELL).equals(first)
    sink.publish(batch(make_bars(("A", "10:00:00", 2, 31), ("A", "10:00:15", 1, 1))))
    sink.flush()
    assert shown(read_live_candles(lake, *CELL)) == [
        ("A", "10:00:00", 2),
        ("A", "10:00:15", 1),
        ("B", "10:00:00", 1),
    ]
    every = read_live_candles(lake, *CELL, latest_only=False, instrument_keys=["A"])
    assert shown(every) == [("A", "10:00:00", 1), ("A", "10:00:00", 2), ("A", "10:00:15", 1)]
    some = read_live_candles(lake, *CELL, columns=["close", "instrument_key"])
    assert some.columns == ["close", "instrument_key"]
    assert read_live_candles(lake, DAY, Timeframe.M1, VenueId.BINANCE).is_empty()


def test_what_comes_again_after_a_restart_is_there_once(lake, make_bars):
    rows = make_bars(("A", "10:00:00", 1, 1), ("A", "10:00:15", 1, 1))
    again = make_bars(("A", "10:00:00", 1, 9), ("A", "10:00:15", 1, 9))
    for frame in (rows, rows, again):
        sink = ParquetBarSink(lake)
        sink.publish(batch(frame))
        sink.close()
    assert len(names(lake)) == 3
    assert read_live_candles(lake, *CELL, latest_only=False).equals(rows)


publications = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from(["09:59:45", "10:00:00", "10:30:00", "10:59:45", "11:00:00"]),
        st.integers(1, 3),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=publications, cuts=st.lists(st.integers(0, 2), min_size=25, max_size=25))
def test_rounds_and_putting_hours_together_never_change_what_is_read(
    tmp_path_factory, make_bars, rows, cuts
):
    lake = Lake(LocalObjectStore(tmp_path_factory.mktemp("lake")))
    first = {}
    for row, cut in zip(rows, cuts, strict=False):
        write_live_candles(lake, make_bars(row))
        first.setdefault(row[:3], row)
        if cut == 0:
            for hour in live_hours(lake, *CELL):
                compact_hour(lake, hour)
    found = read_live_candles(lake, *CELL, latest_only=False)
    assert set(shown(found)) == set(first)
    assert found.height == len(first)
    latest = read_live_candles(lake, *CELL)
    assert set(shown(latest)) == {
        (key, at, max(r for k, a, r in first if (k, a) == (key, at))) for key, at, _ in first
    }


def test_an_hour_becomes_one_file_when_no_word_on_it_can_come(lake, make_bars):
    sink = ParquetBarSink(lake)
    for opened in ("10:00:00", "10:30:00", "10:59:45", "11:09:30"):
        sink.publish(batch(make_bars(("A", opened, 1, 1))))
        sink.flush()
    sink.publish([])
    sink.flush()
    assert all(name.startswith("part") for name in names(lake))
    sink.publish(batch(make_bars(("A", "11:09:45", 1, 1))))
    sink.close()
    assert [name.partition("_")[0] for name in names(lake)] == ["bars", "part", "part"]
    assert read_live_candles(lake, *CELL).height == 5
    assert live_hours(lake, *CELL) == [
        LiveHour(HOUR.start + dt.timedelta(hours=1), Timeframe.S15, VenueId.BINANCE)
    ]


def test_parts_of_a_process_before_are_put_together_as_well(lake, make_bars):
    write_live_candles(lake, make_bars(("A", "08:00:00", 1, 1)))
    write_live_candles(lake, make_bars(("A", "08:00:15", 1, 1)))
    day_before = make_bars(("A", "23:00:15", 1, 1)).with_columns(
        pl.col("ts_open", "ts_close", "published_at") - dt.timedelta(days=1)
    )
    write_live_candles(lake, day_before)
    sink = ParquetBarSink(lake)
    sink.publish(batch(make_bars(("A", "10:00:00", 1, 1))))
    sink.close()
    assert names(lake)[:2] == ["bars_000001", "bars_000001"]
    assert compact_hour(lake, HOUR) == 1
    assert compact_hour(lake, HOUR) == 0


def test_an_hour_that_cannot_be_put_together_stays_readable_and_is_said(
    lake, make_bars, monkeypatch, caplog
):
    def fail(*_):
        raise CorruptData("x", "broken", remedy="Look")

    monkeypatch.setattr(parquet_bars, "compact_hour", fail)
    sink = ParquetBarSink(lake)
    sink.publish(batch(make_bars(("A", "08:00:00", 1, 1), ("A", "10:00:00", 1, 1))))
    sink.close()
    assert "stay in parts" in caplog.text
    assert read_live_candles(lake, *CELL).height == 2


def test_reading_while_hours_are_put_together_never_lacks_a_bar(lake, make_bars, tmp_path):
    stop = threading.Event()
    wrong, looks = [], []

    def read():
        other = Lake(LocalObjectStore(tmp_path / "lake"))
        while not stop.is_set():
            least = len(written)
            found = read_live_candles(other, *CELL, columns=["instrument_key"]).height
            looks.append(found)
            if found < least:
                wrong.append(found)

    written = [0]
    write_live_candles(lake, make_bars(("A0", "10:00:00", 1, 1)))
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 25):
        write_live_candles(lake, make_bars((f"A{number}", "10:00:00", 1, 1)))
        written.append(number)
        if number % 3 == 0:
            compact_hour(lake, HOUR)
    stop.set()
    reader.join()
    assert not wrong
    assert len(looks) > 5


def test_files_that_keep_going_away_are_said(lake, make_bars, monkeypatch):
    write_live_candles(lake, make_bars(("A", "10:00:00", 1, 1)))
    monkeypatch.setattr(Lake, "read_table", lambda *_, **__: None)
    with pytest.raises(ConcurrentWrite, match="keep going away"):
        read_live_candles(lake, *CELL)


@pytest.mark.parametrize("sink", ["lake", "bigquery"])
def test_too_many_bars_that_nobody_takes_are_refused(sink, lake, cloud, make_bars, monkeypatch):
    made = ParquetBarSink(lake) if sink == "lake" else BigQueryBarSink(cloud.writer, lake)
    for module in (parquet_bars, bigquery_bars):
        monkeypatch.setattr(module, "MOST_WAITING_ROWS", 1)
    made.publish(batch(make_bars(("A", "10:00:00", 1, 1), ("B", "10:00:00", 1, 1))))
    with pytest.raises(StorageUnavailable, match="enough wait in memory"):
        made.publish(batch(make_bars(("A", "10:00:15", 1, 1))))


def test_bars_reach_bigquery_when_they_are_flushed_and_again_when_it_could_not(
    lake, cloud, make_bars
):
    sink = BigQueryBarSink(cloud.writer, lake)
    rows = make_bars(("A", "10:00:00", 1, 1), ("B", "10:00:00", 1, 1))
    sink.publish(batch(rows))
    sink.publish(batch(rows))  # the engine offers them again
    cloud.api.faults = ["unavailable"]
    with pytest.raises(StorageUnavailable):
        sink.flush()
    assert cloud.rows("candles_15s").is_empty()
    sink.close()
    found = cloud.rows("candles_15s")
    assert shown(found) == [("A", "10:00:00", 1), ("B", "10:00:00", 1)]
    assert found.columns == rows.columns
    assert found["published_at"].to_list() == rows["published_at"].to_list()


def test_bars_that_bigquery_refuses_are_kept_with_its_words(lake, cloud, make_bars):
    cloud.api.refuse = lambda row: row["instrument_key"] == "B"
    sink = BigQueryBarSink(cloud.writer, lake, request_bytes=40_000)
    keys = [f"A{i}" for i in range(30)] + ["B"]
    sink.publish(batch(make_bars(*((key, "10:00:00", 1, 1) for key in keys))))
    sink.flush()
    assert sorted(cloud.rows("candles_15s")["instrument_key"]) == sorted(keys[:-1])
    assert len(cloud.api.requests) > 2
    assert sink.refused == 1
    (path,) = lake.store.list("dead_letters/candles_15s/")
    letters = lake.read_table(parse_path(path))
    assert letters["symbol"].to_list() == ["B"]
    assert letters["reason"].to_list() == ["cannot be taken"]


PROCESS = """
import pickle, sys
from pathlib import Path
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.pipeline.live_candles import compact_hour, write_live_candles
frames, hour = pickle.loads(Path(sys.argv[1]).read_bytes())
lake = Lake(LocalObjectStore(Path(sys.argv[2])))
print("ready", flush=True)
for frame in frames:
    write_live_candles(lake, frame)
    compact_hour(lake, hour)
    print("flushed", flush=True)
"""


def test_killed_while_it_writes_and_puts_together_nothing_flushed_is_lost(
    lake, tmp_path, make_bars
):
    frames = [make_bars((f"A{i:02}", "10:00:00", 1, 1)) for i in range(60)]
    file = tmp_path / "frames"
    moments = random.Random(3)
    flushed = 0
    for _ in range(6):
        file.write_bytes(pickle.dumps((frames[flushed:], HOUR)))
        with subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(file), str(tmp_path / "lake")],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "ready\n"
            if not flushed:  # however busy the machine is, something is to be lost
                flushed += process.stdout.readline() == "flushed\n"
            time.sleep(moments.uniform(0.1, 0.8))
            os.kill(process.pid, signal.SIGKILL)
            flushed += process.stdout.read().count("flushed")
        found = read_live_candles(lake, *CELL, latest_only=False)["instrument_key"].to_list()
        assert found[:flushed] == [f"A{i:02}" for i in range(flushed)]
        assert len(found) in {flushed, flushed + 1}
    assert flushed


def test_two_rounds_of_one_moment_have_files_of_their_own(lake, make_bars):
    write_live_candles(lake, make_bars(("A", "10:00:00", 1, 1)))
    write_live_candles(lake, make_bars(("B", "10:00:00", 1, 1)))
    assert len(set(names(lake))) == 2
    assert shown(read_live_candles(lake, *CELL)) == [("A", "10:00:00", 1), ("B", "10:00:00", 1)]
