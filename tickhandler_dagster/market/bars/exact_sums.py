"""Rounding of small relative changes, after which their sums are exact.

What does not belong here: which changes (`second_grid.py`, `roll_covariance.py`).
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array

_STEPS = 2.0**56


def rounded_changes(changes: Float64Array) -> Float64Array:
    """Relative changes as whole multiples of 2⁻⁵⁶.

    Changes that cancel leave a rest of rounding that depends on how they were grouped, so a price
    that came back had a sum of 1e-18 in a bar and of 0 in the four bars that make it up. Multiples
    of one step add up exactly while their sum is below 0.125. The price is an error of 7e-18, which
    is 1e-10 of half a cent's move in 60,000.

    Nulls: NaN stays.

    Example:
        >>> moves = rounded_changes(np.array([0.1e-4, 0.2e-4, -0.3e-4]))
        >>> float(moves.sum()), float(np.array([0.1e-4, 0.2e-4, -0.3e-4]).sum()) == 0.0
        (0.0, False)
    """
    return np.rint(changes * _STEPS) / _STEPS
