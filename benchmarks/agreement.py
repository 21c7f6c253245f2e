"""Whether contenders computed the same thing: numbers of another computation are no comparison.

What belongs here: comparing results with the first contender's. What does not: measuring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
from contenders import Task
from rounds import Row

TOLERANCE = 1e-9
_COMPARED = ("high", "low", "close", "volume", "size_p99")
_FEATURES = (
    "high",
    "low",
    "close",
    "volume",
    "trade_flow_imbalance",
    "delay_mean",
    "delay_median",
    "delay_max",
    "mid_price",
    "spread_bps",
    "total_bid_volume",
    "volume_imbalance",
    "spread_tw_bps",
    "ofi_snap_1",
    "effective_spread_bps",
    "realized_variance",
    "funding_rate",
    "open_interest",
    "oi_change",
)
_SEED_TOLERANCE = 1e-6
"""Of means that remember their start: ours starts with the halo, TA-Lib's with the first day."""
_LEAST_SHARE = 0.9
"""Of the bars in which both must have a value of a feature, for the comparison to mean anything."""
_P99_TRADES = 100
"""This project gives no 99 % quantile of fewer trades; peers give one of any number."""


def disagreements(rows: Sequence[Row], task: Task) -> list[str]:
    """One sentence per difference from the reference, which is the row given first."""
    compared = [row for row in rows if row.task is task and row.runs and row.runs[-1].result]
    if not compared:
        return []
    differences = _DIFFERENCES[task]
    reference, *others = compared
    return [
        f"{row.label}: {sentence} than {reference.label}"
        for row in others
        for sentence in differences(_table(row), _table(reference))
    ]


def _table(row: Row) -> pl.DataFrame:
    return pl.read_parquet(str(row.runs[-1].result), hive_partitioning=False, glob=False)


def _ingest_differences(own: pl.DataFrame, reference: pl.DataFrame) -> Iterator[str]:
    if own.height != reference.height:
        yield f"other rows ({own.height} against {reference.height})"
    volume, expected = own["amount"].sum(), reference["amount"].sum()
    if abs(volume - expected) > TOLERANCE * expected:
        yield f"another sum of amounts ({volume} against {expected})"


def _candle_differences(own: pl.DataFrame, reference: pl.DataFrame) -> Iterator[str]:
    bars, expected = _traded(own), _traded(reference)
    if not bars["ts_open"].equals(expected["ts_open"]):
        yield f"other 1m bars ({bars.height} against {expected.height})"
        return
    for name in _COMPARED:
        if name in bars.columns:
            worst = _worst(bars, expected, name)
            if worst > TOLERANCE:
                yield f"another {name} in 1m bars (by up to {worst:.3g})"


def _feature_differences(own: pl.DataFrame, reference: pl.DataFrame) -> Iterator[str]:
    bars, expected = _traded(own), _traded(reference)
    if not bars["ts_open"].equals(expected["ts_open"]):
        yield f"other 1m bars ({bars.height} against {expected.height})"
        return
    for name in _FEATURES:
        both = pl.DataFrame({"mine": bars[name], "theirs": expected[name]})
        both = both.with_columns(pl.col("mine").fill_nan(None)).drop_nulls()
        if both.height < _LEAST_SHARE * bars.height:
            yield f"too few {name} in 1m bars to compare ({both.height} of {bars.height})"
            continue
        # relative to the column: what cancels towards 0 is as exact as what it was cancelled from
        far = (both["mine"] - both["theirs"]).abs().max() / both["theirs"].abs().max()
        if far > TOLERANCE:
            yield f"another {name} in 1m bars (by up to {far:.3g})"


def _mft_differences(own: pl.DataFrame, reference: pl.DataFrame) -> Iterator[str]:
    """All columns that both have, over the reference's bars: its last day, long after any start."""
    bars = reference.select("ts_open").join(own, on="ts_open", how="left", maintain_order="left")
    for name in (name for name in own.columns if name != "ts_open"):
        mine, theirs = bars[name], reference[name]
        far = (mine - theirs).abs().max()
        if mine.count() < bars.height or theirs.count() < bars.height or far is None:
            yield f"missing values of {name} ({mine.count()} against {theirs.count()})"
        elif not far <= _SEED_TOLERANCE * theirs.abs().max():
            yield f"another {name} (by up to {far:.3g})"


_DIFFERENCES = {
    Task.INGEST: _ingest_differences,
    Task.CANDLES: _candle_differences,
    Task.FEATURES: _feature_differences,
    Task.MFT: _mft_differences,
}


def _traded(bars: pl.DataFrame) -> pl.DataFrame:
    moments = pl.col("ts_open").cast(pl.Datetime("us", "UTC"))
    return bars.filter(pl.col("volume") > 0).with_columns(moments).sort("ts_open")


def _worst(own: pl.DataFrame, expected: pl.DataFrame, name: str) -> float:
    """Largest relative difference; a missing value on one side alone is infinitely far."""
    count = expected["trade_count"]
    is_due = count >= _P99_TRADES if name == "size_p99" else count > 0
    mine, theirs = own[name].filter(is_due), expected[name].filter(is_due)
    far = ((mine - theirs).abs() / theirs.abs()).fill_null(float("inf")).max()
    return 0.0 if far is None else float(far)
