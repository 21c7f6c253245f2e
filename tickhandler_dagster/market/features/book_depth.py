"""Depth, slope, pressure and cost of trading of the book at the bar's end.

What belongs here: entries that need all levels the channel shows. What does not: the first five
levels (`book_levels.py`), the arithmetic (`market/bars/book_depth.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tickhandler_dagster.market.bars.book_depth import MIN_SLOPE_LEVELS, PRESSURE_REACH_BPS
from tickhandler_dagster.market.bars.book_levels import NOTIONALS, REACHES_BPS
from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import over
from tickhandler_dagster.market.features.units import BPS, FRACTION, QUOTE, Unit
from tickhandler_dagster.market.tables import Bounds

_NO_MID = "no state of b < a that is at most 60 s old"
_NO_UNITS = "the size of a contract is unknown"

_entry = partial(
    Feature,
    inputs=(Channel.LEVELS,),
    merge=Merge.LAST,
    look_back=over(STATE_AGE_US),
    carry_in="the last state before the bar",
    oracle="Slow reference in plain Python, also on recorded snapshots",
)


def _depths(side: str) -> Iterator[Feature]:
    for reach in REACHES_BPS:
        yield _entry(
            name=f"{side}_depth_{reach}bps",
            formula=f"Quote asset at {side} levels with 10⁴·|p/m - 1| <= {reach}.",
            unit=QUOTE,
            bounds=Bounds(ge=0),
            null_rule=f"{_NO_MID}, all levels shown are filled and nearer than {reach} bp "
            f"(censored), or {_NO_UNITS}",
            source="Depth near the mid: Degryse, de Jong & van Kervel (2015), Dark trading",
        )
    yield _entry(
        name=f"{side}_depth_slope",
        formula=f"Σxy/Σx² over {side} levels: x distance from the mid in bp, y quote asset up to "
        "the level.",
        unit=Unit("quote asset per basis point", price=1, size=1),
        bounds=Bounds(ge=0),
        null_rule=f"{_NO_MID}, fewer than {MIN_SLOPE_LEVELS} levels, or {_NO_UNITS}",
        minimum=f"{MIN_SLOPE_LEVELS} levels",
        source="Næs & Skjeltorp (2006), Order book characteristics and the volume-volatility "
        "relation",
    )


def _costs(side: str, walked: str) -> Iterator[Feature]:
    for label, notional in NOTIONALS.items():
        yield _entry(
            name=f"{side}_cost_{label}_bps",
            formula=f"10⁴·|mean fill/m - 1| of a market order worth {notional:.0f} of quote asset "
            f"that walks the {walked}s.",
            unit=BPS,
            bounds=Bounds(ge=0),
            null_rule=f"{_NO_MID}, the {walked} levels shown are worth less, or {_NO_UNITS}",
            source="Cost of a round trip: Irvine, Benston & Kandel (2000), Liquidity beyond the "
            "inside spread",
            is_scale_free=False,
        )


def _pressures() -> Iterator[Feature]:
    for name, weights in (
        ("book_pressure", "w = 1"),
        (
            "book_pressure_weighted",
            f"w = exp(-d/{PRESSURE_REACH_BPS:.0f}), d the distance in bp from the side's best",
        ),
    ):
        yield _entry(
            name=name,
            formula=f"Σw(B-A)/Σw(B+A) over all levels shown, {weights}.",
            unit=FRACTION,
            bounds=Bounds(ge=-1, le=1),
            null_rule=f"{_NO_MID}, the channel shows fewer than five levels, no size, or "
            f"{_NO_UNITS}",
            source="Cao, Hansch & Wang (2009), The information content of an open limit-order book",
        )


DEPTH: tuple[Feature, ...] = (
    *_depths("bid"),
    *_depths("ask"),
    *_pressures(),
    *_costs("buy", "ask"),
    *_costs("sell", "bid"),
)
