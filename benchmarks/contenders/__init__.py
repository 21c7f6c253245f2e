"""Who is measured, at what, and where each is at home.

What belongs here: the registry. Each module beside this one is one contender, says in its charter
what it does and does not do, and imports nothing of the others, since it may run in an environment
that has only its own library.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Environment(StrEnum):
    """Where a contender's library is installed; a peer's value is the stem of its lock."""

    PROJECT = "project"
    PEERS = "peers"
    PANDAS2 = "pandas2"
    NAUTILUS = "nautilus"
    TALIB = "talib"


class Task(StrEnum):
    """What is measured; the value is the function in a contender's module."""

    INGEST = "ingest"
    CANDLES = "candles"
    CHAIN = "chain"
    CHANNELS = "channels"
    FEATURES = "features"
    MFT = "mft"


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the table.

    Attributes:
        label: Whose program and what it is, without the version.
        module: Module in this package.
        environment: Where it runs.
        tasks: What it takes part in.
    """

    label: str
    module: str
    environment: Environment
    tasks: frozenset[Task]


_BOTH = frozenset({Task.INGEST, Task.CANDLES})
_INGEST = frozenset({Task.INGEST})

LIMIT = Contender("isal gunzip", "isal_gunzip", Environment.PROJECT, _INGEST)
OURS = Contender("tickhandler", "tickhandler", Environment.PROJECT, frozenset(Task))
PANDAS2 = Contender("pandas", "pandas_frames", Environment.PANDAS2, _BOTH)
PANDAS3 = Contender("pandas", "pandas_frames", Environment.PEERS, _BOTH)
PANDAS2_FEATURES = Contender(
    "pandas", "pandas_features", Environment.PANDAS2, frozenset({Task.FEATURES})
)
PANDAS3_FEATURES = Contender(
    "pandas", "pandas_features", Environment.PEERS, frozenset({Task.FEATURES})
)

CONTENDERS = (
    LIMIT,
    Contender("stdlib gunzip", "stdlib_gunzip", Environment.PROJECT, _INGEST),
    OURS,
    Contender("polars", "polars_frames", Environment.PROJECT, _BOTH),
    Contender("duckdb", "duckdb_sql", Environment.PEERS, _BOTH),
    PANDAS2,
    PANDAS3,
    Contender("nautilus_trader", "nautilus_catalog", Environment.NAUTILUS, _BOTH),
    PANDAS2_FEATURES,
    PANDAS3_FEATURES,
    Contender("TA-Lib", "talib_indicators", Environment.TALIB, frozenset({Task.MFT})),
)
