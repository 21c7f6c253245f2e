"""Contract terms as of a day: the vendor's records with their history, else the venue's rules."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from tickhandler_dagster.market.contract_terms import (
    AMOUNT_UNITS,
    base_quantity_and_notional,
    contract_terms,
    parse_contracts,
)
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.instruments_table import AMOUNT_UNITS as UNIT_NAMES
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.symbols.registry import parse_symbol
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)


def record_of(**fields):
    """A record as the vendor writes it, in the fields that matter."""
    base = {"id": "X", "baseCurrency": "BTC", "quoteCurrency": "USD"}
    (record,) = parse_contracts([base | fields]).values()
    return record


def terms_of(venue, symbol, vendor_type, record=None, day=DAY):
    return contract_terms(parse_symbol(VenueId(venue), symbol, vendor_type), record, day)


# The units every venue is known to count in; None where no rule is certain.
@pytest.mark.parametrize(
    "row",
    [
        ("binance", "BTCUSDT", "spot", "base", 1.0, "venue_rule"),
        ("binance-futures", "BTCUSDT", "perpetual", "base", 1.0, "venue_rule"),
        ("binance-delivery", "BTCUSD_PERP", "perpetual", "contracts", 100.0, "venue_rule"),
        ("binance-delivery", "ETHUSD_PERP", "perpetual", "contracts", 10.0, "venue_rule"),
        ("bybit", "BTCUSD", "perpetual", "quote", 1.0, "venue_rule"),
        ("bybit", "BTCUSDH25", "future", "quote", 1.0, "venue_rule"),
        ("bybit", "BTCUSDT", "perpetual", "base", 1.0, "venue_rule"),
        ("bybit-spot", "BTCUSDT", "spot", "base", 1.0, "venue_rule"),
        ("okex", "BTC-USDT", "spot", "base", 1.0, "venue_rule"),
        ("okex-swap", "BTC-USDT-SWAP", "perpetual", "contracts", None, "unknown"),
        ("okex-swap", "BTC-USD-SWAP", "perpetual", "contracts", None, "unknown"),
        ("okex-futures", "BTC-USD-241227", "future", "contracts", None, "unknown"),
        ("okex-options", "BTC-USD-241227-8500-P", "option", "contracts", None, "unknown"),
        ("deribit", "BTC-PERPETUAL", "perpetual", "quote", 1.0, "venue_rule"),
        ("deribit", "BTC-27DEC24", "future", "quote", 1.0, "venue_rule"),
        ("deribit", "BTC_USDC-PERPETUAL", "perpetual", "base", 1.0, "venue_rule"),
        ("deribit", "BTC-27DEC24-50000-C", "option", "base", 1.0, "venue_rule"),
        ("bitmex", "XBTUSD", "perpetual", "contracts", 1.0, "venue_rule"),
        ("bitmex", "XBTZ24", "future", "contracts", 1.0, "venue_rule"),
        ("bitmex", "ETHUSD", "perpetual", "contracts", None, "unknown"),
        ("bitmex", "XBTUSDT", "perpetual", "contracts", None, "unknown"),
        ("bitmex", "XBT_USDT", "spot", "base", 1.0, "venue_rule"),
        ("hyperliquid", "BTC", "perpetual", "base", 1.0, "venue_rule"),
        ("upbit", "KRW-BTC", "spot", "base", 1.0, "venue_rule"),
        ("coinbase", "BTC-USD", "spot", "base", 1.0, "venue_rule"),
    ],
)
def test_without_records_the_rule_of_the_venue_holds(row):
    venue, symbol, vendor_type, *expected = row
    terms = terms_of(venue, symbol, vendor_type)
    assert [terms.amount_unit, terms.contract_size, terms.terms_source] == expected
    assert terms.tick_size is terms.amount_step is terms.min_size is None


def test_a_record_gives_terms_and_numbers_may_be_texts():
    record = record_of(
        inverse=True,
        contractMultiplier="100",
        priceIncrement=0.1,
        amountIncrement="1",
        minTradeAmount=1,
    )
    terms = terms_of("okex-swap", "BTC-USD-SWAP", "perpetual", record)
    assert (terms.contract_size, terms.tick_size, terms.amount_step, terms.min_size) == (
        100.0,
        0.1,
        1,
        1,
    )
    assert terms.is_inverse
    assert terms.terms_source == "instruments_api"


def test_a_multiplier_does_not_count_twice_where_amounts_are_in_base_asset():
    record = record_of(contractMultiplier=0.001, quoteCurrency="USDC")
    assert terms_of("deribit", "BTC_USDC-PERPETUAL", "perpetual", record).contract_size == 1.0


def test_old_values_hold_up_to_their_until_and_not_at_it():
    record = record_of(
        contractMultiplier=3,
        changes=[
            {"until": "2024-06-01T00:00:00.000Z", "contractMultiplier": 2, "priceIncrement": 0.5},
            {"until": "2024-03-01T00:00:00.000Z", "contractMultiplier": 1},
        ],
        priceIncrement=0.1,
    )

    def values(day):
        terms = terms_of(
            "okex-swap", "BTC-USDT-SWAP", "perpetual", record, dt.date.fromisoformat(day)
        )
        return terms.contract_size, terms.tick_size

    assert values("2024-02-29") == (1.0, 0.5)  # the later change still names the price step
    assert values("2024-03-01") == (2.0, 0.5)
    assert values("2024-05-31") == (2.0, 0.5)
    assert values("2024-06-01") == (3.0, 0.1)


def test_a_change_inside_a_day_counts_from_the_next_day():
    record = record_of(
        inverse=True,
        contractMultiplier=1,
        amountIncrement=100,
        changes=[{"until": "2021-06-08T04:30:00.000Z", "amountIncrement": 1}],
    )
    steps = [
        terms_of("bitmex", "XBTUSD", "perpetual", record, dt.date(2021, 6, day)).amount_step
        for day in (8, 9)
    ]
    assert steps == [1.0, 100.0]


def test_a_step_of_zero_means_that_the_vendor_does_not_know_it():
    terms = terms_of("okex-swap", "BTC-USDT-SWAP", "perpetual", record_of(priceIncrement=0))
    assert terms.tick_size is None


def test_a_record_without_multiplier_falls_back_to_the_rule():
    record = record_of(inverse=True)
    terms = terms_of("binance-delivery", "BTCUSD_PERP", "perpetual", record)
    assert terms.contract_size == 100.0


def test_a_quanto_contract_has_no_size():
    record = record_of(quanto=True, contractMultiplier=0.000001, settlementCurrency="XBT")
    terms = terms_of("bitmex", "ETHUSD", "perpetual", record)
    assert terms.is_quanto
    assert terms.contract_size is None
    assert terms.settle_asset == "BTC"
    assert base_quantity_and_notional(terms, 2_000.0, 5.0) is None


def test_the_vendors_inverse_flag_of_an_option_is_about_margin_not_about_amounts():
    record = record_of(inverse=True, quoteCurrency="BTC", contractMultiplier=1)
    terms = terms_of("deribit", "BTC-25APR25-200000-P", "option", record)
    assert not terms.is_inverse
    assert (terms.amount_unit, terms.contract_size, terms.settle_asset) == ("base", 1.0, "BTC")


def test_the_vendors_expiry_goes_before_the_venues_usual_hour():
    record = record_of(inverse=True, expiry="2024-12-27T09:30:00.000Z")
    assert terms_of("deribit", "BTC-27DEC24", "future", record).expiry.hour == 9
    assert terms_of("deribit", "BTC-27DEC24", "future").expiry.hour == 8
    assert terms_of("deribit", "BTC-PERPETUAL", "perpetual", record).expiry is None


def test_quantity_and_notional_follow_the_kind_of_contract():
    linear = terms_of("okex-swap", "BTC-USDT-SWAP", "perpetual", record_of(contractMultiplier=0.01))
    assert base_quantity_and_notional(linear, 50_000.0, 200.0) == (2.0, 100_000.0)
    inverse = terms_of("binance-delivery", "BTCUSD_PERP", "perpetual")
    assert base_quantity_and_notional(inverse, 50_000.0, 1_000.0) == (2.0, 100_000.0)


def test_records_are_found_by_dataset_id():
    records = parse_contracts(
        [
            {"id": "xyz:TSLA", "baseCurrency": "TSLA", "quoteCurrency": "USD"},
            {
                "id": "btcusdt",
                "datasetId": "BTCUSDT",
                "baseCurrency": "btc",
                "quoteCurrency": "usdt",
            },
        ]
    )
    assert set(records) == {"XYZ-TSLA", "BTCUSDT"}
    assert (records["BTCUSDT"].id, records["BTCUSDT"].base) == ("btcusdt", "BTC")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"baseCurrency": None}, r"\[0\]\.baseCurrency"),
        ({"priceIncrement": "cheap"}, r"\[0\]\.priceIncrement"),
        ({"inverse": "yes"}, r"\[0\]\.inverse"),
        ({"changes": [{"priceIncrement": 1}]}, r"\[0\]\.changes\[0\]\.until"),
    ],
)
def test_a_broken_record_is_named(fields, place):
    with pytest.raises(CorruptData, match=f"^instruments reply, {place}: "):
        record_of(**fields)


def test_every_venue_has_units_the_table_knows():
    assert set(AMOUNT_UNITS) == set(VenueId)
    assert {unit for pair in AMOUNT_UNITS.values() for unit in pair} <= set(UNIT_NAMES)


def test_each_term_is_a_column_of_the_table():
    terms = terms_of("binance", "BTCUSDT", "spot")
    assert {field.name for field in dataclasses.fields(terms)} <= set(INSTRUMENTS_TABLE.names)
