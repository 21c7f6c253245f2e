"""Which columns of a bar are compared, and what could make each of them differ by nature.

What belongs here: sets of columns, derived from the registry. What does not: comparing
(`parity.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.look_back import LookBack
from tickhandler_dagster.market.features.registry import DELAYS_US, FEATURES, delayed_name
from tickhandler_dagster.market.live.live_candle_table import NOT_COMPARABLE
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId

KEY = ("instrument_key", "venue", "timeframe", "ts_open", "ts_close")

COMPARED = tuple(
    name for name in CANDLE_TABLE.names if name not in {*KEY, *NOT_COMPARABLE, "kernel_version"}
)
"""Columns that live and batch have to agree in."""

_BOOK = {Channel.TOP, Channel.LEVELS}


def _roots(feature: Feature) -> frozenset[str]:
    return frozenset(() if feature.expression is None else feature.expression.meta.root_names())


def _with_derived(names: frozenset[str]) -> frozenset[str]:
    """The columns and every one that is computed from them."""
    found = names
    while True:
        more = {one.name for one in FEATURES.values() if _roots(one) & found} | found
        if more == found:
            return found
        found = frozenset(more)


def _of_inputs(*channels: Channel) -> frozenset[str]:
    return _with_derived(
        frozenset(one.name for one in FEATURES.values() if {*one.inputs} & {*channels})
    )


BY_ARRIVAL = _with_derived(
    frozenset(one.name for one in LATENCY if Channel.TRADES in one.inputs)
    | frozenset(
        one.name
        for one in FEATURES.values()
        if Channel.TICKER in one.inputs or {Channel.TRADES, Channel.TOP} <= {*one.inputs}
    )
    | {"last_arrival"}
) | frozenset(delayed_name(delay) for delay in DELAYS_US)
"""Columns that hang on when rows arrived: delays, trades beside the quotes known then, tickers."""

BY_DAYS_BEFORE = _with_derived(
    frozenset(
        {
            "large_trade_threshold",
            "large_trade_volume_sum",
            "flow_toxicity_vpin_n50",
            "micro_price",
            "micro_price_gap_bps",
            "micro_price_fit_day",
            "ofi_snap_weighted",
            "ofi_snap_fit_day",
            "funding_interval_h",
            "funding_settled",
        }
    )
) | {"has_memory"}
"""Columns that stand on a day's memory (`market/bars/day_memory.py`)."""


def _by_look_back() -> dict[LookBack, frozenset[str]]:
    """A column that follows from others looks as far back as each of them."""
    own: dict[LookBack, set[str]] = {}
    for one in FEATURES.values():
        if one.look_back.is_within_day:
            own.setdefault(one.look_back, set()).add(one.name)
    return {look_back: _with_derived(frozenset(names)) for look_back, names in own.items()}


BY_LOOK_BACK: Mapping[LookBack, frozenset[str]] = MappingProxyType(_by_look_back())
"""Columns that reach back before the bar, by how far: what was lost there shows here."""

CARRIED = frozenset().union(*BY_LOOK_BACK.values())

AFTER_END = _with_derived(
    frozenset(one.name for one in FEATURES.values() if one.delay_us > 0)
) | frozenset(delayed_name(delay) for delay in DELAYS_US)
"""Columns that look past the bar's end, so that what was lost there shows here."""

LOOKS_AHEAD_US = max(DELAYS_US)
"""How far past it the furthest of them looks."""

BY_TRADES = _of_inputs(Channel.TRADES) | {"status"}
BY_QUOTES = _of_inputs(Channel.TOP) | {"quote_source"}
BY_LEVELS = _of_inputs(Channel.LEVELS) | {"book_source"}

OF_CHANNEL: Mapping[Channel, frozenset[str]] = MappingProxyType(
    {
        channel: frozenset(one.name for one in FEATURES.values() if {*one.inputs} == {channel})
        for channel in (
            Channel.TOP,
            Channel.LEVELS,
            Channel.TICKER,
            Channel.LIQUIDATIONS,
            Channel.OPTIONS,
        )
    }
)
"""Columns of one channel alone: all of them null over a day of live means that it was not taken."""

WITH_CHANNEL: Mapping[Channel, frozenset[str]] = MappingProxyType(
    {channel: _of_inputs(channel) for channel in OF_CHANNEL}
)
"""Columns to whose value the channel belongs."""

THINNED_BOOKS = frozenset({VenueId.DERIBIT})
"""Venues whose public live book comes less often than the one the vendor records: every 100 ms."""


def provisional_nulls(timeframe: Timeframe) -> frozenset[str]:
    """Columns that a provisional bar does not have yet, so that nothing is to be compared."""
    if timeframe is BASE_TIMEFRAME:
        return AFTER_END
    recomputed = (one.name for one in FEATURES.values() if one.merge is Merge.RECOMPUTED)
    return AFTER_END | _with_derived(frozenset(recomputed))
