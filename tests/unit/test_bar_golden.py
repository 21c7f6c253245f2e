"""Small bars computed by hand."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.facts import KERNEL_VERSION, DayFacts, Sources
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.ticks import TradeTicks, trade_ticks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.trades import TRADES
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)
SECOND = 1_000_000
COINS = ContractTerms(1.0)


def ticks(*rows):
    """Rows of (seconds into the day, arrival delay in ms, side, price, amount), ids counting up."""
    at, delay, side, price, amount = zip(*rows, strict=True)
    timestamp = DAY.start + np.array([round(seconds * SECOND) for seconds in at])
    return TradeTicks(
        timestamp,
        timestamp + np.array(delay) * 1_000,
        np.arange(len(rows)),
        np.array(side, dtype=np.int8),
        np.array(price, dtype=np.float64),
        np.array(amount, dtype=np.float64),
    )


def day_bars(terms=COINS, **changes):
    facts = {
        "instrument_key": "BINANCE:SPOT_PAIR:BTC-USDT",
        "venue": VenueId.BINANCE,
        "day": DAY,
        "listed": DAY,
        "terms": terms,
        "closing": Closing(DAY, has_previous=True, has_next=True),
    }
    return DayBars(DayFacts(**facts | changes))


def first_bar(trades, terms=COINS, timeframe=Timeframe.M1, **changes):
    day = day_bars(terms, **changes)
    day.add_trades(trades)
    return day.finish([timeframe])[timeframe].row(0, named=True)


def of_trades(bar):
    """The columns that trades alone give, without those of the days before."""
    memory = {"large_trade_threshold", "large_trade_volume_sum", "large_trade_share"}
    names = {feature.name for feature in TRADES} - memory
    return {name: value for name, value in bar.items() if name in names}


FOUR = (
    (1.0, 5, 1, 100.0, 2.0),
    (1.0, 5, 1, 101.0, 1.0),
    (3.0, 5, -1, 99.0, 4.0),
    (7.0, 5, 0, 100.0, 1.0),
)


def test_a_linear_bar_of_four_trades():
    bar = first_bar(ticks(*FOUR))
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (100.0, 101.0, 99.0, 100.0)
    assert (bar["trade_count"], bar["sweep_count"]) == (4, 3)
    assert (bar["volume"], bar["notional"], bar["amount_sum"]) == (8.0, 797.0, 8.0)
    assert bar["price_vwap"] == 797.0 / 8.0
    assert (bar["buy_volume_sum"], bar["sell_volume_sum"], bar["unknown_volume_sum"]) == (3, 4, 1)
    assert bar["unknown_side_share"] == 0.125
    assert bar["trade_flow_imbalance"] == pytest.approx(-1 / 7)
    assert (bar["delta"], bar["delta_max"], bar["delta_min"]) == (-1.0, 3.0, -1.0)
    assert (bar["size_avg"], bar["size_p50"], bar["size_max"]) == (2.0, 1.5, 4.0)
    assert bar["size_std"] == pytest.approx(math.sqrt(1.5))
    assert bar["size_hhi"] == pytest.approx((4 + 1 + 16 + 1) / 64)
    assert (bar["size_p90"], bar["size_p99"]) == (None, None)
    assert bar["trade_intensity_per_s"] == pytest.approx(4 / 60)
    assert bar["vwap_close_gap"] == pytest.approx(math.log(100 / (797 / 8)))
    assert bar["time_since_last_trade_ms"] == 53_000.0


def test_an_inverse_bar_has_the_harmonic_price():
    # two contracts of 100 USD at 100 are 2 coins, two at 200 are 1 coin: 400 USD for 3 coins
    bar = first_bar(
        ticks((1, 5, 1, 100.0, 2.0), (2, 5, -1, 200.0, 2.0)), ContractTerms(100.0, is_inverse=True)
    )
    assert (bar["volume"], bar["notional"], bar["amount_sum"]) == (3.0, 400.0, 4.0)
    assert bar["price_vwap"] == pytest.approx(400 / 3)
    assert (bar["delta"], bar["size_max"]) == (1.0, 2.0)


@pytest.mark.parametrize("terms", [ContractTerms(None), ContractTerms(1.0, is_quanto=True)])
def test_without_known_units_only_prices_counts_and_amounts_remain(terms):
    bar = first_bar(ticks(*FOUR), terms)
    undefined = {name for name, value in of_trades(bar).items() if value is None}
    assert undefined == {
        "volume", "notional", "price_vwap", "buy_volume_sum", "sell_volume_sum", "delta",
        "unknown_volume_sum", "unknown_side_share", "trade_flow_imbalance", "delta_max",
        "delta_min", "sweep_size_avg", "size_avg", "size_std", "size_p50", "size_p90", "size_p99",
        "size_max", "size_hhi", "size_m2", "vwap_close_gap", "burstiness",
    }  # fmt: skip
    assert (bar["amount_sum"], bar["trade_count"], bar["close"]) == (8.0, 4, 100.0)


def test_the_first_time_between_trades_reaches_back_over_the_bar_s_start():
    alone = first_bar(ticks(*FOUR))
    carried = first_bar(ticks(*FOUR), previous=PreviousTrade(DAY.start - 4 * SECOND, DAY.start))
    assert (alone["interarrival_count"], alone["interarrival_sum_us"]) == (3, 6 * SECOND)
    assert (carried["interarrival_count"], carried["interarrival_sum_us"]) == (4, 11 * SECOND)
    assert alone["interarrival_mean_ms"] == 2_000.0
    assert alone["interarrival_cv"] == pytest.approx(math.sqrt(8 / 3) / 2)
    assert carried["interarrival_mean_ms"] == 2_750.0


def test_one_trade_without_a_known_trade_before_it_has_no_time_between_trades():
    bar = first_bar(ticks(FOUR[0]))
    assert (bar["interarrival_count"], bar["interarrival_mean_ms"], bar["size_std"]) == (
        0,
        None,
        None,
    )
    assert bar["size_hhi"] == 1.0


def test_trades_that_all_share_a_millisecond_have_no_variation_of_arrival():
    bar = first_bar(ticks(*[(1, 5, 1, 100.0, 1.0)] * 12))
    assert (bar["interarrival_mean_ms"], bar["interarrival_cv"], bar["burstiness"]) == (
        0.0,
        None,
        None,
    )
    assert (bar["sweep_count"], bar["size_p90"]) == (1, 1.0)


def test_an_empty_bar_knows_when_the_last_trade_was():
    day = day_bars(previous=PreviousTrade(DAY.start - SECOND, DAY.start - SECOND))
    day.add_trades(ticks((61, 5, 1, 100.0, 2.0)))
    bars = day.finish([Timeframe.M1])[Timeframe.M1]
    assert bars["time_since_last_trade_ms"].head(3).to_list() == [61_000.0, 59_000.0, 119_000.0]
    empty = bars.row(0, named=True)
    assert empty["status"] == "no_trade"
    assert {name for name, value in of_trades(empty).items() if value == 0} == {
        "trade_count", "volume", "notional", "amount_sum", "buy_volume_sum",
        "sell_volume_sum", "unknown_volume_sum", "sweep_count", "trade_intensity_per_s", "size_m2",
        "interarrival_count", "interarrival_sum_us", "interarrival_m2_ms2",
        "tick_rule_agree_count", "tick_rule_disagree_count",
    }  # fmt: skip
    assert {name for name, value in of_trades(empty).items() if value is None} == {
        "open", "high", "low", "close", "open_time", "close_time", "price_vwap", "last_arrival",
        "unknown_side_share", "trade_flow_imbalance", "delta", "delta_max", "delta_min",
        "sweep_size_avg", "size_avg", "size_std", "size_p50", "size_p90", "size_p99", "size_max",
        "size_hhi", "interarrival_mean_ms", "interarrival_cv", "burstiness", "vwap_close_gap",
        "tick_rule_agreement", "tick_rule_disagreement",
    }  # fmt: skip


def test_a_day_that_is_not_in_the_lake_has_bars_that_say_nothing():
    bars = day_bars(is_ingested=False, sources=Sources(previous=("a",))).finish([Timeframe.H4])
    frame = bars[Timeframe.H4]
    assert frame["status"].to_list() == ["not_ingested"] * 6
    known = {name for name in frame.columns if frame[name].null_count() == 0}
    assert known == {
        "instrument_key", "venue", "timeframe", "ts_open", "ts_close", "available_at", "status",
        "is_final", "clock", "bar_version", "kernel_version", "source_sha256", "gap_ms", "coverage",
        "available_at_1s", "available_at_5s", "available_at_30s", "has_memory", "covered_ms",
    }  # fmt: skip
    assert (frame["coverage"].to_list(), frame["is_final"].any()) == ([0.0] * 6, False)
    assert frame["kernel_version"][0] == KERNEL_VERSION


def test_a_gap_the_vendor_reports_shows_in_coverage_intensity_and_status():
    gap = Span(DAY.start + 30 * SECOND, DAY.start + 90 * SECOND)
    day = day_bars(gaps=(gap,))
    day.add_trades(ticks((1, 5, 1, 100.0, 2.0)))
    bars = day.finish([Timeframe.S15, Timeframe.M1])
    first, second, third = bars[Timeframe.M1].head(3).iter_rows(named=True)
    assert (first["status"], first["gap_ms"], first["coverage"]) == ("traded", 30_000.0, 0.5)
    assert first["trade_intensity_per_s"] == pytest.approx(1 / 30)
    assert (second["status"], second["trade_count"], second["close"]) == ("vendor_gap", 0, None)
    assert (third["status"], third["gap_ms"], third["coverage"]) == ("no_trade", 0.0, 1.0)
    inside = bars[Timeframe.S15].row(2, named=True)
    assert (inside["status"], inside["coverage"], inside["trade_count"]) == (
        "vendor_gap",
        0.0,
        None,
    )


def test_time_before_the_listing_does_not_count_as_observed():
    day = day_bars(listed=Span(DAY.start + 90 * SECOND, DAY.end))
    day.add_trades(ticks((100, 5, 1, 100.0, 2.0)))
    bar = day.finish([Timeframe.M1])[Timeframe.M1].row(0, named=True)
    assert (bar["coverage"], bar["gap_ms"]) == (0.5, 0.0)
    assert bar["trade_intensity_per_s"] == pytest.approx(1 / 30)


def test_a_trade_that_arrives_late_counts_in_the_bar_it_was_late_for():
    day = day_bars()
    day.add_trades(
        ticks((14, 1_200, 1, 100.0, 1.0), (14, 1_201, 1, 100.0, 1.0), (20, 41_000, 1, 100.0, 1.0))
    )
    bars = day.finish([Timeframe.S15, Timeframe.M1, Timeframe.M5])
    late = {frame: bar["late_count"].head(2).to_list() for frame, bar in bars.items()}
    assert late == {Timeframe.S15: [1, 1], Timeframe.M1: [1, 0], Timeframe.M5: [0, 0]}
    first, second, third = bars[Timeframe.S15].head(3).iter_rows(named=True)
    starts = [
        (bar["available_at"] - bar["ts_open"]).total_seconds() for bar in (first, second, third)
    ]
    # the third bar is empty; how long ago the last trade was, was known after its end
    assert starts == [15.401, 46.2, 31.2]


def test_a_bar_waits_for_the_arrival_of_the_trade_before_it():
    # its first time between trades is not known before that
    bar = first_bar(
        ticks((1, 70_000, 1, 100.0, 1.0), (16, 5, 1, 100.0, 1.0)), timeframe=Timeframe.M1
    )
    assert bar["available_at"] == bar["ts_open"] + dt.timedelta(seconds=71.2)
    day = day_bars()
    day.add_trades(ticks((1, 70_000, 1, 100.0, 1.0), (16, 5, 1, 100.0, 1.0)))
    second = day.finish([Timeframe.S15])[Timeframe.S15].row(1, named=True)
    assert second["available_at"] == second["ts_open"] + dt.timedelta(seconds=71.2 - 15)


def test_trades_that_come_in_order_are_not_copied():
    ordered = ticks((1, 5, 1, 100.0, 1.0), (1, 4, -1, 101.0, 1.0), (2, 3, 1, 102.0, 1.0))
    assert in_total_order(ordered) is ordered


def test_sides_and_ids_are_read_row_by_row():
    table = RAW_TABLES[DataType.TRADES].stored
    frame = pl.DataFrame(
        {
            "timestamp": [1, 2, 3],
            "local_timestamp": [4, 5, 6],
            "id": ["17", None, "x1"],
            "side": ["buy", "sell", "unknown"],
            "price": [1.0, 2.0, 3.0],
            "amount": [4.0, 5.0, 6.0],
        }
    ).cast({"timestamp": TIMESTAMP, "local_timestamp": TIMESTAMP})
    assert frame.columns == table.names
    found = trade_ticks(frame, has_dense_ids=True)
    assert (found.side.tolist(), found.trade_id.tolist()) == ([1, -1, 0], [17, -1, -1])
    assert trade_ticks(frame.drop("id"), has_dense_ids=False).trade_id is None


def test_the_size_buffer_grows_past_its_capacity():
    day = day_bars()
    for minute in range(3):
        day.add_trades(ticks((60 * minute, 5, 1, 100.0, minute + 1.0)))
    day.add_trades(ticks((300, 5, 1, 100.0, 9.0)).take(slice(0, 0)))
    bars = day.finish([Timeframe.H24])[Timeframe.H24]
    assert (day.trades, bars["size_p50"].to_list()) == (3, [2.0])


def test_a_slice_that_goes_back_is_refused():
    day = day_bars()
    day.add_trades(ticks((20, 5, 1, 100.0, 1.0)))
    with pytest.raises(CorruptData, match="outside the part of the day still open"):
        day.add_trades(ticks((29, 5, 1, 100.0, 1.0)))


def test_a_trade_of_another_day_is_refused():
    with pytest.raises(CorruptData, match="outside the part of the day"):
        day_bars().add_trades(ticks((86_400, 5, 1, 100.0, 1.0)))
