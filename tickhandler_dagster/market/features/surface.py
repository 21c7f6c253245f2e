"""The option surface of the underlying, as it stands on candles.

What belongs here: which columns of the surface a candle carries, and from where. The entries are
`option_surface_entries.py`, the arithmetic is `market/options`.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE

_ON_CANDLES = (
    "atm_mark_iv",
    "skew_25d_put_call_ratio",
    "atm_iv_7d",
    "atm_iv_30d",
    "atm_iv_60d",
    "atm_iv_90d",
    "risk_reversal_25d_30d",
    "butterfly_25d_30d",
    "put_call_ratio_25d_30d",
    "term_slope",
    "term_slope_7d_30d",
    "model_free_volatility_30d",
    "option_open_interest_ratio",
)
_NO_SURFACE = "no option surface of the base asset"
_ENTRIES = {entry.name: entry for entry in OPTION_SURFACE}

_VENUE = Feature(
    name="surface_venue",
    formula=(
        "Venue of the option surface that the bar carries: its own where it has options on the "
        "base asset, else deribit, else okex-options."
    ),
    inputs=(Channel.OPTIONS,),
    merge=Merge.LAST,
    null_rule=_NO_SURFACE,
    dtype=pl.String(),
    source="Rule of this project",
    oracle="The surfaces in the lake",
)

SURFACE: tuple[Feature, ...] = (
    *(
        replace(_ENTRIES[name], null_rule=f"{_NO_SURFACE}, or {_ENTRIES[name].null_rule}")
        for name in _ON_CANDLES
    ),
    _VENUE,
)
