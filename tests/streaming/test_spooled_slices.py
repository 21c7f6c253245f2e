"""Rows in order of arrival become slices of ascending exchange time, none lost and none twice."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.completion_build import SYMBOLS_AT_ONCE
from tickhandler_dagster.streaming.spooled_slices import (
    BY_ARRIVAL,
    LATE_US,
    LEAD_US,
    SLICE_US,
    SlicedRows,
    by_symbol,
)

SECOND = 1_000_000
WINDOW = Span(1_723_075_200 * SECOND, 1_723_078_800 * SECOND)


class Spooled:
    """Rows as a spool gives them, so many at a time."""

    def __init__(self, rows, at_once):
        self.rows = rows.sort("local_timestamp", maintain_order=True)
        self.at_once = at_once

    def rows_between(self, _venue, _data_type, start_us, end_us, symbols=None):
        arrival = pl.col("local_timestamp").to_physical()
        wanted = (arrival >= start_us) & (arrival < end_us) & pl.col("symbol").is_in(symbols)
        found = self.rows.filter(wanted)
        yield from found.iter_slices(self.at_once)


def trades(*rows):
    """Rows of (seconds after the window's start, delay in seconds, id or None)."""
    times = [WINDOW.start + round(t * SECOND) for t, _, _ in rows]
    arrivals = [at + round(delay * SECOND) for at, (_, delay, _) in zip(times, rows, strict=True)]
    stored = RAW_TABLES[DataType.TRADES].stored
    nothing = {name: [None] * len(rows) for name in stored.names}
    columns = nothing | {
        "timestamp": times,
        "local_timestamp": arrivals,
        "id": [name for _, _, name in rows],
    }
    frame = pl.DataFrame(columns, strict=False)
    typed = [pl.col(name).cast(dtype) for name, dtype in stored.polars_schema.items()]
    return frame.select(pl.lit("BTCUSDT").alias("symbol"), *typed)


def sliced(rows, at_once=3, data_type=DataType.TRADES):
    spooled = Spooled(rows, at_once)
    return SlicedRows(spooled, VenueId.BINANCE_FUTURES, data_type, ["BTCUSDT"], {})


def moments(rows, clock="timestamp"):
    return [(at - WINDOW.start) / SECOND for at in rows[clock].to_physical().to_list()]


ROWS = st.lists(
    st.tuples(st.integers(-60, 3_700), st.integers(-3, LATE_US // SECOND - 1), st.just(None)),
    min_size=1,
    max_size=60,
)


@given(rows=ROWS, at_once=st.integers(1, 7))
def test_slices_hold_every_row_once_in_its_span(rows, at_once):
    edges = [WINDOW.start, *range(WINDOW.start + SLICE_US, WINDOW.end + 1, SLICE_US)]
    seconds = [(edge - WINDOW.start) / SECOND for edge in edges]
    found = [moments(part) for part in sliced(trades(*rows), at_once).slices(WINDOW)]
    assert len(found) == len(edges) + 1
    bounds = zip([-60.0, *seconds], [*seconds, 4_000.0], strict=True)
    for part, (start, end) in zip(found, bounds, strict=True):
        assert all(start <= at < end for at in part)
    arrives_in_time = [
        float(t) for t, delay, _ in rows if (t + delay) * SECOND < 3_600 * SECOND + LATE_US
    ]
    assert sorted(at for part in found for at in part) == sorted(arrives_in_time)


def test_a_slice_keeps_the_order_of_arrival():
    rows = trades((10, 40, None), (20, 1, None), (15, 2, None), (20, 0.5, None))
    _, first, *_ = sliced(rows).slices(WINDOW)
    assert moments(first, BY_ARRIVAL) == [17.0, 20.5, 21.0, 50.0]


def test_by_arrival_nothing_is_waited_for():
    rows = trades((-3, 1, None), (0, 301, None), (299, 0.5, None), (3_599, 5, None))
    before, first, second, *others = sliced(rows).slices(WINDOW, clock=BY_ARRIVAL)
    assert moments(before, BY_ARRIVAL) == [-2.0]
    assert moments(first, BY_ARRIVAL) == [299.5]
    assert moments(second, BY_ARRIVAL) == [301.0]
    assert all(part.is_empty() for part in others)


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_a_row_later_than_the_reach_is_left_to_the_batch(at_once):
    rows = trades((100, 250, None), (100, 550, None), (3_599, 301, None), (900, 0, None))
    one = sliced(rows, at_once)
    _, first, *others = one.slices(WINDOW)
    assert moments(first) == [100.0]
    assert [at for part in others for at in moments(part)] == [900.0]
    assert one.late_rows == 1


def test_repeated_ids_are_kept_apart_and_counted():
    rows = trades((10, 0.1, "7"), (11, 0.1, "8"), (10, 3, "7"))
    one = sliced(rows)
    found = [moments(part) for part in one.slices(WINDOW)]
    assert found[1] == [10.0, 11.0]
    assert moments(pl.concat(one.repeated)) == [10.0]


def test_the_first_row_of_a_day_is_marked_in_books_alone():
    assert "is_start" not in next(sliced(trades((1, 0, None))).slices(WINDOW)).columns
    stored = RAW_TABLES[DataType.QUOTES].stored.polars_schema
    times = pl.Series([WINDOW.start + at * SECOND for at in (-1, 1, 2)])
    quotes = pl.DataFrame(
        {"symbol": ["BTCUSDT"] * 3, **dict.fromkeys(("timestamp", "local_timestamp"), times)}
    ).with_columns(
        pl.col(name).cast(dtype) if "timestamp" in name else pl.lit(None, dtype).alias(name)
        for name, dtype in stored.items()
    )
    rows = sliced(quotes.select("symbol", *stored), data_type=DataType.QUOTES)
    before, first, *_ = rows.slices(WINDOW)
    assert before["is_start"].to_list() == [True]
    assert first["is_start"].to_list() == [True, False]
    assert by_symbol(first)["BTCUSDT"].height == 2


def test_where_nothing_was_spooled_slices_are_empty():
    assert LEAD_US < LATE_US
    parts = list(sliced(trades()).slices(WINDOW))
    assert len(parts) == 14
    assert all(part.is_empty() for part in parts)
    assert by_symbol(parts[0]) == {}


def test_every_timeframe_says_how_many_instruments_are_built_at_once():
    assert set(SYMBOLS_AT_ONCE) == set(Timeframe)


@pytest.mark.parametrize("seconds", [15, 60, 300])
def test_windows_shorter_than_a_slice_are_one(seconds):
    window = Span(WINDOW.start, WINDOW.start + seconds * SECOND)
    rows = trades((-1, 0, None), (1, 0, None), (seconds, 0, None))
    before, inside, after = sliced(rows).slices(window)
    assert [moments(part) for part in (before, inside, after)] == [[-1.0], [1.0], [float(seconds)]]
