"""What the simulator lists is read by the domain: two descriptions of each venue, made apart."""

from __future__ import annotations

import pytest

from tickhandler_dagster.market.catalog import parse_catalog
from tickhandler_dagster.market.contract_terms import parse_contracts
from tickhandler_dagster.market.instruments import build_universe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

SIMULATOR = Simulator()
NAMED_BY_SYMBOL = ("instrument_key", "is_inverse", "is_quanto", "amount_unit", "settle_asset")


@pytest.mark.parametrize("venue", VenueId)
def test_every_listing_of_a_simulated_venue_has_a_key_of_its_own(venue):
    catalog = parse_catalog(SIMULATOR.exchange(venue))
    universe = build_universe(catalog, None, SIMULATOR.window.first)
    assert universe.frame.height > 0
    assert universe.unparsed == ()
    assert universe.collisions == ()
    assert universe.frame["is_simulated"].all()


@pytest.mark.parametrize("venue", VenueId)
def test_a_symbol_says_the_same_as_the_record_of_it(venue):
    catalog = parse_catalog(SIMULATOR.exchange(venue))
    contracts = parse_contracts(SIMULATOR.instruments(venue))
    by_symbol, by_record = (
        build_universe(catalog, source, SIMULATOR.window.first).frame.select(NAMED_BY_SYMBOL)
        for source in (None, contracts)
    )
    assert by_symbol.equals(by_record)
