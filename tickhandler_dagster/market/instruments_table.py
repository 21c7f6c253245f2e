"""The universe table: one row per instrument that a venue lists on a day, under its canonical key.

What belongs here: columns. How rows come to be is `instruments.py`.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table

_STRING = pl.String()
_F64 = pl.Float64()

INSTRUMENT_TYPES = ("SPOT_PAIR", "PERPETUAL", "FUTURE", "OPTION")
AMOUNT_UNITS = ("base", "quote", "contracts")


def _text(name: str, description: str, *, is_nullable: bool = False) -> Column:
    return Column(name, _STRING, description, is_nullable=is_nullable)


INSTRUMENTS_TABLE = Table(
    name="instruments",
    grain="one instrument listed by a venue on a day",
    key=("date", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "The UTC day the row describes."),
        _text("instrument_key", "Canonical key VENUE:TYPE:SYMBOL."),
        _text("venue", "Tardis exchange id."),
        Column(
            "instrument_type",
            _STRING,
            "Type part of the key.",
            bounds=Bounds(one_of=INSTRUMENT_TYPES),
        ),
        _text("symbol", "Symbol part of the key."),
        _text("tardis_symbol", "Dataset id: the symbol in CSV files and in dataset addresses."),
        _text("exchange_raw_symbol", "The symbol as the venue spells it."),
        Column("available_from", TIMESTAMP, "First moment the vendor has data of.", unit="UTC"),
        Column(
            "available_to",
            TIMESTAMP,
            "End of the vendor's data, exclusive; null while it goes on.",
            unit="UTC",
            is_nullable=True,
        ),
        Column("data_types", pl.List(_STRING), "Data types the vendor exports of it."),
        _text("base_asset", "What is bought and sold."),
        _text("quote_asset", "What the price is counted in."),
        _text("settle_asset", "What profit and loss are paid in."),
        Column(
            "is_inverse", pl.Boolean(), "Contracts are worth a fixed amount of the quote asset."
        ),
        Column("is_quanto", pl.Boolean(), "Settled in an asset that is neither base nor quote."),
        Column(
            "amount_unit",
            _STRING,
            "What the venue counts amounts in.",
            bounds=Bounds(one_of=AMOUNT_UNITS),
        ),
        Column(
            "contract_size",
            _F64,
            "Base (linear) or quote asset (inverse) per unit of amount that day; null = unknown.",
            is_nullable=True,
            bounds=Bounds(gt=0),
        ),
        Column(
            "tick_size",
            _F64,
            "Price step.",
            unit="quote asset",
            is_nullable=True,
            bounds=Bounds(gt=0),
        ),
        Column(
            "amount_step",
            _F64,
            "Amount step.",
            unit="amount_unit",
            is_nullable=True,
            bounds=Bounds(gt=0),
        ),
        Column(
            "min_size",
            _F64,
            "Smallest order.",
            unit="amount_unit",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
        Column("expiry", TIMESTAMP, "Time of expiry.", unit="UTC", is_nullable=True),
        Column(
            "strike", _F64, "Strike.", unit="quote asset", is_nullable=True, bounds=Bounds(gt=0)
        ),
        Column(
            "option_type",
            _STRING,
            "CALL or PUT.",
            is_nullable=True,
            bounds=Bounds(one_of=("CALL", "PUT")),
        ),
        _text("underlying", "BASE-QUOTE a future or option is written on.", is_nullable=True),
        Column(
            "terms_source",
            _STRING,
            "Where the terms come from: the instruments reply, a venue's rule, or nowhere.",
            bounds=Bounds(one_of=("instruments_api", "venue_rule", "unknown")),
        ),
        Column("is_simulated", pl.Boolean(), "Listed by the sandbox, not by a market."),
    ),
)
