"""The spool: what is appended is read, once, whole, in order, whatever happens to its writer."""

from __future__ import annotations

import datetime as dt
import errno
import os
from itertools import chain

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters.spool import SPOOL_START, SpoolPosition, claim, segments_in
from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_writer import SpoolWriter, csv_lines
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    StorageFull,
)
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId

VENUE = VenueId.DERIBIT
TRADES = DataType.TRADES
START = 1_723_075_200_000_000
SECOND = 1_000_000


def line(number=0, symbol="BTC-PERPETUAL", price="60000.5", at=None):
    arrival = START + number * SECOND if at is None else at
    return f"deribit,{symbol},{arrival - 5_000},{arrival},t{number},buy,{price},10\n".encode()


def read_all(reader, data_type=TRADES, position=SPOOL_START):
    frames = []
    while True:
        frame, after = reader.tail(VENUE, data_type, position)
        if after == position:
            return pl.concat([empty_rows(data_type), *frames]), after
        frames.append(frame)
        position = after


def append_seconds(writer, count):
    for number in range(count):
        writer.append(VENUE, TRADES, line(number))


def ids(frame):
    return frame.get_column("id").to_list()


floats = st.one_of(
    st.none(),
    st.floats(min_value=1e-12, max_value=1e15, allow_nan=False),
    st.sampled_from([1e-7, 0.1, 123456789.123456789, 1e22, 5e-324]),
)


@settings(max_examples=30, deadline=None)
@given(prices=st.lists(floats, min_size=1, max_size=20), data_type=st.sampled_from(list(DataType)))
def test_a_frame_spooled_and_read_is_the_same_frame(tmp_path_factory, prices, data_type):
    table = RAW_TABLES[data_type]
    columns = {"symbol": pl.Series(["BTC-PERPETUAL"] * len(prices))}
    for raw in table.columns:
        stored = raw.stored
        if stored.dtype == pl.Float64():
            values = prices if stored.is_nullable else [price or 1.5 for price in prices]
            if stored.name in {"delta", "gamma"}:
                values = [None if price is None else -price for price in prices]
        elif stored.dtype == pl.String():
            values = [stored.bounds.one_of[0] if stored.bounds.one_of else "x1"] * len(prices)
        elif stored.dtype == pl.Boolean():
            values = [True] * len(prices)
        else:
            values = [START + row for row in range(len(prices))]
        series = pl.Series(values, dtype=pl.Int64 if "us" in str(stored.dtype) else stored.dtype)
        columns[stored.name] = series.cast(stored.dtype)
    frame = pl.DataFrame(columns)
    if data_type in {DataType.BOOK_SNAPSHOT_5, DataType.BOOK_SNAPSHOT_25}:
        # levels of one price break a rule: only the first level is there
        frame = frame.with_columns(
            pl.lit(None, pl.Float64).alias(name)
            for name in frame.columns
            if name.rpartition("_")[2].isdigit() and not name.endswith("_1")
        )
    root = tmp_path_factory.mktemp("spool")
    with SpoolWriter(root) as writer:
        writer.append(VENUE, data_type, frame)
    reader = SpoolReader(root)
    read, _ = read_all(reader, data_type)
    assert reader.dead_lines == 0
    assert_frame_equal(read, frame, check_exact=True)


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    batch=st.integers(100, 3000),
    roll=st.integers(1, 40),
)
def test_however_rows_are_cut_into_writes_segments_and_batches_each_is_read_once(
    tmp_path_factory, cuts, batch, roll
):
    root = tmp_path_factory.mktemp("spool")
    reader = SpoolReader(root, batch_bytes=batch)
    position, frames, number = SPOOL_START, [empty_rows(TRADES)], 0
    with SpoolWriter(root, roll_us=roll * SECOND) as writer:
        for cut in cuts:
            writer.append(VENUE, TRADES, b"".join(line(number + row) for row in range(cut)))
            number += cut
            frame, position = reader.tail(VENUE, TRADES, position)
            frames.append(frame)
    rest, end = read_all(reader, position=position)
    assert ids(pl.concat([*frames, rest])) == [f"t{row}" for row in range(number)]
    assert end == reader.end(VENUE, TRADES)
    assert reader.dead_lines == 0


