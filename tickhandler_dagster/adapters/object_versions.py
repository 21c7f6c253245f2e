"""Which version of each object this process has seen: what a conditional write is conditional on.

What belongs here: the memory. What a version is (a generation, an inode and a time) is each
store's own; so is refusing a write.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

ABSENT = ""
"""The version of an object that is not there."""

_PATHS = 50_000


class VersionMemory:
    """The version each path had when this process last looked; bounded, the least used go first.

    A path that dropped out is one the process never saw: it is written without a condition. That is
    right for one that was never read, and the price of a bound for one that was; the bound is far
    above what a run reads before it writes.

    Args:
        paths: How many paths are remembered.

    Example:
        >>> memory = VersionMemory(2)
        >>> for path in ("a", "b", "c"): memory.remember(path, "1")
        >>> memory.version("a"), memory.version("c")
        (None, '1')
    """

    def __init__(self, paths: int = _PATHS) -> None:
        self._paths = paths
        self._versions: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def version(self, path: str) -> str | None:
        """The version last seen, `ABSENT` among them; None where the path was never seen."""
        with self._lock:
            return self._versions.get(path)

    def remember(self, path: str, version: str) -> None:
        """The path was read, or written, or found absent, and had this version then."""
        with self._lock:
            self._versions[path] = version
            self._versions.move_to_end(path)
            if len(self._versions) > self._paths:
                self._versions.popitem(last=False)

    def forget(self, path: str) -> None:
        """The next write has no condition: its writer was told that the object changed."""
        with self._lock:
            self._versions.pop(path, None)
