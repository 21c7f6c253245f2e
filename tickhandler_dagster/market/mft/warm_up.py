"""Why a feature has no value on a day: what the manifest and the page say of a warm-up.

What belongs here: the reasons and how one is told from another. What does not: the rule that makes
a value null (`evaluation.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.halo import DAILY_INPUTS, SLOT_INPUTS


class NullReason(StrEnum):
    """Why all values of a feature are null on a day, the first that holds."""

    PROVISIONAL = "provisional"
    NO_INPUT = "no_input"
    HISTORY = "history"
    GAP = "gap"
    NOT_TRADED = "not_traded"
    UNDEFINED = "undefined"


NULL_REASON_MEANINGS: Mapping[NullReason, str] = MappingProxyType(
    {
        NullReason.PROVISIONAL: "no bar of the day is final",
        NullReason.NO_INPUT: "a column it reads has no value on the day: no such channel, no "
        "reference instrument, no other venue",
        NullReason.HISTORY: "its window begins before the first bar in the lake, or it reads weeks "
        "that are not all there",
        NullReason.GAP: "a bar of its window is missing, provisional or not observed",
        NullReason.NOT_TRADED: "a bar of its window has no trade",
        NullReason.UNDEFINED: "its own rule: nothing to divide by, too few instruments, a flat "
        "series",
    }
)


_FAR_INPUTS = (*SLOT_INPUTS, *DAILY_INPUTS)


@dataclass(frozen=True, slots=True)
class Runs:
    """The longest windows that end on the day, in bars.

    Attributes:
        known: Since the first bar in the lake.
        valid: Without a gap.
        traded: Without a gap and with trades in each.
    """

    known: int
    valid: int
    traded: int


def runs_of(series: pl.DataFrame, day_start: pl.Expr) -> Runs:
    """The runs of a series on the rows from `day_start` on."""
    found = (
        series.select(
            "ts_open",
            "valid_run",
            "traded_run",
            known=pl.col("status").is_not_null().cum_max().cast(pl.Int64).cum_sum(),
        )
        .filter(pl.col("ts_open") >= day_start)
        .select(pl.col("known", "valid_run", "traded_run").max().fill_null(0))
    )
    known, valid, traded = found.row(0)
    return Runs(known, valid, traded)


def null_reasons(
    features: Sequence[MftFeature], runs: Runs, *, empty: Collection[str]
) -> dict[str, NullReason]:
    """The reason of each feature that has no value on the day.

    A feature of other features (a rank of a return) has the reason of the one it lacks.

    Args:
        features: Entries without a value.
        runs: Of their series.
        empty: Columns the features may read that have no value on the day.
    """
    found: dict[str, NullReason] = {}
    for feature in features:
        inherited = [found[name] for name in feature.inputs if name in found]
        found[feature.name] = inherited[0] if inherited else _reason(feature, runs, empty)
    return found


def _reason(feature: MftFeature, runs: Runs, empty: Collection[str]) -> NullReason:
    lacking = [name for name in feature.inputs if name in empty]
    is_far = all(name in _FAR_INPUTS for name in lacking)
    reasons = (
        (NullReason.PROVISIONAL, runs.valid == 0),
        (NullReason.NO_INPUT, bool(lacking) and not is_far),
        (NullReason.HISTORY, bool(lacking) or runs.known <= feature.look_back),
        (NullReason.GAP, runs.valid <= feature.look_back),
        (NullReason.NOT_TRADED, feature.needs_trades and runs.traded <= feature.look_back),
    )
    return next((reason for reason, holds in reasons if holds), NullReason.UNDEFINED)
