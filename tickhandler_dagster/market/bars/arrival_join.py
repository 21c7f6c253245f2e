"""Which mid held at the moments around each trade, by the recorder's clock.

What belongs here: the look-up. What does not: what is made of the mids (`trade_impact.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.quotes import BoolArray, TopTicks
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_SECOND

JOIN_AGE_US = 5 * US_PER_SECOND
"""How long a mid is taken to hold at the moment that is asked for."""

_NEVER = -(2**62)


class ArrivalJoin:
    """Mids at moments relative to the arrivals of trades.

    Args:
        arrivals: When each trade arrived, in any order.
        mids: Normal states in order of arrival.
    """

    def __init__(self, arrivals: Int64Array, mids: TopTicks) -> None:
        self._moments = arrivals
        self._rising, self._places = _in_rising_order(arrivals)
        # A first state of infinite age answers for "none", so that no look-up needs a branch.
        self._arrivals = np.concatenate((np.array([_NEVER]), mids.local_timestamp))
        self._mids = np.concatenate((np.array([1.0]), (mids.bid + mids.ask) / 2))

    def before(self) -> tuple[Float64Array, BoolArray]:
        """The last mid that arrived before each trade, and whether it is fresh.

        A mid that is not fresh is some finite number: what comes of it is to be masked.
        """
        return self._at(0, is_strict=True)

    def until(self, delay_us: int) -> tuple[Float64Array, BoolArray]:
        """The last mid that arrived up to `delay_us` after each trade, and whether it is fresh."""
        return self._at(delay_us, is_strict=False)

    def _at(self, delay_us: int, *, is_strict: bool) -> tuple[Float64Array, BoolArray]:
        index = self._last(self._rising + delay_us, is_strict=is_strict)
        if self._places is not None:
            index = index[self._places]
        oldest = self._moments + (delay_us - JOIN_AGE_US)
        return self._mids[index], self._arrivals[index] >= oldest

    def _last(self, moments: Int64Array, *, is_strict: bool) -> npt.NDArray[np.intp]:
        """Place of the last arrival before (strict) or not after each of the rising moments.

        The fewer are looked up among the more: there are some three states for ten trades.
        """
        if len(moments) < len(self._arrivals):
            after = np.searchsorted(self._arrivals, moments, side="left" if is_strict else "right")
            return after - 1
        steps = np.searchsorted(moments, self._arrivals[1:], side="right" if is_strict else "left")
        lengths = np.diff(steps, prepend=0, append=len(moments))
        return np.repeat(np.arange(len(lengths)), lengths)


def _in_rising_order(
    moments: Int64Array,
) -> tuple[Int64Array, npt.NDArray[np.intp] | None]:
    """The moments in rising order, and where each one is there; None where they rise already."""
    if not bool((moments[1:] < moments[:-1]).any()):
        return moments, None
    order = np.argsort(moments, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return moments[order], places
