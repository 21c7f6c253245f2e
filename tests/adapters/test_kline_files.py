"""Files of klines: dumps and named columns, units of time, folders, what is wrong with a file."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import zipfile

import polars as pl
import pytest

from tickhandler_dagster.adapters.klines.kline_csv import DUMP_COLUMNS, read_kline_csv
from tickhandler_dagster.adapters.klines.kline_folder import KlineFolder
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.errors import CorruptData, InvalidSetting
from tickhandler_dagster.market.klines import KlineInstrument

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY) // 1_000_000
SPOT = VenueDay.parse("2024-08-08|binance")
COIN = VenueDay.parse("2024-08-08|binance-delivery")
BTC = KlineInstrument("BINANCE:SPOT_PAIR:BTC-USDT", "BTCUSDT")
ETH = KlineInstrument("BINANCE:SPOT_PAIR:ETH-USDT", "ETHUSDT")


def dump(scale=1_000, *, header=False, minutes=3):
    lines = [",".join(DUMP_COLUMNS)] if header else []
    for number in range(minutes):
        start = (START + 60 * number) * scale
        lines.append(f"{start},100,102,99,101,5,{start + 60 * scale - 1},505,4,2,202,0")
    return "\n".join(lines) + "\n"


def put(path, text=None):
    data = (dump() if text is None else text).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(path.with_suffix(".csv").name, data)
        data = packed.getvalue()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_a_dump_is_read_whatever_its_unit_header_and_packing(tmp_path, scale, header, suffix):
    raw = read_kline_csv(put(tmp_path / f"BTCUSDT{suffix}", dump(scale, header=header)))
    assert raw["ts_open"].to_list() == [(START + 60 * n) * 1_000_000 for n in range(3)]
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "buy_volume")
    assert [raw[name][0] for name in names] == [100, 102, 99, 101, 5, 505, 4, 2]


@pytest.mark.parametrize(
    "opened", ["2024-08-08T00:00:00Z", "2024-08-08T02:00:00+02:00", f"{START}000000"]
)
def test_named_columns_are_found_in_any_order_and_spelling(tmp_path, opened):
    text = f"Close, Low,High,Open,Volume,TS Open\n4,2,5,3,7,{opened}\n".replace(
        "TS Open", "ts_open"
    )
    raw = read_kline_csv(put(tmp_path / "BTCUSDT.csv", text))
    assert raw["ts_open"].to_list() == [START * 1_000_000]
    assert [raw[name][0] for name in ("open", "high", "low", "close", "volume")] == [3, 5, 2, 4, 7]
    assert raw["trade_count"].to_list() == raw["quote_volume"].to_list() == [None]
    found = KlineFolder(tmp_path).fetch(SPOT, [BTC]).frames[BTC.instrument_key]
    assert found.row(0, named=True)["amount"] == 7


def test_coin_margined_dumps_count_contracts(tmp_path):
    put(tmp_path / "BTCUSDT.csv")
    found = KlineFolder(tmp_path).fetch(COIN, [BTC]).frames[BTC.instrument_key]
    one = found.row(0, named=True)
    assert (one["amount"], one["volume"], one["quote_volume"]) == (5, 505, None)
    assert one["buy_volume"] == 202


NAMED = "open_time,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NAMED + f"{START},1,1,1,1,1\n{START + 60},1,x,1,1,1\n", "line 3, column high.*'x'"),
        (dump().replace(",99,", ",,", 1), "line 1, column low"),
        (NAMED + f"{START},1,1,1,1,1\nnoon,1,1,1,1,1\n", "line 3, column open_time.*'noon'"),
        (NAMED + f"{START},1,1,1,1,1\n{START}000,1,1,1,1,1\n", "not one unit of time"),
        (NAMED + "17,1,1,1,1,1\n", "not one unit of time.*17 to 17"),
        ("time,price\n1,2\n", "lacks the columns open, high, low, close, volume"),
        ("1,2,3\n", "line 1 has no header .was 3 columns; expected 12"),
        (NAMED + f"{START},1,1,1,1,1,9,9\n", "is no CSV"),
        ("", "is no CSV"),
    ],
)
def test_a_wrong_file_is_told_by_line_and_column(tmp_path, text, words):
    path = put(tmp_path / "BTCUSDT.csv", text)
    with pytest.raises(CorruptData, match=words) as raised:
        read_kline_csv(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NAMED + f"{START + 7},1,1,1,1,1\n", "opens inside a minute"),
        (NAMED + f"{START},1,1,1,1,1\n" * 2, "two rows open together"),
        (NAMED + f"{START},1,1,0,1,1\n", "price is missing or not positive"),
        (NAMED + f"{START},1,1,nan,1,1\n", "price is missing or not positive"),
        (NAMED + f"{START},1,1,1,1,-1\n", "volume is missing or negative"),
    ],
)
def test_rows_that_are_no_klines_are_refused(tmp_path, text, words):
    put(tmp_path / "BTCUSDT.csv", text)
    with pytest.raises(CorruptData, match=words):
        KlineFolder(tmp_path).fetch(SPOT, [BTC])


@pytest.mark.parametrize("suffix", [".csv.gz", ".zip"])
def test_a_file_that_cannot_be_unpacked_is_told(tmp_path, suffix):
    path = tmp_path / f"BTCUSDT{suffix}"
    path.write_bytes(b"no archive")
    with pytest.raises(CorruptData, match="cannot be unpacked"):
        read_kline_csv(path)


def test_the_most_exact_name_wins_and_other_days_are_left_out(tmp_path):
    month, day = tmp_path / "BTCUSDT-1m-2024-08.zip", tmp_path / "BTCUSDT-1m-2024-08-08.csv"
    later = dump(minutes=2_000).replace(",100,102,", ",200,202,")
    put(month, later)
    folder = KlineFolder(tmp_path)
    assert folder.fetch(SPOT, [BTC]).frames[BTC.instrument_key].height == 1_440
    put(day)
    found = KlineFolder(tmp_path).fetch(SPOT, [BTC]).frames[BTC.instrument_key]
    assert (found.height, found["open"][0]) == (3, 100)
    after = folder.fetch(SPOT.shifted(1), [BTC]).frames[BTC.instrument_key]
    assert (after.height, after["open"][0]) == (560, 200)


def test_folders_named_as_venues_keep_their_files_apart(tmp_path):
    put(tmp_path / "binance-futures" / "BTCUSDT.csv")
    put(tmp_path / "BTCUSDT.csv", dump(minutes=1))
    futures = VenueDay.parse("2024-08-08|binance-futures")
    folder = KlineFolder(tmp_path)
    assert folder.fetch(futures, [BTC]).frames[BTC.instrument_key].height == 3
    assert folder.fetch(SPOT, [BTC]).frames[BTC.instrument_key].height == 1


def test_a_single_file_is_that_of_the_symbol_it_is_named_for(tmp_path):
    path = put(tmp_path / "BTCUSDT-1m-2024-08-08.csv")
    found = KlineFolder(path).fetch(SPOT, [BTC, ETH])
    assert (list(found.frames), list(found.absent)) == ([BTC.instrument_key], [ETH.instrument_key])
    assert "no klines of ETHUSDT on 2024-08-08" in found.absent[ETH.instrument_key]
    assert found.requests == 0


def test_a_single_file_with_a_column_of_symbols_serves_them_all(tmp_path):
    lines = [f"{name},{START},{price},9,1,1,1" for name, price in (("BTCUSDT", 3), ("ethusdt", 4))]
    text = "symbol,open_time,open,high,low,close,volume\n" + "\n".join(lines) + "\n"
    found = KlineFolder(put(tmp_path / "all.csv", text)).fetch(SPOT, [BTC, ETH]).frames
    assert {key: frame["open"].to_list() for key, frame in found.items()} == {
        BTC.instrument_key: [3.0],
        ETH.instrument_key: [4.0],
    }


def test_a_path_that_vanished_names_the_setting(tmp_path):
    with pytest.raises(InvalidSetting, match="KLINES_SOURCE: no such file or folder"):
        KlineFolder(tmp_path / "gone").fetch(SPOT, [BTC])


def test_times_are_utc(tmp_path):
    put(tmp_path / "BTCUSDT.csv")
    frame = KlineFolder(tmp_path).fetch(SPOT, [BTC]).frames[BTC.instrument_key]
    assert frame.schema["ts_open"] == pl.Datetime("us", "UTC")
    assert frame["ts_open"][0] == dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