def test_a_last_line_without_its_end_is_waited_for(tmp_path):
    with SpoolWriter(tmp_path, writer="a") as writer:
        writer.append(VENUE, TRADES, line(0))
        reader = SpoolReader(tmp_path)
        segment = segments_in(tmp_path / "deribit" / "trades")[0].path
        with segment.open("ab") as file:
            file.write(line(1)[:-7])
        frame, position = reader.tail(VENUE, TRADES)
        assert ids(frame) == ["t0"]
        with segment.open("ab") as file:
            file.write(line(1)[-7:])
        frame, _ = reader.tail(VENUE, TRADES, position)
        assert ids(frame) == ["t1"]
    assert reader.dead_lines == 0


def test_a_killed_writer_s_torn_line_is_cut_off_and_kept_aside(tmp_path):
    with SpoolWriter(tmp_path, writer="a") as writer:
        writer.append(VENUE, TRADES, line(0))
    segment = segments_in(tmp_path / "deribit" / "trades")[0].path
    with segment.open("ab") as file:
        file.write(line(1)[:-7])
    with SpoolWriter(tmp_path, writer="b") as writer:
        writer.append(VENUE, TRADES, line(2))
    assert segment.read_bytes().endswith(line(0))
    aside = tmp_path / "deribit" / "dead_letters" / f"torn-trades-{segment.name}"
    assert aside.read_bytes() == line(1)[:-7]
    reader = SpoolReader(tmp_path)
    assert ids(read_all(reader)[0]) == ["t0", "t2"]
    assert reader.dead_lines == 0


def test_a_torn_line_nobody_cut_off_is_a_dead_letter_once_a_later_segment_is_there(tmp_path):
    letters = []
    folder = tmp_path / "deribit" / "trades"
    with SpoolWriter(tmp_path, writer="a", roll_us=SECOND) as writer:
        writer.append(VENUE, TRADES, line(0))
        with segments_in(folder)[0].path.open("ab") as file:
            file.write(b"deribit,BTC")
        writer.append(VENUE, TRADES, line(1))
    frame, _ = read_all(SpoolReader(tmp_path, dead_letters=letters.extend))
    assert ids(frame) == ["t0", "t1"]
    assert [(letter.reason, letter.line) for letter in letters] == [
        ("a line cut off", "deribit,BTC")
    ]


