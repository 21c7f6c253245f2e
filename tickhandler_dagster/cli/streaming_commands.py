"""The commands of live data: ticks and bars as they come, or played back.

What belongs here: their options. What they do is in `streaming_session.py`, imported when one is
chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.cli.options import ConfigFile, DataTypes, EnvFile, Json, Venues, completing
from tickhandler_dagster.market.timeframes import Timeframe

TARGETS = ("parquet", "bigquery", "ndjson")

_Symbols = Annotated[
    str,
    typer.Option(
        "--symbol",
        "--symbols",
        help="List of symbols such as BTC-USDT, of canonical keys, or of patterns with * and ?.",
    ),
]
_To = Annotated[
    str,
    typer.Option(
        autocompletion=completing(TARGETS),
        help="Where rows go: parquet (the lake), bigquery, ndjson (lines on standard output).",
    ),
]
_Duration = Annotated[str, typer.Option(help="End after so long, as in 10m or 36h; else never.")]
_Replay = Annotated[
    Path | None,
    typer.Option(
        help="Play this instead of the venues' feeds: a lake, a recorded spool, or vendor files."
    ),
]
_Speed = Annotated[str, typer.Option(help="Of a replay: seconds per second, or max.")]
_ToNow = Annotated[bool, typer.Option(help="Of a replay: shift its clocks as if it came now.")]
_Spool = Annotated[
    Path | None,
    typer.Option(help="Spool folder; STREAMING_SPOOL_FOLDER, or a temporary one for a replay."),
]
_Dagster = Annotated[bool, typer.Option(help="Report to the instance of DAGSTER_HOME.")]


_Timeframes = Annotated[
    str,
    typer.Option(autocompletion=completing(Timeframe), help="List of timeframes to publish; all."),
]
_KeepTicks = Annotated[bool, typer.Option(help="Store the ticks as well, as streaming-ticks does.")]
_Serve = Annotated[bool, typer.Option(help="Serve bars and a page on STREAMING_HOST and its port.")]
_Port = Annotated[
    int | None, typer.Option(min=0, help="Instead of STREAMING_PORT; 0 takes a free one.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (streaming_ticks, streaming_candles):
        app.command()(command)


def streaming_ticks(
    *,
    symbol: _Symbols,
    venues: Venues = "",
    data_types: DataTypes = "",
    to: _To = "parquet",
    duration: _Duration = "",
    replay: _Replay = None,
    speed: _Speed = "1",
    to_now: _ToNow = False,
    spool: _Spool = None,
    dagster: _Dagster = True,
    as_json: Json = False,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Store live ticks as they come, each exactly once."""
    from tickhandler_dagster.cli.streaming_request import (  # noqa: PLC0415  (see the charter)
        StreamingRequest,
    )
    from tickhandler_dagster.cli.streaming_session import (  # noqa: PLC0415  (see the charter)
        run_ticks,
    )

    request = StreamingRequest.parse(
        symbols=symbol,
        venues=venues,
        data_types=data_types,
        to=to,
        duration=duration,
        replay=replay,
        speed=speed,
        to_now=to_now,
        spool=spool,
        has_dagster=dagster,
        as_json=as_json,
        files=(env_file, config_file),
    )
    raise typer.Exit(run_ticks(request))


def streaming_candles(
    *,
    symbol: _Symbols,
    venues: Venues = "",
    timeframes: _Timeframes = "",
    data_types: DataTypes = "",
    to: _To = "parquet",
    keep_ticks: _KeepTicks = False,
    serve: _Serve = False,
    port: _Port = None,
    duration: _Duration = "",
    replay: _Replay = None,
    speed: _Speed = "1",
    to_now: _ToNow = False,
    spool: _Spool = None,
    dagster: _Dagster = True,
    as_json: Json = False,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Publish live bars with every feature of the batch, from the batch's own kernel."""
    from tickhandler_dagster.cli.streaming_request import (  # noqa: PLC0415  (see the charter)
        StreamingRequest,
    )
    from tickhandler_dagster.cli.streaming_session import (  # noqa: PLC0415  (see the charter)
        run_candles,
    )

    request = StreamingRequest.parse(
        symbols=symbol,
        venues=venues,
        timeframes=timeframes,
        data_types=data_types,
        to=to,
        keeps_ticks=keep_ticks,
        serve=serve,
        port=port,
        duration=duration,
        replay=replay,
        speed=speed,
        to_now=to_now,
        spool=spool,
        has_dagster=dagster,
        as_json=as_json,
        files=(env_file, config_file),
    )
    raise typer.Exit(run_candles(request))
