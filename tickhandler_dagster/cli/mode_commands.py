"""The commands that make data: instruments, ticks, candles, features, tables, and all in a row.

What belongs here: their options. What they do is in `mode_work.py`, imported when one is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN
from tickhandler_dagster.cli.mode_request import ModeRequest
from tickhandler_dagster.cli.options import (
    ConfigFile,
    DataTypes,
    End,
    EnvFile,
    Force,
    InstrumentTypes,
    Json,
    Level,
    MaxInstruments,
    MaxWorkers,
    Start,
    Venues,
    Verbose,
    completing,
)
from tickhandler_dagster.market.venues import VenueId

_Exchanges = Annotated[
    str,
    typer.Option(
        "--exchanges",
        autocompletion=completing(VenueId),
        help="Venues whose instruments are listed; those of --venues by default.",
    ),
]
_OnlyVenues = Annotated[
    str,
    typer.Option(
        "--venues",
        autocompletion=completing(VenueId),
        help="List of venues, by commas or spaces; DOWNLOAD_VENUES by default.",
    ),
]
_All = Annotated[
    bool, typer.Option("--all", help="Also candles, features and the warehouse's tables.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for mode, what in _OF_CELLS.items():
        app.command(mode, help=what)(_command_of_cells(mode))
    for command in (download, bigquery_upload, full_pipeline_ticks):
        app.command()(command)


_OF_CELLS = {
    "instruments": "Ask the vendor what venues list, and list the instruments of every day.",
    "candle-processing": "Make candles of all timeframes with their features, and option surfaces.",
    "mft-processing": "Make mid-frequency features from final candles.",
}
"""Modes that ask for days and venues alone."""


def _command_of_cells(mode: str) -> Callable[..., None]:
    def command(
        *,
        start_date: Start,
        end_date: End,
        venues: Venues = "",
        as_json: Json = False,
        verbose: Verbose = False,
        log_level: Level = None,
        env_file: EnvFile = None,
        config_file: ConfigFile = None,
    ) -> None:
        request = ModeRequest(
            start=start_date,
            end=end_date,
            venues=venues,
            as_json=as_json,
            is_verbose=verbose,
            log_level=log_level,
            env_file=env_file,
            config_file=config_file,
        )
        _run(mode, request)

    return command


def download(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    instrument_types: InstrumentTypes = "",
    max_instruments: MaxInstruments = 0,
    max_workers: MaxWorkers = 0,
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Fetch the ticks that are missing; with --force also those that are there."""
    request = ModeRequest(
        start=start_date,
        end=end_date,
        venues=venues,
        data_types=data_types,
        instrument_types=instrument_types,
        max_instruments=max_instruments,
        max_workers=max_workers,
        is_forced=force,
        as_json=as_json,
        is_verbose=verbose,
        log_level=log_level,
        env_file=env_file,
        config_file=config_file,
    )
    _run("download", request)


def bigquery_upload(
    *,
    start_date: Start,
    end_date: End,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Publish days to the warehouse, BigQuery or DuckDB, with all venues of the lake."""
    request = ModeRequest(
        start=start_date,
        end=end_date,
        as_json=as_json,
        is_verbose=verbose,
        log_level=log_level,
        env_file=env_file,
        config_file=config_file,
    )
    _run("bigquery-upload", request)


def full_pipeline_ticks(
    *,
    start_date: Start,
    end_date: End,
    venues: _OnlyVenues = "",
    exchanges: _Exchanges = "",
    data_types: DataTypes = "",
    instrument_types: InstrumentTypes = "",
    max_instruments: MaxInstruments = 0,
    max_workers: MaxWorkers = 0,
    force: Force = False,
    everything: _All = False,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Look for gaps, list instruments, report what is missing, fetch it, and validate."""
    request = ModeRequest(
        start=start_date,
        end=end_date,
        venues=venues,
        exchanges=exchanges,
        data_types=data_types,
        instrument_types=instrument_types,
        max_instruments=max_instruments,
        max_workers=max_workers,
        is_forced=force,
        as_json=as_json,
        is_verbose=verbose,
        log_level=log_level,
        env_file=env_file,
        config_file=config_file,
    )
    _run_all(request, is_all=everything)


def _run(name: str, request: ModeRequest) -> None:
    from tickhandler_dagster.cli.mode_work import run_mode  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.modes import Mode  # noqa: PLC0415  (see the charter)

    _exit(is_well=run_mode(Mode(name), request))


def _run_all(request: ModeRequest, *, is_all: bool) -> None:
    from tickhandler_dagster.cli.mode_work import (  # noqa: PLC0415  (see the charter)
        run_full_pipeline,
    )

    _exit(is_well=run_full_pipeline(request, is_all=is_all))


def _exit(*, is_well: bool) -> None:
    raise typer.Exit(0 if is_well else EXIT_FAILED_RUN)
