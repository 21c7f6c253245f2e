"""Exports for hftbacktest play the trades and books of the lake, by either clock; the command."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.client.exports import (
    export_hftbacktest,
)
from tickhandler_dagster.client.exports.hftbacktest import in_both_orders
from tickhandler_dagster.client.exports.hftbacktest_events import (
    BUY,
    CLEAR,
    DEPTH,
    EVENT_DTYPE,
    EXCHANGE_EVENT,
    LOCAL_EVENT,
    SNAPSHOT,
    TRADE,
    BookEvents,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.raw_tables import RAW_TABLES

FLAGS = EXCHANGE_EVENT | LOCAL_EVENT


# ---- hftbacktest ---------------------------------------------------------------------------


def books(lab, seconds, *, delay_s=0.01, **columns):
    """Five-level books whose levels are 0.5 apart and move with the row."""
    schema = RAW_TABLES[DataType.BOOK_SNAPSHOT_5].stored.polars_schema
    rows = []
    for number, second in enumerate(seconds):
        row = dict.fromkeys(schema.names())
        row["timestamp"] = lab.at(lab.one, second)
        row["local_timestamp"] = lab.at(lab.one, second + delay_s)
        for level in range(1, 6):
            for side, sign in (("bid", -1), ("ask", 1)):
                row[f"{side}_price_{level}"] = 100.0 + number % 3 + sign * 0.5 * level
                row[f"{side}_volume_{level}"] = float(1 + (number + level) % 4)
        rows.append(row | {name: value(number) for name, value in columns.items()})
    return pl.DataFrame(rows, schema=schema)


def played(events):
    """Every state of the book, after each moment of its events: side, price, amount."""
    book, states = {}, []
    kinds = events["ev"] & np.uint64(0xFF)
    for place, event in enumerate(events):
        side = "bid" if event["ev"] & np.uint64(BUY) else "ask"
        if kinds[place] == CLEAR:
            book = {at: amount for at, amount in book.items() if at[0] != side}
        elif kinds[place] in {DEPTH, SNAPSHOT}:
            book[side, event["px"]] = event["qty"]
            if not event["qty"]:
                del book[side, event["px"]]
        is_last = place + 1 == len(events) or events[place + 1]["local_ts"] != event["local_ts"]
        if is_last:
            states.append((event["local_ts"], dict(book)))
    return states


def as_books(frame, depth=5):
    return [
        (
            int(row["local_timestamp"].timestamp() * 10**6) * 1000,
            {
                (side, row[f"{side}_price_{level}"]): row[f"{side}_volume_{level}"]
                for side in ("bid", "ask")
                for level in range(1, depth + 1)
                if row[f"{side}_price_{level}"] is not None
            },
        )
        for row in frame.iter_rows(named=True)
    ]


def test_the_event_is_the_one_of_hftbacktest():
    assert EVENT_DTYPE.itemsize == 64
    assert EVENT_DTYPE.isalignedstruct
    assert [(name, EVENT_DTYPE[name].str[1:]) for name in EVENT_DTYPE.names] == [
        *(("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8")),
        *(("order_id", "u8"), ("ival", "i8"), ("fval", "f8")),
    ]


def test_an_array_holds_the_trades_and_plays_the_books_of_the_day(traded, tmp_path):
    lab = traded
    seconds = [*range(3_590, 3_610, 2), 80_000]
    shown = books(
        lab, seconds, ask_price_5=lambda number: None if number == 4 else 103 + number % 3
    )
    lab.put_ticks(lab.one, shown, data_type=DataType.BOOK_SNAPSHOT_5)
    trades = lab.trades(lab.one, [3_595, 3_600.004, 79_999])
    lab.put_ticks(lab.one, trades)
    (file,) = export_hftbacktest(
        lab.data, lab.btc, lab.one, lab.two, folder=tmp_path, book="book_snapshot_5"
    )
    assert file.name == "BINANCE_SPOT_PAIR_BTC-USDT_20240808T000000_20240809T000000.npz"
    events = np.load(file)["data"]
    assert events.dtype == EVENT_DTYPE
    assert (events["local_ts"] >= events["exch_ts"]).all()
    is_trade = (events["ev"] & np.uint64(0xFF)) == TRADE
    assert events["px"][is_trade].tolist() == trades["price"].to_list()
    assert (events["ev"][is_trade] == np.uint64(TRADE | BUY | FLAGS)).all()
    assert played(events[~is_trade]) == as_books(shown)
    again = export_hftbacktest(
        lab.data, lab.btc, lab.one, lab.two, folder=tmp_path / "again", book="book_snapshot_5"
    )
    assert again[0].read_bytes() == file.read_bytes()


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True), min_size=1),
    st.integers(1, 4),
)
def test_a_book_that_is_given_in_parts_plays_the_same_states(ticks, part):
    schema = RAW_TABLES[DataType.BOOK_SNAPSHOT_5].stored.polars_schema
    rows = []
    for number, prices in enumerate(ticks):
        row = dict.fromkeys(schema.names())
        row |= {"timestamp": number * 10, "local_timestamp": number * 10 + 1}
        for level, price in enumerate(sorted(prices, reverse=True), 1):
            row |= {f"bid_price_{level}": float(price), f"bid_volume_{level}": float(price % 3 + 1)}
        rows.append(row)
    frame = pl.DataFrame(rows, schema_overrides=schema).cast(dict(schema))
    taker = BookEvents(DataType.BOOK_SNAPSHOT_5)
    parts = [taker.taken(some) for some in frame.iter_slices(part)]
    found = pl.concat(parts).to_numpy(structured=True)
    states = dict(played(found))
    known = {}
    for time, book in as_books(frame):
        known = states.get(time, known)  # a book that did not change has no events
        assert known == book


def test_changes_of_a_feed_are_events_as_they_are_and_its_snapshots_start_anew(traded, tmp_path):
    lab, kind = traded, DataType.INCREMENTAL_BOOK_L2
    rows = pl.DataFrame(
        {
            "timestamp": [lab.at(lab.one, second) for second in (1, 1, 2, 3_700, 3_700)],
            "local_timestamp": [lab.at(lab.one, second) for second in (1, 1, 2, 3_701, 3_701)],
            "is_snapshot": [True, True, False, True, True],
            "side": ["bid", "ask", "bid", "bid", "ask"],
            "price": [99.0, 101.0, 99.0, 98.0, 102.0],
            "amount": [1.0, 2.0, 0.0, 3.0, 4.0],
        },
        schema=RAW_TABLES[kind].stored.polars_schema,
    )
    lab.put_ticks(lab.one, rows, data_type=kind)
    lab.put_ticks(lab.one, lab.trades(lab.one, [0.5]))
    (file,) = export_hftbacktest(
        lab.data, lab.btc, lab.one, lab.two, folder=tmp_path, book="incremental_book_L2"
    )
    events = np.load(file)["data"]
    kinds = (events["ev"] & np.uint64(0xFF)).tolist()
    assert sorted(kinds) == sorted([TRADE, *[CLEAR, CLEAR, SNAPSHOT, SNAPSHOT] * 2, DEPTH])
    states = played(events[np.array(kinds) != TRADE])
    assert [book for _, book in states] == [
        {("bid", 99.0): 1.0, ("ask", 101.0): 2.0},
        {("ask", 101.0): 2.0},
        {("bid", 98.0): 3.0, ("ask", 102.0): 4.0},
    ]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1))
def test_events_are_in_the_order_of_either_clock_and_each_is_there_once_for_each(times):
    events = np.zeros(len(times), EVENT_DTYPE)
    events["exch_ts"], events["local_ts"] = np.array(times).T
    events["px"] = np.arange(len(times))
    ordered = in_both_orders(events)
    for flag, clock in ((EXCHANGE_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        seen = ordered[(ordered["ev"] & np.uint64(flag)) > 0]
        assert (np.diff(seen[clock]) >= 0).all()
        assert sorted(seen["px"]) == list(range(len(times)))


def test_events_that_arrive_before_they_happen_are_refused_or_shifted(traded, tmp_path):
    lab = traded
    lab.put_ticks(lab.one, books(lab, [5, 10]), data_type=DataType.BOOK_SNAPSHOT_5)
    lab.put_ticks(lab.one, lab.trades(lab.one, [7], delay_s=-0.004))
    question = (lab.data, lab.btc, lab.one, lab.two)
    with pytest.raises(InvalidInput, match=r"1 of .* by up to 4000 us.*microseconds=4000"):
        export_hftbacktest(*question, folder=tmp_path / "made", book="book_snapshot_5")
    assert not (tmp_path / "made").exists()
    shift = dt.timedelta(milliseconds=4)
    (file,) = export_hftbacktest(
        *question, folder=tmp_path, book="book_snapshot_5", shift_local=shift
    )
    events = np.load(file)["data"]
    is_trade = (events["ev"] & np.uint64(0xFF)) == TRADE
    assert (events["local_ts"] - events["exch_ts"])[is_trade].tolist() == [0]
    assert (events["local_ts"] - events["exch_ts"]).max() == 14_000_000
    with pytest.raises(InvalidInput, match="no book"):
        export_hftbacktest(*question, folder=tmp_path, book="trades")


# ---- the command ---------------------------------------------------------------------------


def test_the_command_writes_what_the_library_does_and_prints_the_files(
    traded, tmp_path, monkeypatch
):
    lab = traded
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKE_ROOT", str(lab.root))
    lab.put_ticks(lab.one, lab.trades(lab.one, [1]))
    lab.put_ticks(lab.one, books(lab, [1]), data_type=DataType.BOOK_SNAPSHOT_5)
    days = ["--start-date", "2024-08-08", "--end-date", "2024-08-08", "--to", "made"]
    several = ["--instruments", "BINANCE:SPOT_PAIR:BTC-*", *days]
    for words, count in (
        (["nautilus", *several, "--trades"], 3),
        (["hftbacktest", "--instrument", lab.btc, *days, "--book", "book_snapshot_5"], 1),
        (["feast", *several, "--features", "close,volume"], 3),
    ):
        done = CliRunner().invoke(app, ["export", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        files = done.stdout.splitlines()
        assert len(files) == count
        assert all((tmp_path / file).is_file() for file in files)
