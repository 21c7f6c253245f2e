"""The same asset on other venues: the distance of prices and the share of money.

What belongs here: entries. What does not: which instrument of which venue is the other one
(`venue_peers.py`) and joining its bars (`joined.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature, Scope
from tickhandler_dagster.market.mft.window_math import window_sum
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_money, _all_money = pl.col("quote_volume"), pl.col("all_venues_notional")


def venue_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries over venues for these windows, in the order of the columns.

    A value is fresh where the bar is valid on both sides: there, final and observed. The mids are
    those at the same bar's end, each at most 60 s old by the rule of bars.
    """
    return (_spread(), *_shares(windows))


def _spread() -> MftFeature:
    return MftFeature(
        name="cross_venue_spread",
        formula="ln(mid / mid of the same pair and kind on the reference venue) at the bar's end.",
        look_back=0,
        inputs=("mid_price", "other_mid_price"),
        expression=(pl.col("mid_price") / pl.col("other_mid_price")).log(),
        scope=Scope.VENUES,
        null_rule="no mid here or there; the bar there not final or not observed; the reference "
        "venue itself; no such instrument there",
    )


def _shares(windows: Windows) -> Iterator[MftFeature]:
    for window in dict.fromkeys((1, *windows.flow)):
        yield MftFeature(
            name=f"venue_share_{window}",
            formula=f"Σ notional here / Σ notional of the pair and kind on all venues, {window} "
            "bars; dollars and their tokens count as one quote.",
            look_back=window - 1,
            inputs=("quote_volume", "all_venues_notional"),
            expression=window_sum(_money, window) / window_sum(_all_money, window),
            scope=Scope.VENUES,
            bounds=Bounds(ge=0, le=1),
            null_rule="nothing traded; a venue's bar not final, not observed or without money",
        )
