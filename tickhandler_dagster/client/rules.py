"""What a reader of bars may ask to be done about gaps, missing trades, revisions and the future.

What belongs here: the choices, their columns and their expressions. What does not: reading
(`bars.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import polars as pl

from tickhandler_dagster.client.joining import delayed_columns
from tickhandler_dagster.client.sources import BarSource
from tickhandler_dagster.client.spans import moment_of
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.errors import CorruptData, InvalidInput, NotAvailable
from tickhandler_dagster.market.nearest import did_you_mean

_SHOWN = 3


class OnGap(StrEnum):
    """What becomes of bars in which data is missing."""

    RAISE = "raise"
    MASK = "mask"
    KEEP = "keep"


class Fill(StrEnum):
    """What becomes of bars in which nobody traded."""

    NULL = "null"
    FFILL = "ffill"
    DROP = "drop"


_Choice = TypeVar("_Choice", bound=StrEnum)


def parsed_choice(kind: type[_Choice], text: str, name: str) -> _Choice:
    """The choice of that name.

    Raises:
        InvalidInput: there is none.

    Example:
        >>> parsed_choice(OnGap, "mask", "on_gap")
        <OnGap.MASK: 'mask'>
    """
    known = [member.value for member in kind]
    if text not in known:
        raise InvalidInput(
            f"{name}='{text}'",
            "no such choice",
            expected=f"one of {', '.join(known)}",
            remedy=did_you_mean(text, known, otherwise="Use one of these"),
        )
    return kind(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRules:
    """The rules of one question.

    Attributes:
        on_gap: What becomes of bars in which data is missing.
        fill: What becomes of bars in which nobody traded.
        include_provisional: Bars that a file still to come can change are given too.
        as_of_us: Only what was known then, in microseconds since the epoch; None for all.
        on_revised: With `as_of_us`, what becomes of bars whose values then are no longer known.
        is_provisional_masked: Bars that a file still to come can change stay, without values: a
            join would take an older bar for the latest where they were left out.
    """

    on_gap: OnGap = OnGap.RAISE
    fill: Fill = Fill.NULL
    include_provisional: bool = False
    as_of_us: int | None = None
    on_revised: OnGap = OnGap.RAISE
    is_provisional_masked: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Of final bars all are given, with the values they have."""
        return self.as_of_us is None and self.fill is Fill.NULL and self.on_gap is not OnGap.MASK


_REWRITTEN = "_rewritten"
_REVISED = "_revised"


def rule_columns(source: BarSource, names: Sequence[str], rules: BarRules) -> list[str]:
    """The columns that rules need beside those that are asked for."""
    needed = ["instrument_key", "ts_open", "ts_close", "available_at", "status", "is_final"]
    if source.has_gap_time:
        needed.append("gap_ms")
    if rules.as_of_us is not None:
        needed += [source.version, *delayed_columns(names)]
    return needed


def touches_gap(source: BarSource) -> pl.Expr:
    """Data of the bar is missing: trades not in the lake, or a hole in them."""
    is_hole = pl.col("status").is_in([BarStatus.VENDOR_GAP.value, BarStatus.NOT_INGESTED.value])
    return is_hole | (pl.col("gap_ms") > 0) if source.has_gap_time else is_hole


def marked(
    rows: pl.LazyFrame, source: BarSource, rules: BarRules, rewritten: pl.LazyFrame | None
) -> pl.LazyFrame:
    """The rows that could be in the answer, with a mark on those whose values may be others now.

    Args:
        rows: Of the span.
        source: What they are.
        rules: What is asked.
        rewritten: `instrument_key` and `day` of files that were written after `as_of_us`.
    """
    if rules.as_of_us is None or rewritten is None:
        return rows.with_columns(pl.lit(value=False).alias(_REVISED))
    return (
        rows.filter(pl.col("ts_close") <= moment_of(rules.as_of_us))
        .with_columns(pl.col("ts_open").dt.date().alias("_day"))
        .join(
            rewritten.with_columns(pl.lit(value=True).alias(_REWRITTEN)),
            left_on=["instrument_key", "_day"],
            right_on=["instrument_key", "day"],
            how="left",
            maintain_order="left",
        )
        .with_columns(
            (pl.col(_REWRITTEN).fill_null(value=False) & (pl.col(source.version) > 1)).alias(
                _REVISED
            )
        )
        .drop("_day", _REWRITTEN)
    )


