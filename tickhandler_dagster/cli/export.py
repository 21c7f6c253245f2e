"""`tickhandler export`: rows of the lake in the files that another library reads.

What belongs here: the lake, the days and what is printed. What does not: the files
(`client/exports/`) and the options (`export_commands.py`).
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tickhandler_dagster.client import MarketData
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.resources.lake_store import build_store
from tickhandler_dagster.settings import load_settings

Export = Callable[[MarketData, dt.date, dt.date], Sequence[Path]]
"""Writes what lies in `[start, end)`; the files."""


def run_export(
    export: Export, days: tuple[str, str], settings_files: tuple[Path | None, Path | None]
) -> None:
    """Export days of the lake and print the files.

    Args:
        export: What to write.
        days: First and last day, both included.
        settings_files: The env file and the config file.

    Raises:
        TickhandlerError: what the reader, or the form, refuses.
    """
    settings = load_settings(*settings_files)
    first, last = (parse_date(text) for text in days)
    data = MarketData(build_store(settings))
    for file in export(data, first, last + dt.timedelta(days=1)):
        sys.stdout.write(f"{file}\n")
