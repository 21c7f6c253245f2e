"""The bars of many instruments as columns, one instrument below the other, not yet derived.

What belongs here: the stored statistics on the grid of all instruments and timeframes. What does
not: that grid (`stacked_grid.py`), what follows from other columns, and the form of the table
(`frame.py`).

A column costs the same whether it holds one row or thousands, so the bars of all instruments that
close at a moment share their columns. Nothing of an instrument may reach another's rows: whatever
looks along the rows (the last trade so far) begins anew with each block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.stacked_grid import (
    Block,
    grid_of,
    identity_of,
    sources_of,
)
from tickhandler_dagster.market.bars.statistics import (
    SIZED_STATISTICS,
    UNITLESS_STATISTICS,
    BarStatistics,
)
from tickhandler_dagster.market.bars.status import overlap_us
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.features.family import (
    NO_ARRIVAL,
    FamilyDay,
    as_series,
    rolled_up_arrival,
    rolled_up_column,
)
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.registry import DELAYS_US, FEATURES
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME

BoolArray = npt.NDArray[np.bool_]

_SPARSE = frozenset({*UNITLESS_STATISTICS, *SIZED_STATISTICS})
_ZERO_WHERE_EMPTY = (
    "trade_count",
    "amount_sum",
    "sweep_count",
    "interarrival_count",
    "interarrival_sum_us",
    "interarrival_m2_ms2",
)
_ZERO_WHERE_EMPTY_AND_SIZED = (
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
    "unknown_volume_sum",
    "size_m2",
)
_OF_SURFACE = frozenset(feature.name for feature in SURFACE)
_FROM_KERNELS = tuple(
    feature
    for feature in FEATURES.values()
    if feature.merge is not Merge.DERIVED and feature.name not in _OF_SURFACE
)
_OF_TRADES = tuple(feature for feature in _FROM_KERNELS if feature.name in _SPARSE)
DENSE: Mapping[int, tuple[Feature, ...]] = MappingProxyType(
    {
        delay: tuple(
            feature
            for feature in _FROM_KERNELS
            if feature.delay_us == delay and feature.name not in _SPARSE
        )
        for delay in (0, *DELAYS_US)
    }
)
"""What the kernels give for every bar, traded or not, by how long after its end it is known."""


def stacked(blocks: Sequence[Block]) -> pl.DataFrame:
    """The stored statistics of all bars, and what deriving the others needs.

    Shape: one row per bar, in the order of the blocks; `block` says of which it is.
    """
    total = blocks[-1].end if blocks else 0
    is_traded = np.zeros(total, dtype=np.bool_)
    for block in blocks:
        is_traded[block.traded_rows] = True
    grid = grid_of(blocks, total)
    is_observed = (grid["covered_us"] > 0) | is_traded
    columns = [
        *(pl.Series(name, values) for name, values in grid.items()),
        *identity_of(blocks, grid["block"]),
        sources_of(blocks, total),
        *_trade_columns(blocks, grid["block"], is_observed & ~is_traded),
        *_dense_columns(blocks, total, is_observed),
        *_moments(blocks, total),
    ]
    moments = ["ts_open", "ts_close", "last_trade", "previous_arrival"]
    moments += [f"arrival_{delay}" for delay in (0, *DELAYS_US)]
    return pl.DataFrame(columns).with_columns(
        pl.col(moments).replace(NO_ARRIVAL, None).cast(TIMESTAMP)
    )


def _trade_columns(
    blocks: Sequence[Block], block_of_row: Int64Array, is_empty: BoolArray
) -> Iterator[pl.Series]:
    """What single trades give; where nobody traded counts and sums are 0 and prices null."""
    is_sized = np.array([block.facts.terms.has_known_units for block in blocks], dtype=np.bool_)
    is_empty_and_sized = is_empty & is_sized[block_of_row]
    with_trades = [block for block in blocks if block.traded is not None]
    rows = _joined([block.traded_rows for block in with_trades])
    for feature in _OF_TRADES:
        values = np.full(len(is_empty), np.nan)
        parts = [_statistic(block.traded, feature.name) for block in with_trades]
        values[rows] = _joined(parts)
        if feature.name in _ZERO_WHERE_EMPTY:
            values[is_empty] = 0.0
        elif feature.name in _ZERO_WHERE_EMPTY_AND_SIZED:
            values[is_empty_and_sized] = 0.0
        yield as_series(values, feature)


def _statistic(traded: BarStatistics | None, name: str) -> npt.NDArray[Any]:
    assert traded is not None  # noqa: S101  (only blocks with trades are asked)
    return traded[name] if name in traded.columns else np.full(len(traded), np.nan)


def _joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _dense_columns(
    blocks: Sequence[Block], total: int, is_observed: BoolArray
) -> Iterator[pl.Series]:
    """What kernels give for every bar; of a bar of which nothing was observed nothing is known.

    What a bar that touches a hole of the book says of the book is not known either, and not a
    shorter average: what the book was in the hole can be all that mattered in the bar.
    """
    is_hidden = _hidden(blocks, total)
    for delay, features in DENSE.items():
        found = [_Found(block, day) for block in blocks if (day := block.parts.found.get(delay))]
        rows = _joined([np.arange(one.rows.start, one.rows.stop) for one in found])
        for feature in features:
            values = np.full(total, np.nan)
            parts = [one.known[feature.name] for one in found if feature.name in one.known]
            if parts and len(parts) == len(found):
                values[rows] = np.concatenate(parts)
            else:
                for one in found:
                    if feature.name in one.names:
                        values[one.rows] = one.values(feature)
            values[~is_observed] = np.nan
            for channel in feature.inputs:
                if channel in is_hidden:
                    values[is_hidden[channel]] = np.nan
            yield as_series(values, feature)


class _Found:
    """What a family found, cut to the bars of a block; made once, for it is asked per column."""

    def __init__(self, block: Block, day: FamilyDay) -> None:
        self.rows = block.rows
        self._cut = block.cut
        self._timeframe = block.timeframe
        self._length_us = block.length_us
        self._statistics = day.statistics
        self._exact = day.exact.get(block.timeframe, {})
        exact = [frozenset(day.exact.get(timeframe, ())) for timeframe in block.parts.traded]
        self.names = day.statistics.keys() | frozenset.intersection(*exact)
        is_whole = block.timeframe is BASE_TIMEFRAME and len(block.opens) == len(day.last_arrival)
        self.known = day.statistics if is_whole else {}
        """Columns that are the bars' as they are: those of a window of few bars, nearly all."""

    def values(self, feature: Feature) -> Float64Array:
        """The column's values; of one that does not merge only where all timeframes have it."""
        values = self._statistics.get(feature.name)
        if values is None:
            return self._exact[feature.name][self._cut]
        rolled_up = rolled_up_column(values, feature.merge, self._timeframe, self._length_us)
        return rolled_up[self._cut]