def require_allowed(rows: pl.DataFrame, source: BarSource, rules: BarRules) -> None:
    """Nothing in the marked rows is refused by the rules.

    Raises:
        NotAvailable: a value of then is no longer in the lake, or not in it yet.
        CorruptData: data is missing in a bar.
    """
    if rules.as_of_us is not None:
        _require_known(rows, source, rules, rules.as_of_us)
    if rules.on_gap is not OnGap.RAISE:
        return
    in_gaps = rows.lazy().filter(_given(rules), touches_gap(source)).collect()
    if in_gaps.height:
        raise CorruptData(
            source.asset,
            f"{in_gaps.height} bars have holes in their data: {_places(in_gaps)}",
            remedy="Ask with on_gap='mask' (their values become null), on_gap='keep', or for "
            "another span; completeness() says why",
        )


def _require_known(rows: pl.DataFrame, source: BarSource, rules: BarRules, as_of_us: int) -> None:
    then = moment_of(as_of_us).isoformat()
    revised = rows.filter(pl.col(_REVISED))
    if revised.height and rules.on_revised is OnGap.RAISE:
        raise NotAvailable(
            source.asset,
            f"{revised.height} bars have changed since they were first published and were written "
            f"again after {then}, so that their values of then may be lost: {_places(revised)}",
            remedy="Ask with on_revised='mask' (their values become null), or on_revised='keep' "
            "for what the lake has today",
        )
    if rules.include_provisional:
        return
    open_bars = rows.filter(~pl.col("is_final"))
    if open_bars.height:
        raise NotAvailable(
            source.asset,
            f"{open_bars.height} bars are not final, and a file still to come can change them: "
            f"{_places(open_bars)}",
            remedy="Make the days beside them and ask again, end the span before, or ask with "
            "include_provisional=True",
        )


def shaped(
    rows: pl.LazyFrame, source: BarSource, names: Sequence[str], rules: BarRules
) -> pl.LazyFrame:
    """The answer's rows and columns from the marked rows."""
    values = [name for name in names if name not in source.identity]
    shaped_rows = rows.filter(_given(rules))
    if rules.as_of_us is not None:
        shaped_rows = shaped_rows.with_columns(_known_by(names, rules.as_of_us))
    is_masked = _masked(source, rules)
    if is_masked is not None:
        shaped_rows = shaped_rows.with_columns(
            pl.when(~is_masked).then(pl.col(name)).alias(name) for name in values
        )
    return _filled(shaped_rows, source, values, rules).select(names)


def _given(rules: BarRules) -> pl.Expr:
    is_every = rules.include_provisional or rules.is_provisional_masked
    given = pl.lit(value=True) if is_every else pl.col("is_final")
    if rules.as_of_us is None:
        return given
    return given & (pl.col("available_at") <= moment_of(rules.as_of_us))


def _known_by(names: Sequence[str], as_of_us: int) -> Iterable[pl.Expr]:
    for moment, delayed in delayed_columns(names).items():
        for name in delayed:
            yield pl.when(pl.col(moment) <= moment_of(as_of_us)).then(pl.col(name)).alias(name)


def _masked(source: BarSource, rules: BarRules) -> pl.Expr | None:
    masks = []
    if rules.on_gap is OnGap.MASK:
        masks.append(touches_gap(source))
    if rules.as_of_us is not None and rules.on_revised is OnGap.MASK:
        masks.append(pl.col(_REVISED))
    if rules.is_provisional_masked and not rules.include_provisional:
        masks.append(~pl.col("is_final"))
    return pl.any_horizontal(masks) if masks else None


def _filled(
    rows: pl.LazyFrame, source: BarSource, values: Sequence[str], rules: BarRules
) -> pl.LazyFrame:
    if rules.fill is Fill.DROP:
        return rows.filter(pl.col("status") != BarStatus.NO_TRADE.value)
    prices = [name for name in ("open", "high", "low", "close") if name in values]
    if rules.fill is Fill.NULL or not prices:
        return rows
    # the close before a hole is not carried over it: what happened inside is not known
    part = ["instrument_key", touches_gap(source).cum_sum().over("instrument_key")]
    is_empty = pl.col("status") == BarStatus.NO_TRADE.value
    last = pl.col("close").forward_fill().over(part)
    return rows.with_columns(
        pl.when(is_empty & pl.col(name).is_null()).then(last).otherwise(pl.col(name)).alias(name)
        for name in prices
    )


def _places(rows: pl.DataFrame) -> str:
    """Where the first few of them are, and the last."""
    shown = rows.sort("ts_open", "instrument_key").select("instrument_key", "ts_open", "status")
    texts = [
        f"{key} {moment:%Y-%m-%dT%H:%M:%SZ} ({status})"
        for key, moment, status in shown.head(_SHOWN).iter_rows()
    ]
    last = shown["ts_open"][-1]
    more = f" and {shown.height - _SHOWN} more until {last:%Y-%m-%dT%H:%M:%SZ}"
    return ", ".join(texts) + (more if shown.height > _SHOWN else "")
