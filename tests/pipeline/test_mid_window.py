"""Mids around trades: what the window gives is what a look at all rows gives, wherever it moves."""

from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters import parquet
from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.adapters.tick_arrivals import ArrivalReader
from tickhandler_dagster.market.bars.quotes import TOP_COLUMNS, top_ticks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.pipeline import channel_reading
from tickhandler_dagster.pipeline.mid_window import MidWindow

TERMS = ContractTerms(1.0, is_inverse=False, is_quanto=False)
TRADES, QUOTES = DataType.TRADES, DataType.QUOTES

_arrivals = st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=50)
_windows = st.lists(st.tuples(st.integers(-20, 320), st.integers(0, 120)), min_size=1, max_size=8)


def write(path, rows, group_rows):
    """States of (arrival, is normal) in order of arrival; the bid is the row's number."""
    ordered = sorted(rows, key=lambda row: row[0])
    frame = pl.DataFrame(
        {
            "timestamp": [0] * len(ordered),
            "local_timestamp": [arrival for arrival, _ in ordered],
            "bid_price": [float(number) for number in range(len(ordered))],
            "ask_price": [
                number + (1.0 if is_normal else -1.0)
                for number, (_, is_normal) in enumerate(ordered)
            ],
            "bid_amount": [1.0] * len(ordered),
            "ask_amount": [1.0] * len(ordered),
        },
        schema={
            "timestamp": pl.Int64,
            "local_timestamp": pl.Int64,
            **dict.fromkeys(TOP_COLUMNS[2:], pl.Float64),
        },
    ).cast({"timestamp": TIMESTAMP, "local_timestamp": TIMESTAMP})
    pq.write_table(frame.to_arrow(), path, row_group_size=group_rows)
    states = [
        (arrival, float(number)) for number, (arrival, is_normal) in enumerate(ordered) if is_normal
    ]
    return TickFile(str(path), TOP_COLUMNS), states


@given(_arrivals, _arrivals, st.integers(1, 20), _windows)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_window_holds_exactly_its_normal_states_in_whatever_order_windows_come(
    tmp_path, first, second, group_rows, windows
):
    one, known = write(tmp_path / "one.parquet", first, group_rows)
    two, more = write(tmp_path / "two.parquet", [(at + 301, ok) for at, ok in second], group_rows)
    window = MidWindow(
        lambda moment: ArrivalReader([one, two], moment), lambda rows: top_ticks(rows, TERMS)
    )
    for start, length in windows:
        found = window.states(start, start + length)
        pairs = zip(found.local_timestamp.tolist(), found.bid.tolist(), strict=True)
        assert list(pairs) == [
            state for state in [*known, *more] if start <= state[0] <= start + length
        ]


def test_windows_that_move_on_read_every_row_group_once(tmp_path):
    file, _ = write(tmp_path / "one.parquet", [(at, True) for at in range(100)], 10)
    reads = []
    window = MidWindow(
        lambda moment: ArrivalReader([file], moment),
        lambda rows: reads.append(rows.height) or top_ticks(rows, TERMS),
    )
    for start in range(5, 95, 3):
        assert len(window.states(start, start + 4)) == 5
    assert reads == [10] * 10


def test_the_first_trades_of_a_day_take_the_last_mids_of_the_file_before(lab):
    one, two = lab.one, lab.two
    lab.put(one, TRADES, lab.trades(one, (80_000, 100, 1)))
    lab.put(one, QUOTES, lab.quotes(one, (86_398, 99, 101), (86_399.9, 99, 103)))
    lab.put(two, TRADES, lab.trades(two, (0.5, 102, 1), (2, 103, 1), start=2_000))
    lab.put(two, QUOTES, lab.quotes(two, (1, 101, 103)))
    lab.build(two)
    bar = lab.bars(two).row(0, named=True)
    assert bar["mid_matched_notional"] == 205
    money = 102 * 2e4 * (102 - 101) / 101 + 103 * 2e4 * (103 - 102) / 102
    assert bar["effective_spread_sum"] == pytest.approx(money)


def test_trades_that_arrive_before_midnight_for_the_day_after_find_their_mids(lab):
    """A recorder's clock that runs behind: the day's first trades lie in the file before."""
    one, two = lab.one, lab.two
    early = (86_400.5, 102, 1, {"arrival": 86_399.2})
    lab.put(one, TRADES, lab.trades(one, (80_000, 100, 1), early))
    lab.put(one, QUOTES, lab.quotes(one, (86_399.9, 100, 102, 1, 1, 86_399.0)))
    lab.put(two, TRADES, lab.trades(two, (50, 103, 1), start=2_000))
    lab.put(two, QUOTES, lab.quotes(two, (1.5, 102, 104, 1, 1, 0.2)))
    lab.build(two)
    bar = lab.bars(two).row(0, named=True)
    assert (bar["trade_count"], bar["mid_matched_notional"]) == (1, 102)
    assert bar["effective_spread_bps"] == pytest.approx(2e4 / 101)
    assert bar["price_impact_1s_bps"] == pytest.approx(2e4 * (103 - 101) / 101)


def test_slices_without_a_mid_count_their_money_like_any_other(make_lab, monkeypatch):
    """A quote in the morning says nothing of the evening, be they read together or apart."""
    labs = make_lab("whole"), make_lab("cut")
    for lab in labs:
        rows = [(t, 100, 1) for t in range(100, 86_000, 500)]
        with monkeypatch.context() as patch:
            patch.setattr(parquet, "row_group_rows", lambda _: 8)
            lab.put(lab.one, TRADES, lab.trades(lab.one, *rows))
        lab.put(lab.one, QUOTES, lab.quotes(lab.one, (99, 99, 101)))
    whole, cut = labs
    whole.build()
    monkeypatch.setattr(channel_reading, "_SLICE_CELLS", 50)
    cut.build()
    assert cut.written() == whole.written()
    day = whole.day_bar()
    assert (day["signed_notional"], day["mid_matched_notional"]) == (17_200, 100)
