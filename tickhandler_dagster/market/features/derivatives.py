"""Liquidations, open interest, funding and basis.

What belongs here: the entries. What does not: the arithmetic (`market/bars`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.bars.funding import TICKER_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LookBack, over
from tickhandler_dagster.market.features.units import (
    BASE,
    FRACTION,
    MS,
    PER_YEAR,
    PRICE,
    QUOTE,
    UTC,
    Unit,
    count_of,
)
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds

_TICKER = (Channel.TICKER,)
_FORCED = (Channel.LIQUIDATIONS,)
_NOT_NEGATIVE = Bounds(ge=0)
_POSITIVE = Bounds(gt=0)
_PER_DAY = Unit("per day")
_PERCENT = Unit("percent")
_HOURS = Unit("h")

_STALE = "no row that carried it arrived in the last 10 min"
_CARRY = "the last rows of the day before"
_NO_UNITS = "the contract's units are unknown"
_LAST_OF_DAY = "last non-null value in the interval, or of the whole day; null where no row fell in"
_RAW_UNITS = "the venue's raw amount: contracts, coins or dollars"
_OWN = "own definition"
_MERGED = "https://docs.tardis.dev/downloadable-csv-files/data-types#derivative_ticker"
_SIDES = "https://docs.tardis.dev/downloadable-csv-files/data-types#liquidations"
_PLANTED = "the simulator's parameters"
_SIDE_WAS_REVERSED = (
    "documented with the sides reversed (buy as a forced sale of longs), computed as half the total"
)


def _state(
    name: str,
    formula: str,
    *,
    unit: Unit = FRACTION,
    null_rule: str = _STALE,
    earlier_meaning: str = "",
    bounds: Bounds = Bounds(),  # noqa: B008  (an immutable value)
) -> Feature:
    """A value of the ticker at the bar's end."""
    return Feature(
        name=name,
        formula=formula,
        inputs=_TICKER,
        merge=Merge.LAST,
        null_rule=null_rule,
        unit=unit,
        bounds=bounds,
        look_back=over(TICKER_AGE_US),
        carry_in=_CARRY,
        source=_MERGED,
        oracle=_PLANTED,
        earlier_meaning=earlier_meaning,
    )


_FUNDING = (
    _state(
        "funding_rate",
        "Rate of the next funding in the last row that arrived before the bar's end.",
        null_rule=f"{_STALE}; dated futures have none",
        earlier_meaning=_LAST_OF_DAY,
    ),
    _state(
        "predicted_funding_rate",
        "Estimate for the funding after next in the last row that arrived before the bar's end.",
        null_rule=f"{_STALE}; most venues publish none",
        earlier_meaning=_LAST_OF_DAY,
    ),
    Feature(
        name="next_funding_time",
        formula="Time of the next funding in the last row that arrived before the bar's end.",
        inputs=_TICKER,
        merge=Merge.LAST,
        null_rule=f"{_STALE}; Deribit and Hyperliquid publish none",
        unit=UTC,
        dtype=TIMESTAMP,
        look_back=over(TICKER_AGE_US),
        carry_in=_CARRY,
        source=_MERGED,
        oracle=_PLANTED,
    ),
    Feature(
        name="funding_interval_h",
        formula="Hours between the last two funding times that followed each other: the new one "
        "was named within half a step after the old one.",
        inputs=_TICKER,
        merge=Merge.LAST,
        null_rule="no funding has been seen to pass",
        unit=_HOURS,
        bounds=_POSITIVE,
        look_back=LookBack("unlimited", is_unlimited=True),
        carry_in="kept from day to day per instrument",
        minimum="one funding seen to pass",
        source="https://github.com/freqtrade/freqtrade/issues/12583 (8 h is no longer universal)",
        oracle=_PLANTED,
    ),
    Feature(
        name="funding_settled",
        formula="Rate of the funding that passed last: the last rate of a row that names that time "
        "and is stamped less than 10 min before it.",
        inputs=_TICKER,
        merge=Merge.LAST,
        null_rule="no funding seen to pass, no such row, or the next one is past by 10 min unseen",
        unit=FRACTION,
        look_back=LookBack("one funding interval", is_unlimited=True),
        carry_in="kept from day to day per instrument",
        minimum="one funding seen to pass",
        source="https://docs.tardis.dev/historical-data-details (rows at the event may mix both)",
        oracle=_PLANTED,
    ),
    Feature(
        name="funding_annualised",
        formula="funding_rate · 24 / funding_interval_h · 365.",
        inputs=_TICKER,
        merge=Merge.DERIVED,
        null_rule="rate or interval unknown",
        unit=PER_YEAR,
        source=_OWN,
        oracle=_PLANTED,
        expression=pl.col("funding_rate") * 24 / pl.col("funding_interval_h") * 365,
    ),
)

