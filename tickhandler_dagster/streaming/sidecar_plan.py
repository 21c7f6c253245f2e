"""What the sidecar is told: which symbols share a connection, columns, limits.

What belongs here: the configuration as a value. What does not: the process (`sidecar_feed.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tickhandler_dagster.adapters.spool_writer import ROLL_US
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId

LIVE_TYPES = (
    DataType.TRADES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.BOOK_SNAPSHOT_25,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
    DataType.OPTIONS_CHAIN,
)
"""Types a live feed can have."""

MAX_SYMBOLS = 50
"""Symbols of one connection: what a lost one takes along, and asks anew when it is back."""

BUFFER_BYTES = 64 * 1024 * 1024
"""Lines that may wait for the disk: half a minute of 20,000 messages a second."""

_QUIET_MS = 10_000
_QUIET_OPTIONS_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What one exchange is asked for.

    Attributes:
        venue: The exchange.
        symbols: The vendor's symbols that are no options.
        data_types: Types of those.
        options: The vendor's symbols of options.
        option_types: Types of options.
    """

    venue: VenueId
    symbols: tuple[str, ...] = ()
    data_types: tuple[DataType, ...] = ()
    options: tuple[str, ...] = ()
    option_types: tuple[DataType, ...] = (DataType.OPTIONS_CHAIN,)


def connections(wanted: Subscription) -> list[dict[str, object]]:
    """The connections, each with at most `MAX_SYMBOLS` symbols; options have their own.

    Raises:
        InvalidInput: nothing is asked for, or a type that no live feed has.
    """
    made: list[dict[str, object]] = []
    groups: Sequence[tuple[str, tuple[str, ...], tuple[DataType, ...], int]] = (
        ("main", wanted.symbols, wanted.data_types, _QUIET_MS),
        ("options", wanted.options, wanted.option_types, _QUIET_OPTIONS_MS),
    )
    for name, symbols, data_types, quiet_ms in groups:
        for data_type in data_types:
            if data_type not in LIVE_TYPES:
                raise InvalidInput(
                    f"{data_type}",
                    "no live feed has it",
                    expected=f"one of {', '.join(LIVE_TYPES)}",
                    remedy="Ask for other data types",
                )
        for number, part in enumerate(_parts(symbols), start=1):
            if data_types:
                made.append(
                    {
                        "name": f"{name}{number}",
                        "symbols": part,
                        "data_types": list(data_types),
                        "timeout_ms": quiet_ms,
                    }
                )
    if not made:
        raise InvalidInput(
            f"live feed of {wanted.venue}", "nothing is asked for", remedy="Name symbols and types"
        )
    return made


def configuration(
    wanted: Subscription,
    root: Path,
    *,
    max_bytes: int | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    roll_us: int = ROLL_US,
) -> dict[str, object]:
    """The sidecar's configuration; `digest` is of all the rest.

    Args:
        wanted: What is asked for.
        root: The spool's folder.
        max_bytes: Size of the spool at which capture stops; None for no limit.
        buffer_bytes: Lines that may wait for the disk.
        roll_us: A segment's length.

    Raises:
        InvalidInput: nothing is asked for, or a type that no live feed has.
    """
    made = connections(wanted)
    types = sorted({*wanted.data_types, *(wanted.option_types if wanted.options else ())})
    config: dict[str, object] = {
        "exchange": str(wanted.venue),
        "root": str(root.absolute()),
        "connections": made,
        "headers": {str(name): list(RAW_TABLES[name].header) for name in types},
        "max_spool_bytes": max_bytes,
        "max_buffer_bytes": buffer_bytes,
        "roll_us": roll_us,
    }
    digest = hashlib.sha256(canonical_json(config)).hexdigest()
    return {**config, "digest": digest}


def _parts(symbols: tuple[str, ...]) -> list[list[str]]:
    ordered = sorted(set(symbols))
    return [ordered[at : at + MAX_SYMBOLS] for at in range(0, len(ordered), MAX_SYMBOLS)]
