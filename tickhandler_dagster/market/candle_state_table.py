"""What a day of bars hands over to the next one: a row per instrument, with a hash.

What belongs here: the row and its table. What does not: what the memory holds (`market/bars`) and
when a day is built anew (`pipeline/candle_inputs.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.bars.facts import KERNEL_VERSION
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.tables import Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()

CANDLE_STATE_TABLE = Table(
    name="candle_state",
    grain="one instrument at the end of a day of bars",
    key=("date", "venue", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "UTC day at whose end the state holds."),
        Column("venue", _STRING, "Tardis exchange id.", bounds=Bounds(one_of=tuple(VenueId))),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column(
            "memory",
            _STRING,
            "JSON of what features remember longer than a day: volumes, buckets, fitted models.",
        ),
        Column(
            "edges",
            _STRING,
            "JSON: per data type the hash of the day's file and of its last rows, all that the "
            "next day's bars read of it.",
        ),
        Column("state_sha256", _STRING, "Hash of memory and edges; equal hashes, equal next day."),
        Column("kernel_version", _STRING, "Version of the computation."),
    ),
    sorted_by="",
)


@dataclass(frozen=True, slots=True)
class Edge:
    """The end of a raw file, as the next day sees it.

    Attributes:
        file_sha256: Hash of the file in the lake.
        rows_sha256: Hash of its last rows.
    """

    file_sha256: str
    rows_sha256: str


@dataclass(frozen=True, slots=True)
class CandleState:
    """A row of `CANDLE_STATE_TABLE` without its cell.

    Attributes:
        memory: What features remember, as JSON text.
        edges: Ends of the day's raw files.
    """

    memory: str
    edges: Mapping[DataType, Edge]

    @property
    def memory_sha256(self) -> str:
        """Hash of the memory alone."""
        return hashlib.sha256(self.memory.encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Hash of all the next day can depend on: not of the files, but of what it reads of them.

        Example:
            >>> edge = {DataType.TRADES: Edge("file", "rows")}
            >>> other = {DataType.TRADES: Edge("another file", "rows")}
            >>> CandleState("{}", edge).sha256 == CandleState("{}", other).sha256
            True
        """
        rows = {data_type.value: edge.rows_sha256 for data_type, edge in self.edges.items()}
        return hashlib.sha256(json.dumps([self.memory, rows], sort_keys=True).encode()).hexdigest()

    def edge_of(self, data_type: DataType, file_sha256: str | None) -> str | None:
        """The hash of the file's last rows, where it is the file the state was built from."""
        edge = self.edges.get(data_type)
        return edge.rows_sha256 if edge is not None and edge.file_sha256 == file_sha256 else None


def candle_state_frame(
    date: dt.date, venue: VenueId, states: Mapping[str, CandleState]
) -> pl.DataFrame:
    """The states as a frame of `CANDLE_STATE_TABLE`, ordered by instrument key."""
    rows = [
        {
            "date": date,
            "venue": venue.value,
            "instrument_key": key,
            "memory": state.memory,
            "edges": json.dumps(
                {name.value: dataclasses.astuple(edge) for name, edge in state.edges.items()},
                sort_keys=True,
            ),
            "state_sha256": state.sha256,
            "kernel_version": KERNEL_VERSION,
        }
        for key, state in sorted(states.items())
    ]
    return pl.DataFrame(rows, schema=CANDLE_STATE_TABLE.polars_schema)


def candle_states(frame: pl.DataFrame) -> dict[str, CandleState]:
    """The states by instrument key; the inverse of `candle_state_frame`.

    States of another version or form are as if they were not there: what they remember may mean
    something else today, and the day they are of is to be built anew.
    """
    if frame.schema != CANDLE_STATE_TABLE.polars_schema:
        return {}
    return {key: CandleState(memory, _edges(edges)) for key, memory, edges in _rows(frame)}


def _rows(frame: pl.DataFrame) -> Iterable[tuple[str, str, str]]:
    known = frame.filter(pl.col("kernel_version") == KERNEL_VERSION)
    return known.select("instrument_key", "memory", "edges").iter_rows()


def _edges(text: str) -> dict[DataType, Edge]:
    return {DataType(name): Edge(*hashes) for name, hashes in json.loads(text).items()}
