"""The universe of a day: who is in it, under which key, and what is reported instead of guessed."""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.catalog import parse_catalog
from tickhandler_dagster.market.contract_terms import parse_contracts
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.instruments import GROUP_ONLY, Collision, build_universe
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE

UNTIL = "2026-08-09T00:00:00.000Z"
DAY = dt.date(2024, 8, 8)


def listed(symbol, vendor_type, *data_types, since="2024-01-01T00:00:00.000Z", to=UNTIL):
    entry = {"id": symbol, "type": vendor_type, "availableSince": since}
    end = {} if to is None else {"availableTo": to}
    return entry | end | {"dataTypes": list(data_types or ("trades",))}


def catalog_of(venue, *symbols, since="2019-03-30T00:00:00.000Z", **fields):
    return parse_catalog(
        {
            "id": venue,
            "name": venue,
            "availableSince": since,
            "incidentReports": [],
            "datasets": {"exportedFrom": since, "exportedUntil": UNTIL, "symbols": list(symbols)},
        }
        | fields
    )


DERIBIT = (
    listed("OPTIONS", "option", "trades", "options_chain"),
    listed("BTC-PERPETUAL", "perpetual", "trades", "derivative_ticker", "unheard_of"),
    listed("ETH_BTC", "spot", to="2024-08-09T00:00:00.000Z"),
    listed("BTC-9AUG24", "future", to="2024-08-09T08:00:00.000Z"),
    listed("BTC-28AUG26", "future"),
    listed("BTC-28AUG26-50000-C", "option", "trades", "quotes"),
    listed("BTC-FS-28MAR25_PERP", "combo"),
    listed("BTC-CS-28MAR25-1_2", "combo"),
    listed("BTC-CS-GONE", "combo", to="2024-02-01T00:00:00.000Z"),
    listed("YES-OR-NO", "prediction"),
    listed("WHAT-IS-THIS", "future"),
    listed("NEXT_USDC", "spot", since="2024-08-09T00:00:00.000Z"),
)


def rows_of(universe):
    return {row["symbol"]: row for row in universe.frame.iter_rows(named=True)}


def test_the_frame_is_the_table_in_the_order_of_keys():
    frame = build_universe(catalog_of("deribit", *DERIBIT), None, DAY).frame
    assert frame.schema == INSTRUMENTS_TABLE.polars_schema
    assert frame["instrument_key"].is_sorted()
    assert frame["instrument_key"].to_list() == [
        "DERIBIT:FUTURE:BTC-USD-240809",
        "DERIBIT:FUTURE:BTC-USD-260828",
        "DERIBIT:OPTION:BTC-USD-260828-50000-CALL",
        "DERIBIT:PERPETUAL:BTC-USD",
        "DERIBIT:SPOT_PAIR:ETH-BTC",
    ]


def test_every_row_keeps_the_rules_of_the_table():
    frame = build_universe(catalog_of("deribit", *DERIBIT), None, DAY).frame
    for column in INSTRUMENTS_TABLE.columns:
        values = frame[column.name]
        assert column.is_nullable or values.null_count() == 0, column.name
        if column.bounds.one_of is not None:
            assert set(values.drop_nulls()) <= set(column.bounds.one_of)
    for row in frame.iter_rows(named=True):
        key = InstrumentKey.parse(row["instrument_key"])
        assert (key.venue, key.type, key.symbol) == (
            row["venue"],
            row["instrument_type"],
            row["symbol"],
        )


def test_what_is_left_out_is_counted_or_named():
    universe = build_universe(catalog_of("deribit", *DERIBIT), None, DAY)
    assert universe.excluded == {"combo": 2, "prediction": 1}
    assert [symbol for symbol, _ in universe.unparsed] == ["WHAT-IS-THIS"]
    assert "not a future symbol" in universe.unparsed[0][1]
    assert universe.collisions == ()


