"""Tables of a named set of mid-frequency features: its rows and its manifest.

What belongs here: columns. What does not: which features a set has (`mft/configured.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft_table import table_of
from tickhandler_dagster.market.tables import Bounds, Column, Table

_STRING = pl.String()

MFT_SET_MANIFEST_TABLE = Table(
    name="mft_set_manifest",
    grain="one instrument and timeframe of a partition of a set of mid-frequency features",
    key=("date", "venue", "timeframe", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column(
            "timeframe", _STRING, "Length of the bars.", bounds=Bounds(one_of=tuple(MFT_TIMEFRAMES))
        ),
        Column("rows", pl.Int64(), "Rows in the file.", unit="rows", bounds=Bounds(ge=0)),
        Column("features", pl.List(_STRING), "Names of its features, in the order of the columns."),
        Column(
            "bytes",
            pl.Int64(),
            "Size of the object in the lake.",
            unit="bytes",
            bounds=Bounds(ge=0),
        ),
        Column("content_sha256", _STRING, "SHA-256 of the object in the lake."),
        Column("features_sha256", _STRING, "SHA-256 of the object of all features it is cut from."),
        Column("is_simulated", pl.Boolean(), "A source came from the sandbox, not from a market."),
    ),
)


def mft_set_table(name: str, features: Iterable[MftFeature], chosen: Collection[str]) -> Table:
    """The table of a set: which bar a row is, and the chosen features in the set's order."""
    by_name = {feature.name: feature for feature in features}
    return table_of((by_name[one] for one in chosen), name=f"mft_set_{name}")
