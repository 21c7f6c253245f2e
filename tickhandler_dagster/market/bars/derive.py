"""Statistics become ratios, by the same expressions for every timeframe.

What belongs here: columns that follow from other columns of the same bar. Undefined is null, and so
is anything below its smallest number of samples; a zero is a measured zero.
"""

from __future__ import annotations

import polars as pl

_MEAN_GAPS = 2
_BURSTINESS_GAPS = 10
_SPREAD_TRADES = 2

_count = pl.col("trade_count")
_volume = pl.col("volume")
_gaps = pl.col("interarrival_count")


def _where(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    """The value where the condition holds, null elsewhere."""
    return pl.when(condition).then(value)


def _prices() -> dict[str, pl.Expr]:
    vwap = _where(_volume > 0, pl.col("notional") / _volume)
    return {"price_vwap": vwap, "vwap_close_gap": (pl.col("close") / vwap).log()}


def _sides() -> dict[str, pl.Expr]:
    buy, sell = pl.col("buy_volume_sum"), pl.col("sell_volume_sum")
    unknown = pl.col("unknown_volume_sum")
    return {
        # over the sum of the three and not over the volume: rounding cannot lift it above 1
        "unknown_side_share": _where(_volume > 0, unknown / (buy + sell + unknown)),
        "trade_flow_imbalance": _where(buy + sell > 0, (buy - sell) / (buy + sell)),
    }


def _sizes() -> dict[str, pl.Expr]:
    return {
        "sweep_size_avg": _where(pl.col("sweep_count") > 0, _volume / pl.col("sweep_count")),
        "size_avg": _where(_count > 0, _volume / _count),
        "size_std": _where(_count >= _SPREAD_TRADES, (pl.col("size_m2") / _count).sqrt()),
        # Σ(q/V)² without its own sum: Σq² = m2 + V²/n
        "size_hhi": _where(_volume > 0, pl.col("size_m2") / _volume.pow(2) + 1 / _count),
    }


def _arrivals() -> dict[str, pl.Expr]:
    mean = pl.col("interarrival_sum_us") / 1_000 / _gaps
    deviation = (pl.col("interarrival_m2_ms2") / _gaps).sqrt()
    is_spread = (_gaps >= _MEAN_GAPS) & (pl.col("interarrival_sum_us") > 0)
    return {
        "trade_intensity_per_s": _where(
            pl.col("covered_us") > 0, _count / (pl.col("covered_us") / 1e6)
        ),
        "interarrival_mean_ms": _where(_gaps >= _MEAN_GAPS, mean),
        "interarrival_cv": _where(is_spread, deviation / mean),
        "burstiness": _where(
            is_spread & (_gaps >= _BURSTINESS_GAPS), (deviation - mean) / (deviation + mean)
        ),
        "time_since_last_trade_ms": (
            pl.col("ts_close") - pl.col("last_trade")
        ).dt.total_microseconds()
        / 1_000,
    }


def with_ratios(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars with every column that follows from the others.

    Args:
        bars: Statistics (`BarStatistics.frame`) on the grid, with `ts_close`, `covered_us`
            (observed time) and `last_trade` (exchange time of the last trade at or before the bar's
            end).

    Nulls: no volume, too few samples, no known trade, nothing observed.
    """
    return bars.with_columns(**_prices(), **_sides(), **_sizes(), **_arrivals())
