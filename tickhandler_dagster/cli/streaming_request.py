"""What a live command was told, from text to values.

What belongs here: reading options, and the answer to a wrong one. What does not: what is done with
them (`streaming_session.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from tickhandler_dagster.cli.options import names
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe
from tickhandler_dagster.market.venues import VenueId, parse_venue

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

CANDLE_TYPES = (
    DataType.TRADES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
)
"""Data types that bars are made of unless others are asked for."""


class Target(StrEnum):
    """Where rows go."""

    PARQUET = "parquet"
    BIGQUERY = "bigquery"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingRequest:
    """The options of a live command.

    Attributes:
        symbols: Texts that name instruments.
        venues: Venues that were named; empty for those that are downloaded.
        timeframes: Timeframes to publish.
        data_types: Types to subscribe to.
        to: Where rows go.
        keeps_ticks: A session of bars stores ticks as well.
        serve: Bars are served.
        port: Instead of the setting; None for that.
        duration_s: Seconds after which the session ends; None for never.
        replay: What is played instead of the venues' feeds.
        speed: Seconds of the replay per second; None for as fast as possible.
        to_now: The replay's clocks are shifted to now.
        spool: Spool folder; None for the setting, or a temporary one for a replay.
        has_dagster: Reports go to the instance.
        as_json: What is printed at the end is JSON.
        env_file: Read instead of `.env`.
        config_file: YAML file of settings.
    """

    symbols: tuple[str, ...]
    venues: tuple[VenueId, ...] = ()
    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)
    data_types: tuple[DataType, ...] = CANDLE_TYPES
    to: Target = Target.PARQUET
    keeps_ticks: bool = False
    serve: bool = False
    port: int | None = None
    duration_s: float | None = None
    replay: Path | None = None
    speed: float | None = 1.0
    to_now: bool = False
    spool: Path | None = None
    has_dagster: bool = True
    as_json: bool = False
    env_file: Path | None = None
    config_file: Path | None = None

    @classmethod
    def parse(
        cls,
        *,
        symbols: str,
        venues: str = "",
        timeframes: str = "",
        data_types: str = "",
        to: str = "parquet",
        duration: str = "",
        speed: str = "1",
        files: tuple[Path | None, Path | None] = (None, None),
        **others: object,
    ) -> Self:
        """The request of the options' texts.

        Raises:
            InvalidInput: one of them is wrong.
        """
        if not names(symbols):
            raise InvalidInput("--symbol", "names nothing", remedy="Give one such as BTC-USDT")
        if to not in set(Target):
            raise InvalidInput(
                f"--to {to}", "not a target", expected=", ".join(Target), remedy="Use one of them"
            )
        given: dict[str, object] = {}
        if timeframes:
            given["timeframes"] = tuple(parse_timeframe(name) for name in names(timeframes))
        if data_types:
            given["data_types"] = tuple(parse_data_type(name) for name in names(data_types))
        return cls(
            symbols=tuple(names(symbols)),
            venues=tuple(parse_venue(name) for name in names(venues)),
            to=Target(to),
            duration_s=duration_seconds(duration) if duration else None,
            speed=replay_speed(speed),
            env_file=files[0],
            config_file=files[1],
            **given,  # type: ignore[arg-type]
            **others,  # type: ignore[arg-type]
        )


def duration_seconds(text: str) -> float:
    """A length of time in words of one letter.

    Raises:
        InvalidInput: it is none.

    Example:
        >>> duration_seconds("1.5h"), duration_seconds("10m")
        (5400.0, 600.0)
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or float(match[1]) == 0:
        raise InvalidInput(
            f"--duration {text}",
            "not a length of time",
            expected="a number with s, m, h or d behind it, as in 10m",
            remedy="Correct it, or leave it out to go on until stopped",
        )
    return float(match[1]) * _SECONDS[match[2]]


def replay_speed(text: str) -> float | None:
    """Seconds per second; None for as fast as possible.

    Raises:
        InvalidInput: it is neither.

    Example:
        >>> replay_speed("60"), replay_speed("max")
        (60.0, None)
    """
    if text.strip().lower() == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise InvalidInput(
            f"--speed {text}", "not a speed", expected="a number above 0, or max", remedy="Use 1"
        )
    return speed
