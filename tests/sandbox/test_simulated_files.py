"""Laws of every simulated file, whatever is in it: bytes, header, clocks, numbers."""

from __future__ import annotations

import datetime as dt
import gzip
import random
import re

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

TINY = 0.005
NUMBER = re.compile(r"-?\d+(\.\d{1,9})?")
DENSE_VENUES = [venue.id for venue in VENUES.values() if venue.has_dense_trade_ids]


@pytest.mark.parametrize("venue", VenueId)
def test_every_promised_file_has_the_exact_header_and_arrivals_of_its_day_in_order(
    market, venue, event_day
):
    start, end = day_span_us(event_day)
    filled = set()
    for dataset in market.datasets(venue, event_day):
        text = gzip.decompress(market.body(dataset)).decode()
        if not text:
            continue
        header, _, _ = text.partition("\n")
        assert tuple(header.split(",")) == RAW_TABLES[dataset.data_type].header
        assert text.endswith("\n")
        rows = market.rows(*dataset)
        arrivals = rows["local_timestamp"]
        assert arrivals.is_sorted()
        assert start <= arrivals.min()
        assert arrivals.max() < end
        assert rows["exchange"].unique().to_list() == [venue.value]
        filled.add(dataset.data_type)
    assert filled == VENUES[venue].data_types


@pytest.mark.parametrize("venue", VenueId)
def test_numbers_are_written_to_the_tick_without_noise_digits(market, venue, day):
    datasets = market.datasets(venue, day)
    for dataset in random.Random(1).sample(datasets, min(len(datasets), 12)):
        names = RAW_TABLES[dataset.data_type].header
        numeric = [i for i, name in enumerate(names) if name.endswith(("price", "amount"))]
        for line in gzip.decompress(market.body(dataset)).decode().splitlines()[1:40]:
            cells = line.split(",")
            assert all(NUMBER.fullmatch(cells[i]) for i in numeric if cells[i]), line


def test_a_file_depends_on_the_seed_and_on_nothing_asked_before(day):
    first, second, other = (Simulator(seed, scale=TINY) for seed in (3, 3, 4))
    wanted = [
        (venue, data_type, day + dt.timedelta(days=shift), symbol)
        for venue, symbol in (("binance", "BTCUSDT"), ("deribit", "BTC-PERPETUAL"))
        for data_type in (DataType.TRADES, DataType.INCREMENTAL_BOOK_L2, DataType.QUOTES)
        for shift in (0, 1)
    ]
    wanted.append(("deribit", DataType.OPTIONS_CHAIN, day, "OPTIONS"))
    shuffled = random.Random(5).sample(wanted, len(wanted))
    bodies = {key: first.dataset(*key) for key in wanted}
    assert {key: second.dataset(*key) for key in shuffled} == bodies
    assert all(other.dataset(*key) != body for key, body in bodies.items())


def test_a_file_says_nothing_of_the_time_it_was_made(market, day):
    body = market.simulator.dataset("binance", DataType.TRADES, day, "BTCUSDT")
    assert body[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("venue", DENSE_VENUES)
def test_trade_ids_count_up_by_one_through_midnight(market, venue, day):
    for listing in market.simulator.listings(venue):
        if DataType.TRADES not in listing.data_types:
            continue
        days = [day - dt.timedelta(days=1), day]
        ids = sorted(
            int(text)
            for one in days
            for text in market.rows(venue.value, DataType.TRADES, one, listing.dataset_id)["id"]
        )
        assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True


@pytest.mark.parametrize("venue", VenueId)
def test_trade_ids_are_unique_per_instrument(market, venue, day):
    for listing in market.simulator.listings(venue)[:8]:
        ids = market.rows(venue.value, DataType.TRADES, day, listing.dataset_id)["id"]
        assert ids.is_unique().all()
        assert ids.null_count() == 0


def test_dense_ids_follow_the_exchange_clock(market, day):
    trades = market.rows("okex-swap", DataType.TRADES, day, "BTC-USDT-SWAP")
    by_id = trades.sort(trades["id"].cast(int))
    assert by_id["timestamp"].is_sorted()
    assert not trades["timestamp"].is_sorted()


@pytest.mark.parametrize(
    ("venue", "group", "data_type"),
    [
        ("deribit", "OPTIONS", DataType.TRADES),
        ("okex-futures", "FUTURES", DataType.INCREMENTAL_BOOK_L2),
        ("binance-futures", "PERPETUALS", DataType.LIQUIDATIONS),
        ("upbit", "SPOT", DataType.TRADES),
    ],
)
def test_a_grouped_file_holds_its_instruments_files_and_nothing_else(
    market, day, venue, group, data_type
):
    kind = {"OPTIONS": "option", "FUTURES": "future", "PERPETUALS": "perpetual", "SPOT": "spot"}
    grouped = market.rows(venue, data_type, day, group)
    members = [one for one in market.simulator.listings(venue) if one.kind == kind[group]]
    assert grouped.height == sum(
        market.rows(venue, data_type, day, one.dataset_id).height for one in members
    )
    for (symbol,), rows in grouped.group_by(["symbol"]):
        assert rows.equals(market.rows(venue, data_type, day, symbol))
