"""Temporary files of killed writers: how a temporary name says whose it is, and who may remove it.

What does not belong here: finished objects. Nothing outside the names made here is ever removed.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from pathlib import Path

import psutil

_FOREIGN_AGE_S = 24 * 3600.0
_TAG = re.compile(r"\.?w-(?P<host>[A-Za-z0-9_.]+)-(?P<pid>\d+)-.+")


def owner_tag() -> str:
    """The beginning of every temporary name of this process: host and process id."""
    return f"w-{_host()}-{os.getpid()}"


def sweep_leftovers(folder: Path) -> int:
    """Remove temporary files and folders in `folder` whose writer is gone; how many were removed.

    A writer on this host is gone when no process has its id, or when the process that has it began
    after the file was last changed. Process ids of another host (a container on the same volume)
    say nothing here, so its files are removed when nothing changed them for a day.
    """
    removed = 0
    for entry in folder.iterdir():
        match = _TAG.fullmatch(entry.name)
        if match and _is_abandoned(entry, host=match["host"], pid=int(match["pid"])):
            _remove(entry)
            removed += 1
    return removed


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())


def _is_abandoned(entry: Path, *, host: str, pid: int) -> bool:
    try:
        changed = entry.stat().st_mtime
    except FileNotFoundError:
        return False
    if host != _host():
        return time.time() - changed > _FOREIGN_AGE_S
    if pid == os.getpid():
        return False
    try:
        return psutil.Process(pid).create_time() > changed
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
