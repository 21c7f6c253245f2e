"""Files of exports: made beside their place, put there whole.

What belongs here: the replacing, and names that are safe in a file system. What does not: contents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tickhandler_dagster.adapters.leftovers import owner_tag
from tickhandler_dagster.adapters.object_store import storage_errors


@contextlib.contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """A path to write to; what is there at the end replaces the file, and nothing does on an error.

    Raises:
        StorageDenied: the folder may not be written.
        StorageFull: the device has no space left.
    """
    made = file.with_name(f".{owner_tag()}-{file.name}")
    with storage_errors(file, setting="the export's folder"):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield made
            made.replace(file)
        finally:
            made.unlink(missing_ok=True)


def file_name(key: str) -> str:
    """An instrument's key as a part of a file name.

    Example:
        >>> file_name("BINANCE:SPOT_PAIR:BTC-USDT")
        'BINANCE_SPOT_PAIR_BTC-USDT'
    """
    return key.replace(":", "_")
