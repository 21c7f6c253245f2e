"""How the option surface of the underlying moved, and what its variance costs.

What belongs here: entries on the surface's columns of bars. What does not: the surface itself
(`market/options`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.market.features.units import Unit
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.windows import Windows

VOLATILITY = Unit("annualised volatility: 0.5 = 50 %")
VARIANCE = Unit("annualised variance: 0.25 = 50 % volatility")

_SURFACE_COLUMNS = ("atm_iv_30d", "term_slope", "risk_reversal_25d_30d")
_NO_SURFACE = "no option surface of the base asset with this point"


def surface_change_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of surface changes for these windows, in the order of the columns."""
    return (
        _variance_risk_premium(),
        *(entry for horizon in windows.horizons for entry in _changes(horizon)),
    )


def _variance_risk_premium() -> MftFeature:
    return MftFeature(
        name="variance_risk_premium_30d",
        formula="atm_iv_30d² - annualised realised variance of the 30 UTC days before: what is "
        "asked for variance over what there was of it, never what there will be.",
        look_back=0,
        inputs=("atm_iv_30d", "realized_variance_30d"),
        expression=pl.col("atm_iv_30d") ** 2 - pl.col("realized_variance_30d"),
        unit=VARIANCE,
        null_rule=f"{_NO_SURFACE}; one of the 30 days has no realised variance",
        source="Bollerslev, Tauchen and Zhou 2009, Expected stock returns and variance risk premia",
    )


def _changes(horizon: int) -> Iterator[MftFeature]:
    for name in _SURFACE_COLUMNS:
        value = pl.col(name)
        yield MftFeature(
            name=f"{name}_change_{horizon}",
            formula=f"{name} - its value {horizon} bars before.",
            look_back=horizon,
            inputs=(name,),
            expression=value - value.shift(horizon),
            unit=VOLATILITY,
            null_rule=f"{_NO_SURFACE}, at either end",
        )
