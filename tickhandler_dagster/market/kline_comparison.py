"""Our bars of one minute against the venue's own klines of the same minutes.

What belongs here: which minutes differ, in what, and what explains it; and what that says as
findings. A kline is a second witness and not the truth: venues publish files that contradict their
own API, so that a difference is explained where it can be and never repaired from here.

Prices are equal or they differ: both sides read the same decimal text into the same double. A sum
of n doubles is off by n half units in the last place at most, 1e-16 each and far below one part in
a billion for any minute; a real difference of one lot is far above it. Where the venue rounds every
trade's product or quotient to eight decimals, one such unit per trade is allowed on top.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.kline_differences_table import (
    BAR_COLUMN,
    KLINE_DIFFERENCES_TABLE,
    DifferenceCause,
    kline_column,
)
from tickhandler_dagster.market.klines import (
    COUNT,
    FIELDS,
    KLINE_SCHEMA,
    MINUTE,
    PRICES,
    VOLUMES,
    KlineInstrument,
)
from tickhandler_dagster.market.quality.findings import SAMPLE_SIZE, Finding
from tickhandler_dagster.market.quality.rules import RuleName

SOURCE = "klines"
"""Name of the findings file and of their source."""

RELATIVE_TOLERANCE = 1e-9
ROUNDING_PER_TRADE = 1e-8

_BAR_FACTS = ("status", "is_final", "gap_ms")
BAR_COLUMNS = ("ts_open", *_BAR_FACTS, *BAR_COLUMN.values())
"""What is read of a bar."""

_HAS, _KLINE_HAS = "has_trades", "kline_has_trades"


@dataclass(frozen=True, slots=True)
class KlineComparison:
    """An instrument's day against its klines.

    Attributes:
        instrument_key: Canonical key.
        minutes: Minutes compared: those with a bar, and those in which the kline has trades.
        differences: Rows of `KLINE_DIFFERENCES_TABLE`.
    """

    instrument_key: str
    minutes: int
    differences: pl.DataFrame

    @property
    def by_cause(self) -> Mapping[DifferenceCause, int]:
        """Differing minutes of every cause."""
        found = self.differences["cause"].to_list()
        return {cause: found.count(cause.value) for cause in DifferenceCause}


def conformance_rate(minutes: int, differing: int) -> float | None:
    """The share of minutes without a difference; None where nothing was compared.

    Example:
        >>> conformance_rate(1_440, 36), conformance_rate(0, 0)
        (0.975, None)
    """
    return (minutes - differing) / minutes if minutes else None


def compare_klines(
    bars: pl.DataFrame,
    klines: pl.DataFrame,
    instrument: KlineInstrument,
    cell: VenueDay,
    *,
    gaps: Iterable[tuple[dt.datetime, dt.datetime]] = (),
) -> KlineComparison:
    """Compare minute by minute.

    Args:
        bars: The instrument's bars of one minute, `BAR_COLUMNS` at least.
        klines: Its klines of the day, of `KLINE_SCHEMA`.
        instrument: Which instrument.
        cell: Day and venue.
        gaps: Known holes in its trades, `[start, end)`, beside those in `gap_ms`.

    Nulls: a field that one side does not give is not compared; a minute without trades on both
    sides agrees, whatever price the kline repeats.
    """
    minutes = _joined(bars, klines).with_columns(
        _differing(instrument).alias("fields"),
        pl.col("ts_open").is_in(list(_touched(gaps))).alias("is_in_gap"),
    )
    found = minutes.with_columns(_crosses_edge(instrument).alias("crosses_edge"))
    differences = (
        found.filter(_DIFFERS)
        .with_columns(
            _cause().alias("cause"),
            pl.lit(cell.date).alias("date"),
            pl.lit(cell.venue.value).alias("venue"),
            pl.lit(instrument.instrument_key).alias("instrument_key"),
        )
        .select(KLINE_DIFFERENCES_TABLE.names)
        .cast(KLINE_DIFFERENCES_TABLE.polars_schema)
    )
    compared = minutes.filter(pl.col("status").is_not_null() | pl.col(_KLINE_HAS)).height
    return KlineComparison(instrument.instrument_key, compared, differences)


def _joined(bars: pl.DataFrame, klines: pl.DataFrame) -> pl.DataFrame:
    """Every minute that one side has, with prices only where somebody traded."""
    ours = bars.select("ts_open", *_BAR_FACTS, **{name: BAR_COLUMN[name] for name in FIELDS})
    theirs = klines.select("ts_open", **{kline_column(name): name for name in FIELDS})
    has = pl.col(COUNT).fill_null(0) > 0
    kline_has = pl.coalesce(
        pl.col(kline_column(name)) > 0 for name in (COUNT, "amount", "volume")
    ).fill_null(value=False)
    joined = ours.join(theirs, on="ts_open", how="full", coalesce=True).sort("ts_open")
    return joined.with_columns(has.alias(_HAS), kline_has.alias(_KLINE_HAS)).with_columns(
        pl.when(_KLINE_HAS).then(kline_column(name)).alias(kline_column(name)) for name in PRICES
    )


_DIFFERS = pl.col("fields").list.len() > 0


def _differing(instrument: KlineInstrument) -> pl.Expr:
    """Names of the fields that differ, in their order; all where one side alone has trades."""
    both = pl.col(_HAS) & pl.col(_KLINE_HAS)
    one = pl.col(_HAS) != pl.col(_KLINE_HAS)
    named = [
        pl.when(one | (both & ~_agrees(name, _own(name), _kline(name), _count(), instrument))).then(
            pl.lit(name)
        )
        for name in FIELDS
    ]
    return pl.concat_list(named).list.drop_nulls()


def _own(name: str) -> pl.Expr:
    return pl.col(name)


def _kline(name: str) -> pl.Expr:
    return pl.col(kline_column(name))


def _count() -> pl.Expr:
    return pl.max_horizontal(_own(COUNT), _kline(COUNT)).fill_null(0)


def _agrees(
    name: str, own: pl.Expr, kline: pl.Expr, trades: pl.Expr, instrument: KlineInstrument
) -> pl.Expr:
    """Equal within what arithmetic explains; a value that one side lacks is not compared."""
    if name in VOLUMES:
        is_rounded = name == "quote_volume" or (name != "amount" and instrument.is_inverse)
        allowed = RELATIVE_TOLERANCE * pl.max_horizontal(own.abs(), kline.abs())
        if is_rounded:
            allowed = allowed + ROUNDING_PER_TRADE * trades
        equal = (own - kline).abs() <= allowed
    else:
        equal = own == kline
    return equal.fill_null(value=True)


def _touched(gaps: Iterable[tuple[dt.datetime, dt.datetime]]) -> set[dt.datetime]:
    """First moments of the minutes that a gap touches; an empty one touches the one it is in."""
    found = set()
    for start, end in gaps:
        minute = start.replace(second=0, microsecond=0)
        found.add(minute)
        while (minute := minute + MINUTE) < end:
            found.add(minute)
    return found


def _crosses_edge(instrument: KlineInstrument) -> pl.Expr:
    """The minute differs, and so does a neighbour, and both together agree in every field."""
    ahead = _pair_agrees(instrument)
    return ahead | ahead.shift(1, fill_value=False)


def _pair_agrees(instrument: KlineInstrument) -> pl.Expr:
    """Of the minute and the one after it."""
    is_next = pl.col("ts_open").shift(-1) == pl.col("ts_open") + MINUTE
    both_differ = _DIFFERS & _DIFFERS.shift(-1, fill_value=False)
    trades = _count() + _count().shift(-1, fill_value=0)
    fields = [
        _agrees(name, _together(name, own), _together(name, kline), trades, instrument)
        for name in FIELDS
        for own, kline in ((_own(name), _kline(name)),)
    ]
    return (is_next.fill_null(value=False) & both_differ & reduce(and_, fields)).fill_null(
        value=False
    )


def _together(name: str, value: pl.Expr) -> pl.Expr:
    after = value.shift(-1)
    if name == "open":
        return pl.coalesce(value, after)
    if name == "close":
        return pl.coalesce(after, value)
    if name == "high":
        return pl.max_horizontal(value, after)
    if name == "low":
        return pl.min_horizontal(value, after)
    return pl.when(value.is_not_null() | after.is_not_null()).then(pl.sum_horizontal(value, after))


def _cause() -> pl.Expr:
    """What we know of our own bar comes first; then the neighbour; then who has nothing."""
    never_taken = (pl.col("status") == BarStatus.NOT_INGESTED).fill_null(value=True)
    is_lost = (pl.col("gap_ms").fill_null(0) > 0) | pl.col("is_in_gap")
    only_kline, only_own = pl.col(_KLINE_HAS) & ~pl.col(_HAS), pl.col(_HAS) & ~pl.col(_KLINE_HAS)
    return (
        pl.when(never_taken)
        .then(pl.lit(DifferenceCause.MISSING_HERE.value))
        .when(is_lost)
        .then(pl.lit(DifferenceCause.LOST.value))
        .when(~pl.col("is_final"))
        .then(pl.lit(DifferenceCause.LATE.value))
        .when("crosses_edge")
        .then(pl.lit(DifferenceCause.BOUNDARY.value))
        .when(only_kline)
        .then(pl.lit(DifferenceCause.MISSING_HERE.value))
        .when(only_own)
        .then(pl.lit(DifferenceCause.MISSING_THERE.value))
        .otherwise(pl.lit(DifferenceCause.REVISED.value))
    )


def kline_findings(comparison: KlineComparison, cell: VenueDay) -> list[Finding]:
    """The broken rules of an instrument; without what a file that is still to come explains.

    A `late` minute is in the table and lowers the rate, but it is no finding: the bar itself says
    that it is provisional, and the day after heals it.
    """
    settled = comparison.differences.filter(pl.col("cause") != DifferenceCause.LATE.value)
    has = pl.col(COUNT).fill_null(0) > 0
    is_missing = has != pl.col(kline_column("close")).is_not_null()

    def names_one_of(names: Iterable[str]) -> pl.Expr:
        return ~is_missing & pl.col("fields").list.set_intersection(list(names)).list.len().gt(0)

    by_rule = {
        RuleName.KLINE_MISSING: is_missing,
        RuleName.KLINE_PRICE_DIFFERS: names_one_of(PRICES),
        RuleName.KLINE_VOLUME_DIFFERS: names_one_of((*VOLUMES, COUNT)),
    }
    return [
        Finding(
            date=cell.date,
            venue=cell.venue,
            source=SOURCE,
            instrument_key=comparison.instrument_key,
            rule=rule,
            rows=rows.height,
            of_rows=comparison.minutes,
            first_at=rows["ts_open"].min(),  # type: ignore[arg-type]
            last_at=rows["ts_open"].max(),  # type: ignore[arg-type]
            sample="; ".join(_told(rows.head(SAMPLE_SIZE))),
        )
        for rule, breaks in by_rule.items()
        if (rows := settled.filter(breaks)).height
    ]


def _told(rows: pl.DataFrame) -> Iterator[str]:
    for row in rows.iter_rows(named=True):
        pairs = ", ".join(
            f"{name} {row[name]} against {row[kline_column(name)]}" for name in row["fields"]
        )
        yield f"{row['ts_open']:%H:%M} {row['cause']}: {pairs}"


def no_klines() -> pl.DataFrame:
    """Klines of a day without any."""
    return pl.DataFrame(schema=KLINE_SCHEMA)
