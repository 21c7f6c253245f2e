"""A data frame as the vendor's file: CSV under the exact header, gzip that is the same every time.

What belongs here: bytes. What does not: what is in the rows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from isal import igzip

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.listing import Listing
from tickhandler_dagster.sandbox.seeds import Floats, Ints

_LEVEL = 1
Cells = Floats | Ints | Sequence[str | None] | pl.Series
_MILLISECOND = 1_000

_MICROSECOND_VENUES = frozenset({VenueId.COINBASE})


def venue_time(venue: VenueId, times: Ints) -> Ints:
    """Event times at the venue's resolution: milliseconds, or microseconds where it has them."""
    return times if venue in _MICROSECOND_VENUES else times // _MILLISECOND * _MILLISECOND


def csv_frame(listing: Listing, data_type: DataType, cells: Mapping[str, Cells]) -> pl.DataFrame:
    """The rows of one instrument under the vendor's header.

    Nulls: NaN becomes null; a column that is not given is null throughout.
    """
    height = len(cells["local_timestamp"])
    columns: dict[str, pl.Series] = {}
    for name in RAW_TABLES[data_type].header:
        if name == "exchange":
            columns[name] = pl.repeat(listing.venue.value, height, dtype=pl.String, eager=True)
        elif name == "symbol":
            columns[name] = pl.repeat(listing.dataset_id, height, dtype=pl.String, eager=True)
        elif name in cells:
            columns[name] = _series(cells[name])
        else:
            columns[name] = pl.repeat(None, height, dtype=pl.Null, eager=True)
    return pl.DataFrame(columns)


def _series(cells: Cells) -> pl.Series:
    if isinstance(cells, np.ndarray):
        return pl.Series(np.ascontiguousarray(cells), nan_to_null=True)
    return cells if isinstance(cells, pl.Series) else pl.Series(cells, dtype=pl.String)


def csv_file(frames: Sequence[pl.DataFrame]) -> bytes:
    """The file of those instruments, by time of arrival; rows of one message stay together.

    No rows make a gzip of nothing, without a header, as the vendor serves it.
    """
    filled = [frame for frame in frames if frame.height]
    if not filled:
        return igzip.compress(b"", _LEVEL, mtime=0)
    together = pl.concat(filled, how="vertical_relaxed")
    if len(filled) > 1:
        together = together.sort("local_timestamp", maintain_order=True)
    text = io.BytesIO()
    together.write_csv(text, float_scientific=False)
    return igzip.compress(text.getvalue(), _LEVEL, mtime=0)
