"""What became of each trade on the way to live, matched with the vendor's, whole or in parts."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.market.live.trade_evidence import (
    matched_trades,
    summed_evidence,
    trade_evidence,
    trade_name,
)
from tickhandler_dagster.market.timeframes import Timeframe

START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)


def opens(number):
    return START + number * dt.timedelta(seconds=15)


def trades(*rows):
    """Rows of (second, id, price) or with an arrival delay in seconds behind."""
    return pl.DataFrame(
        [
            {
                "timestamp": START + dt.timedelta(seconds=second),
                "local_timestamp": START + dt.timedelta(seconds=second + (more or [0.01])[0]),
                "id": number,
                "side": "buy",
                "price": float(price),
                "amount": 1.0,
            }
            for second, number, price, *more in rows
        ],
        schema={
            "timestamp": pl.Datetime("us", "UTC"),
            "local_timestamp": pl.Datetime("us", "UTC"),
            "id": pl.String,
            "side": pl.String,
            "price": pl.Float64,
            "amount": pl.Float64,
        },
    )


def evidence_of(live, vendor, timeframe=Timeframe.S15):
    return trade_evidence(matched_trades(live, vendor), timeframe)


def counts(live, vendor):
    return {
        row["ts_open"]: {
            name: row[name] for name in ("lost", "late", "revised", "moved") if row[name]
        }
        for row in evidence_of(live, vendor).iter_rows(named=True)
    }


def test_equal_trades_are_evidence_of_nothing_in_whatever_order_they_came():
    both = trades((1, "1", 10), (2, "2", 11), (20, "3", 12))
    assert counts(both.reverse(), both) == {}


def test_each_fate_of_a_trade_is_counted_in_its_own_bar():
    vendor = trades((1, "1", 10), (2, "2", 11), (20, "3", 12), (40, "4", 13), (50, "5", 1))
    live = trades((1, "1", 10), (20, "3", 99), (40, "4", 13, 700), (50, "5", 1, 0.5), (51, "6", 1))
    assert counts(live, vendor) == {
        opens(0): {"lost": 1},
        opens(1): {"revised": 1},
        opens(2): {"late": 1, "moved": 1},
        opens(3): {"revised": 1, "moved": 1},
    }


def test_a_trade_that_came_twice_is_one_trade():
    vendor = trades((1, "1", 10))
    assert counts(pl.concat([vendor, vendor]), vendor) == {}


def test_trades_without_ids_are_matched_by_what_they_are_and_counted():
    three = trades((1, None, 10), (1, None, 10), (1, None, 10))
    assert counts(three.head(2), three) == {opens(0): {"lost": 1}}
    assert counts(three, three) == {}


@pytest.mark.parametrize("parts", [2, 7])
def test_parts_by_name_add_up_to_the_whole(parts):
    vendor = trades(*((second, str(second), 10) for second in range(200)))
    live = trades(
        *((second, str(second), 10 + second % 3, 1 + second * 7 % 500) for second in range(5, 190))
    )

    def part(side, number):
        return side.filter(trade_name().hash() % parts == number)

    found = [evidence_of(part(live, one), part(vendor, one)) for one in range(parts)]
    assert summed_evidence(found).equals(evidence_of(live, vendor))
    assert evidence_of(live, vendor)["late"].sum() > 0
