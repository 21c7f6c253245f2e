"""The exchange reply as a value: windows by day, groups, incidents, and broken replies."""

from __future__ import annotations

import copy
import datetime as dt
import json

import pytest

from tickhandler_dagster.market.catalog import parse_catalog
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.venues import VenueId

REPLY = {
    "id": "deribit",
    "name": "Deribit",
    "enabled": True,
    "availableSince": "2019-03-30T00:00:00.000Z",
    "availableChannels": ["trades"],
    "availableSymbols": [
        {
            "id": "TRX_USDC-3JAN26-0d275-P",
            "type": "option",
            "availableSince": "2025-12-01T00:00:00.000Z",
        },
        {"id": "NEVER-EXPORTED", "type": "spot", "availableSince": "2019-03-30T00:00:00.000Z"},
    ],
    "incidentReports": [
        {
            "from": "2024-08-08T22:00:00.000Z",
            "to": "2024-08-09T00:00:00.000Z",
            "status": "resolved",
            "details": "maintenance",
        },
        {"from": "2024-09-01T00:00:00.000Z", "status": "unresolved", "details": "no funding"},
    ],
    "datasets": {
        "formats": ["csv"],
        "exportedFrom": "2019-03-30T00:00:00.000Z",
        "exportedUntil": "2026-08-09T00:00:00.000Z",
        "stats": {"trades": 1},
        "symbols": [
            {
                "id": "OPTIONS",
                "type": "option",
                "availableSince": "2019-03-30T00:00:00.000Z",
                "availableTo": "2026-08-09T00:00:00.000Z",
                "dataTypes": ["trades", "options_chain"],
            },
            {
                "id": "BTC-PERPETUAL",
                "type": "perpetual",
                "availableSince": "2019-03-30T07:00:00.000Z",
                "availableTo": "2026-08-09T00:00:00.000Z",
                "dataTypes": ["trades", "brand_new_type"],
            },
            {
                "id": "BTC-9AUG24",
                "type": "future",
                "availableSince": "2024-07-26T08:00:10.000Z",
                "availableTo": "2024-08-09T08:00:00.000Z",
                "dataTypes": ["trades"],
            },
            {
                "id": "ETH_BTC",
                "type": "spot",
                "availableSince": "2024-01-01T00:00:00.000Z",
                "availableTo": "2024-08-09T00:00:00.000Z",
                "dataTypes": ["trades"],
            },
            {
                "id": "TRX_USDC-3JAN26-0D275-P",
                "type": "option",
                "availableSince": "2025-12-01T00:00:00.000Z",
                "dataTypes": ["trades"],
            },
        ],
    },
}
CATALOG = parse_catalog(REPLY)


def without(path):
    changed = copy.deepcopy(REPLY)
    *parents, last = path
    place = changed
    for part in parents:
        place = place[part]
    del place[last]
    return changed


@pytest.mark.parametrize(
    ("symbol", "day", "is_listed"),
    [
        ("BTC-PERPETUAL", "2019-03-29", False),
        ("BTC-PERPETUAL", "2019-03-30", True),  # since 07:00: the day has begun, the file exists
        ("BTC-PERPETUAL", "2026-08-08", True),
        ("BTC-PERPETUAL", "2026-08-09", False),  # the end is exclusive
        ("ETH_BTC", "2024-08-08", True),
        ("ETH_BTC", "2024-08-09", False),
        ("BTC-9AUG24", "2024-08-09", True),  # expires at 08:00: the last morning has a file
        ("BTC-9AUG24", "2024-08-10", False),
        ("TRX_USDC-3JAN26-0D275-P", "2030-01-01", True),  # no end named
        ("NEVER-EXPORTED", "2024-08-08", False),  # only in the other list of the reply
    ],
)
def test_a_symbol_is_listed_from_its_first_day_to_before_its_end(symbol, day, is_listed):
    assert CATALOG.lists(symbol, DataType.TRADES, dt.date.fromisoformat(day)) is is_listed


def test_a_symbol_is_not_listed_for_a_type_it_does_not_have():
    day = dt.date(2024, 8, 8)
    assert not CATALOG.lists("BTC-PERPETUAL", DataType.LIQUIDATIONS, day)


