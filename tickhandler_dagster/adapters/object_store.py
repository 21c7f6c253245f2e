"""Where the lake's bytes are: the `ObjectStore` Protocol and its local folder.

What belongs here: bytes under relative paths, written atomically, and errors of the device as
errors of ours. What does
not: what the bytes mean (`parquet.py`, `lake.py`) and how paths are formed (`market/paths.py`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from tickhandler_dagster.adapters.folder_walk import files_below
from tickhandler_dagster.adapters.leftovers import owner_tag, sweep_leftovers
from tickhandler_dagster.adapters.object_versions import ABSENT, VersionMemory
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidSetting,
    StorageDenied,
    StorageFull,
    TickhandlerError,
)

SCRATCH_FOLDER = "_scratch"

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_COPY_BYTES = 8 * 1024 * 1024
DEVICE_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}
)
"""Error numbers that speak of the device, whoever meets them."""

_SETTING = "LAKE_ROOT (CACHE_FOLDER where the lake is in a bucket)"
"""What leads to the folders that files are made in before they are published."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class ObjectStore(Protocol):
    """Objects under relative paths; a reader sees the old object or the new one, never a part.

    A store remembers the version of every path it read, found absent, wrote or deleted. A write of
    such a path takes effect only where that is still the version; else it raises `ConcurrentWrite`
    and forgets, so that a writer who was told, and tries again, is let through. An object that
    holds the same bytes is no conflict. `size` remembers absence alone: who asks for the size of an
    object has not seen its content.
    """

    @property
    def requests_at_once(self) -> int:
        """How many requests are worth having on the way at the same time; see `of_each`."""
        ...

    def read(self, path: str) -> bytes | None:
        """The object's bytes; None where there is none."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Store `data` under `path` atomically, if nobody else wrote there since it was read."""
        ...

    def publish(self, local_file: Path, path: str) -> None:
        """Move a finished local file to `path` as `write` does; the file is gone afterwards."""
        ...

    def size(self, path: str) -> int | None:
        """The object's size in bytes; None where there is none."""
        ...

    def delete(self, path: str) -> None:
        """Remove the object; nothing happens where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Paths of all objects that begin with `prefix`, sorted."""
        ...

    def local(self, path: str) -> Path | None:
        """A file on this machine with the object's present bytes; None where there is none.

        The object itself where it is one, else a copy; it is not to be changed.
        """
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """A private local folder, removed at the end; its files publish without a copy."""
        ...


