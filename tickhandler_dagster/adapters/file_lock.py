"""A lock between processes of one machine, held by a file.

What belongs here: taking and waiting. What does not: what the lock guards.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.errors import ConcurrentWrite

_PAUSE_S = 0.02


@contextlib.contextmanager
def exclusive_lock(
    path: Path, *, setting: str = "WAREHOUSE_FOLDER", timeout_s: float = 300.0
) -> Iterator[None]:
    """Hold the lock of that file inside the block; the kernel frees it when its holder dies.

    The file stays: removing it would let two holders lock two files of the same name. Threads of
    one process exclude each other as processes do.

    Args:
        path: The lock's file; it and its folder are made.
        setting: The variable that leads there.
        timeout_s: How long to wait for another holder.

    Raises:
        ConcurrentWrite: another holder did not let go in time.
        StorageDenied: the folder may not be written.
    """
    with storage_errors(path, setting=setting):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        _wait(file.fileno(), path, timeout_s)
        yield


def _wait(descriptor: int, path: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ConcurrentWrite(
                    str(path),
                    "another process holds the lock",
                    was=f"{timeout_s:g} s of waiting",
                    remedy="Wait for the other process, or end it if it hangs; then run this again",
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return
