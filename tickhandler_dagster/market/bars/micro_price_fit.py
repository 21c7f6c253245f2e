"""The fit of the micro-price: a Markov chain on imbalance and spread, and its table of shifts.

What belongs here: the chain's states, the counts of its moves, the solution and the memory between
days. What does not: the price of a bar (`micro_price.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.end_states import continuous
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array

IMBALANCES = 11
"""Odd, so that a balanced book has a state of its own, whose shift is 0 by symmetry."""

WIDEST_TICKS = 4
"""Spreads of this many ticks or more share one state."""

STATES = IMBALANCES * WIDEST_TICKS
NO_STATE = -1

MIN_MOVES = 100
"""Moves of the mid that a fit needs."""

MIN_STEPS = 20
"""Steps out of a state, or its mirror image, that its shift needs; fewer still carry the chain."""

_PLACES = 2 * STATES * STATES + STATES
_HALF = IMBALANCES // 2
_MIRROR = np.arange(STATES).reshape(WIDEST_TICKS, IMBALANCES)[:, ::-1].ravel()
_DOUBLINGS = 24
_CLOSE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Counts of the chain's steps; whole numbers, so that they add up in any order.

    Attributes:
        still: Steps from state to state with the mid where it was, (states, states).
        moving: Steps with a move of the mid, (states, states).
        half_ticks: Sum of the mid's moves out of each state, in half price steps, (states,).
    """

    still: Int64Array
    moving: Int64Array
    half_ticks: Int64Array

    @classmethod
    def none(cls) -> Moves:
        """No step yet."""
        square = np.zeros((STATES, STATES), dtype=np.int64)
        return cls(square, square, np.zeros(STATES, dtype=np.int64))

    @classmethod
    def of(cls, counts: Counts) -> Moves:
        """The steps that `counts` gave."""
        steps = counts.dense(_PLACES)
        square = steps[: 2 * STATES * STATES].reshape(2, STATES, STATES)
        return cls(square[0], square[1], steps[2 * STATES * STATES :])

    @property
    def counts(self) -> Counts:
        """The same in little room: of the four thousand kinds of steps a day has some hundred."""
        steps = (self.still.ravel(), self.moving.ravel(), self.half_ticks)
        return Counts.of_dense(np.concatenate(steps))

    def __add__(self, other: Moves) -> Moves:
        return Moves(
            self.still + other.still,
            self.moving + other.moving,
            self.half_ticks + other.half_ticks,
        )

    @property
    def mirrored(self) -> Moves:
        """The steps of the same market with bid and ask in each other's place."""
        return Moves(
            self.still[_MIRROR][:, _MIRROR],
            self.moving[_MIRROR][:, _MIRROR],
            -self.half_ticks[_MIRROR],
        )


@dataclass(frozen=True, slots=True)
class MicroPriceMemory:
    """A fitted table.

    Attributes:
        day_us: First moment of the day it was fitted on; the version of the table.
        steps: Steps of the chain in the fit.
        moves: Those with a move of the mid.
        shifts_ticks: Expected shift of the mid in price steps, per spread, per imbalance from
            all ask to all bid; None where the state was left too rarely to tell.
    """

    day_us: int
    steps: int
    moves: int
    shifts_ticks: tuple[tuple[float | None, ...], ...]

    @property
    def shifts(self) -> Float64Array:
        """The table as one array over the chain's states, NaN where a shift is unknown."""
        return np.array(self.shifts_ticks, dtype=np.float64).ravel()

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> MicroPriceMemory:
        """The memory from what a JSON file gives back."""
        return cls(
            int(mapping["day_us"]),
            int(mapping["steps"]),
            int(mapping["moves"]),
            tuple(tuple(row) for row in mapping["shifts_ticks"]),
        )