def _hidden(blocks: Sequence[Block], total: int) -> dict[Channel, BoolArray]:
    """Per channel of the book the bars that touch a hole of it.

    Levels serve for best quotes where these have no feed of their own.
    """
    hidden: dict[Channel, BoolArray] = {}
    for block in blocks:
        gaps = dict.fromkeys(block.facts.book_gaps)
        if Channel.LEVELS in gaps:
            gaps.setdefault(Channel.TOP)
        for channel in gaps:
            spans = block.facts.gaps_of(channel)
            if spans:
                rows = hidden.setdefault(channel, np.zeros(total, dtype=np.bool_))
                closes = block.opens + block.timeframe.us
                rows[block.rows] = overlap_us(block.opens, closes, spans) > 0
    return hidden


def _moments(blocks: Sequence[Block], total: int) -> Iterator[pl.Series]:
    """The arrivals that bars stand on, and the last trade up to each bar's end."""
    for delay in (0, *DELAYS_US):
        arrivals = np.full(total, NO_ARRIVAL, dtype=np.int64)
        for block in blocks:
            day = block.parts.found.get(delay)
            if day is not None:
                found = rolled_up_arrival(day.last_arrival, block.timeframe, block.length_us)
                arrivals[block.rows] = found[block.cut]
        yield pl.Series(f"arrival_{delay}", arrivals)
    last_trade = np.full(total, NO_ARRIVAL, dtype=np.int64)
    previous_arrival = np.full(total, NO_ARRIVAL, dtype=np.int64)
    for block in blocks:
        last_trade[block.rows], previous_arrival[block.rows] = _carried(block)
    yield pl.Series("last_trade", last_trade)
    yield pl.Series("previous_arrival", previous_arrival)


def _carried(block: Block) -> tuple[Int64Array, Int64Array]:
    """The last trade up to each bar's end, and the arrival of the last traded bar before it."""
    previous, traded = block.facts.previous, block.traded
    last_us, arrival_us = (
        (NO_ARRIVAL, NO_ARRIVAL)
        if previous is None
        else (previous.timestamp_us, previous.arrival_us)
    )
    arrival_us = block.parts.previous_arrivals.get(block.timeframe, arrival_us)
    if traded is None:
        return np.array(last_us), np.array(arrival_us)
    has_trades = np.zeros(len(block.opens), dtype=np.int64)
    has_trades[block.traded_rows - block.start] = 1
    up_to = np.cumsum(has_trades)
    last_trades = np.append(last_us, traded["close_time"])
    arrivals = np.append(arrival_us, traded["last_arrival"])
    return last_trades[up_to], arrivals[up_to - has_trades]
