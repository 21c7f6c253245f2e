"""Objects of a bucket as files under their own names, for readers that want a folder.

What belongs here: the folder. What does not: copies and their bound (`object_cache.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tickhandler_dagster.adapters.object_store import ObjectStore, of_each
from tickhandler_dagster.market.errors import ConcurrentWrite


@contextlib.contextmanager
def linked_copies(store: ObjectStore, paths: Sequence[str]) -> Iterator[Path]:
    """A folder in which each path leads to the object's present bytes, gone at the end.

    Links, which hold a copy that the cache evicts meanwhile; the folder stands on its device.

    Raises:
        ConcurrentWrite: an object is no longer there.
    """
    with store.scratch() as folder:
        for path, copy in zip(paths, of_each(store, store.local, paths), strict=True):
            if copy is None:
                raise ConcurrentWrite(
                    path,
                    "named by its manifest and not there",
                    remedy="Ask again if the partition is being made; else make it again",
                )
            link = folder / path
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(copy, link)
        yield folder
