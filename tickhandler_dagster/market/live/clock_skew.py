"""How far the host's clock and a venue's are apart, from the delays of rows.

What belongs here: rolling statistics of local less exchange time, and when they are a warning. What
does not: reading rows and telling people.

The least delay of a while holds the way of the fastest message and the difference of the clocks. It
cannot be below zero unless the clocks disagree, and it jumps when one of them is set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.days import US_PER_SECOND

WINDOW_US = 300 * US_PER_SECOND
"""How long a delay counts."""

BEHIND_US = 50_000
"""A least delay this far below zero says that the host's clock is behind the venue's."""

JUMP_US = 250_000
"""A least delay that moves this far from one step to the next says that a clock was set."""

_SET_US = 5 * US_PER_SECOND
"""A least delay that grows by this between two steps is no slower way: a clock was set."""

_STEP_US = 10 * US_PER_SECOND
_KEPT = 64
"""Delays kept of a step for the median, spread evenly over its first rows."""


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """What the delays of the last minutes say.

    Attributes:
        least_us: Least delay.
        median_us: Median delay, of a sample.
        jump_us: How far the least delay moved between the last two steps; 0 before there are two.
    """

    least_us: int
    median_us: int
    jump_us: int

    @property
    def warning(self) -> str | None:
        """What is wrong, in a sentence; None where nothing is.

        Example:
            >>> ClockSkew(least_us=-80_000, median_us=5_000, jump_us=0).warning
            'rows arrive 80 ms before they happen: the clock of this host is behind'
        """
        if self.least_us < -BEHIND_US:
            early = -self.least_us // 1_000
            return f"rows arrive {early} ms before they happen: the clock of this host is behind"
        if abs(self.jump_us) > JUMP_US:
            way = "on" if self.jump_us > 0 else "back"
            return f"the least delay jumped by {self.jump_us // 1_000} ms: a clock was set {way}"
        return None


@dataclass(slots=True)
class _Step:
    start_us: int
    least_us: int
    sample: list[int]


class ClockSkewMeter:
    """Rolling statistics of one venue's delays, in bounded memory.

    Args:
        window_us: How long a delay counts.
        step_us: Delays are forgotten in steps of this.
    """

    def __init__(self, *, window_us: int = WINDOW_US, step_us: int = _STEP_US) -> None:
        self._window_us = window_us
        self._step_us = step_us
        self._steps: deque[_Step] = deque()

    def take(self, exchange_us: npt.NDArray[np.int64], local_us: npt.NDArray[np.int64]) -> None:
        """Take rows, in order of arrival.

        Units: microseconds.
        """
        if not len(local_us):
            return
        delays = local_us - exchange_us
        numbers = local_us // self._step_us
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for part, start in zip(
            np.split(delays, edges), local_us[[0, *edges.tolist()]], strict=True
        ):
            self._add(part, int(start) // self._step_us * self._step_us)
        newest = self._steps[-1].start_us
        while self._steps[0].start_us <= newest - self._window_us:
            self._steps.popleft()

    def skew(self) -> ClockSkew | None:
        """What the delays say; None before the first row."""
        if not self._steps:
            return None
        leasts = [step.least_us for step in self._steps]
        return ClockSkew(
            least_us=min(leasts),
            median_us=int(np.median(list(self._samples()))),
            jump_us=leasts[-1] - leasts[-2] if len(leasts) > 1 else 0,
        )

    def _add(self, delays: npt.NDArray[np.int64], start_us: int) -> None:
        sample = [int(delay) for delay in delays[:: max(1, len(delays) // _KEPT)]]
        least = int(delays.min())
        last = self._steps[-1] if self._steps else None
        if last is None or start_us > last.start_us:
            self._forget_the_time_before_a_clock_was_set()
            self._steps.append(_Step(start_us, least, sample[:_KEPT]))
        else:
            # rows of a clock set back count where time was when it was set
            last.least_us = min(last.least_us, least)
            last.sample = [*last.sample, *sample][-_KEPT:]

    def _forget_the_time_before_a_clock_was_set(self) -> None:
        """A clock that was set on leaves delays that no step before it had; one set back does not.

        The least of the last minutes would hide the former for as long as they count.
        """
        if len(self._steps) > 1 and self._steps[-1].least_us - self._steps[-2].least_us > _SET_US:
            self._steps = deque([self._steps[-1]])

    def _samples(self) -> Iterator[int]:
        for step in self._steps:
            yield from step.sample
