"""The simulated market with the few instruments a test needs: the same files, fewer of them.

What belongs here: leaving instruments out. What does not: what they trade (`sandbox/`).
"""

from __future__ import annotations

from tickhandler_dagster.sandbox.simulator import Simulator

SEED = 7
SCALE = 0.02


class SmallMarket(Simulator):
    """A vendor that lists these symbols alone; a day of a venue costs what they cost."""

    def __init__(self, *symbols, scale=SCALE):
        self._symbols = frozenset(symbols)
        super().__init__(SEED, scale=scale)

    def _listings(self, venue):
        return tuple(one for one in super()._listings(venue) if one.dataset_id in self._symbols)
