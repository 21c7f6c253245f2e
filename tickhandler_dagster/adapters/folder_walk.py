"""The files below a folder while other processes add and remove them.

What belongs here: the walk alone. What does not: what the files are, and what a device's error is
called (`object_store.storage_errors`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each file below `folder` and its status, in no order; none where there is no folder.

    What is removed while it is looked at is as if it had never been there, be it a file or a
    folder. `Path.rglob` fails on such a folder, and passes over one that may not be read, whose
    files would then seem not to be.

    Raises:
        OSError: a folder or a file may not be read, or the device fails.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     _ = Path(name, "a.csv").write_bytes(b"123")
        ...     [(path.name, status.st_size) for path, status in files_below(Path(name))]
        [('a.csv', 3)]
    """
    for inside, _, names in os.walk(folder, onerror=_unless_gone):
        for name in names:
            path = Path(inside, name)
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
