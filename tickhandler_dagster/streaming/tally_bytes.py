"""Tallies of windows as bytes, many in one file.

What belongs here: the form. What does not: which tallies are stored when (`day_tallies.py`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.day_tally import DayTally
from tickhandler_dagster.market.bars.flow_loading import LEVELS
from tickhandler_dagster.market.bars.flow_tally import FlowRows, FlowTally
from tickhandler_dagster.market.bars.trade_tally import TradeTally

Named = Sequence[tuple[str, DayTally]]
"""Tallies with their instruments' keys."""


def tallies_to_bytes(tallies: Named) -> bytes:
    """The tallies; equal tallies, equal bytes.

    A file of two hundred instruments is a handful of arrays and one text: arrays of each would
    cost more than what they hold.
    """
    counts: list[Counts] = []
    rows: list[FlowRows] = []
    heads = [_head(key, tally, counts, rows) for key, tally in tallies]
    nothing = np.empty(0, dtype=np.int64)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        head=np.frombuffer(json.dumps(heads).encode(), dtype=np.uint8),
        keys=np.concatenate([nothing, *(one.keys for one in counts)]),
        numbers=np.concatenate([nothing, *(one.numbers for one in counts)]),
        opens=np.concatenate([nothing, *(one.opens for one in rows)]),
        flows=np.concatenate([np.empty((0, LEVELS + 2)), *(one.values for one in rows)]),
    )
    return buffer.getvalue()


def tallies_from_bytes(content: bytes) -> Named:
    """The tallies that `tallies_to_bytes` took."""
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    reader = _Reader(arrays)
    return [reader.next(_Head(*head)) for head in json.loads(arrays["head"].tobytes())]


class _Head(NamedTuple):
    """What is no array of a tally: sizes stand in their place."""

    key: str
    start_us: int
    end_us: int
    is_seen: bool
    trades: Sequence[Any] | None
    buckets: int | None
    moves: int | None
    flows: Sequence[int] | None


def _head(key: str, tally: DayTally, counts: list[Counts], rows: list[FlowRows]) -> _Head:
    """What is no array of a tally; its arrays are put behind those before it."""
    trades: list[Any] | None = None
    if tally.trades is not None:
        one = tally.trades
        trades = [one.trades, _short(one.volume), _short(one.notional), one.last_arrival_us]
    found: list[int | None] = []
    for part in (None if tally.trades is None else tally.trades.buckets, tally.moves):
        found.append(None if part is None else len(part.keys))
        if part is not None:
            counts.append(part)
    flows = None
    if tally.flows is not None:
        flows = [len(tally.flows.whole.opens), len(tally.flows.cut.opens)]
        rows += [tally.flows.whole, tally.flows.cut]
    buckets, moves = found
    return _Head(key, tally.start_us, tally.end_us, tally.is_seen, trades, buckets, moves, flows)


def _short(total: int | None) -> list[int] | None:
    """A number that ends in a thousand binary zeros, and how many they are."""
    if total is None:
        return None
    zeros = (total & -total).bit_length() - 1 if total else 0
    return [total >> zeros, zeros]


def _long(parts: Sequence[int] | None) -> int | None:
    return None if parts is None else parts[0] << parts[1]


class _Reader:
    """Takes the arrays of one tally after the other."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._arrays = arrays
        self._counted = self._rows = 0

    def next(self, head: _Head) -> tuple[str, DayTally]:
        trades = None
        if head.trades is not None and head.buckets is not None:
            trades = TradeTally(
                trades=head.trades[0],
                volume=_long(head.trades[1]),
                notional=_long(head.trades[2]),
                buckets=self._counts(head.buckets),
                last_arrival_us=head.trades[3],
            )
        tally = DayTally(
            start_us=head.start_us,
            end_us=head.end_us,
            trades=trades,
            moves=None if head.moves is None else self._counts(head.moves),
            flows=None if head.flows is None else FlowTally(*map(self._flow_rows, head.flows)),
            is_seen=head.is_seen,
        )
        return head.key, tally

    def _counts(self, size: int) -> Counts:
        part = slice(self._counted, self._counted + size)
        self._counted += size
        return Counts(self._arrays["keys"][part], self._arrays["numbers"][part])

    def _flow_rows(self, size: int) -> FlowRows:
        part = slice(self._rows, self._rows + size)
        self._rows += size
        return FlowRows(self._arrays["opens"][part], self._arrays["flows"][part])
