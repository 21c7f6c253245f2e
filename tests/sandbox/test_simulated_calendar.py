"""What happens on which day: midnights, listings, expiries, outages, quiet days."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.clock import VenueClock
from tickhandler_dagster.sandbox.simulator import Simulator

HOUR = 3_600_000_000


def _entries(market, venue):
    return {one["id"]: one for one in market.simulator.exchange(venue)["datasets"]["symbols"]}


def test_the_first_trades_of_a_file_were_made_on_the_day_before(market, day):
    start, _ = day_span_us(day)
    for venue, symbol in (("binance", "BTCUSDT"), ("deribit", "BTC-PERPETUAL")):
        trades = market.rows(venue, DataType.TRADES, day, symbol)
        assert 0 < (trades["timestamp"] < start).sum() < 100


def test_a_recorder_that_is_behind_files_the_next_days_first_trades(market, day):
    _, end = day_span_us(day)
    trades = market.rows("bybit", DataType.TRADES, day, "BTCUSDT")
    assert 0 < (trades["timestamp"] >= end).sum() < 100
    assert (trades["local_timestamp"] < end).all()
    assert (trades["local_timestamp"] - trades["timestamp"]).median() < 0


def test_files_on_both_sides_of_a_midnight_hold_each_trade_once_and_in_order(market, day):
    for venue, symbol in (("okex-swap", "BTC-USDT-SWAP"), ("bybit", "BTCUSDT")):
        before, after = (
            market.rows(venue, DataType.TRADES, one, symbol)
            for one in (day, day + dt.timedelta(days=1))
        )
        assert before["timestamp"].max() <= after["timestamp"].min()
        assert not set(before["id"]) & set(after["id"])


def test_latency_is_short_mostly_and_has_a_heavy_tail(day):
    start, end = day_span_us(day)
    times = np.arange(start + HOUR, end - HOUR, 250_000)
    latency = VenueClock(7, VenueId.BINANCE).arrival(day, times) - times
    assert latency.min() > 0
    assert np.median(latency) < 100_000
    assert latency.max() > 20 * np.median(latency)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 86_399_999_999), min_size=2, max_size=50), st.sampled_from(VenueId))
def test_events_arrive_in_the_order_they_happened_and_on_their_files_day(offsets, venue):
    clock, day = VenueClock(7, venue), dt.date(2024, 8, 8)
    start, end = clock.session(day)
    times = np.clip(np.sort(np.array(offsets, dtype=np.int64)) + start, start, end - 1)
    arrivals = clock.arrival(day, times)
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= day_span_us(day)[0]) & (arrivals < day_span_us(day)[1])).all()
    assert clock.session(day + dt.timedelta(days=1))[0] == end


@pytest.mark.parametrize(
    ("venue", "symbol"), [("binance", "TONUSDT"), ("binance-futures", "TONUSDT")]
)
def test_a_listing_at_noon_has_that_days_file_from_noon(market, event_day, venue, symbol):
    start, _ = day_span_us(event_day)
    assert _entries(market, venue)[symbol]["availableSince"] == "2024-08-09T00:00:00.000Z"
    book = market.rows(venue, DataType.BOOK_SNAPSHOT_5, event_day, symbol)
    assert book["timestamp"].min() >= start + 12 * HOUR


@pytest.mark.parametrize("venue", ["binance", "binance-futures"])
def test_a_delisting_in_the_morning_ends_that_days_file(market, event_day, venue):
    start, _ = day_span_us(event_day)
    assert _entries(market, venue)["WAVESUSDT"]["availableTo"] == "2024-08-09T10:00:00.000Z"
    book = market.rows(venue, DataType.BOOK_SNAPSHOT_5, event_day, "WAVESUSDT")
    assert book.height > 0
    assert book["timestamp"].max() < start + 10 * HOUR
    assert not market.rows(
        venue, DataType.TRADES, event_day + dt.timedelta(days=1), "WAVESUSDT"
    ).height


def test_options_expire_at_eight(market, event_day):
    chain = market.rows("deribit", DataType.OPTIONS_CHAIN, event_day, "OPTIONS")
    start, _ = day_span_us(event_day)
    expiring = chain.filter(pl.col("expiration") == start + 8 * HOUR)
    assert expiring["symbol"].n_unique() >= 10
    assert (expiring["timestamp"] < expiring["expiration"]).all()
    assert expiring["timestamp"].max() > start + 6 * HOUR
    entry = _entries(market, "deribit")[expiring["symbol"][0]]
    assert entry["availableTo"] == "2024-08-09T08:00:00.000Z"


def test_an_outage_is_reported_and_leaves_a_hole_in_every_file(market, event_day):
    (report,) = market.simulator.exchange("binance-futures")["incidentReports"]
    start, end = (
        int(dt.datetime.fromisoformat(report[name]).timestamp()) * 1_000_000
        for name in ("from", "to")
    )
    for dataset in market.datasets("binance-futures", event_day):
        rows = market.rows(*dataset)
        inside = rows.filter((pl.col("timestamp") >= start) & (pl.col("timestamp") < end))
        # Milliseconds are cut off, so an event right at the end may show as one before it.
        assert inside.is_empty(), dataset
    trades = market.rows("binance-futures", DataType.TRADES, event_day, "BTCUSDT")
    numbers = trades["id"].cast(int).sort()
    assert numbers[-1] - numbers[0] + 1 > trades.height
    updates = market.rows("binance-futures", DataType.INCREMENTAL_BOOK_L2, event_day, "BTCUSDT")
    first_after = updates.filter(pl.col("timestamp") >= end).head(1)
    assert first_after["is_snapshot"].to_list() == ["true"]


def test_quiet_instruments_have_days_without_a_trade(day):
    simulator = Simulator(seed=7, scale=1.0)
    listing = next(one for one in simulator.listings(VenueId.BYBIT) if one.dataset_id == "BTCPERP")
    counts = [
        simulator._days.fill_count(listing, day + dt.timedelta(days=shift)) for shift in range(40)
    ]
    assert 0 in counts
    assert 0 < max(counts) < 60
    empty_day = day + dt.timedelta(days=counts.index(0))
    body = simulator.dataset("bybit", DataType.TRADES, empty_day, "BTCPERP")
    assert len(body) < 40


def test_only_one_venue_leaves_the_side_open(market, day):
    for venue, symbol in (("upbit", "KRW-BTC"), ("binance", "BTCUSDT"), ("coinbase", "BTC-USD")):
        sides = set(market.rows(venue, DataType.TRADES, day, symbol)["side"])
        assert ("unknown" in sides) == (venue == "upbit")


def test_a_full_day_of_a_liquid_perpetual_has_the_size_it_is_meant_to_have(day):
    simulator = Simulator(seed=7)
    listing = next(
        one for one in simulator.listings(VenueId.DERIBIT) if one.dataset_id == "BTC-PERPETUAL"
    )
    counts = [simulator._days.fill_count(listing, day + dt.timedelta(days=n)) for n in range(30)]
    assert 15_000 < sum(counts) / 30 < 25_000


@pytest.mark.parametrize("venue", VenueId)
def test_every_window_of_the_catalogue_lies_inside_the_exported_days(market, venue):
    details = market.simulator.exchange(venue)
    since, until = details["datasets"]["exportedFrom"], details["datasets"]["exportedUntil"]
    assert details["simulated"] is True
    assert details["name"].endswith(" (simulated)")
    for entry in details["datasets"]["symbols"]:
        assert entry["availableTo"] <= until
        assert entry["availableSince"] < entry["availableTo"]
        assert entry["id"] == entry["id"].upper()
        assert entry["availableSince"] >= since or entry["type"] == "option"
