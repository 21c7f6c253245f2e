"""Laws of the stored catalogue, for all catalogues hypothesis can think of."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.catalog import (
    DatasetSymbol,
    ExchangeCatalog,
    Incident,
    dataset_id,
    parse_catalog,
)
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.venues import VenueId

MOMENT = st.integers(1_546_300_800_000_000, 1_893_456_000_000_000).map(
    lambda us: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
)
TEXT = st.text(min_size=1, max_size=12)
RAW = st.from_regex(r"[a-zA-Z0-9:/-]{1,9}", fullmatch=True)


@st.composite
def dataset_symbols(draw, ids):
    raw = draw(ids)
    return DatasetSymbol(
        id=dataset_id(raw),
        type=draw(st.sampled_from(["spot", "perpetual", "combo", "swap"])),
        available_since=draw(MOMENT),
        available_to=draw(st.none() | MOMENT),
        data_types=tuple(draw(st.lists(st.sampled_from([*DataType, "new"]).map(str), max_size=4))),
        exchange_raw_symbol=raw,
    )


def unique(symbols):
    return st.lists(symbols, max_size=6, unique_by=lambda symbol: symbol.id).map(tuple)


CATALOGS = st.builds(
    ExchangeCatalog,
    venue=st.sampled_from(VenueId),
    name=TEXT,
    available_since=MOMENT,
    exported_from=MOMENT,
    exported_until=MOMENT,
    symbols=unique(
        dataset_symbols(RAW.filter(lambda raw: dataset_id(raw) not in set(GroupSymbol)))
    ),
    groups=unique(dataset_symbols(st.sampled_from(GroupSymbol).map(str))),
    incidents=st.lists(
        st.builds(Incident, start=MOMENT, end=st.none() | MOMENT, status=TEXT, details=TEXT),
        max_size=3,
    ).map(tuple),
    is_simulated=st.booleans(),
)


@given(CATALOGS)
def test_a_catalogue_is_stored_and_read_back_without_loss(catalog):
    assert parse_catalog(catalog.to_json()) == catalog


@given(CATALOGS)
def test_reading_and_storing_again_gives_the_same_bytes(catalog):
    assert parse_catalog(catalog.to_json()).to_json() == catalog.to_json()


@given(CATALOGS, st.dates(dt.date(2018, 12, 1), dt.date(2030, 2, 1)), st.sampled_from(DataType))
def test_what_is_listed_of_a_symbol_is_one_unbroken_run_of_days(catalog, day, data_type):
    for symbol in catalog.symbols:
        if catalog.lists(symbol.id, data_type, day):
            assert data_type in symbol.data_types
            assert symbol.available_since.date() <= day
            later = day + dt.timedelta(days=1)
            end = symbol.available_to
            still = end is None or dt.datetime.combine(later, dt.time(0), dt.UTC) < end
            assert catalog.lists(symbol.id, data_type, later) is still