_PRICES = (
    _state(
        "index_price",
        "Index price in the last row that arrived before the bar's end.",
        unit=PRICE,
        earlier_meaning=_LAST_OF_DAY,
    ),
    _state(
        "mark_price",
        "Mark price in the last row that arrived before the bar's end.",
        unit=PRICE,
        earlier_meaning=_LAST_OF_DAY,
    ),
    _state(
        "last_price",
        "Price of the last trade in the last ticker row that arrived before the bar's end.",
        unit=PRICE,
    ),
    Feature(
        name="ticker_age_ms",
        formula="Time from the arrival of the last ticker row, whatever it carried, to the bar's "
        "end.",
        inputs=_TICKER,
        merge=Merge.LAST,
        null_rule="no row yet, also not on the day before",
        unit=MS,
        bounds=_POSITIVE,
        look_back=LookBack("the day before", is_unlimited=True),
        carry_in="the last row of the day before",
        source=_OWN,
        oracle="the slow reference",
    ),
)

_INTEREST = (
    _state(
        "open_interest",
        "Open interest at the bar's end: amount · contract size; for an inverse contract "
        "divided by mark_price.",
        unit=BASE,
        null_rule=f"{_STALE}; {_NO_UNITS}",
        bounds=_NOT_NEGATIVE,
        earlier_meaning=f"{_RAW_UNITS}; {_LAST_OF_DAY}",
    ),
    _state(
        "open_interest_notional",
        "Open interest at the bar's end in money: amount · contract size · mark_price; for an "
        "inverse contract amount · contract size.",
        unit=QUOTE,
        null_rule=f"{_STALE}; {_NO_UNITS}",
        bounds=_NOT_NEGATIVE,
    ),
    Feature(
        name="oi_previous",
        formula="Open interest at the bar's open; an inverse contract's at the mark price of the "
        "bar's end, so that only contracts make a change.",
        inputs=_TICKER,
        merge=Merge.RECOMPUTED,
        null_rule=f"no row that carried it in the 10 min before the open; {_NO_UNITS}",
        unit=BASE,
        bounds=_NOT_NEGATIVE,
        look_back=over(TICKER_AGE_US, "before the open"),
        carry_in=_CARRY,
        source=_OWN,
        oracle=_PLANTED,
    ),
    Feature(
        name="oi_change",
        formula="open_interest - oi_previous: contracts opened less closed over the bar.",
        inputs=_TICKER,
        merge=Merge.DERIVED,
        null_rule="either is null",
        unit=BASE,
        source=_OWN,
        oracle="Σ over small bars = the large bar's (linear contracts)",
        expression=pl.col("open_interest") - pl.col("oi_previous"),
        earlier_meaning="documented as the change of the venue's raw amount, always null",
    ),
    Feature(
        name="oi_change_pct",
        formula="100 · oi_change / oi_previous.",
        inputs=_TICKER,
        merge=Merge.DERIVED,
        null_rule="oi_change is null or there was no open interest",
        unit=_PERCENT,
        source=_OWN,
        oracle="the slow reference",
        expression=100 * pl.col("oi_change") / pl.col("oi_previous"),
    ),
)

_BASIS = (
    _state(
        "perp_premium",
        "Perpetuals: mark_price / index_price - 1.",
        null_rule=f"{_STALE} (either price); not a perpetual",
    ),
    Feature(
        name="mark_last_gap",
        formula="last_price / mark_price - 1, both of the ticker.",
        inputs=_TICKER,
        merge=Merge.DERIVED,
        null_rule="either is null",
        unit=FRACTION,
        source=_OWN,
        oracle="the slow reference",
        expression=pl.col("last_price") / pl.col("mark_price") - 1,
    ),
    _state(
        "futures_basis",
        "Dated futures: mark_price / index_price - 1, the index being the venue's own.",
        null_rule=f"{_STALE} (either price); not a dated future",
    ),
    _state(
        "futures_basis_annualised",
        "futures_basis · 365 / days from the bar's end to expiry.",
        unit=PER_YEAR,
        null_rule="futures_basis is null; less than half a day to expiry",
    ),
    _state(
        "calendar_spread",
        "Dated futures: mark_price / mark_price of the nearest-expiring future of the same base "
        "and settlement - 1.",
        null_rule=f"{_STALE} (either contract); the nearest itself; after its expiry",
    ),
    _state(
        "roll_yield_per_day",
        "calendar_spread / days between the two expiries.",
        unit=_PER_DAY,
        null_rule="calendar_spread is null",
    ),
)