def test_an_instrument_ends_with_its_data():
    catalog = catalog_of("deribit", *DERIBIT)
    after = {
        str(day): rows_of(build_universe(catalog, None, day))
        for day in (dt.date(2024, 8, 9), dt.date(2024, 8, 10))
    }
    assert "BTC-USD-240809" in after["2024-08-09"]
    assert "BTC-USD-240809" not in after["2024-08-10"]
    assert "ETH-BTC" not in after["2024-08-09"]
    assert "NEXT-USDC" in after["2024-08-09"]


def test_an_end_is_stored_only_where_the_data_ends():
    rows = rows_of(build_universe(catalog_of("deribit", *DERIBIT), None, DAY))
    assert rows["BTC-USD"]["available_to"] is None
    assert rows["ETH-BTC"]["available_to"] == dt.datetime(2024, 8, 9, tzinfo=dt.UTC)
    assert rows["BTC-USD-240809"]["available_to"] == dt.datetime(2024, 8, 9, 8, tzinfo=dt.UTC)
    assert rows["BTC-USD-260828"]["available_to"] == dt.datetime(2026, 8, 28, 8, tzinfo=dt.UTC)
    assert rows["BTC-USD-260828"]["expiry"] == dt.datetime(2026, 8, 28, 8, tzinfo=dt.UTC)


def test_a_day_that_is_not_exported_yet_lists_what_goes_on():
    catalog = catalog_of("deribit", *DERIBIT, listed("BTC_USDC", "spot", to=None))
    rows = rows_of(build_universe(catalog, None, dt.date(2026, 8, 20)))
    assert set(rows) == {
        "BTC-USD",
        "BTC-USD-260828",
        "BTC-USD-260828-50000-CALL",
        "BTC-USDC",
        "NEXT-USDC",
    }
    later = rows_of(build_universe(catalog, None, dt.date(2026, 8, 29)))
    assert set(later) == {"BTC-USD", "BTC-USDC", "NEXT-USDC"}


def test_the_day_of_expiry_still_lists_the_contract():
    catalog = catalog_of("deribit", *DERIBIT)
    assert "BTC-USD-260828" in rows_of(build_universe(catalog, None, dt.date(2026, 8, 28)))


def test_data_types_are_the_vendors_and_what_only_a_group_has():
    rows = rows_of(build_universe(catalog_of("deribit", *DERIBIT), None, DAY))
    assert rows["BTC-USD"]["data_types"] == ["trades", "derivative_ticker"]
    assert rows["BTC-USD-260828-50000-CALL"]["data_types"] == ["trades", "quotes", "options_chain"]


@pytest.mark.parametrize(
    "group",
    [
        (),
        (listed("OPTIONS", "option", "trades"),),
        (listed("OPTIONS", "option", "options_chain", since="2024-08-09T00:00:00.000Z"),),
        (listed("FUTURES", "future", "options_chain"),),
    ],
)
def test_without_the_group_an_option_has_no_chain(group):
    catalog = catalog_of("deribit", *group, listed("BTC-28AUG26-50000-C", "option"))
    (row,) = build_universe(catalog, None, DAY).frame.iter_rows(named=True)
    assert row["data_types"] == ["trades"]


def test_a_record_gives_terms_and_the_venues_spelling_but_not_the_key():
    catalog = catalog_of("okex", listed("BTC-TRY", "spot"), listed("BTC-USD", "spot"))
    contracts = parse_contracts(
        [
            {
                "id": "btc-try",
                "datasetId": "BTC-TRY",
                "baseCurrency": "BTC",
                "quoteCurrency": "USD",
                "priceIncrement": 1,
            },
            {"id": "BTC-USD", "baseCurrency": "BTC", "quoteCurrency": "USD"},
        ]
    )
    universe = build_universe(catalog, contracts, DAY)
    rows = rows_of(universe)
    assert set(rows) == {"BTC-TRY", "BTC-USD"}
    assert universe.collisions == ()
    assert (rows["BTC-TRY"]["exchange_raw_symbol"], rows["BTC-TRY"]["tick_size"]) == (
        "btc-try",
        1.0,
    )
    assert rows["BTC-TRY"]["terms_source"] == "instruments_api"


