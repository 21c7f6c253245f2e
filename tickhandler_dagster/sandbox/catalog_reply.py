"""The simulator's metadata replies: exchange details and instrument records.

What belongs here: JSON values. What does not: HTTP and access.

Source: https://docs.tardis.dev/api/instruments-metadata-api
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND, day_start_us
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.incidents import Incident
from tickhandler_dagster.sandbox.listing import (
    GROUP_DATA_TYPES,
    GROUP_OF_KIND,
    Kind,
    Listing,
    Margin,
)
from tickhandler_dagster.sandbox.source import Json
from tickhandler_dagster.sandbox.universe import Window

_LOWER_CASE_IDS = frozenset({VenueId.BINANCE, VenueId.BINANCE_FUTURES, VenueId.BINANCE_DELIVERY})
_CURRENCY_NAMES = {VenueId.BITMEX: {"BTC": "BTC"}}


def iso(time_us: int) -> str:
    """The moment in the vendor's form.

    Example:
        >>> iso(0)
        '1970-01-01T00:00:00.000Z'
    """
    moment = dt.datetime.fromtimestamp(time_us / US_PER_SECOND, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us % US_PER_SECOND // 1_000:03d}Z"


def midnight_iso(day: dt.date) -> str:
    """00:00 of the day in the vendor's form."""
    return iso(day_start_us(day))


def venue_symbol(listing: Listing) -> str:
    """The id in the metadata replies: as the venue's feed spells it, lower case on Binance."""
    return listing.raw_id.lower() if listing.venue in _LOWER_CASE_IDS else listing.raw_id


def _since(listing: Listing) -> str:
    """Availability starts at the midnight of the day of listing."""
    return iso(listing.listed_us // US_PER_DAY * US_PER_DAY)


def _symbol_entry(listing: Listing, window: Window) -> Json:
    end = listing.end_us
    window_end = day_start_us(window.end)
    return {
        "id": listing.dataset_id,
        "type": listing.kind.value,
        "availableSince": _since(listing),
        "availableTo": iso(window_end if end is None else min(end, window_end)),
        "dataTypes": [data_type.value for data_type in listing.data_types],
    }


def _group_entries(venue: VenueId, listings: Sequence[Listing], window: Window) -> list[Json]:
    kinds = sorted({listing.kind for listing in listings})
    return [
        {
            "id": GROUP_OF_KIND[kind].value,
            "type": kind.value,
            "availableSince": midnight_iso(window.first),
            "availableTo": midnight_iso(window.end),
            "dataTypes": [one.value for one in group_data_types(venue, kind)],
        }
        for kind in kinds
    ]


def group_data_types(venue: VenueId, kind: Kind) -> tuple[DataType, ...]:
    """Types that the venue has under the group symbol of a kind."""
    return tuple(
        one for one in GROUP_DATA_TYPES[GROUP_OF_KIND[kind]] if one in VENUES[venue].data_types
    )


def _available_symbol(listing: Listing) -> Json:
    entry = {
        "id": venue_symbol(listing),
        "type": listing.kind.value,
        "availableSince": _since(listing),
    }
    return entry if listing.end_us is None else {**entry, "availableTo": iso(listing.end_us)}


def exchange_summary(venue: VenueId, window: Window) -> Json:
    """The exchange's item in the list of exchanges."""
    return {
        "id": venue.value,
        "name": f"{VENUES[venue].key_name.title()} (simulated)",
        "enabled": True,
        "supportsDatasets": True,
        "availableSince": midnight_iso(window.first),
        "simulated": True,
    }


def exchange_details(
    venue: VenueId, listings: Sequence[Listing], window: Window, incidents: Sequence[Incident]
) -> Json:
    """The reply about one exchange."""
    return {
        **exchange_summary(venue, window),
        "availableChannels": [],
        "availableSymbols": [_available_symbol(listing) for listing in listings],
        "incidentReports": [
            {
                "from": iso(one.start_us),
                "to": iso(one.end_us),
                "status": "wontfix",
                "details": one.details,
            }
            for one in incidents
        ],
        "channelDetails": [],
        "datasets": {
            "formats": ["csv"],
            "exportedFrom": midnight_iso(window.first),
            "exportedUntil": midnight_iso(window.end),
            "stats": {"trades": 0, "bookChanges": 0},
            "symbols": [
                *_group_entries(venue, listings, window),
                *(_symbol_entry(listing, window) for listing in listings),
            ],
        },
    }


def _contract_type(listing: Listing) -> str:
    if listing.option is not None:
        return "call_option" if listing.option.is_call else "put_option"
    return f"{listing.margin.value}_{listing.kind.value}"


def _derivative_fields(listing: Listing) -> Json:
    if listing.kind is Kind.SPOT:
        return {}
    fields: Json = {
        "contractType": _contract_type(listing),
        "inverse": listing.is_inverse,
        "contractMultiplier": listing.multiplier,
        "settlementCurrency": listing.settle,
        "underlyingType": "native",
    }
    if listing.margin is Margin.QUANTO:
        fields["quanto"] = True
    if listing.expiry_us is not None:
        fields["expiry"] = iso(listing.expiry_us)
    if listing.option is not None:
        fields |= {
            "strikePrice": listing.option.strike,
            "optionType": "call" if listing.option.is_call else "put",
        }
        if listing.venue is VenueId.DERIBIT and listing.is_inverse:
            fields["quoteCurrency"] = (
                listing.base
            )  # the premium's currency, as the vendor reports it
    if listing.old_multiplier is not None:
        until, old = listing.old_multiplier
        fields["changes"] = [{"until": iso(until), "contractMultiplier": old}]
    return fields


def instrument_record(listing: Listing, window: Window) -> Json:
    """The instrument's record in the instruments reply."""
    window_end = day_start_us(window.end)
    is_active = listing.end_us is None or listing.end_us > window_end
    record: Json = {
        "id": venue_symbol(listing),
        "datasetId": listing.dataset_id,
        "exchange": listing.venue.value,
        "baseCurrency": f"k{listing.base}" if listing.price_factor != 1 else listing.base,
        "quoteCurrency": listing.quote,
        "type": listing.kind.value,
        "active": is_active,
        "availableSince": _since(listing),
        "listing": iso(listing.listed_us),
        "priceIncrement": listing.tick,
        "amountIncrement": listing.lot,
        "minTradeAmount": listing.lot,
        "makerFee": 0.0002,
        "takerFee": 0.0005,
        **_derivative_fields(listing),
    }
    if not is_active and listing.end_us is not None:
        record["availableTo"] = iso(listing.end_us)
    return record