def _forced(
    name: str, formula: str, *, unit: Unit = BASE, mirror: str = "", earlier_meaning: str = ""
) -> Feature:
    """What adds up from single liquidations."""
    is_count = name == "liquidation_count"
    return Feature(
        name=name,
        formula=formula,
        inputs=_FORCED,
        merge=Merge.SUM,
        null_rule="" if is_count else _NO_UNITS,
        unit=unit,
        dtype=pl.Int64() if is_count else pl.Float64(),
        bounds=_NOT_NEGATIVE,
        source=_SIDES,
        oracle=_PLANTED,
        mirror=mirror,
        earlier_meaning=earlier_meaning,
    )


_BUY, _SELL = "liquidation_buy_volume", "liquidation_sell_volume"
_UNKNOWN = "liquidation_unknown_volume"
_ALL_FORCED = pl.col(_BUY) + pl.col(_SELL) + pl.col(_UNKNOWN)
_CHANGE = pl.col("oi_change")


def _with_interest(name: str, word: str, is_met: pl.Expr) -> Feature:
    """Liquidated volume of bars in which open interest went one way."""
    return Feature(
        name=name,
        formula=f"Liquidated volume of the bar where oi_change {word} 0 over the same bar, else 0; "
        "each timeframe by its own oi_change.",
        inputs=(Channel.LIQUIDATIONS, Channel.TICKER),
        merge=Merge.DERIVED,
        null_rule=f"oi_change is null; {_NO_UNITS}",
        unit=BASE,
        bounds=_NOT_NEGATIVE,
        source=_OWN,
        oracle="rising + falling + (oi_change = 0) = all liquidated volume",
        expression=_ALL_FORCED * is_met.cast(pl.Float64()),
        earlier_meaning="documented as a sum over smaller bars by their own changes, always null",
    )


_LIQUIDATIONS = (
    _forced(
        _BUY,
        "Volume of liquidations of side buy: a short was liquidated, a forced purchase.",
        mirror=_SELL,
        earlier_meaning=_SIDE_WAS_REVERSED,
    ),
    _forced(
        _SELL,
        "Volume of liquidations of side sell: a long was liquidated, a forced sale.",
        mirror=_BUY,
        earlier_meaning=_SIDE_WAS_REVERSED,
    ),
    _forced(_UNKNOWN, "Volume of liquidations whose side the venue does not give."),
    _forced(
        "liquidation_count",
        "Number of liquidation rows.",
        unit=count_of("liquidations"),
        earlier_meaning="rows of the whole day in every bar",
    ),
    _forced(
        "liquidation_notional",
        "Money liquidated, Σ price · volume; on Bybit and OKX the price is the bankruptcy price.",
        unit=QUOTE,
    ),
    Feature(
        name="liquidation_size_max",
        formula="Largest liquidation of the bar.",
        inputs=_FORCED,
        merge=Merge.MAX,
        null_rule=f"no liquidation; {_NO_UNITS}",
        unit=BASE,
        bounds=_POSITIVE,
        source=_SIDES,
        oracle="the slow reference",
    ),
    Feature(
        name="liquidation_share",
        formula="liquidation_notional / notional of the bar's trades.",
        inputs=(Channel.LIQUIDATIONS, Channel.TRADES),
        merge=Merge.DERIVED,
        null_rule="no trades in the bar",
        unit=FRACTION,
        bounds=_NOT_NEGATIVE,
        source=_OWN,
        oracle="the slow reference",
        expression=pl.col("liquidation_notional") / pl.col("notional"),
    ),
    _with_interest("liquidation_with_rising_oi", ">", _CHANGE > 0),
    _with_interest("liquidation_with_falling_oi", "<", _CHANGE < 0),
    Feature(
        name="liquidation_is_throttled",
        formula="True where the venue then sent only a sample of its liquidations, false where "
        "every one.",
        inputs=(Channel.LIQUIDATIONS, Channel.FACTS),
        merge=Merge.LAST,
        null_rule="the venue does not say",
        dtype=pl.Boolean(),
        source="https://docs.tardis.dev/historical-data-details (liquidations per venue)",
        oracle="the table of the venues' feeds",
    ),
)

DERIVATIVES: tuple[Feature, ...] = (*_FUNDING, *_PRICES, *_INTEREST, *_BASIS, *_LIQUIDATIONS)
