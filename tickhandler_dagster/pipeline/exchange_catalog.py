"""Fetching what a venue lists and keeping the latest copy of it in the lake.

What belongs here: the use case of the asset `exchange_catalog`. What does not: HTTP (`adapters`)
and reading the replies (`market/catalog.py`, `market/contract_terms.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.catalog import ExchangeCatalog, parse_catalog
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.contract_terms import Contracts, parse_contracts
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.paths import CatalogFile
from tickhandler_dagster.market.venues import VenueId

CATALOG = "catalog"
CONTRACTS = "contracts"


class MetadataSource(Protocol):
    """Where the vendor's descriptions of a venue come from."""

    def exchange_details(self, venue: VenueId) -> bytes | Mapping[str, object]:
        """The exchange reply, as bytes or decoded."""
        ...

    def instruments(self, venue: VenueId) -> Sequence[Mapping[str, object]] | None:
        """The instruments reply, decoded; None where the key is not entitled to it."""
        ...


@dataclass(frozen=True, slots=True)
class FetchedCatalog:
    """What a fetch brought.

    Attributes:
        catalog: The catalogue.
        contracts: Records by dataset id; None without entitlement.
        bytes: Size of the objects written.
        sha256: Hash over the objects written: the same answers have the same hash.
    """

    catalog: ExchangeCatalog
    contracts: Contracts | None
    bytes: int
    sha256: str


def fetch_exchange_catalog(metadata: MetadataSource, lake: Lake, venue: VenueId) -> FetchedCatalog:
    """Ask the vendor what a venue lists, check the answers, and store them.

    Both answers are read before either is stored, so that a broken one leaves the last good copy.
    Without entitlement a copy of the contracts from better days stays: contract terms of the past
    do not become wrong.

    Raises:
        CorruptData: an answer is not what the vendor documents, or is about another venue.
    """
    catalog = parse_catalog(metadata.exchange_details(venue))
    if catalog.venue is not venue:
        raise CorruptData(
            f"exchange reply for {venue}",
            "about another venue",
            was=catalog.venue,
            expected=str(venue),
            remedy="Check the endpoint of the metadata API",
        )
    reply = metadata.instruments(venue)
    contracts = None if reply is None else parse_contracts(reply)
    written = [catalog.to_json()]
    lake.store.write(CatalogFile(venue, CATALOG).path, written[0])
    if reply is not None:
        # In the order of ids: the vendor promises none, and equal replies shall be equal bytes.
        records = canonical_json(sorted(reply, key=lambda record: str(record["id"])))
        lake.store.write(CatalogFile(venue, CONTRACTS).path, records)
        written.append(records)
    content = b"\n".join(written)
    return FetchedCatalog(
        catalog, contracts, sum(map(len, written)), hashlib.sha256(content).hexdigest()
    )


def stored_catalog(lake: Lake, venue: VenueId) -> ExchangeCatalog:
    """The catalogue in the lake.

    Raises:
        MissingUpstream: it was never fetched.
        CorruptData: the object is not a catalogue.
    """
    data = lake.store.read(CatalogFile(venue, CATALOG).path)
    if data is None:
        raise MissingUpstream(
            f"exchange_catalog of {venue}",
            "not in the lake",
            remedy=f"Run: {materialize('exchange_catalog', venue)}",
        )
    return parse_catalog(data)


def stored_contracts(lake: Lake, venue: VenueId) -> Contracts | None:
    """The contract records in the lake; None where the key was never entitled to them.

    Raises:
        CorruptData: the object is not a list of records.
    """
    item = CatalogFile(venue, CONTRACTS)
    records = lake.read_json(item)
    if records is None:
        return None
    if not isinstance(records, list):
        raise CorruptData(item.path, "not a list of records", remedy="Fetch the catalogue again")
    return parse_contracts(records)
