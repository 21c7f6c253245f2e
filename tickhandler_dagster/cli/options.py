"""Options that several commands share: one name, one sentence of help, the values a shell offers.

What belongs here: their declarations, the list in a comma text, and the settings that a command's
options name. What does not: options of one command alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings, load_settings


class LogLevel(StrEnum):
    """Levels of the log."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


def completing(values: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for the last name of a comma list.

    Example:
        >>> completing(["binance", "bitmex", "upbit"])("upbit,bi")
        ['upbit,binance', 'upbit,bitmex']
    """
    known = list(values)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in known if name.startswith(last)]

    return complete


EnvFile = Annotated[Path | None, typer.Option(help="Read this instead of .env.")]
ConfigFile = Annotated[Path | None, typer.Option(help="Read this YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log of every run.")]
Level = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        case_sensitive=False,
        help="Show the log of every run from this level on; LOG_LEVEL is set to it.",
    ),
]
Start = Annotated[str, typer.Option(help="First UTC day, YYYY-MM-DD.")]
End = Annotated[str, typer.Option(help="Last UTC day, included, YYYY-MM-DD.")]
Venues = Annotated[
    str,
    typer.Option(
        "--venues",
        "--exchanges",
        autocompletion=completing(VenueId),
        help="List of venues, by commas or spaces; DOWNLOAD_VENUES by default.",
    ),
]
DataTypes = Annotated[
    str,
    typer.Option(
        autocompletion=completing(DataType),
        help="List of data types, by commas or spaces; all that are downloaded by default.",
    ),
]
InstrumentTypes = Annotated[
    str,
    typer.Option(
        autocompletion=completing(InstrumentType),
        help="List of instrument types; what is left out stays missing. All by default.",
    ),
]
MaxInstruments = Annotated[
    int,
    typer.Option(
        min=0, help="Instruments per partition at most; what is left out stays missing. 0 for all."
    ),
]
MaxWorkers = Annotated[
    int,
    typer.Option(
        min=0, max=1000, help="Files downloaded at a time; 0 for MAX_CONCURRENT_REQUESTS."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also what is there already.")]


def chosen_settings(
    env_file: Path | None, config_file: Path | None, log_level: str | None
) -> Settings:
    """The settings that these options name; a level that is given is LOG_LEVEL.

    Raises:
        InvalidSetting: a setting is wrong, or a file is not there.
    """
    found = load_settings(env_file, config_file)
    if log_level:
        found = found.model_copy(update={"log_level": log_level})
    logging.getLogger("tickhandler_dagster").setLevel(found.log_level)
    return found


def names(text: str) -> list[str]:
    """The items of a comma list, without blanks.

    Example:
        >>> names("binance, upbit,")
        ['binance', 'upbit']
    """
    return [part.strip() for part in text.split(",") if part.strip()]
