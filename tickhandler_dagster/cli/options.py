"""Options that several commands share: one name, one sentence of help.

What belongs here: their declarations, and the list in a comma text. What does not: options of one
command alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EnvFile = Annotated[Path | None, typer.Option(help="Read this instead of .env.")]
ConfigFile = Annotated[Path | None, typer.Option(help="Read this YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log of every run.")]
Start = Annotated[str, typer.Option(help="First UTC day, YYYY-MM-DD.")]
End = Annotated[str, typer.Option(help="Last UTC day, included, YYYY-MM-DD.")]
Venues = Annotated[str, typer.Option(help="Comma list of venues; DOWNLOAD_VENUES by default.")]
DataTypes = Annotated[
    str, typer.Option(help="Comma list of data types; all that are downloaded by default.")
]


def names(text: str) -> list[str]:
    """The items of a comma list, without blanks.

    Example:
        >>> names("binance, upbit,")
        ['binance', 'upbit']
    """
    return [part.strip() for part in text.split(",") if part.strip()]
