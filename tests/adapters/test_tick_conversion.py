"""A vendor file becomes a verified file: nothing lost, nothing guessed, blocks do not matter."""

from __future__ import annotations

import gzip
import os
import random
import zlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters.tick_conversion import convert_tick_file
from tickhandler_dagster.adapters.tick_files import TickFile
from tickhandler_dagster.adapters.tick_writer import TickIdentity
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId


@pytest.fixture
def convert(tmp_path, files):
    def run(data, *, data_type=DataType.TRADES, venue=VenueId.BINANCE, symbol="BTCUSDT", **options):
        number = len(list(tmp_path.iterdir()))
        folder = tmp_path / str(number)
        folder.mkdir()
        source = folder / "source.csv.gz"
        source.write_bytes(data)
        out = folder / "out"
        out.mkdir()
        identity = TickIdentity(
            date=files.day,
            venue=venue,
            data_type=data_type,
            instrument_key="K",
            tardis_symbol=symbol,
            source_symbol=symbol,
            is_simulated=False,
        )
        try:
            return convert_tick_file(source, out, identity, **options)
        except CorruptData:
            assert list(out.iterdir()) == []
            raise

    return run


def test_rows_come_out_as_they_went_in(convert, files, slow_reader):
    data = files.gz([*files.trades(100), files.trade(101, id="", price="1e-7", amount="1E+3")])
    done = convert(data)
    assert pl.read_parquet(done.ticks).equals(slow_reader(data, DataType.TRADES))
    assert done.row.state is DataState.PRESENT
    assert done.row.source_bytes == len(data)
    assert done.quarantine is None


@settings(max_examples=15)
@given(block=st.integers(90, 4000), seed=st.integers(0, 99))
def test_bytes_do_not_depend_on_the_block_size(block, seed, files, tmp_path_factory):
    rng = random.Random(seed)
    lines = [
        files.trade(n, id=rng.choice(["", n, rng.randrange(50)]), price=rng.choice([0, 1.5, 2]))
        for n in range(60)
    ]
    folder = tmp_path_factory.mktemp("blocks")
    source = folder / "s.csv.gz"
    source.write_bytes(files.gz(lines))
    identity = TickIdentity(
        date=files.day,
        venue=VenueId.BINANCE,
        data_type=DataType.TRADES,
        instrument_key="K",
        tardis_symbol="BTCUSDT",
        source_symbol="BTCUSDT",
        is_simulated=False,
    )
    results = []
    for name, size in (("a", block), ("b", 1 << 20)):
        (folder / name).mkdir()
        results.append(convert_tick_file(source, folder / name, identity, block_bytes=size))
    one, other = results
    assert one.row == other.row
    assert one.ticks.read_bytes() == other.ticks.read_bytes()
    assert (one.quarantine is None) == (other.quarantine is None)
    if one.quarantine is not None:
        assert one.quarantine.read_bytes() == other.quarantine.read_bytes()
        assert pl.read_parquet(one.quarantine).height == one.row.quarantined_rows
    assert one.row.rows + one.row.quarantined_rows == one.row.source_rows == 60


def edited(files, edit):
    lines = files.trades(30)
    lines[7] = edit(lines[7])
    return files.gz(lines)


def replace_cell(place, text):
    def edit(line):
        cells = line.split(",")
        cells[place] = text
        return ",".join(cells)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (replace_cell(0, "deribit"), "another exchange or symbol.*deribit"),
        (replace_cell(1, "ETHUSDT"), "another exchange or symbol.*ETHUSDT"),
        (replace_cell(2, ""), "empty timestamp"),
        (replace_cell(3, ""), "empty local_timestamp"),
        (replace_cell(5, ""), "empty side"),
        (replace_cell(6, ""), "empty price"),
        (replace_cell(5, "BUY"), "does not parse.*BUY"),
        (replace_cell(6, "x1"), "does not parse.*x1"),
        (replace_cell(2, "1723075200.5"), "does not parse"),
        (replace_cell(3, "1723075200000"), "not in microseconds"),
        (replace_cell(3, "1723075200000000000"), "not in microseconds"),
        (replace_cell(3, "1723075100000000"), "arrived"),
        (replace_cell(3, "1723161600000000"), "arrived"),
        (lambda line: line.rpartition(",")[0], "too few or too many cells"),
        (lambda line: line + ",1", "too few or too many cells"),
        (lambda _line: "", "too few or too many cells"),
    ],
)
def test_a_wrong_line_condemns_the_file(convert, files, edit, said):
    with pytest.raises(CorruptData, match=said):
        convert(edited(files, edit))


def test_times_in_milliseconds_throughout_are_refused(convert, files):
    local = files.start_us + 5_000_000
    line = files.trade(1, timestamp=local // 1000, local_timestamp=local)
    with pytest.raises(CorruptData, match="not in microseconds"):
        convert(files.gz([line]))


def test_arrival_must_not_go_back_over_the_seam_of_two_blocks(convert, files):
    lines = files.trades(30)
    lines[15:] = [files.trade(n - 20) for n in range(15, 30)]
    for block in (1000, 1100, 1200, 5000):
        with pytest.raises(CorruptData, match="before the row above"):
            convert(files.gz(lines), block_bytes=block)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[:-1], "cut"),
        (lambda data: data[:40], "cut"),
        (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "checksum"),
        (lambda data: data[:-4] + b"\1\1\1\1", "checksum"),
        (lambda data: data + b"trailing" * 20, "after the end"),
        (lambda _data: b"<html><body>busy</body></html>", "an HTML page"),
        (lambda _data: b"exchange,symbol", "not gzip"),
        (lambda data: data[:10] + b"\xff" * 40 + data[50:], "damaged|checksum|cut"),
    ],
)
def test_a_damaged_file_says_what_is_damaged(convert, files, spoil, said):
    with pytest.raises(CorruptData, match=said):
        convert(spoil(files.gz(files.trades(500))))


