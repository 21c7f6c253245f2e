"""SQLite that does not wait for the disk: a test's instance need not outlive the machine it is on.

Dagster opens the database for every event it stores, and each of them waits for the disk four
times: most of the time of a test that runs assets. Everything else is SQLite as it is, also for a
process that is killed. The name makes every interpreter that a test starts import it, as
`tests/conftest.py` puts its folder on `PYTHONPATH`.
"""

from __future__ import annotations

import sqlite3
from sqlite3 import dbapi2

_opened = sqlite3.connect


def connect(*args, **kwargs):
    """As `sqlite3.connect`; writing is left to the operating system."""
    connection = _opened(*args, **kwargs)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


sqlite3.connect = dbapi2.connect = connect
