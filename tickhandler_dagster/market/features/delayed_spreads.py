"""Realised spread and price impact: what a trade's spread was worth some seconds later.

What belongs here: the entries, one family per horizon, because each horizon is known at its own
time. What does not: what is known at the close (`spreads.py`) and the arithmetic (`market/bars`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import polars as pl

from tickhandler_dagster.market.bars.arrival_join import JOIN_AGE_US
from tickhandler_dagster.market.bars.trade_impact import HORIZONS_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import over
from tickhandler_dagster.market.features.spreads import BPS_TIMES_QUOTE
from tickhandler_dagster.market.features.units import BPS, QUOTE
from tickhandler_dagster.market.tables import Bounds

_NO_UNITS = "the size of a contract is unknown"
_NONE_MATCHED = "no sided trade has a mid at both moments"


_Entry: TypeAlias = Callable[..., Feature]


def _horizon(tag: str) -> tuple[Feature, ...]:
    """The entries of a horizon h; `m⁺` is the mid h after the trade."""
    entry = partial(
        Feature,
        inputs=(Channel.TRADES, Channel.TOP),
        look_back=over(JOIN_AGE_US, "of states by arrival"),
        carry_in="the state before the first trade",
        delay_us=HORIZONS_US[tag],
        source="Huang and Stoll, Journal of Financial Economics 41 (1996)",
        oracle="effective spread = realised spread + price impact on the same trades",
    )
    return (*_sums(entry, tag), *_means(entry, tag))


def _sums(entry: _Entry, tag: str) -> tuple[Feature, ...]:
    total = partial(entry, merge=Merge.SUM, null_rule=_NO_UNITS, unit=BPS_TIMES_QUOTE, mirror="-")
    return (
        entry(
            name=f"matched_notional_{tag}",
            formula="Quote asset of the sided trades with a mid m⁻ and a mid m⁺: the last that "
            f"arrived up to {tag} after the trade, at most 5 s before that moment.",
            merge=Merge.SUM,
            null_rule=_NO_UNITS,
            unit=QUOTE,
            bounds=Bounds(ge=0),
        ),
        total(
            name=f"matched_effective_spread_sum_{tag}",
            formula=f"Σ N·2s(p - m⁻)/m⁻·1e4 over the trades of matched_notional_{tag}.",
        ),
        total(
            name=f"realized_spread_sum_{tag}",
            formula=f"Σ N·2s(p - m⁺)/m⁻·1e4 over the trades of matched_notional_{tag}.",
        ),
        total(
            name=f"price_impact_sum_{tag}",
            formula=f"Σ N·2s(m⁺ - m⁻)/m⁻·1e4 over the trades of matched_notional_{tag}.",
        ),
    )


def _means(entry: _Entry, tag: str) -> tuple[Feature, ...]:
    mean = partial(
        entry,
        merge=Merge.DERIVED,
        null_rule=_NONE_MATCHED,
        unit=BPS,
        minimum="1 sided trade with both mids",
        mirror="-",
    )
    notional = pl.col(f"matched_notional_{tag}")
    return (
        mean(
            name=f"effective_spread_{tag}_bps",
            formula="Effective spread of the trades with both mids, weighted by money: "
            f"realized_spread_{tag}_bps + price_impact_{tag}_bps.",
            expression=pl.col(f"matched_effective_spread_sum_{tag}") / notional,
        ),
        mean(
            name=f"realized_spread_{tag}_bps",
            formula=f"2s(p - m⁺)/m⁻·1e4 with m⁺ the mid {tag} after the trade, weighted by money: "
            "what the maker keeps of the spread.",
            expression=pl.col(f"realized_spread_sum_{tag}") / notional,
        ),
        mean(
            name=f"price_impact_{tag}_bps",
            formula=f"2s(m⁺ - m⁻)/m⁻·1e4 with m⁺ the mid {tag} after the trade, weighted by money: "
            "what the maker loses to the price.",
            expression=pl.col(f"price_impact_sum_{tag}") / notional,
        ),
    )


DELAYED_1S: tuple[Feature, ...] = _horizon("1s")
DELAYED_5S: tuple[Feature, ...] = _horizon("5s")
DELAYED_30S: tuple[Feature, ...] = _horizon("30s")