BAD = {
    "too few cells": b"deribit,BTC-PERPETUAL,1,2\n",
    "a cell that is no number": line(9, price="cheap"),
    "another exchange": line(9).replace(b"deribit,", b"bybit,"),
    "not text": b"\xff\xfe" + line(9),
    "a blank line": b"\n",
    "a price of nothing": line(9, price="0"),
    "no arrival": line(9).replace(str(START + 9 * SECOND).encode(), b""),
    "clocks apart": line(9).replace(str(START + 9 * SECOND - 5_000).encode(), b"99"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_line_that_is_no_row_is_put_aside_with_its_place_and_stops_nothing(tmp_path, bad):
    letters = []
    before, after = line(0) + line(1), line(2) + line(3)
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, before + bad + after)
    reader = SpoolReader(tmp_path, dead_letters=letters.extend)
    frame, _ = read_all(reader)
    assert ids(frame) == ["t0", "t1", "t2", "t3"]
    assert reader.dead_lines == len(letters) == 1
    segment = tmp_path / "deribit" / "trades" / letters[0].segment
    assert segment.read_bytes()[letters[0].byte :].startswith(bad)
    assert letters[0].reason
    assert letters[0].line == bad.rstrip(b"\n").decode(errors="replace")


def test_a_segment_with_another_header_is_put_aside_and_the_next_one_read(tmp_path):
    letters = []
    with SpoolWriter(tmp_path, roll_us=SECOND) as writer:
        writer.append(VENUE, TRADES, line(0))
        path = segments_in(tmp_path / "deribit" / "trades")[0].path
        path.write_bytes(path.read_bytes().replace(b"price", b"prize"))
        writer.append(VENUE, TRADES, line(1))
    frame, _ = read_all(SpoolReader(tmp_path, dead_letters=letters.extend))
    assert ids(frame) == ["t1"]
    assert [letter.reason for letter in letters] == ["another header"]


def test_a_block_of_garbage_is_put_aside_in_bounded_work(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, line(0) + b"garbage\n" * 5_000 + line(1))
    reader = SpoolReader(tmp_path)
    frame, _ = read_all(reader)
    assert ids(frame)[:1] == ["t0"]
    assert 0 < reader.dead_lines <= 100


@pytest.mark.parametrize(("start", "end"), [(0, 50), (3, 4), (17, 17), (12, 33), (60, 90)])
def test_rows_between_are_those_that_arrived_in_the_span(tmp_path, start, end):
    symbols = ["A", "B", "C"]
    rows = [line(row, symbol=symbols[row % 3]) for row in range(50)]
    with SpoolWriter(tmp_path, roll_us=5 * SECOND) as writer:
        for row in rows:
            writer.append(VENUE, TRADES, row)
    reader = SpoolReader(tmp_path, batch_bytes=500)
    span = (START + start * SECOND, START + end * SECOND)
    found = [ids(frame) for frame in reader.rows_between(VENUE, TRADES, *span)]
    assert list(chain.from_iterable(found)) == [f"t{row}" for row in range(start, min(end, 50))]
    chosen = [ids(frame) for frame in reader.rows_between(VENUE, TRADES, *span, symbols=["B"])]
    assert list(chain.from_iterable(chosen)) == [
        f"t{row}" for row in range(start, min(end, 50)) if row % 3 == 1
    ]


def test_segments_go_up_even_if_the_clock_goes_back(tmp_path):
    with SpoolWriter(tmp_path, roll_us=SECOND) as writer:
        for number in (5, 9):
            writer.append(VENUE, TRADES, line(number))
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, line(1))
    assert ids(read_all(SpoolReader(tmp_path))[0]) == ["t5", "t9", "t1"]


def test_a_second_writer_of_an_exchange_is_refused_with_a_sentence(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, line(0))
        with pytest.raises(ConcurrentWrite, match=r"spool .*deribit: another process writes it\."):
            SpoolWriter(tmp_path).append(VENUE, TRADES, line(1))
    claim(tmp_path, VENUE).close()


def test_a_full_spool_stops_capture_with_an_error_and_an_event(tmp_path):
    with SpoolWriter(tmp_path, roll_us=SECOND, max_bytes=1_000) as writer:
        with pytest.raises(StorageFull, match="its limit is reached") as refused:
            append_seconds(writer, 100)
        assert "less than 1,000 bytes" in str(refused.value)
    reader = SpoolReader(tmp_path)
    events, _ = reader.events(VENUE)
    assert [event.kind for event in events] == [
        FeedEventKind.SPOOL_FULL,
        FeedEventKind.DISCONNECTED,
    ]
    assert reader.size_bytes() < 3_000
    read, _ = read_all(reader)
    assert 0 < read.height < 100
    assert events[-1].last_arrival_us == START + (read.height - 1) * SECOND


class FullDevice:
    """A file on a device that takes some bytes more and then no others."""

    def __init__(self, file, room):
        self._file = file
        self._room = room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(data[: self._room])
        self._room -= written
        return written


def test_a_full_device_is_a_sentence_and_leaves_no_part_of_the_rows(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, line(0))
        segment = writer._open[VENUE, TRADES]
        whole, segment._file = segment._file, FullDevice(segment._file, 30)
        with pytest.raises(StorageFull, match="no space left on device"):
            writer.append(VENUE, TRADES, line(1))
        segment._file = whole
        writer.append(VENUE, TRADES, line(2))
    reader = SpoolReader(tmp_path)
    assert ids(read_all(reader)[0]) == ["t0", "t2"]
    assert reader.dead_lines == 0


