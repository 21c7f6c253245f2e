"""The commands `export nautilus`, `export hftbacktest`, `export feast`: their options.

What belongs here: reading them. What they do is in `export.py`, imported when one is chosen. A
vectorbt frame is no file: Python alone has it.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.cli.options import ConfigFile, End, EnvFile, Start, names

Keys = Annotated[
    str, typer.Option(help="List of instrument keys or patterns, such as 'BINANCE:SPOT_PAIR:*'.")
]
To = Annotated[Path, typer.Option(help="Folder to write to.")]
Timeframes = Annotated[str, typer.Option(help="List of timeframes of the bars; none by ''.")]
OnGap = Annotated[
    str, typer.Option(help="What becomes of holes in the data: raise, mask (bars) or keep.")
]
AsOf = Annotated[
    str, typer.Option(help="Only what was known at this moment, as in 2024-08-08T12:00Z.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Write bars and ticks for other libraries.")
    group.command()(nautilus)
    group.command()(hftbacktest)
    group.command()(feast)
    app.add_typer(group, name="export")


def nautilus(
    *,
    instruments: Keys,
    start_date: Start,
    end_date: End,
    to: To,
    timeframes: Timeframes = "1m",
    trades: Annotated[bool, typer.Option("--trades", help="Trades as well.")] = False,
    on_gap: OnGap = "raise",
    as_of: AsOf = "",
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Write a catalog of nautilus_trader: instruments, bars, trades."""
    from tickhandler_dagster.cli.export import run_export  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.client.exports import export_nautilus  # noqa: PLC0415  (slow import)

    run_export(
        lambda data, start, end: export_nautilus(
            data,
            names(instruments),
            start,
            end,
            folder=to,
            timeframes=names(timeframes),
            has_trades=trades,
            on_gap=on_gap,
            as_of=as_of or None,
        ),
        (start_date, end_date),
        (env_file, config_file),
    )


def hftbacktest(
    *,
    instrument: Annotated[str, typer.Option(help="Key of the instrument.")],
    start_date: Start,
    end_date: End,
    to: To,
    book: Annotated[
        str, typer.Option(help="incremental_book_L2, book_snapshot_25 or book_snapshot_5.")
    ] = "book_snapshot_25",
    shift_local_us: Annotated[
        int, typer.Option(help="Added to times of arrival, in microseconds.")
    ] = 0,
    on_gap: OnGap = "raise",
    as_of: AsOf = "",
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Write hftbacktest's events: trades and the book of an instrument, a file a day."""
    from tickhandler_dagster.cli.export import run_export  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.client.exports import (  # noqa: PLC0415  (slow import)
        export_hftbacktest,
    )

    run_export(
        lambda data, start, end: export_hftbacktest(
            data,
            instrument,
            start,
            end,
            folder=to,
            book=book,
            shift_local=dt.timedelta(microseconds=shift_local_us),
            on_gap=on_gap,
            as_of=as_of or None,
        ),
        (start_date, end_date),
        (env_file, config_file),
    )


def feast(
    *,
    instruments: Keys,
    start_date: Start,
    end_date: End,
    to: To,
    features: Annotated[str, typer.Option(help="List of features.")],
    timeframe: Annotated[str, typer.Option(help="Length of the bars.")] = "1m",
    source: Annotated[str, typer.Option(help="candles, mft, or a set's name.")] = "candles",
    on_gap: OnGap = "raise",
    as_of: AsOf = "",
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Write a Feast feature repository: definitions, and a file for each moment of knowing."""
    from tickhandler_dagster.cli.export import run_export  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.client.exports import export_feast  # noqa: PLC0415  (slow import)

    run_export(
        lambda data, start, end: export_feast(
            data,
            names(instruments),
            timeframe,
            start,
            end,
            folder=to,
            names=names(features),
            source=source,
            on_gap=on_gap,
            as_of=as_of or None,
        ),
        (start_date, end_date),
        (env_file, config_file),
    )
