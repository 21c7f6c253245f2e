"""The ends of a day's raw files: all that the next day's bars read of them.

What belongs here: which rows those are and their hash. What does not: the states they go into
(`candle_state.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.levels import level_columns
from tickhandler_dagster.market.bars.quotes import TOP_COLUMNS
from tickhandler_dagster.market.bars.ticker_ticks import TICKER_COLUMNS
from tickhandler_dagster.market.candle_state_table import Edge
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.channel_reading import open_channel, trade_columns

# The reaches with which the next day reads: a minute of trades and book states, ten of the ticker.
_MINUTE_US = 60_000_000
_READ: Mapping[DataType, tuple[tuple[str, ...], int]] = MappingProxyType(
    {
        DataType.TRADES: (tuple(trade_columns(has_dense_ids=True)), _MINUTE_US),
        DataType.BOOK_SNAPSHOT_5: (level_columns(5), _MINUTE_US),
        DataType.BOOK_SNAPSHOT_25: (level_columns(25), _MINUTE_US),
        DataType.QUOTES: (TOP_COLUMNS, _MINUTE_US),
        DataType.BOOK_TICKER: (TOP_COLUMNS, _MINUTE_US),
        DataType.DERIVATIVE_TICKER: (TICKER_COLUMNS, 10 * _MINUTE_US),
    }
)


def edges_of(inputs: InstrumentDay, lake: Lake) -> dict[DataType, Edge]:
    """The ends of the day's own files that the next day can read."""
    own = [files.own for files in (inputs.trades, *inputs.channels.values())]
    return {
        row.data_type: _edge(row, lake, inputs.facts.day.end)
        for row in own
        if row is not None and row.data_type in _READ and row.content_sha256 is not None
    }


def _edge(row: ManifestRow, lake: Lake, midnight_us: int) -> Edge:
    columns, reach_us = _READ[row.data_type]
    reader = open_channel(lake, [row], columns)
    digest = hashlib.sha256()
    for rows in (
        reader.before(midnight_us, reach_us=reach_us),
        reader.arrived_before(midnight_us, reach_us=reach_us),
    ):
        digest.update(b"none" if rows is None else rows.write_csv().encode())
    return Edge(str(row.content_sha256), digest.hexdigest())
