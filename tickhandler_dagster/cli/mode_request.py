"""What a mode was told, as text and flags: the form between options and work.

What does not belong here: reading it, which needs the settings and the grid (`mode_work.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ModeRequest:
    """What a mode was told.

    Attributes:
        start: First day.
        end: Last day.
        venues: Comma list; those that are downloaded where empty.
        exchanges: Comma list of the venues whose instruments are listed; `venues` where empty.
        data_types: Comma list; those that are downloaded where empty.
        instrument_types: Comma list; all where empty.
        max_instruments: Instruments per partition at most; 0 for all.
        max_workers: Files downloaded at a time; 0 for what the settings say.
        is_forced: Fetch what is there already.
        as_json: Print JSON.
        is_verbose: Show the log of runs.
        log_level: Show the log of runs from this level on.
        env_file: Read instead of `.env`.
        config_file: YAML file of settings.
    """

    start: str
    end: str
    venues: str = ""
    exchanges: str = ""
    data_types: str = ""
    instrument_types: str = ""
    max_instruments: int = 0
    max_workers: int = 0
    is_forced: bool = False
    as_json: bool = False
    is_verbose: bool = False
    log_level: str | None = None
    env_file: Path | None = None
    config_file: Path | None = None