def of_each(
    store: ObjectStore, ask: Callable[[_Item], _Answer], items: Sequence[_Item]
) -> list[_Answer]:
    """What `ask`, a request to the store, says of every item, in their order.

    A question to a bucket takes a tenth of a second, and a day has a thousand files; one to a
    folder is answered sooner than a thread is woken.
    """
    workers = min(len(items), store.requests_at_once)
    if workers <= 1:
        return [ask(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(ask, items))


class LocalObjectStore:
    """Objects as files under a folder.

    A new object is first a file in the scratch folder of the same root, is flushed to the device
    and then renamed. One scratch folder for all writers keeps half files out of the folders people
    look into, and lets the leftovers of a killed writer be found without walking the lake.

    Args:
        root: The lake's folder; made when the first object is written.
    """

    requests_at_once = 1

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._versions = VersionMemory()

    @property
    def root(self) -> Path:
        """The lake's folder."""
        return self._root

    def read(self, path: str) -> bytes | None:
        """The object's bytes; None where there is none.

        Raises:
            StorageDenied: the folder or the file may not be read.
        """
        with storage_errors(self._file(path)):
            try:
                with self._file(path).open("rb") as file:
                    self._versions.remember(path, _version(os.fstat(file.fileno())))
                    return file.read()
            except FileNotFoundError:
                self._versions.remember(path, ABSENT)
                return None

    def write(self, path: str, data: bytes) -> None:
        """Store `data` under `path` atomically.

        Raises:
            ConcurrentWrite: somebody else wrote there since it was read.
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        with self.scratch() as folder, storage_errors(self._file(path)):
            temporary = folder / "object"
            temporary.write_bytes(data)
            self.publish(temporary, path)

    def publish(self, local_file: Path, path: str) -> None:
        """Move a finished local file to `path` atomically; the file is gone afterwards.

        Raises:
            ConcurrentWrite: somebody else wrote there since it was read; the file stays.
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        target = self._file(path)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._replace(local_file, path)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_beside(local_file, path)

    def size(self, path: str) -> int | None:
        """The object's size in bytes; None where there is none."""
        with storage_errors(self._file(path)):
            try:
                return self._file(path).stat().st_size
            except FileNotFoundError:
                self._versions.remember(path, ABSENT)
                return None

    def written_at(self, path: str) -> dt.datetime | None:
        """When the present object was written; None where there is none."""
        with storage_errors(self._file(path)):
            try:
                written = self._file(path).stat().st_mtime
            except FileNotFoundError:
                return None
        return dt.datetime.fromtimestamp(written, dt.UTC)

    def delete(self, path: str) -> None:
        """Remove the object; nothing happens where there is none."""
        with storage_errors(self._file(path)):
            self._file(path).unlink(missing_ok=True)
        self._versions.remember(path, ABSENT)

    def list(self, prefix: str) -> Iterator[str]:
        """Paths of all objects that begin with `prefix`, sorted; temporary files are no objects."""
        folder = self._root / prefix.rpartition("/")[0]
        with storage_errors(folder):
            paths = sorted(
                file.relative_to(self._root).as_posix() for file, _ in files_below(folder)
            )
        yield from (path for path in paths if path.startswith(prefix) and not is_temporary(path))

    def local(self, path: str) -> Path | None:
        """The object's own file; None where there is none.

        Raises:
            StorageDenied: the folder may not be read.
        """
        with storage_errors(self._file(path)):
            version = _present_version(self._file(path))
        self._versions.remember(path, version)
        return None if version == ABSENT else self._file(path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the lake's device, removed at the end.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the lake's root may not be written.
        """
        home = self._root / SCRATCH_FOLDER
        with storage_errors(home):
            home.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(home)
            folder = Path(tempfile.mkdtemp(prefix=f"{owner_tag()}-", dir=home))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _file(self, path: str) -> Path:
        return self._root / path

    def _replace(self, source: Path, path: str) -> None:
        """Rename after the content is on the device, where the object is still the one last seen.

        The folder is not flushed as well: a power cut then leaves the old object instead of the new
        one, which the next run notices, and a day of thousands of files takes half the time.
        """
        descriptor = os.open(source, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            version = _version(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        target = self._file(path)
        with _locked(target.parent):
            self._require_unchanged(path, source)
            source.replace(target)
        self._versions.remember(path, version)

    def _require_unchanged(self, path: str, source: Path) -> None:
        target, seen = self._file(path), self._versions.version(path)
        if seen is None or _present_version(target) == seen:
            return
        if target.exists() and filecmp.cmp(source, target, shallow=False):
            return
        self._versions.forget(path)
        raise ConcurrentWrite(
            str(target),
            "changed by another writer since it was read",
            remedy="Nothing was overwritten; the next try reads it anew",
        )

    def _copy_beside(self, local_file: Path, path: str) -> None:
        """Across devices a rename cannot work; only there does a temporary stand beside it."""
        folder = self._file(path).parent
        sweep_leftovers(folder)
        descriptor, name = tempfile.mkstemp(prefix=f".{owner_tag()}-", suffix=".tmp", dir=folder)
        temporary = Path(name)
        try:
            with local_file.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
                shutil.copyfileobj(reader, writer, _COPY_BYTES)
            self._replace(temporary, path)
        except (OSError, ConcurrentWrite):
            temporary.unlink(missing_ok=True)
            raise
        local_file.unlink()


@contextlib.contextmanager
def storage_errors(subject: str | Path, *, setting: str = _SETTING) -> Iterator[None]:
    """Device errors inside the block become errors of ours that name `subject`.

    Args:
        subject: The path, where the device's error names none.
        setting: The variable that leads there.

    Raises:
        StorageFull: no space, or no quota, is left.
        StorageDenied: reading or writing is not permitted.
        InvalidSetting: the setting leads through something that is not a folder, or the device
            fails otherwise.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, subject, setting=setting) from error


def storage_error(
    error: OSError, subject: str | Path, *, setting: str = _SETTING
) -> TickhandlerError:
    """The error of ours that a device error stands for."""
    subject = str(error.filename or subject)
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno in _FULL:
        return StorageFull(
            subject,
            reason,
            remedy=f"Free space on the device of {setting}; the next run goes on from here",
        )
    if error.errno in _DENIED:
        return StorageDenied(
            subject,
            reason,
            remedy=f"Give this user read and write permission, or set {setting} to another folder",
        )
    return InvalidSetting(
        subject,
        reason,
        expected="a folder on a working device",
        remedy=f"Set {setting} to such a folder",
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time in the folder, of all processes: between its look and its rename.

    The folder itself is what is locked: a file for the purpose would have to be made, hidden from
    lists and cleared away.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _present_version(file: Path) -> str:
    try:
        return _version(file.stat())
    except FileNotFoundError:
        return ABSENT


def _version(status: os.stat_result) -> str:
    """A new object is a new file: another inode, or the same one given out again, later."""
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"


def is_temporary(path: str) -> bool:
    """The path is that of a writer's half-finished work, which is no object."""
    name = path.rpartition("/")[2]
    return path.startswith(f"{SCRATCH_FOLDER}/") or (name.startswith(".") and name.endswith(".tmp"))
