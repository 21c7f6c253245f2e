"""Reading a stored table piece by piece, so that memory does not grow with the file.

What does not belong here: what is done with the pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import file_size
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.paths import LakeObject

BATCH_ROWS = 262_144
# Read at once: four times cheaper than in batches, and a day of options has hundreds of such files.
SMALL_BYTES = 4_000_000


def read_batches(
    lake: Lake, item: LakeObject, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pl.DataFrame]:
    """The stored table's rows in order, at most `batch_rows` at a time; nothing for no object.

    Raises:
        CorruptData: the object is not readable Parquet.
    """
    local = lake.local(item)
    if local is None:
        return
    if file_size(local) <= SMALL_BYTES:
        frame = lake.read_table(item, local=local)
        if frame is not None:
            yield from frame.iter_slices(batch_rows) if frame.height else (frame,)
        return
    try:
        with pq.ParquetFile(local) as file:
            for batch in file.iter_batches(batch_rows):
                yield pl.DataFrame(pl.from_arrow(batch))
    except pa.ArrowInvalid as error:
        raise CorruptData(
            item.path, "the object cannot be read", remedy="Delete it and run the partition again"
        ) from error
