"""Every mid-frequency feature, in the order of the stored columns.

What belongs here: the families and their order. What does not: entries (the families' modules), the
days that they read (`halo.py`) and the stored table (`market/mft_table.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.autocorrelation import autocorrelation_features
from tickhandler_dagster.market.mft.averages import averages_features
from tickhandler_dagster.market.mft.bands import bands_features
from tickhandler_dagster.market.mft.carry import carry_features
from tickhandler_dagster.market.mft.cross_section import cross_section_features
from tickhandler_dagster.market.mft.drawdown import drawdown_features
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.flow import flow_features
from tickhandler_dagster.market.mft.hurst import hurst_features
from tickhandler_dagster.market.mft.moments import moment_features
from tickhandler_dagster.market.mft.momentum import momentum_features
from tickhandler_dagster.market.mft.oscillators import oscillators_features
from tickhandler_dagster.market.mft.price_volume import price_volume_features
from tickhandler_dagster.market.mft.range_volatility import range_volatility_features
from tickhandler_dagster.market.mft.reference import reference_features
from tickhandler_dagster.market.mft.returns import returns_features
from tickhandler_dagster.market.mft.seasonality import seasonality_features
from tickhandler_dagster.market.mft.surface_changes import surface_change_features
from tickhandler_dagster.market.mft.trend import trend_features
from tickhandler_dagster.market.mft.variance_ratio import variance_ratio_features
from tickhandler_dagster.market.mft.venues import venue_features
from tickhandler_dagster.market.mft.volatility import volatility_features
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.timeframes import Timeframe

MFT_KERNEL_VERSION = "1"
"""Goes up with every change that can change a value; rows of another version are built anew."""

MFT_TIMEFRAMES: tuple[Timeframe, ...] = tuple(
    timeframe for timeframe in Timeframe if timeframe is not Timeframe.S15
)
"""The timeframes that have mid-frequency features."""


@dataclass(frozen=True, slots=True)
class MftFamily:
    """Features that belong together.

    Attributes:
        title: As in the dictionary.
        features: Its entries for given windows.
    """

    title: str
    features: Callable[[Windows], tuple[MftFeature, ...]]


MFT_FAMILIES: tuple[MftFamily, ...] = (
    MftFamily("Returns", returns_features),
    MftFamily("Volatility", volatility_features),
    MftFamily("Volatility of ranges", range_volatility_features),
    MftFamily("Momentum", momentum_features),
    MftFamily("Moving averages", averages_features),
    MftFamily("Oscillators", oscillators_features),
    MftFamily("Bands and positions in a range", bands_features),
    MftFamily("Trend", trend_features),
    MftFamily("Price and volume", price_volume_features),
    MftFamily("Autocorrelation", autocorrelation_features),
    MftFamily("Variance ratio", variance_ratio_features),
    MftFamily("Hurst exponent", hurst_features),
    MftFamily("Moments of returns", moment_features),
    MftFamily("Drawdown", drawdown_features),
    MftFamily("Beside the reference instrument", reference_features),
    MftFamily("Volume, flow and costs", flow_features),
    MftFamily("Funding, open interest and basis", carry_features),
    MftFamily("Changes of the volatility surface", surface_change_features),
    MftFamily("Calendar and clocks", seasonality_features),
    MftFamily("Beside other venues", venue_features),
    MftFamily("Among the venue's instruments", cross_section_features),
)


@lru_cache
def mft_features(windows: Windows) -> tuple[MftFeature, ...]:
    """All entries for these windows, in the order of the stored columns.

    Raises:
        InvalidInput: two windows make the same column, or a window is too short for its statistic.
    """
    features = tuple(feature for family in MFT_FAMILIES for feature in family.features(windows))
    repeated = repeated_names(features)
    if repeated:
        raise InvalidInput(
            "windows",
            f"{repeated[0]} would be two columns",
            remedy="Leave out the window that is listed twice",
        )
    return features


def repeated_names(features: Iterable[MftFeature]) -> list[str]:
    """Names that more than one entry has."""
    counts = Counter(feature.name for feature in features)
    return sorted(name for name, count in counts.items() if count > 1)
