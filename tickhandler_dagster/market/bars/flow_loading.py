"""How much each level's flow counts in the integrated flow: a fit on one day, used on later ones.

What belongs here: the memory between days and the fit. What does not: the flows (`order_flow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import Timeframe

LEVELS = 5
"""Levels whose flow is kept."""

MIN_FIT_BARS = 60
"""One-minute bars with a flow that a fit needs: twelve per weight."""


@dataclass(frozen=True, slots=True)
class OrderFlowMemory:
    """The first principal component of a day's normalised flows.

    Attributes:
        day_us: First moment of the day it was fitted on; the version of the weights.
        bars: One-minute bars in the fit.
        means: Mean normalised flow per level.
        covariances: Covariance of the normalised flows, level by level.
        loading: Weight per level; their absolute values sum to 1.
    """

    day_us: int
    bars: int
    means: tuple[float, ...]
    covariances: tuple[tuple[float, ...], ...]
    loading: tuple[float, ...]

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> OrderFlowMemory:
        """The memory from what a JSON file gives back."""
        return cls(
            int(mapping["day_us"]),
            int(mapping["bars"]),
            tuple(mapping["means"]),
            tuple(tuple(row) for row in mapping["covariances"]),
            tuple(mapping["loading"]),
        )


def fitted_loading(
    grid: DayGrid, flows: Float64Array, depth_sum: Float64Array, events: Float64Array
) -> OrderFlowMemory | None:
    """The fit on one-minute bars (on the grid's own where they are longer).

    Args:
        grid: The day's bars.
        flows: Sum of flows, (levels, bars).
        depth_sum: Sum of the mean depth of a level over the events of each bar.
        events: Number of events of each bar.

    Nulls: None where fewer than `MIN_FIT_BARS` bars have a flow, or the flows never vary.
    Source: Cont, Cucuringu & Zhang (2023), Cross-impact of order flow imbalance, section 2.2.
    """
    ratio = max(Timeframe.M1.us // grid.timeframe.us, 1)

    def longer(values: Float64Array) -> Float64Array:
        return np.asarray(np.add.reduce(values.reshape(-1, ratio), axis=1))

    depth, count = longer(depth_sum), longer(events)
    is_used = (count > 0) & (depth > 0)
    if np.count_nonzero(is_used) < MIN_FIT_BARS:
        return None
    mean_depth = depth[is_used] / count[is_used]
    normalised = np.stack([longer(flow)[is_used] / mean_depth for flow in flows])
    covariances = np.cov(normalised, ddof=0)
    weights = _first_component(covariances)
    if weights is None:
        return None
    return OrderFlowMemory(
        grid.start_us,
        int(np.count_nonzero(is_used)),
        tuple(normalised.mean(axis=1).tolist()),
        tuple(tuple(row) for row in covariances.tolist()),
        tuple(weights.tolist()),
    )


def _first_component(covariances: Float64Array) -> Float64Array | None:
    """Its sign is free: the one with which buying counts as positive."""
    values, vectors = np.linalg.eigh(covariances)
    if not values[-1] > 0:
        return None
    weights = vectors[:, -1]
    total = np.abs(weights).sum()
    return np.asarray(weights / (-total if weights.sum() < 0 else total))
