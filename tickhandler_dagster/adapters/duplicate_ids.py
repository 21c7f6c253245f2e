"""Which rows of a file repeat an event id, exactly and in bounded memory for any number of rows.

What belongs here: finding them. Keeping them out is `tick_writer.py`.

Most venues count ids up, and strictly increasing integers rule repeats out. For the others the
64-bit hashes of all ids lie in a scratch file, 8 bytes a row, and are compared in as many passes as
keep one pass small. Only where two hashes are equal are the ids themselves read again and compared,
so that a collision is no duplicate. The road not taken is a set of
ids: 4 GB for 40 million UUIDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.adapters.object_store import storage_errors

PASS_ROWS = 8_000_000
"""Rows whose hashes are in memory at once: 64 MB, and as much again to sort them."""

_CANDIDATE_ROWS = 1_000_000
_READ_ROWS = 1_000_000

IdBatches = Callable[[], Iterator[pl.Series]]
"""Opens the ids again from the first row; each call gives a new pass."""


class IdWatch:
    """Watches ids go by and says where repeats may be.

    Args:
        path: Scratch file for the hashes; removed by `close`.
        pass_rows: Bound of the hashes in memory at once.
    """

    def __init__(self, path: Path, *, pass_rows: int = PASS_ROWS) -> None:
        self._path = path
        self._pass_rows = pass_rows
        self._hashed = 0
        self._last: int | None = None
        self._is_increasing = True
        with storage_errors(path):
            self._writer = path.open("wb")

    def observe(self, ids: pl.Series) -> None:
        """Take the next ids, in row order; a null repeats nothing.

        Raises:
            StorageFull: the device has no space left.
        """
        present = ids.drop_nulls()
        if present.is_empty():
            return
        self._is_increasing = self._is_increasing and self._continues(present)
        with storage_errors(self._path):
            self._writer.write(_hashes(present).tobytes())
        self._hashed += len(present)

    def suspects(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Hashes that more than one row has, in portions that few enough rows have."""
        if self._is_increasing:
            return
        with storage_errors(self._path):
            self._writer.flush()
            for part in range(passes := max(1, -(-self._hashed // self._pass_rows))):
                yield from _portions(self._shared(part, passes))

    def close(self) -> None:
        """Remove the scratch file."""
        self._writer.close()
        self._path.unlink(missing_ok=True)

    def _continues(self, ids: pl.Series) -> bool:
        numbers = ids.cast(pl.Int64, strict=False)
        if numbers.null_count():
            return False
        values = numbers.to_numpy()
        follows = self._last is None or int(values[0]) > self._last
        self._last = int(values[-1])
        return follows and bool((values[1:] > values[:-1]).all())

    def _shared(self, part: int, passes: int) -> npt.NDArray[np.uint64]:
        """Sorted hashes of this part that more than one row has, once per further row."""
        found = []
        for start in range(0, self._hashed, _READ_ROWS):
            hashes = np.fromfile(self._path, np.uint64, count=_READ_ROWS, offset=start * 8)
            found.append(hashes[hashes % np.uint64(passes) == part])
        merged = np.concatenate(found)
        merged.sort()
        repeats: npt.NDArray[np.uint64] = merged[1:][merged[1:] == merged[:-1]]
        return repeats


def repeated_rows(watch: IdWatch, batches: IdBatches, rows: int) -> npt.NDArray[np.bool_]:
    """For every row whether an earlier row has the same id.

    Args:
        watch: Saw all the ids.
        batches: The ids, in row order.
        rows: How many rows there are, nulls included.
    """
    repeated = np.zeros(rows, dtype=np.bool_)
    for hashes in watch.suspects():
        repeated[_exact_repeats(batches(), hashes)] = True
    return repeated


def _hashes(ids: pl.Series) -> npt.NDArray[np.uint64]:
    return ids.hash().to_numpy()


def _portions(shared: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    """The distinct hashes in portions that few enough rows have."""
    if not shared.size:
        return
    distinct, further = np.unique(shared, return_counts=True)
    portion_of = (np.cumsum(further + 1) - further - 1) // _CANDIDATE_ROWS
    for portion in np.unique(portion_of):
        yield distinct[portion_of == portion]


def _exact_repeats(
    ids: Iterator[pl.Series], hashes: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Numbers of the rows with one of these hashes whose id an earlier row has."""
    candidates = []
    offset = 0
    for batch in ids:
        is_candidate = np.isin(_hashes(batch), hashes) & batch.is_not_null().to_numpy()
        rows = np.flatnonzero(is_candidate)
        candidates.append(pl.DataFrame({"row": rows + offset, "id": batch.gather(rows)}))
        offset += len(batch)
    later = pl.concat(candidates).filter(pl.col("id").is_first_distinct().not_())
    return later.get_column("row").to_numpy()
