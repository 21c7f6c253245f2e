"""How much each level's flow counts in the integrated flow: a fit on one day, used on later ones.

What belongs here: the memory between days and the fit. What does not: the flows (`order_flow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickhandler_dagster.market.bars.flow_tally import FlowRows
from tickhandler_dagster.market.bars.ticks import Float64Array

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


def fitted_loading(rows: FlowRows, day_us: int) -> OrderFlowMemory | None:
    """The fit on one-minute bars (on the day's own where they are longer).

    Args:
        rows: The bars of a day that have a flow.
        day_us: First moment of the day.

    Nulls: None where fewer than `MIN_FIT_BARS` bars have a flow, or the flows never vary.
    Source: Cont, Cucuringu & Zhang (2023), Cross-impact of order flow imbalance, section 2.2.
    """
    depth, count = rows.values[:, LEVELS], rows.values[:, LEVELS + 1]
    is_used = depth > 0
    bars = int(np.count_nonzero(is_used))
    if bars < MIN_FIT_BARS:
        return None
    mean_depth = depth[is_used] / count[is_used]
    normalised = np.stack([flow[is_used] / mean_depth for flow in rows.values[:, :LEVELS].T])
    covariances = np.cov(normalised, ddof=0)
    weights = _first_component(covariances)
    if weights is None:
        return None
    return OrderFlowMemory(
        day_us,
        bars,
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
