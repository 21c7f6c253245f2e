"""From the vendor's replies to the stored universe, over a real lake in a folder."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, InvalidInput, MissingUpstream
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.paths import CatalogFile, InstrumentsFile
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.exchange_catalog import (
    fetch_exchange_catalog,
    stored_catalog,
    stored_contracts,
)
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments

CELL = VenueDay(dt.date(2024, 8, 8), VenueId.BINANCE)
SINCE = "2019-03-30T00:00:00.000Z"
UNTIL = "2026-08-09T00:00:00.000Z"


def reply(venue="binance", *, trades=0):
    return {
        "id": venue,
        "name": "Binance",
        "availableSince": SINCE,
        "availableSymbols": [{"id": "btcusdt"}],
        "incidentReports": [],
        "datasets": {
            "exportedFrom": SINCE,
            "exportedUntil": UNTIL,
            "stats": {"trades": trades},
            "symbols": [
                {"id": symbol, "type": "spot", "availableSince": SINCE, "dataTypes": ["trades"]}
                for symbol in ("ETHUSDT", "BTCUSDT")
            ],
        },
    }


RECORDS = [
    {
        "id": "ethusdt",
        "datasetId": "ETHUSDT",
        "baseCurrency": "ETH",
        "quoteCurrency": "USDT",
        "priceIncrement": 0.01,
    },
    {
        "id": "btcusdt",
        "datasetId": "BTCUSDT",
        "baseCurrency": "BTC",
        "quoteCurrency": "USDT",
        "priceIncrement": 0.1,
    },
]


class Vendor:
    """Answers with what it was given."""

    def __init__(self, details, records=None):
        self.details, self.records = details, records

    def exchange_details(self, venue):  # noqa: ARG002  (the protocol has it)
        return self.details

    def instruments(self, venue):  # noqa: ARG002  (the protocol has it)
        return self.records


@pytest.fixture
def lake(tmp_path):
    return Lake(LocalObjectStore(tmp_path))


def stored(lake, name):
    return lake.store.read(CatalogFile(VenueId.BINANCE, name).path)


def test_without_entitlement_the_universe_is_built_from_symbols(lake):
    fetched = fetch_exchange_catalog(Vendor(json.dumps(reply()).encode()), lake, VenueId.BINANCE)
    assert fetched.contracts is None
    assert stored(lake, "contracts") is None
    assert stored_contracts(lake, VenueId.BINANCE) is None
    build_instruments(lake, CELL)
    frame = read_instruments(lake, CELL)
    assert frame.schema == INSTRUMENTS_TABLE.polars_schema
    assert frame["instrument_key"].to_list() == [
        "BINANCE:SPOT_PAIR:BTC-USDT",
        "BINANCE:SPOT_PAIR:ETH-USDT",
    ]
    assert frame["exchange_raw_symbol"].to_list() == ["btcusdt", "ETHUSDT"]
    assert set(frame["terms_source"]) == {"venue_rule"}


def test_with_entitlement_the_terms_come_from_the_records(lake):
    fetched = fetch_exchange_catalog(Vendor(reply(), RECORDS), lake, VenueId.BINANCE)
    assert fetched.bytes == len(stored(lake, "catalog")) + len(stored(lake, "contracts"))
    stored_universe = build_instruments(lake, CELL)
    frame = stored_universe.universe.frame
    assert frame["tick_size"].to_list() == [0.1, 0.01]
    assert read_instruments(lake, CELL).equals(frame)
    data = lake.store.read(InstrumentsFile(CELL.date, CELL.venue).path)
    assert stored_universe.bytes == len(data)
    assert stored_universe.sha256 == hashlib.sha256(data).hexdigest()


def test_the_stored_catalogue_is_the_fetched_one(lake):
    fetched = fetch_exchange_catalog(Vendor(reply()), lake, VenueId.BINANCE)
    assert stored_catalog(lake, VenueId.BINANCE) == fetched.catalog


def test_the_same_listing_is_stored_as_the_same_bytes(lake):
    first = fetch_exchange_catalog(Vendor(reply(trades=1), RECORDS), lake, VenueId.BINANCE)
    copies = stored(lake, "catalog"), stored(lake, "contracts")
    second = fetch_exchange_catalog(Vendor(reply(trades=2), RECORDS[::-1]), lake, VenueId.BINANCE)
    assert (stored(lake, "catalog"), stored(lake, "contracts")) == copies
    assert first.sha256 == second.sha256


def test_the_universe_is_byte_identical_when_built_again(lake):
    fetch_exchange_catalog(Vendor(reply(), RECORDS), lake, VenueId.BINANCE)
    path = InstrumentsFile(CELL.date, CELL.venue).path
    build_instruments(lake, CELL)
    first = lake.store.read(path)
    build_instruments(lake, CELL)
    assert lake.store.read(path) == first


@pytest.mark.parametrize(
    "broken",
    [
        Vendor(b"<html>maintenance</html>"),
        Vendor(reply("deribit")),
        Vendor(reply(), [{"id": "btcusdt"}]),
    ],
)
def test_a_broken_reply_leaves_the_last_good_copy(lake, broken):
    fetch_exchange_catalog(Vendor(reply(), RECORDS), lake, VenueId.BINANCE)
    before = stored(lake, "catalog"), stored(lake, "contracts")
    with pytest.raises(CorruptData):
        fetch_exchange_catalog(broken, lake, VenueId.BINANCE)
    assert (stored(lake, "catalog"), stored(lake, "contracts")) == before


def test_a_lost_entitlement_keeps_the_records_of_better_days(lake):
    fetch_exchange_catalog(Vendor(reply(), RECORDS), lake, VenueId.BINANCE)
    fetch_exchange_catalog(Vendor(reply()), lake, VenueId.BINANCE)
    assert stored_contracts(lake, VenueId.BINANCE) is not None


def test_a_missing_catalogue_names_the_command_that_brings_it(lake):
    with pytest.raises(MissingUpstream) as caught:
        build_instruments(lake, CELL)
    assert str(caught.value).endswith(
        "Run: dagster asset materialize -m tickhandler_dagster.definitions "
        "--select exchange_catalog --partition 'binance'."
    )


def test_a_missing_universe_names_the_command_that_brings_it(lake):
    with pytest.raises(
        MissingUpstream, match=r"--select instruments --partition '2024-08-08\|binance'"
    ):
        read_instruments(lake, CELL)


def test_contract_records_that_are_no_list_are_refused(lake):
    lake.store.write(CatalogFile(VenueId.BINANCE, "contracts").path, b"{}")
    with pytest.raises(CorruptData, match="not a list of records"):
        stored_contracts(lake, VenueId.BINANCE)


def test_a_day_before_the_first_stores_nothing(lake):
    fetch_exchange_catalog(Vendor(reply()), lake, VenueId.BINANCE)
    early = VenueDay(dt.date(2019, 3, 29), VenueId.BINANCE)
    with pytest.raises(InvalidInput, match="before the venue's first day"):
        build_instruments(lake, early)
    assert not lake.exists(InstrumentsFile(early.date, early.venue))
