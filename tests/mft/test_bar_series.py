"""Which bars count in a window: there, final, observed, and without a gap in them."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series, dense_opens

MINUTE = 60_000_000


def candles(**changes):
    rows = [
        dict.fromkeys(CANDLE_COLUMNS)
        | {
            "status": "traded",
            "is_final": True,
            "gap_ms": 0.0,
            "close": 100.0 + number,
            "trade_count": 3,
        }
        for number in range(4)
    ]
    rows[2] |= changes
    frame = pl.DataFrame(rows, schema_overrides={"gap_ms": pl.Float64, "status": pl.String})
    return frame.with_columns(ts_open=dense_opens(0, 4 * MINUTE, MINUTE))


def runs(frame, **options):
    opens = dense_opens(0, 4 * MINUTE, MINUTE)
    return bar_series(frame, opens, **options)["valid_run"].to_list()


def test_whole_bars_count_one_after_the_other():
    assert runs(candles()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "changes",
    [
        {"gap_ms": 250.0},
        {"status": "vendor_gap", "trade_count": 0, "close": None},
        {"status": "not_ingested", "trade_count": None, "close": None},
        {"is_final": False},
    ],
)
def test_a_bar_with_a_gap_ends_the_run_even_where_it_traded(changes):
    assert runs(candles(**changes)) == [1, 2, 0, 1]


def test_a_bar_without_trades_counts():
    quiet = {"status": "no_trade", "trade_count": 0, "close": None}
    assert runs(candles(**quiet)) == [1, 2, 3, 4]


def test_gaps_count_where_they_are_allowed_and_what_is_not_final_never_does():
    assert runs(candles(gap_ms=250.0), allow_gaps=True) == [1, 2, 3, 4]
    assert runs(candles(is_final=False), allow_gaps=True) == [1, 2, 0, 1]


def test_a_bar_that_is_not_there_is_a_gap():
    assert runs(candles().filter(pl.col("close") != 102.0)) == [1, 2, 0, 1]
