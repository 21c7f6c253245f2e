"""Rows of many instruments as arrays, and one instrument's part of them.

What belongs here: turning rows into what kernels take, once for all instruments, and cutting. What
does not: keeping rows (`tails.py`) and what is built of them (`windows.py`).

A call of the frame library costs a fifth of a millisecond, however few the rows. Twenty of them per
window of 15 s were more than its arithmetic; a part of an array costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.levels import LevelTicks, level_ticks, levels_concatenated
from tickhandler_dagster.market.bars.quotes import (
    TopTicks,
    base_sizes,
    top_concatenated,
    top_ticks,
)
from tickhandler_dagster.market.bars.ticker_ticks import TickerTicks, ticker_ticks
from tickhandler_dagster.market.bars.ticks import (
    Int64Array,
    TradeTicks,
    concatenated,
    trade_ticks,
)
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.pipeline.channel_reading import as_top, top_columns

_RAW = ContractTerms(contract_size=1.0)
"""Terms under which amounts stay what they are."""

_CLOCKS = ("timestamp", "local_timestamp")

_Ticks = TypeVar("_Ticks", TradeTicks, LevelTicks, TopTicks, TickerTicks)


@dataclass(slots=True)
class TickBlock:
    """Rows of one data type, those of a symbol side by side in order of arrival.

    Attributes:
        rows: The rows.
        places: First row and number of rows of each symbol.
    """

    rows: pl.DataFrame
    places: Mapping[str, tuple[int, int]]
    _made: dict[object, Any] = field(default_factory=dict)
    _reach: dict[str, tuple[int, int]] = field(default_factory=dict)
    _has_one_clock: npt.NDArray[np.bool_] | None = None

    def reach(self, clock: str) -> tuple[int, int]:
        """The first and the last moment in it, by that clock."""
        if clock not in self._reach:
            moments = self.rows[clock].to_physical().to_numpy()
            self._reach[clock] = (int(moments.min()), int(moments.max()))
        return self._reach[clock]

    @property
    def newest_us(self) -> int:
        """The newest time in it, by whichever clock."""
        return max(self.reach(clock)[1] for clock in _CLOCKS)

    @property
    def has_one_clock(self) -> npt.NDArray[np.bool_]:
        """By row whether it arrived at its exchange time."""
        if self._has_one_clock is None:
            times, arrivals = (self.rows[clock].to_physical().to_numpy() for clock in _CLOCKS)
            self._has_one_clock = times == arrivals
        return self._has_one_clock

    def made(self, name: object, make: Callable[[pl.DataFrame], _Ticks]) -> _Ticks:
        """All its rows as arrays, made once under a name."""
        if name not in self._made:
            self._made[name] = make(self.rows)
        ticks: _Ticks = self._made[name]
        return ticks

    def release(self) -> None:
        """Let arrays go; they are made again when they are asked for."""
        self._made.clear()


class SymbolRows:
    """One instrument's rows of one data type, in order of arrival.

    Args:
        empty: No rows, with the columns they have.
        pieces: Blocks and which of their rows.
    """

    def __init__(self, empty: pl.DataFrame, pieces: Sequence[tuple[TickBlock, slice]] = ()) -> None:
        self._empty, self._pieces = empty, pieces

    @classmethod
    def of(cls, rows: pl.DataFrame) -> SymbolRows:
        """Rows of one instrument that are a frame already."""
        block = TickBlock(rows, {"": (0, rows.height)})
        return cls(rows.clear(), [(block, slice(0, rows.height))] if rows.height else [])

    def __len__(self) -> int:
        return sum(part.stop - part.start for _, part in self._pieces)

    def frame(self) -> pl.DataFrame:
        """The rows as a frame."""
        if not self._pieces:
            return self._empty
        return pl.concat(
            [block.rows.slice(part.start, part.stop - part.start) for block, part in self._pieces]
        )

    def has_one_clock(self) -> bool:
        """There are rows, and each arrived at its exchange time."""
        return bool(self._pieces) and all(
            bool(block.has_one_clock[part].all()) for block, part in self._pieces
        )

    def trades(self, start_us: int, end_us: int, *, has_dense_ids: bool) -> TradeTicks | None:
        """Trades, or liquidations, of `[start_us, end_us)`; None where there are none."""

        def make(rows: pl.DataFrame) -> TradeTicks:
            return trade_ticks(rows, has_dense_ids=has_dense_ids)

        parts = self._parts(("trades", has_dense_ids), make, (start_us, end_us), _CLOCKS[0])
        return _inside(concatenated(parts), start_us, end_us) if parts else None

    def levels(
        self, start_us: int, end_us: int, terms: ContractTerms, *, depth: int
    ) -> LevelTicks | None:
        """Book levels of `[start_us, end_us)`; None where there are none."""

        def make(rows: pl.DataFrame) -> LevelTicks:
            return level_ticks(rows, _RAW, depth=depth)

        parts = self._parts(("levels", depth), make, (start_us, end_us), _CLOCKS[0])
        found = _inside(levels_concatenated(parts), start_us, end_us) if parts else None
        if found is None:
            return None
        return replace(
            found,
            bid_sizes=base_sizes(found.bid_sizes, found.bids, terms),
            ask_sizes=base_sizes(found.ask_sizes, found.asks, terms),
        )

    def top(
        self, data_type: DataType, terms: ContractTerms, span: tuple[int, int] | None = None
    ) -> TopTicks:
        """Best quotes: all of them, or at least those that arrived, or are stamped, in a span."""
        wanted = [*top_columns(data_type), "is_start"]

        def make(rows: pl.DataFrame) -> TopTicks:
            return top_ticks(as_top(rows.select(wanted), data_type), _RAW)

        name = ("top", data_type)
        found = top_concatenated(self._parts(name, make, span, *_CLOCKS))
        return replace(
            found,
            bid_size=base_sizes(found.bid_size, found.bid, terms),
            ask_size=base_sizes(found.ask_size, found.ask, terms),
        )

    def ticker(self, start_us: int, end_us: int, terms: ContractTerms) -> TickerTicks | None:
        """Rows of the derivative ticker that arrived in `[start_us, end_us)`; None without any."""

        def make(rows: pl.DataFrame) -> TickerTicks:
            return ticker_ticks(rows, _RAW)

        clock = _CLOCKS[1]
        parts = self._parts(("ticker",), make, (start_us, end_us), clock)
        if not parts:
            return None
        whole = TickerTicks(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _TICKER)
        )
        found = _inside(whole, start_us, end_us, clock)
        size = terms.contract_size if terms.has_known_units else None
        if found is None:
            return None
        return replace(
            found, open_interest=found.open_interest * (np.nan if size is None else size)
        )

    def _parts(
        self,
        name: object,
        make: Callable[[pl.DataFrame], _Ticks],
        span: tuple[int, int] | None = None,
        *clocks: str,
    ) -> list[_Ticks]:
        """Its parts of the blocks that have rows in the span, by one of the clocks."""
        return [
            block.made(name, make).take(part)
            for block, part in self._pieces
            if span is None or any(_overlaps(block.reach(clock), span) for clock in clocks)
        ]


_TICKER = tuple(TickerTicks.__dataclass_fields__)


def _overlaps(reach: tuple[int, int], span: tuple[int, int]) -> bool:
    return reach[1] >= span[0] and reach[0] < span[1]


def _inside(ticks: _Ticks, start_us: int, end_us: int, clock: str = "timestamp") -> _Ticks | None:
    """The ticks of `[start_us, end_us)`; None where there are none."""
    moments: Int64Array = getattr(ticks, clock)
    places = np.flatnonzero((moments >= start_us) & (moments < end_us))
    if not len(places):
        return None
    first, end = int(places[0]), int(places[-1]) + 1
    return ticks.take(slice(first, end) if end - first == len(places) else places)
