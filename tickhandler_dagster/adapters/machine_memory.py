"""How much memory there is and how much of it is in use: of the machine, its container, a process.

What belongs here: reading what the kernel tells. What does not: who may take how much
(`memory_ledger.py`).
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a version of control groups tells memory.

    Attributes:
        controller: Its name in a process' list of groups.
        folder: Of its tree.
        limit: File of the limit.
        used: File of what is in use.
        cache: What of that the kernel gives back at once, in `memory.stat`.
    """

    controller: str
    folder: str
    limit: str
    used: str
    cache: str


_FORMS = (
    _Form("", "", "memory.max", "memory.current", "inactive_file"),
    _Form(
        "memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    ),
)
"""Version 2, then version 1."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of a machine, a container or a process.

    Attributes:
        limit_bytes: All there is.
        used_bytes: In use; what the kernel can give back at once is not.
    """

    limit_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return self.limit_bytes - self.used_bytes


def machine_memory(root: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> MemoryUse:
    """That of the machine, or of the container or group of this process that has less left.

    A limit holds for all groups below it: a service's, its slice's, a container's whose own tree
    begins at the root.

    Args:
        root: Where the kernel shows control groups, version 2 or 1.
        own: Where it shows which of them this process is in.
    """
    machine = psutil.virtual_memory()
    whole = MemoryUse(machine.total, machine.total - machine.available)
    limited = (use for use in _limited(root, own) if use.limit_bytes < machine.total)
    return min((whole, *limited), key=lambda use: use.free_bytes)


def _limited(root: Path, own: Path) -> Iterator[MemoryUse]:
    """Every group above this process that has a limit."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    for form in _FORMS:
        places = [path for _, names, path in lines if form.controller in names.split(",")]
        for folder in _upwards(root / form.folder, places[0] if places else "/"):
            try:
                limit = (folder / form.limit).read_text().strip()
                used = int((folder / form.used).read_text())
                stat = (folder / "memory.stat").read_text().splitlines()
            except OSError:
                continue
            if limit.isdecimal():
                cache = int(dict(line.split() for line in stat).get(form.cache, 0))
                yield MemoryUse(int(limit), max(used - cache, 0))


def _upwards(base: Path, place: str) -> Iterator[Path]:
    """The folder of a group and of all above it; a group outside the tree shows as `..`."""
    own = PurePosixPath(place.lstrip("/"))
    known = PurePosixPath() if ".." in own.parts else own
    yield base / known
    yield from (base / above for above in known.parents)


def address_space() -> MemoryUse | None:
    """That of this process where somebody limits it (`ulimit -v`), else None."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return MemoryUse(limit, psutil.Process().memory_info().vms)
