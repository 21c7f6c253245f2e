"""hftbacktest arrays: trades and the book of an instrument, one `.npz` for each day.

What belongs here: the order of events and the file. What does not: from rows to events
(`hftbacktest_events.py`).

Checked with hftbacktest 2.4.4. Days are cut by arrival, and each begins with the whole book as its
first row shows it, so that a backtest can start on any of them. A day is in memory as a whole: so
it is in hftbacktest.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.client.exports.hftbacktest_events import (
    EVENT_DTYPE,
    EXCHANGE_EVENT,
    LOCAL_EVENT,
    BookEvents,
    trade_events,
)
from tickhandler_dagster.client.exports.placing import file_name, replaced
from tickhandler_dagster.client.market_data import MarketData
from tickhandler_dagster.client.spans import Moment, by_day, moment_of, parts_of, utc_span
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.errors import InvalidInput

BOOKS = (DataType.INCREMENTAL_BOOK_L2, DataType.BOOK_SNAPSHOT_25, DataType.BOOK_SNAPSHOT_5)
"""Data types that a book can be made of."""

PART = dt.timedelta(hours=1)
"""How much is read at a time: a day of 25 levels does not fit beside its events."""

_MICROSECOND = dt.timedelta(microseconds=1)


def export_hftbacktest(
    data: MarketData,
    instrument: str,
    start: Moment,
    end: Moment,
    *,
    folder: Path,
    book: str = "book_snapshot_25",
    shift_local: dt.timedelta = dt.timedelta(),
    **options: Any,  # noqa: ANN401  (those of `MarketData.ticks`)
) -> list[Path]:
    """Write what arrived in `[start, end)` as hftbacktest's events; the files, by day.

    A day on which nothing arrived has no file.

    Args:
        data: The lake.
        instrument: A canonical key.
        start: First moment, of arrival.
        end: First moment after.
        folder: Where the files go; files of the same span are replaced.
        book: `incremental_book_L2`, or `book_snapshot_25` or `_5`, whose changes from row to row
            become changes of levels: what leaves the levels on show is taken out of the book.
        shift_local: Added to every time of arrival. Where the two clocks disagree, events arrive
            before they happen, which hftbacktest cannot play.
        options: Those of `MarketData.ticks`: `on_gap`, `as_of`, `on_revised`.

    Raises:
        InvalidInput: events arrive before they happen; the text says by how much.
    """
    kind = parse_data_type(book)
    if kind not in BOOKS:
        raise InvalidInput(
            f"book '{kind}'",
            "no book",
            expected=f"one of {', '.join(BOOKS)}",
            remedy="Use one of these",
        )
    shift_us = shift_local // _MICROSECOND
    files = []
    for span in by_day(utc_span(start, end)):
        events = hftbacktest_day(data, instrument, span, kind, options)
        if not len(events):
            continue
        events["local_ts"] += shift_us * 1000
        _require_causal(instrument, events)
        files.append(_write(folder, instrument, span, in_both_orders(events)))
    return files


def hftbacktest_day(
    data: MarketData, instrument: str, span: Span, book: DataType, options: dict[str, Any]
) -> npt.NDArray[np.void]:
    """The events of a part of a day, trades before the book, each in the order of arrival."""
    trades: list[pl.DataFrame] = []
    changes: list[pl.DataFrame] = []
    takers = (
        (DataType.TRADES, trade_events, trades),
        (book, BookEvents(book).taken, changes),
    )
    for part in parts_of(span, PART):
        for name, take, found in takers:
            rows = data.ticks(
                instrument,
                moment_of(part.start),
                moment_of(part.end),
                data_type=name.value,
                clock="local",
                **options,
            )
            found.append(take(rows.collect()))
    frame = pl.concat([*trades, *changes])
    events = np.zeros(frame.height, EVENT_DTYPE)
    for column in frame.iter_columns():
        events[column.name] = column.to_numpy()
    return events


def in_both_orders(events: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The events in an order that is that of the exchange and that of arrival.

    Where the two orders agree an event stands once, for both; where they do not it stands twice,
    for one each. Of events at the same moment the order is kept.

    Args:
        events: Trades before what they did to the book.
    """
    ordered = events[np.argsort(events["exch_ts"], kind="stable")]
    arrival = ordered["local_ts"]
    latest_before = np.maximum.accumulate(arrival)
    earliest_after = np.minimum.accumulate(arrival[::-1])[::-1]
    is_whole = (arrival >= latest_before) & (arrival <= earliest_after)
    block = np.cumsum(is_whole)
    at_exchange, on_arrival = ordered.copy(), ordered[~is_whole]
    at_exchange["ev"] |= np.uint64(EXCHANGE_EVENT)
    at_exchange["ev"][is_whole] |= np.uint64(LOCAL_EVENT)
    on_arrival["ev"] |= np.uint64(LOCAL_EVENT)
    by_arrival = np.argsort(on_arrival["local_ts"], kind="stable")
    # blocks lie between events whose place is the same in both orders: within one, first all for
    # the exchange, then all for whom they arrive at
    blocks = np.concatenate([block, block[~is_whole][by_arrival]])
    kinds = np.concatenate([np.where(is_whole, 0, 1), np.full(len(on_arrival), 2)])
    both = np.concatenate([at_exchange, on_arrival[by_arrival]])
    return both[np.lexsort((kinds, blocks))]


def _require_causal(instrument: str, events: npt.NDArray[np.void]) -> None:
    early_ns = events["exch_ts"] - events["local_ts"]
    count = int((early_ns > 0).sum())
    if count:
        most_us = -(-int(early_ns.max()) // 1000)
        raise InvalidInput(
            instrument,
            f"{count:,} of {len(events):,} events arrive before they happen, by up to {most_us} us",
            remedy="The exchange's clock is ahead of the recorder's: add at least so much to the "
            f"times of arrival, as in shift_local=timedelta(microseconds={most_us})",
        )


def _write(folder: Path, instrument: str, span: Span, events: npt.NDArray[np.void]) -> Path:
    first, after = (f"{moment_of(us):%Y%m%dT%H%M%S}" for us in (span.start, span.end))
    file = folder / f"{file_name(instrument)}_{first}_{after}.npz"
    with replaced(file) as made, made.open("wb") as target:
        np.savez_compressed(target, data=events)
    return file