def test_a_group_is_found_by_type_and_day_and_is_no_instrument():
    day = dt.date(2024, 8, 8)
    assert CATALOG.groups_with(DataType.OPTIONS_CHAIN, day) == (GroupSymbol.OPTIONS,)
    assert CATALOG.groups_with(DataType.QUOTES, day) == ()
    assert CATALOG.groups_with(DataType.TRADES, dt.date(2019, 3, 29)) == ()
    assert "OPTIONS" not in [symbol.id for symbol in CATALOG.symbols]
    assert CATALOG.lists("OPTIONS", DataType.TRADES, day)


def test_a_day_is_exported_once_its_end_is():
    assert CATALOG.first_day == dt.date(2019, 3, 30)
    assert CATALOG.is_exported(dt.date(2019, 3, 30))
    assert not CATALOG.is_exported(dt.date(2019, 3, 29))
    assert CATALOG.is_exported(dt.date(2026, 8, 8))
    assert not CATALOG.is_exported(dt.date(2026, 8, 9))


@pytest.mark.parametrize(
    ("day", "found"),
    [
        ("2024-08-07", []),
        ("2024-08-08", ["maintenance"]),
        ("2024-08-09", []),  # it ends with the midnight before
        ("2024-08-31", []),  # the next one begins with the midnight after
        ("2024-09-01", ["no funding"]),
        ("2025-01-01", ["no funding"]),
    ],
)
def test_an_incident_belongs_to_the_days_it_touches(day, found):
    span = day_span_us(dt.date.fromisoformat(day))
    assert [incident.details for incident in CATALOG.incidents_on(span)] == found


def test_the_venues_spelling_comes_from_the_list_that_has_it():
    spelling = {symbol.id: symbol.exchange_raw_symbol for symbol in CATALOG.symbols}
    assert spelling["TRX_USDC-3JAN26-0D275-P"] == "TRX_USDC-3JAN26-0d275-P"
    assert spelling["BTC-PERPETUAL"] == "BTC-PERPETUAL"


def test_of_two_spellings_of_one_id_the_order_of_the_reply_decides_nothing():
    names = [{"id": "kPEPE"}, {"id": "KPEPE"}]
    symbol = {
        "id": "KPEPE",
        "type": "perpetual",
        "availableSince": "2024-10-29T00:00:00.000Z",
        "dataTypes": [],
    }
    catalogs = [
        parse_catalog(
            REPLY
            | {
                "availableSymbols": order,
                "datasets": REPLY["datasets"] | {"symbols": [symbol]},
            }
        )
        for order in (names, names[::-1])
    ]
    assert catalogs[0] == catalogs[1]


def test_a_type_this_project_does_not_know_is_no_error():
    assert "brand_new_type" in {t for symbol in CATALOG.symbols for t in symbol.data_types}


def test_a_reply_without_the_optional_parts_is_read():
    catalog = parse_catalog(without(["availableSymbols"]))
    assert len(catalog.symbols) == len(CATALOG.symbols)
    assert not catalog.is_simulated
    assert parse_catalog(REPLY | {"simulated": True}).is_simulated


def test_bytes_and_decoded_reply_are_the_same_catalogue():
    assert parse_catalog(json.dumps(REPLY).encode()) == CATALOG
    assert CATALOG.venue is VenueId.DERIBIT


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (["id"], "id"),
        (["name"], "name"),
        (["availableSince"], "availableSince"),
        (["incidentReports"], "incidentReports"),
        (["incidentReports", 0, "from"], r"incidentReports\[0\]\.from"),
        (["datasets"], "datasets"),
        (["datasets", "exportedUntil"], r"datasets\.exportedUntil"),
        (["datasets", "symbols", 1, "type"], r"datasets\.symbols\[1\]\.type"),
        (["datasets", "symbols", 1, "dataTypes"], r"datasets\.symbols\[1\]\.dataTypes"),
    ],
)
def test_a_missing_field_is_named(path, field):
    with pytest.raises(CorruptData, match=f"^exchange reply, {field}: missing"):
        parse_catalog(without(path))


@pytest.mark.parametrize("reply", [b"<html>", b"\xff\xfe", b"[]", b""])
def test_a_reply_that_is_no_json_object_is_refused(reply):
    with pytest.raises(CorruptData, match="exchange reply"):
        parse_catalog(reply)


def test_a_reply_about_a_venue_we_do_not_know_is_refused():
    with pytest.raises(CorruptData, match="exchange reply, id"):
        parse_catalog(REPLY | {"id": "kraken"})
