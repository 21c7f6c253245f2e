"""Who on this machine holds how much memory: reservations of processes that know nothing else.

What belongs here: a file of reservations under a lock. What does not: how much memory there is
(`machine_memory.py`), how much a piece of work needs, and waiting (`pipeline/admission.py`).

The file lies on this machine, whatever folder runs share with others: memory is a machine's. A
reservation of a process that is gone counts no more.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.machine_memory import (
    MemoryUse,
    address_space,
    machine_memory,
)
from tickhandler_dagster.adapters.object_store import storage_errors


@dataclass(frozen=True, slots=True)
class _Entry:
    """A reservation as it is stored: whose it is, and what the process held before its first."""

    pid: int
    started: float
    need_bytes: int
    held_bytes: int


class MemoryLedger:
    """Reservations of all processes of this machine.

    What is in use and what is reserved overlap: of a process' reservations only what it has not
    taken yet, by the growth of its resident memory since the first of them, comes on top of what is
    in use. What an allocator keeps of finished work (240 MB after a day of bars that needed 360)
    serves the next: counted twice, it would keep small machines waiting for themselves.

    Args:
        threshold_percent: Share of the memory that may be in use or reserved.
        folder: Of the file; by default one that all processes of this user share.
        memory: What the machine has.
        own: What this process may have; None where only the machine bounds it.
    """

    def __init__(
        self,
        threshold_percent: float,
        *,
        folder: Path | None = None,
        memory: Callable[[], MemoryUse] = machine_memory,
        own: Callable[[], MemoryUse | None] = address_space,
    ) -> None:
        shared = Path(tempfile.gettempdir(), f"tickhandler-memory-{os.getuid()}")
        self._folder = folder or shared
        self._share = threshold_percent / 100
        self._memory = memory
        self._own = own
        self._held_first: int | None = None

    @property
    def most_bytes(self) -> int:
        """All that one piece of work could ever have."""
        most, own = self._memory().limit_bytes, self._own()
        return most if own is None else min(most, own.limit_bytes)

    def reserve(self, need_bytes: int) -> str | None:
        """Reserve so much; gives the reservation's name, None where it has to wait.

        Whoever is alone may use all there is: waiting for memory that nobody here will give back
        would be waiting for ever.

        Raises:
            ConcurrentWrite: the file stays locked.
            StorageDenied: the folder may not be written.
        """
        with self._locked() as path:
            entries = _alive(_read(path))
            fresh = self._entry(need_bytes)
            mine = [entry for entry in entries.values() if entry.pid == fresh.pid]
            own = self._own()
            has_room = self._has_room(self._memory(), entries.values(), fresh)
            if not has_room or (own and not self._has_room(own, mine, fresh)):
                return None
            name = uuid.uuid4().hex
            _write(path, {**entries, name: fresh})
            return name

    def _entry(self, need_bytes: int) -> _Entry:
        process = psutil.Process()
        if self._held_first is None:
            self._held_first = process.memory_info().rss
        return _Entry(process.pid, process.create_time(), need_bytes, self._held_first)

    def _has_room(self, use: MemoryUse, entries: Iterable[_Entry], fresh: _Entry) -> bool:
        some = list(entries)
        share = self._share if some else 1.0
        return use.used_bytes + _outstanding([*some, fresh]) <= use.limit_bytes * share

    def release(self, name: str) -> None:
        """Give a reservation back."""
        with self._locked() as path:
            entries = _read(path)
            entries.pop(name, None)
            _write(path, entries)

    @property
    def reserved_bytes(self) -> int:
        """What all processes have reserved together."""
        with self._locked() as path:
            return sum(entry.need_bytes for entry in _alive(_read(path)).values())

    def _locked(self) -> _Locked:
        return _Locked(self._folder)


class _Locked:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "reservations.json"
        self._lock = exclusive_lock(folder / "reservations.lock", setting="TMPDIR")

    def __enter__(self) -> Path:
        self._lock.__enter__()
        return self._path

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)


def _read(path: Path) -> dict[str, _Entry]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return {name: _Entry(**record) for name, record in records.items()}
    except (FileNotFoundError, ValueError, TypeError):
        return {}  # nobody reserved yet, or a machine lost power while it was written


def _write(path: Path, entries: Mapping[str, _Entry]) -> None:
    text = json.dumps({name: asdict(entry) for name, entry in entries.items()})
    with storage_errors(path, setting="TMPDIR"):
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


def _alive(entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    return {name: entry for name, entry in entries.items() if _process(entry) is not None}


def _process(entry: _Entry) -> psutil.Process | None:
    """The process of a reservation; None where it ended, also where another has its number."""
    try:
        process = psutil.Process(entry.pid)
        is_same = process.create_time() == entry.started
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _outstanding(entries: Sequence[_Entry]) -> int:
    """What is reserved and not yet in use."""
    total = 0
    for pid in {entry.pid for entry in entries}:
        own = [entry for entry in entries if entry.pid == pid]
        process = _process(own[0])
        held = process.memory_info().rss if process else 0
        grown = max(held - min(entry.held_bytes for entry in own), 0)
        total += max(sum(entry.need_bytes for entry in own) - grown, 0)
    return total