PERPS = (
    listed("BTCPERP", "perpetual"),
    listed("BTCUSDC", "perpetual"),
    listed("ETHPERP", "perpetual"),
)
KEY = "BYBIT:PERPETUAL:BTC-USDC"


def record(symbol, quote="USDC", **fields):
    return {"id": symbol, "baseCurrency": "BTC", "quoteCurrency": quote} | fields


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        (None, None),
        ([], None),
        ([record("BTCPERP")], "BTCPERP"),
        ([record("BTCPERP"), record("BTCUSDC", quote="USD")], "BTCPERP"),
        ([record("BTCPERP"), record("BTCUSDC", aliasFor="BTCPERP")], "BTCPERP"),
        ([record("BTCPERP"), record("BTCUSDC")], None),
    ],
)
def test_of_colliding_symbols_only_a_confirmed_one_stays(records, kept):
    contracts = None if records is None else parse_contracts(records)
    universe = build_universe(catalog_of("bybit", *PERPS), contracts, DAY)
    assert universe.collisions == (Collision(KEY, ("BTCPERP", "BTCUSDC"), kept),)
    assert set(universe.frame["tardis_symbol"]) == {kept, "ETHPERP"} - {None}


def test_a_symbol_listed_twice_on_a_day_is_reported():
    catalog = catalog_of("bybit", listed("BTCPERP", "perpetual"), listed("BTCPERP", "perpetual"))
    universe = build_universe(catalog, parse_contracts([record("BTCPERP")]), DAY)
    assert universe.collisions == (Collision(KEY, ("BTCPERP", "BTCPERP"), None),)
    assert universe.frame.is_empty()


def test_a_day_before_the_venues_first_says_which_day_is_the_first():
    catalog = catalog_of(
        "hyperliquid", listed("BTC", "perpetual"), since="2024-10-29T00:00:00.000Z"
    )
    with pytest.raises(InvalidInput) as caught:
        build_universe(catalog, None, DAY)
    assert str(caught.value).startswith(
        "hyperliquid 2024-08-08: before the venue's first day (expected 2024-10-29 or later)."
    )


def test_a_venue_that_lists_nothing_has_an_empty_universe_of_the_same_columns():
    universe = build_universe(catalog_of("binance"), None, DAY)
    assert universe.frame.schema == INSTRUMENTS_TABLE.polars_schema
    assert universe.frame.is_empty()


@pytest.mark.parametrize("is_simulated", [True, False])
def test_a_simulated_venue_says_so_in_every_row(is_simulated):
    catalog = catalog_of("deribit", *DERIBIT, simulated=is_simulated)
    assert set(build_universe(catalog, None, DAY).frame["is_simulated"]) == {is_simulated}


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_reply_changes_nothing(rng: random.Random):
    shuffled = [*list(DERIBIT), listed("XRP-1", "future"), listed("A-1", "future")]
    original = build_universe(catalog_of("deribit", *shuffled), None, DAY)
    rng.shuffle(shuffled)
    other = build_universe(catalog_of("deribit", *shuffled), None, DAY)
    assert other.frame.equals(original.frame)
    assert (other.excluded, other.unparsed) == (original.excluded, original.unparsed)


@given(st.dates(dt.date(2024, 1, 1), dt.date(2026, 12, 31)))
def test_every_listed_symbol_is_a_row_or_is_accounted_for(day):
    catalog = catalog_of("deribit", *DERIBIT)
    universe = build_universe(catalog, None, day)
    on_the_day = [symbol.id for symbol in catalog.symbols if symbol.covers(day)]
    accounted = (
        set(universe.frame["tardis_symbol"])
        | {symbol for symbol, _ in universe.unparsed}
        | {symbol.id for symbol in catalog.symbols if symbol.type in universe.excluded}
    )
    assert set(on_the_day) <= accounted
    assert universe.frame.select(pl.struct("date", "instrument_key").is_unique().all()).item()


def test_group_only_types_are_given_for_every_kind():
    assert set(GROUP_ONLY) == set(InstrumentType)