def chain_states(states: TopTicks, tick_size: float) -> npt.NDArray[np.intp]:
    """The chain's state of each state of the book, `NO_STATE` where it has none.

    The imbalance (B-A)/(B+A) is rounded to fifths, the spread to price steps from 1 to
    `WIDEST_TICKS`. Rounding to the nearest is symmetric in bid and ask; quantiles of the imbalance
    (as in the paper's own code) would not be, and would differ by day.
    """
    depth = states.bid_size + states.ask_size
    is_known = states.is_normal & (depth > 0)
    imbalance = np.zeros(len(states))
    np.divide(states.bid_size - states.ask_size, depth, out=imbalance, where=is_known)
    imbalance *= _HALF
    np.rint(imbalance, out=imbalance)
    ticks = np.ones(len(states))
    np.divide(states.ask - states.bid, tick_size, out=ticks, where=is_known)
    np.rint(ticks, out=ticks)
    np.clip(ticks, 1, WIDEST_TICKS, out=ticks)
    codes: npt.NDArray[np.intp] = ((ticks - 1) * IMBALANCES + (imbalance + _HALF)).astype(np.intp)
    codes[~is_known] = NO_STATE
    return codes


def counted_moves(states: TopTicks, tick_size: float, gaps: Sequence[tuple[int, int]]) -> Moves:
    """The steps between consecutive normal states in time order."""
    codes = chain_states(states, tick_size)
    is_step = continuous(states, gaps)
    is_step &= (codes[1:] >= 0) & (codes[:-1] >= 0)
    position = np.zeros(len(states))
    np.divide(states.bid + states.ask, tick_size, out=position, where=codes >= 0)
    half_ticks = np.diff(np.rint(position, out=position))
    half_ticks[~is_step] = 0.0
    pair = codes[:-1] * STATES + codes[1:]
    pair[half_ticks != 0] += STATES * STATES
    pair = pair[is_step]
    counts = np.bincount(pair, minlength=2 * STATES * STATES).reshape(2, STATES, STATES)
    moved = np.flatnonzero(half_ticks)
    sums = np.bincount(codes[moved], weights=half_ticks[moved], minlength=STATES)
    return Moves(counts[0], counts[1], sums.astype(np.int64))


def fitted_table(moves: Moves, day_us: int) -> MicroPriceMemory | None:
    """The table that follows from the counts and their mirror image.

    With Q the chances to step without a move, T those with one and K the expected move, the first
    move is expected to be G₁ = (I-Q)⁻¹K, the state after it is drawn from B = (I-Q)⁻¹T, and the
    shift is Σ Bⁱ G₁. The sum converges because the mirrored chain has no drift.

    Nulls: None below `MIN_MOVES` moves of the mid, or where the sum does not converge.
    Source: Stoikov (2018), The micro-price, sections 3 and 4.
    """
    count = int(moves.moving.sum())
    if count < MIN_MOVES:
        return None
    both = moves + moves.mirrored
    leaving = (both.still + both.moving).sum(axis=1)
    is_solvable = _reaching_a_move(both)
    scale = np.where(is_solvable, 1.0 / np.maximum(leaving, 1), 0.0)[:, None]
    staying = np.eye(STATES) - both.still * scale * is_solvable
    first = np.asarray(np.linalg.solve(staying, both.half_ticks * scale[:, 0] / 2))
    after = np.asarray(np.linalg.solve(staying, both.moving * scale))
    shifts = _summed(first, after)
    if shifts is None:
        return None
    shifts = (shifts - shifts[_MIRROR]) / 2  # exactly odd, whatever the solver rounded
    is_told = is_solvable & (leaving >= MIN_STEPS)
    table = np.where(is_told, shifts, np.nan).reshape(WIDEST_TICKS, IMBALANCES)
    rows = tuple(
        tuple(None if math.isnan(shift) else shift for shift in row) for row in table.tolist()
    )
    return MicroPriceMemory(day_us, count + int(moves.still.sum()), count, rows)


def _reaching_a_move(moves: Moves) -> npt.NDArray[np.bool_]:
    """States from which the mid can move sooner or later; for others the system is singular."""
    reaching = moves.moving.sum(axis=1) > 0
    for _ in range(STATES):
        reaching = reaching | ((moves.still > 0) & reaching).any(axis=1)
    return np.asarray(reaching)


def _summed(first: Float64Array, after: Float64Array) -> Float64Array | None:
    """Σ afterⁱ · first, twice as many terms at each round; None where that has no end.

    It has none where states of one lean never lead to states of the other, as in a day of very few
    moves.
    """
    total, power = first, after
    for _ in range(_DOUBLINGS):
        more = power @ total
        total = total + more
        if np.abs(more).max() <= _CLOSE * np.abs(total).max():
            return total
        power = power @ power
    return None
