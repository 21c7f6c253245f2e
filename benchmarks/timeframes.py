"""The seven timeframes as peers need them, in the standard library alone.

What does not belong here: the project's own table of them (`tickhandler_dagster.market`), which
peers' environments do not have; `run.py` refuses to start where the two differ.
"""

from __future__ import annotations

SECONDS = {
    "15s": 15,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "1h": 3_600,
    "4h": 14_400,
    "24h": 86_400,
}

COMPARED = "1m"
"""The timeframe whose bars are held against each other."""
