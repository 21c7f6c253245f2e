"""Messages appended to a file, one JSON object per line.

What belongs here: a line that is there whole or not at all. What does not: the object (`webhook`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from tickhandler_dagster.adapters.notifiers.webhook import record
from tickhandler_dagster.market.alerts.messages import Message
from tickhandler_dagster.market.errors import StorageDenied, StorageFull, TransientError
from tickhandler_dagster.market.json_fields import canonical_json

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR})


class FileNotifier:
    """Appends to one file, which is made where it does not exist.

    Args:
        name: The notifier's name, for errors.
        path: The file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    def __repr__(self) -> str:
        return f"FileNotifier({self._name!r}, {str(self._path)!r})"

    def send(self, message: Message) -> None:
        """Append the message and wait until the device has it.

        Raises:
            StorageFull: no space is left.
            StorageDenied: the file may not be written.
            TransientError: the device failed otherwise.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(canonical_json(record(message)) + b"\n")
        except OSError as error:
            raise self._error(error) from error

    def _append(self, line: bytes) -> None:
        """One write of one line; what a full disk cut off is taken back.

        One writer at a time, of all threads and processes: `O_APPEND` alone keeps lines apart,
        but a file grows page by page while another writes, so that its end, looked at meanwhile,
        is the middle of a line.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = os.fstat(descriptor).st_size
            # A machine that stopped within a line left a part of it: the next starts on its own.
            is_cut = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            data = b"\n" + line if is_cut else line
            if os.write(descriptor, data) != len(data):
                os.ftruncate(descriptor, end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _error(self, error: OSError) -> StorageFull | StorageDenied | TransientError:
        subject = f"{self._name} ({self._path})"
        if error.errno in _FULL:
            return StorageFull(subject, "no space left on the device", remedy="Free some")
        if error.errno in _DENIED:
            return StorageDenied(
                subject, "may not be written", was=error.strerror, remedy="Correct the path"
            )
        return TransientError(
            subject, "cannot be written", was=error.strerror, remedy="Check the device"
        )