def test_a_line_longer_than_a_batch_is_named(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        writer.append(VENUE, TRADES, line(0) + line(1, symbol="X" * 500))
    reader = SpoolReader(tmp_path, batch_bytes=200)
    with pytest.raises(CorruptData, match="a line longer than a batch"):
        read_all(reader)


def test_events_are_read_as_they_were_written_and_garbage_between_is_counted(tmp_path):
    said = [
        FeedEvent(
            kind=kind,
            venue=VENUE,
            at_us=START + number,
            connection="perpetuals1",
            data_types=(TRADES,),
            symbols=("BTC-PERPETUAL",),
            last_arrival_us=START,
            rows=7,
            text="why",
        )
        for number, kind in enumerate(FeedEventKind)
    ]
    with SpoolWriter(tmp_path) as writer:
        for event in said[:3]:
            writer.event(event)
        reader = SpoolReader(tmp_path)
        first, position = reader.events(VENUE)
        with segments_in(tmp_path / "deribit" / "events")[0].path.open("ab") as file:
            file.write(b"{}\n")
    with SpoolWriter(tmp_path) as writer:
        for event in said[3:]:
            writer.event(event)
    rest, _ = reader.events(VENUE, position)
    lost = [event for event in rest if event.text == "the feed ended without a word"]
    assert first + [event for event in rest if event not in lost] == said
    assert reader.dead_lines == 1


def test_a_feed_that_ended_without_a_word_is_said_to_be_lost_at_its_last_row(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        writer.event(
            FeedEvent(kind=FeedEventKind.CONNECTED, venue=VENUE, at_us=START, connection="c1")
        )
        writer.append(VENUE, TRADES, line(0) + line(7))
    for _ in range(2):  # what was said once is not said again
        with SpoolWriter(tmp_path) as writer:
            writer.append(VENUE, TRADES, line(30))
    events, _ = SpoolReader(tmp_path).events(VENUE)
    assert [(event.kind, event.last_arrival_us) for event in events] == [
        (FeedEventKind.CONNECTED, None),
        (FeedEventKind.DISCONNECTED, START + 7 * SECOND),
    ]


@pytest.mark.parametrize("lines", [b"deribit,BTC", line(0) + b"x", line(0)[:-1], b"\n"])
def test_lines_that_are_not_whole_are_refused(tmp_path, lines):
    with SpoolWriter(tmp_path) as writer, pytest.raises(InvalidInput, match=r"no row|not end"):
        writer.append(VENUE, TRADES, lines)
    assert not (tmp_path / "deribit").exists()


def test_nothing_appended_makes_no_file(tmp_path):
    with SpoolWriter(tmp_path) as writer:
        assert writer.append(VENUE, TRADES, empty_rows(TRADES)) == 0
    reader = SpoolReader(tmp_path)
    assert reader.venues() == []
    assert reader.end(VENUE, TRADES) == SPOOL_START
    assert reader.first_arrival_us(VENUE, TRADES) is None
    assert read_all(reader)[0].is_empty()


def test_a_position_is_json_and_anything_else_is_refused():
    position = SpoolPosition("0000000000000005-a.csv", 70)
    assert SpoolPosition.of_json(position.as_json()) == position
    with pytest.raises(CorruptData, match="not a position"):
        SpoolPosition.of_json({"segment": "x"})


def test_a_writer_s_name_is_lower_case_letters_and_digits(tmp_path):
    with pytest.raises(InvalidInput, match="lower case"):
        SpoolWriter(tmp_path, writer="A-b")


def test_times_are_written_in_microseconds():
    moment = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
    frame = (
        empty_rows(TRADES)
        .clear(n=1)
        .with_columns(
            symbol=pl.lit("X"),
            timestamp=pl.lit(moment).dt.cast_time_unit("us"),
            local_timestamp=pl.lit(moment).dt.cast_time_unit("us"),
            side=pl.lit("buy"),
            price=1.5,
            amount=2.0,
        )
    )
    assert csv_lines(VENUE, TRADES, frame) == f"deribit,X,{START},{START},,buy,1.5,2.0\n".encode()