def test_a_cut_last_row_is_corrupt_even_in_sound_gzip(convert, files):
    with pytest.raises(CorruptData, match="last line does not end"):
        convert(gzip.compress(files.text(files.trades(10))[:-3]))


def test_another_header_is_named_with_the_expected_one(convert, files):
    text = files.text(files.trades(3)).replace(b"local_timestamp", b"local_ts", 1)
    with pytest.raises(CorruptData, match=r"local_ts,id.*expected exchange,symbol,timestamp"):
        convert(gzip.compress(text))


def test_a_line_longer_than_a_block_is_refused(convert, files):
    with pytest.raises(CorruptData, match="longer than a block"):
        convert(gzip.compress(files.header().encode() + b"\n" + b"x" * 5000), block_bytes=512)


@pytest.mark.parametrize("shape", ["nothing", "gzip of nothing", "header"])
def test_the_three_empty_shapes_have_no_rows(convert, files, shape):
    data = {"nothing": b"", "gzip of nothing": gzip.compress(b""), "header": files.gz([])}[shape]
    done = convert(data)
    assert done.row.state is DataState.EMPTY
    assert done.ticks is None
    assert done.row.source_bytes == len(data)


def test_several_gzip_members_are_one_file(convert, files):
    text = files.text(files.trades(40))
    done = convert(gzip.compress(text[:777]) + gzip.compress(text[777:]))
    assert done.row.rows == 40


def test_the_edges_of_the_day_are_counted(convert, files):
    start, end = files.start_us, files.start_us + 86_400_000_000
    lines = [
        files.trade(0, timestamp=start - 1, local_timestamp=start),
        files.trade(1, timestamp=start - 2, local_timestamp=start + 50),
        files.trade(2, timestamp=start + 70, local_timestamp=start + 70),
        files.trade(3, timestamp=end + 5, local_timestamp=end - 9),
        files.trade(4, timestamp=end, local_timestamp=end - 8),
    ]
    row = convert(files.gz(lines)).row
    assert (row.rows_before_day, row.rows_after_day, row.rows_without_exchange_time) == (2, 2, 1)
    assert row.last_local_before_day.timestamp() * 1e6 == start + 50
    assert row.first_local_after_day.timestamp() * 1e6 == end - 9


@pytest.mark.parametrize("ids", ["ascending", "texts", "descending"])
def test_repeated_ids_keep_their_first_row(convert, files, ids):
    def name(number):
        return {"ascending": number, "texts": f"u-{number}", "descending": -number}[ids]

    lines = [files.trade(n, id=name(n % 40 if n > 30 else n), price=n + 1) for n in range(80)]
    done = convert(files.gz(lines))
    firsts, seen = [], set()
    for number in range(80):
        key = name(number % 40 if number > 30 else number)
        if key not in seen:
            firsts.append(float(number + 1))
        seen.add(key)
    assert pl.read_parquet(done.ticks)["price"].to_list() == firsts
    assert done.row.duplicate_rows == done.row.quarantined_rows == 80 - len(firsts)
    assert pl.read_parquet(done.quarantine)["reason"].unique().to_list() == ["duplicate_id"]
    assert done.row.content_sha256 == convert(files.gz(lines)).row.content_sha256


def test_identical_rows_without_an_id_are_all_kept(convert, files):
    line = files.trade(1, id="")
    assert convert(files.gz([line] * 5)).row.rows == 5


def test_the_digest_is_that_of_the_compressed_bytes(tmp_path, files):
    data = files.gz(files.trades(2000)) + gzip.compress(b"") + b"\0" * 64
    path = tmp_path / "x.csv.gz"
    path.write_bytes(data)
    file = TickFile(path, subject="x", block_bytes=256)
    assert b"".join(file.blocks()) == files.text(files.trades(2000))
    assert (file.bytes_read, len(file.sha256)) == (len(data), 64)
    assert zlib.crc32(data)
    assert os.path.getsize(path) == file.bytes_total  # noqa: PTH202  (an independent reading)


def test_recorded_feeds_come_out_as_they_are(convert, recorded, slow_reader, files):
    seen = 0
    for path in sorted(recorded.glob("*/*/2024/08/08/*.csv.gz")):
        venue, data_type = VenueId(path.parts[-6]), DataType(path.parts[-5])
        data = path.read_bytes()
        if data_type is DataType.INCREMENTAL_BOOK_L2:
            continue
        symbol = path.name.removesuffix(".csv.gz")
        done = convert(data, data_type=data_type, venue=venue, symbol=symbol)
        assert done.row.quarantined_rows == 0
        stored = pl.read_parquet(done.ticks)
        assert stored.height == done.row.rows == done.row.source_rows
        if data_type is DataType.TRADES:
            assert stored.equals(slow_reader(data, data_type))
            assert (
                done.row.rows_after_day
                == stored.filter(pl.col("timestamp").dt.date() > files.day).height
            )
        seen += 1
    assert seen >= 6
