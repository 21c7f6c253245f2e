"""The vendor's data types and the symbols under which it groups many instruments in one file.

What belongs here: names. Columns of each type live in `raw_tables.py`, which venue has which type
in `venues.py`.
"""

from __future__ import annotations

from enum import StrEnum

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.nearest import did_you_mean


class DataType(StrEnum):
    """A Tardis CSV dataset type; the value is the vendor's spelling in URLs.

    Source: https://docs.tardis.dev/downloadable-csv-files/data-types
    """

    TRADES = "trades"
    INCREMENTAL_BOOK_L2 = "incremental_book_L2"
    QUOTES = "quotes"
    BOOK_SNAPSHOT_5 = "book_snapshot_5"
    BOOK_SNAPSHOT_25 = "book_snapshot_25"
    DERIVATIVE_TICKER = "derivative_ticker"
    LIQUIDATIONS = "liquidations"
    OPTIONS_CHAIN = "options_chain"
    BOOK_TICKER = "book_ticker"


class GroupSymbol(StrEnum):
    """A dataset id that stands for all instruments of a kind, not for one instrument.

    `COMBOS` is not documented by the vendor but seen in its replies.
    """

    SPOT = "SPOT"
    FUTURES = "FUTURES"
    PERPETUALS = "PERPETUALS"
    OPTIONS = "OPTIONS"
    COMBOS = "COMBOS"


def parse_data_type(text: str) -> DataType:
    """The data type of that name, in any letter case.

    Raises:
        InvalidInput: no such type; the message lists them all.

    Example:
        >>> parse_data_type("Trades")
        <DataType.TRADES: 'trades'>
    """
    by_name = {member.value.lower(): member for member in DataType}
    found = by_name.get(text.strip().lower())
    if found is None:
        raise InvalidInput(
            f"'{text}'",
            "not a data type",
            expected=f"one of {', '.join(DataType)}",
            remedy=did_you_mean(text, by_name, otherwise="Use the vendor's spelling of the type"),
        )
    return found
