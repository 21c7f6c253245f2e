"""Copies of remote objects on this machine, for readers that want a file.

What belongs here: where copies stand, how long, how much of them, and the private folders that
uploads are prepared in. What does not: which copy is the present one (`gcs_store.py` asks the
bucket).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tickhandler_dagster.adapters.leftovers import owner_tag, sweep_leftovers
from tickhandler_dagster.adapters.object_store import SCRATCH_FOLDER, storage_errors

IN_USE_S = 600.0
"""A copy touched this recently is never evicted: a reader may be about to open it."""

_SWEEPS_PER_FILL = 20
_SETTING = "CACHE_FOLDER"


def default_cache_folder() -> Path:
    """A folder of this user's own under the system's folder for temporary files."""
    return Path(tempfile.gettempdir()) / f"tickhandler-cache-{os.getuid()}"


class ObjectCache:
    """A bounded folder of copies, shared by all processes that name the same folder.

    A copy is written aside and renamed, so that no reader meets a part of one; two processes that
    want the same object fetch it twice and agree. The bound is looked at after every twentieth part
    of it that this process adds, and copies in use stay: it can be passed by both for a while.

    Args:
        folder: Where; made when first used.
        max_bytes: How much stays after an eviction.
        in_use_s: Copies touched within so many seconds stay.
    """

    def __init__(self, folder: Path, max_bytes: float, *, in_use_s: float = IN_USE_S) -> None:
        self._folder = folder.absolute()
        self._max_bytes = max_bytes
        self._in_use_s = in_use_s
        self._unseen = max_bytes  # nothing is known of what earlier processes left
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the copies stand."""
        return self._folder

    def find(self, key: str, size: int) -> Path | None:
        """The copy under `key`, marked as used; None where there is none of this size.

        Raises:
            StorageDenied: the folder may not be read.
        """
        file = self._file(key)
        with storage_errors(file, setting=_SETTING):
            try:
                if file.stat().st_size != size:
                    return None
                os.utime(file)
            except FileNotFoundError:
                return None
        return file

    def add(self, key: str, fill: Callable[[Path], None]) -> Path:
        """The copy under `key`, made by `fill`, which writes the file it is given.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        file = self._file(key)
        with self.scratch() as folder, storage_errors(file, setting=_SETTING):
            copy = folder / file.name
            fill(copy)
            size = copy.stat().st_size
            file.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(file)
        self._added(size, keep=file)
        return file

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the cache's device, removed at the end.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        home = self._folder / SCRATCH_FOLDER
        with storage_errors(home, setting=_SETTING):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.mkdir(exist_ok=True)
            sweep_leftovers(home)
            folder = Path(tempfile.mkdtemp(prefix=f"{owner_tag()}-", dir=home))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def evict(self, keep: Path | None = None) -> int:
        """Remove the least recently used copies above the bound; how many bytes went.

        Args:
            keep: A copy that stays.
        """
        copies = sorted(self._copies())
        excess, gone = sum(size for _, size, _ in copies) - self._max_bytes, 0
        youngest = time.time() - self._in_use_s
        for used, size, file in copies:
            if gone >= excess or used > youngest:
                break
            if file != keep and _is_unused_since(file, used):
                file.unlink(missing_ok=True)
                gone += size
        return gone

    def _file(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / name[2:]

    def _added(self, size: int, *, keep: Path) -> None:
        with self._lock:
            self._unseen += size
            is_due = self._unseen > self._max_bytes / _SWEEPS_PER_FILL
            if is_due:
                self._unseen = 0
        if is_due:
            self.evict(keep)

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """When each copy was last used, in seconds, its size in bytes, and its file."""
        for file in self._folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):  # another process evicted it
                status = file.stat()
                yield status.st_mtime, status.st_size, file


def _is_unused_since(file: Path, used: float) -> bool:
    """Nobody took the copy up since the folder was read."""
    try:
        return file.stat().st_mtime == used
    except FileNotFoundError:
        return False
