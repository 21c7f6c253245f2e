"""What became of the trades of a bar on the way to live and on the way to the vendor's file.

What belongs here: matching live trades with the vendor's, bar by bar. What does not: what follows
for a bar (`parity.py`) and where either side is stored.

A busy instrument's trades of a day do not fit beside each other. Trades that may be the same have
the same name, so that those of some names can be matched without all others, and counts add up.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe

AMENDED_FOR_US = 300 * US_PER_SECOND
"""How long after its end a bar is computed anew because of a row that came late."""

TRADE_COLUMNS = ("timestamp", "local_timestamp", "id", "side", "price", "amount")
"""What is read of a trade on either side."""

EVIDENCE_SCHEMA = pl.Schema(
    {
        "ts_open": TIMESTAMP,
        "lost": pl.Int64(),
        "late": pl.Int64(),
        "revised": pl.Int64(),
        "moved": pl.Int64(),
    }
)
"""Trades of a bar by what became of them; `moved` ones differ in nothing but their arrival."""

_COUNTS = ("lost", "late", "revised", "moved")
_SAME = ("timestamp", "side", "price", "amount")


def trade_name() -> pl.Expr:
    """What the same trade is called on both sides: its id, else what it is."""
    what = ("side", "price", "amount")
    moment = pl.col("timestamp").dt.epoch("us")
    return pl.coalesce("id", pl.concat_str(moment, *what, separator=" "))


def matched_trades(live: pl.DataFrame, vendor: pl.DataFrame) -> pl.DataFrame:
    """The trades of both sides, each once, with what is to be known of it.

    Trades are the same where their id is; where the venue gives none, where time, side, price and
    amount are, counted: three equal trades on one side and two on the other leave one.

    Args:
        live: Trades as the live feed received them, `TRADE_COLUMNS` at least.
        vendor: Trades of the vendor's files, the same columns; on both sides all those of a name
            or none.

    Shape: one row per trade: when it was (`timestamp`), when live received it (`arrived_at`; null
        where it did not), and whether it `is_lost`, `is_revised` or `is_moved`.
    """
    sides = (_keyed(live, "live"), _keyed(vendor, "vendor"))
    both = sides[0].join(sides[1], on="key", how="full", coalesce=True)
    no_live, no_vendor = (pl.col(f"{one}_timestamp").is_null() for one in ("live", "vendor"))
    same = [pl.col(f"live_{name}").eq_missing(pl.col(f"vendor_{name}")) for name in _SAME]
    is_known = ~no_live & ~no_vendor
    arrival = pl.col("live_local_timestamp")
    return both.select(
        timestamp=pl.coalesce("vendor_timestamp", "live_timestamp"),
        arrived_at=arrival,
        is_lost=no_live,
        is_revised=no_vendor | (is_known & ~pl.all_horizontal(same)),
        is_moved=is_known & (arrival != pl.col("vendor_local_timestamp")),
    )


def trade_evidence(
    matched: pl.DataFrame, timeframe: Timeframe, *, amended_for_us: int = AMENDED_FOR_US
) -> pl.DataFrame:
    """Trades per bar that one side alone has, that came too late, or that differ.

    Args:
        matched: From `matched_trades`.
        timeframe: Bars they are counted by.
        amended_for_us: How long after its end a bar was still computed anew.

    Shape: one row per bar with at least one such trade, of `EVIDENCE_SCHEMA`, by `ts_open`.
    """
    end = pl.col("ts_open") + pl.duration(microseconds=timeframe.us + amended_for_us)
    return summed_evidence(
        [
            matched.with_columns(ts_open=pl.col("timestamp").dt.truncate(timeframe.value))
            .group_by("ts_open")
            .agg(
                lost=pl.col("is_lost").sum(),
                late=(pl.col("arrived_at") >= end).sum(),
                revised=pl.col("is_revised").sum(),
                moved=pl.col("is_moved").sum(),
            )
            .cast(EVIDENCE_SCHEMA)
        ]
    )


def summed_evidence(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The evidence of all trades from that of some names each."""
    rows = pl.concat([pl.DataFrame(schema=EVIDENCE_SCHEMA), *parts])
    return (
        rows.group_by("ts_open")
        .agg(pl.col(_COUNTS).sum())
        .filter(pl.any_horizontal(pl.col(_COUNTS) > 0))
        .sort("ts_open")
    )


def _keyed(trades: pl.DataFrame, side: str) -> pl.DataFrame:
    """The trades under a name that is theirs alone, columns marked with the side."""
    return (
        trades.select(*TRADE_COLUMNS, name=trade_name())
        .with_columns(repeat=pl.int_range(pl.len()).over("name"))
        # An id that comes again, as after a reconnect, is the same trade: neither side counts it.
        .filter(pl.col("id").is_null() | (pl.col("repeat") == 0))
        .with_columns(key=pl.concat_str("name", "repeat", separator="#"))
        .select("key", pl.col(TRADE_COLUMNS).name.prefix(f"{side}_"))
    )
