"""A soak finds each message said by its own number in the lake, and what is missing or twice."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
TYPES = ("trades", "book_snapshot_5", "derivative_ticker")
NOW = dt.datetime(2026, 11, 23, 4, tzinfo=dt.UTC)
SAID = 400


@pytest.fixture(scope="module")
def soak():
    """The modules of the benchmark that say and count."""
    sys.path.insert(0, str(FOLDER))
    try:
        return {name: importlib.import_module(f"soak_{name}") for name in ("exchange", "numbers")}
    finally:
        sys.path.remove(str(FOLDER))


class Book:
    """The best five levels a side after every message, as a listener keeps them."""

    def __init__(self):
        self.sides = {"bids": {}, "asks": {}}

    def take(self, data):
        for name, levels in self.sides.items():
            for word, price, amount in data[name]:
                if word == "delete":
                    levels.pop(price, None)
                else:
                    levels[price] = amount
        bids = sorted(self.sides["bids"].items(), reverse=True)[:5]
        asks = sorted(self.sides["asks"].items())[:5]
        assert bids[0][0] < asks[0][0]
        return {
            f"{side}_volume_{level}": float(amount)
            for side, best in (("bid", bids), ("ask", asks))
            for level, (_, amount) in enumerate(best, start=1)
        }


def text(frame):
    """What a frame of the protocol holds."""
    return json.loads(frame[frame.index(b"{") :])["params"]["data"]


@pytest.fixture(scope="module")
def rows(soak):
    """The row that every message of two instruments becomes, by data type."""
    found = {name: [] for name in TYPES}
    for symbol in soak["exchange"].symbols(2):
        market, book = soak["exchange"].Market(symbol), Book()
        found["book_snapshot_5"].append({"symbol": symbol} | book.take(text(market.snapshot(0))))
        for _ in range(SAID):
            (trade,) = text(market.message(0, 0))
            found["trades"].append({"symbol": symbol, "id": trade["trade_id"]})
            state = book.take(text(market.message(1, 0)))
            found["book_snapshot_5"].append({"symbol": symbol} | state)
            ticker = text(market.message(2, 0))
            interest = float(ticker["open_interest"])
            found["derivative_ticker"].append({"symbol": symbol, "open_interest": interest})
        assert market.said == [SAID] * 3
    return {name: pl.DataFrame(records) for name, records in found.items()}


def put(lake, data_type, rows, *, delay_ms=5):
    """The rows in two files of a lake, each so long under way."""
    folder = lake / "live_ticks/date-2026-11-23" / f"data_type-{data_type}" / "hour-04"
    folder.mkdir(parents=True)
    arrived = NOW + dt.timedelta(milliseconds=delay_ms)
    stamped = rows.with_columns(timestamp=pl.lit(NOW), local_timestamp=pl.lit(arrived))
    half = stamped.height // 2
    stamped[:half].write_parquet(folder / "a.parquet")
    stamped[half:].write_parquet(folder / "b.parquet")


@pytest.mark.parametrize("data_type", TYPES)
def test_every_message_is_found_by_its_number(soak, rows, tmp_path, data_type):
    put(tmp_path, data_type, rows[data_type])
    said = dict.fromkeys(soak["exchange"].symbols(2), SAID)
    found = soak["numbers"].arrived(tmp_path, data_type, said)
    assert (found.said, found.missing, found.repeated, found.unknown) == (2 * SAID, 0, 0, 0)
    assert found.first_states == (2 if data_type == "book_snapshot_5" else 0)
    assert found.delays[5] == rows[data_type].height


@pytest.mark.parametrize("data_type", TYPES)
def test_what_is_missing_or_twice_is_told_even_where_the_sum_is_right(
    soak, rows, tmp_path, data_type
):
    whole = rows[data_type]
    put(tmp_path, data_type, pl.concat([whole[:50], whole[53:], whole[60:63]]))
    said = dict.fromkeys(soak["exchange"].symbols(2), SAID)
    found = soak["numbers"].arrived(tmp_path, data_type, said)
    assert (found.missing, found.repeated, found.unknown) == (3, 3, 0)


def test_a_number_that_was_never_said_is_unknown(soak, rows, tmp_path):
    put(tmp_path, "trades", rows["trades"])
    said = dict.fromkeys(soak["exchange"].symbols(2), SAID - 1)
    found = soak["numbers"].arrived(tmp_path, "trades", said)
    assert (found.said, found.missing, found.unknown) == (2 * SAID - 2, 0, 2)


def test_delays_are_told_by_shares_of_all_rows(soak):
    delays = np.bincount([1] * 50 + [7] * 40 + [20] * 9 + [300])
    shares = [soak["numbers"].percentile(delays, share) for share in (0.5, 0.9, 0.99, 1.0)]
    assert shares == [1, 7, 20, 300]
