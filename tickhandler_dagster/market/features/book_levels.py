"""The first five levels at the bar's end and what follows from them.

What belongs here: the entries. What does not: what needs all levels shown (`book_depth.py`), the
arithmetic (`market/bars/book_levels.py`).

Everything but the levels themselves is an expression over them: a missing level adds nothing to a
sum, and makes only its own distance and share null.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from operator import add

import polars as pl

from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import over
from tickhandler_dagster.market.features.units import BASE, BPS, FRACTION, PRICE, UTC, count_of
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds

LEVELS = range(1, 6)

_EARLIER = "Of the snapshot closest to the bar's start, not its end."
_EARLIER_SUM = "Of the snapshot closest to the bar's start; undefined if any level was missing."
_NO_STATE = "no state that is at most 60 s old"
_NO_UNITS = "the size of a contract is unknown"
_ONE_LEVEL = "the channel shows fewer than five levels"
_NO_MID = "not b < a"
_TWO_SIDED = "a side is empty"

_entry = partial(
    Feature,
    inputs=(Channel.LEVELS,),
    look_back=over(STATE_AGE_US),
    carry_in="the last state before the bar",
    source="Order book snapshot at the bar's end, as in the earlier system",
    oracle="Slow reference in plain Python, also on recorded snapshots",
    earlier_meaning=_EARLIER,
)
_stored = partial(_entry, merge=Merge.LAST)
_derived = partial(_entry, merge=Merge.DERIVED)

_bid, _ask, _mid = pl.col("bid_price_1"), pl.col("ask_price_1"), pl.col("mid_price")
_is_two_sided = _bid.is_not_null() & _ask.is_not_null()
_has_sizes = pl.col("bid_volume_1").is_not_null() | pl.col("ask_volume_1").is_not_null()
_shows_five = pl.col("book_levels_seen") >= max(LEVELS)
_both_volumes = pl.col("total_bid_volume") + pl.col("total_ask_volume")


def _any_of(*reasons: str) -> str:
    return ", or ".join(filter(None, (", ".join(reasons[:-1]), reasons[-1])))


def _added(terms: Iterator[pl.Expr]) -> pl.Expr:
    """Sum from the best level outwards; a missing level adds nothing."""
    return reduce(add, (term.fill_null(0.0) for term in terms))


def _levels(side: str) -> Iterator[Feature]:
    for level in LEVELS:
        yield _stored(
            name=f"{side}_price_{level}",
            formula=f"Price of {side} level {level} at the bar's end.",
            unit=PRICE,
            bounds=Bounds(gt=0),
            null_rule=_any_of(_NO_STATE, "the book ends before the level"),
        )
    for level in LEVELS:
        yield _stored(
            name=f"{side}_volume_{level}",
            formula=f"Base asset at {side} level {level} at the bar's end.",
            unit=BASE,
            bounds=Bounds(ge=0),
            null_rule=_any_of(_NO_STATE, "the book ends before the level", _NO_UNITS),
            earlier_meaning=f"{_EARLIER} In the venue's unit.",
        )


STATE: tuple[Feature, ...] = (
    *_levels("bid"),
    *_levels("ask"),
    _stored(
        name="book_time",
        formula="Exchange time of the state that stands at the bar's end.",
        unit=UTC,
        dtype=TIMESTAMP,
        null_rule=_NO_STATE,
        earlier_meaning="",
    ),
    _stored(
        name="book_levels_seen",
        formula="Levels per side that the channel shows: 25 or 5 of a snapshot, 1 of quotes.",
        unit=count_of("levels"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=1),
        null_rule=_NO_STATE,
        earlier_meaning="",
    ),
)

TOUCH: tuple[Feature, ...] = (
    _derived(
        name="mid_price",
        formula="(bid_price_1 + ask_price_1)/2 at the bar's end.",
        unit=PRICE,
        bounds=Bounds(gt=0),
        null_rule=_any_of(_NO_STATE, _NO_MID),
        expression=pl.when(_bid < _ask).then((_bid + _ask) / 2),
    ),
    _derived(
        name="spread_abs",
        formula="ask_price_1 - bid_price_1 at the bar's end; negative where the book is crossed.",
        unit=PRICE,
        null_rule=_any_of(_NO_STATE, _TWO_SIDED),
        expression=_ask - _bid,
    ),
    _derived(
        name="spread_bps",
        formula="spread_abs over the mean of both prices, times 10⁴; negative where the book is "
        "crossed.",
        unit=BPS,
        bounds=Bounds(ge=-20_000, le=20_000),
        null_rule=_any_of(_NO_STATE, _TWO_SIDED),
        expression=pl.col("spread_abs") / ((_bid + _ask) / 2) * 1e4,
    ),
    _derived(
        name="bid_ask_ratio",
        formula="bid_price_1 / ask_price_1; above 1 where the book is crossed.",
        unit=FRACTION,
        bounds=Bounds(gt=0),
        null_rule=_any_of(_NO_STATE, _TWO_SIDED),
        expression=pl.when(_is_two_sided).then(_bid / _ask),
    ),
)


def _distances(side: str, bounds: Bounds) -> Iterator[Feature]:
    for level in LEVELS:
        yield _derived(
            name=f"{side}_distance_{level}",
            formula=f"10⁴·({side}_price_{level} - mid_price)/mid_price.",
            unit=BPS,
            # only the best level is on its side of the mid by definition, not by trust in the venue
            bounds=bounds if level == 1 else Bounds(ge=-10_000),
            null_rule=_any_of(_NO_STATE, _NO_MID, "the book ends before the level"),
            expression=(pl.col(f"{side}_price_{level}") - _mid) / _mid * 1e4,
        )


def _shares(side: str) -> Iterator[Feature]:
    total = pl.col(f"total_{side}_volume")
    for level in LEVELS:
        yield _derived(
            name=f"{side}_volume_ratio_{level}",
            formula=f"{side}_volume_{level} / total_{side}_volume.",
            unit=FRACTION,
            bounds=Bounds(ge=0, le=1),
            null_rule=_any_of(
                _NO_STATE, "the book ends before the level", "no volume", _ONE_LEVEL, _NO_UNITS
            ),
            expression=pl.when(total > 0).then(pl.col(f"{side}_volume_{level}") / total),
            earlier_meaning=_EARLIER_SUM,
        )


def _of_side(side: str) -> Iterator[Feature]:
    total = pl.col(f"total_{side}_volume")
    volumes = [pl.col(f"{side}_volume_{level}") for level in LEVELS]
    prices = [pl.col(f"{side}_price_{level}") for level in LEVELS]
    money = _added(price * volume for price, volume in zip(prices, volumes, strict=True))
    yield _derived(
        name=f"total_{side}_volume",
        formula=f"Base asset of the filled {side} levels among the first five; 0 where the side is "
        "empty.",
        unit=BASE,
        bounds=Bounds(ge=0),
        null_rule=_any_of(_NO_STATE, "both sides are empty", _ONE_LEVEL, _NO_UNITS),
        expression=pl.when(_shows_five & _has_sizes).then(_added(iter(volumes))),
        earlier_meaning=_EARLIER_SUM,
    )
    yield _derived(
        name=f"{side}_vwap",
        formula=f"Σ price·volume / Σ volume over the filled {side} levels among the first five.",
        unit=PRICE,
        bounds=Bounds(gt=0),
        null_rule=_any_of(_NO_STATE, "no volume", _ONE_LEVEL, _NO_UNITS),
        expression=pl.when(total > 0).then(money / total),
        earlier_meaning=_EARLIER_SUM,
    )
    yield _derived(
        name=f"{side}_levels_filled",
        formula=f"Number of {side} levels that exist among the first five.",
        unit=count_of("levels"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0, le=5),
        null_rule=_any_of(_NO_STATE, _ONE_LEVEL),
        expression=pl.when(_shows_five).then(
            reduce(add, (price.is_not_null().cast(pl.Int64()) for price in prices))
        ),
    )


RATIOS: tuple[Feature, ...] = (
    *_distances("bid", Bounds(ge=-10_000, le=0)),
    *_distances("ask", Bounds(ge=0)),
    *_of_side("bid"),
    *_of_side("ask"),
    _derived(
        name="volume_imbalance",
        formula="(VB - VA)/(VB + VA) of the two totals over five levels.",
        unit=FRACTION,
        bounds=Bounds(ge=-1, le=1),
        null_rule=_any_of(_NO_STATE, "no volume", _ONE_LEVEL, _NO_UNITS),
        expression=pl.when(_both_volumes > 0).then(
            (pl.col("total_bid_volume") - pl.col("total_ask_volume")) / _both_volumes
        ),
        earlier_meaning=_EARLIER_SUM,
    ),
    *_shares("bid"),
    *_shares("ask"),
    _derived(
        name="vwap_spread",
        formula="ask_vwap - bid_vwap.",
        unit=PRICE,
        null_rule=_any_of(_NO_STATE, "a side without volume", _ONE_LEVEL, _NO_UNITS),
        expression=pl.col("ask_vwap") - pl.col("bid_vwap"),
        earlier_meaning=_EARLIER_SUM,
    ),
    _derived(
        name="book_imbalance",
        formula="(bid_levels_filled - ask_levels_filled)/5: counts of levels, not sizes.",
        unit=FRACTION,
        bounds=Bounds(ge=-1, le=1),
        null_rule=_any_of(_NO_STATE, _ONE_LEVEL),
        expression=(pl.col("bid_levels_filled") - pl.col("ask_levels_filled")) / max(LEVELS),
    ),
)
