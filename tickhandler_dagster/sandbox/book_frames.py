"""Views of one book: snapshots, updates and best prices, all cut from the same states.

What belongs here: which rows a view has. The amounts and prices come from `book.py`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.book import BookDay
from tickhandler_dagster.sandbox.csv_file import Cells, csv_frame, venue_time
from tickhandler_dagster.sandbox.seeds import Flags, Floats, Ints

FULL_SNAPSHOT_VENUES = frozenset({VenueId.UPBIT, VenueId.HYPERLIQUID})
"""Venues that send the whole book each time and never an update."""

_SIDES = ((0, "bid"), (1, "ask"))
_SNAPSHOT_DEPTHS = {DataType.BOOK_SNAPSHOT_5: 5, DataType.BOOK_SNAPSHOT_25: 25}
_CLOCKLESS_TICKERS = frozenset({VenueId.BINANCE})


def _views(book: BookDay, depth: int) -> dict[str, tuple[Floats, Ints]]:
    """Prices and lots of the best levels per side. Shape: (states, depth) each."""
    result = {}
    for side, name in _SIDES:
        levels = book.side_levels(side, depth)
        result[name] = (book.prices(levels), book.lots(side, levels, book.steps[:, None]))
    return result


def _is_changed(views: dict[str, tuple[Floats, Ints]], is_restart: Flags) -> Flags:
    """Whether anything in the views differs from the state before."""
    changed = is_restart.copy()
    changed[:1] = True
    for prices, lots in views.values():
        is_same = (prices[1:] == prices[:-1]) | (np.isnan(prices[1:]) & np.isnan(prices[:-1]))
        changed[1:] |= ~(is_same & (lots[1:] == lots[:-1])).all(axis=1)
    return changed


def _clocks(book: BookDay, rows: Flags | Ints) -> dict[str, Cells]:
    return {
        "timestamp": venue_time(book.listing.venue, book.times[rows]),
        "local_timestamp": book.arrivals[rows],
    }


def snapshot_frame(book: BookDay, data_type: DataType) -> pl.DataFrame:
    """One row per state in which a tracked level changed; levels it does not have are null."""
    depth = _SNAPSHOT_DEPTHS[data_type]
    kept_depth = min(depth, book.listing.activity.depth)
    views = _views(book, kept_depth)
    rows = _is_changed(views, book.is_restart)
    cells = _clocks(book, rows)
    for _, name in _SIDES:
        prices, lots = views[name]
        amounts = np.where(lots > 0, book.amounts(lots), np.nan)
        for level in range(depth):
            is_kept = level < kept_depth
            empty = np.full(int(rows.sum()), np.nan)
            cells[f"{name}s[{level}].price"] = prices[rows, level] if is_kept else empty
            cells[f"{name}s[{level}].amount"] = amounts[rows, level] if is_kept else empty
    return csv_frame(book.listing, data_type, cells)


def top_frame(book: BookDay, data_type: DataType) -> pl.DataFrame:
    """One row per state in which a best price or its amount changed."""
    views = _views(book, 1)
    rows = _is_changed(views, np.zeros_like(book.is_restart))
    cells = _clocks(book, rows)
    if data_type is DataType.BOOK_TICKER and book.listing.venue in _CLOCKLESS_TICKERS:
        cells["timestamp"] = book.arrivals[rows]
    for _, name in _SIDES:
        prices, lots = views[name]
        cells[f"{name}_price"] = prices[rows, 0]
        cells[f"{name}_amount"] = np.where(lots > 0, book.amounts(lots), np.nan)[rows, 0]
    return csv_frame(book.listing, data_type, cells)


def _side_updates(book: BookDay, side: int, is_full: Flags) -> tuple[Ints, Ints, Ints]:
    """State index, level and lots of what a side sends: all of it where full, else the changes."""
    depth = book.listing.activity.depth
    levels = book.side_levels(side, depth)
    lots = book.lots(side, levels, book.steps[:, None])
    best = levels[:, 0]
    before = np.concatenate((best[:1], best[:-1]))
    steps_before = np.concatenate((book.steps[:1], book.steps[:-1]))
    distance = (before[:, None] - levels) if side == 0 else (levels - before[:, None])
    was_shown = (distance >= 0) & (distance < depth)
    is_new = ~was_shown | (book.lots(side, levels, steps_before[:, None]) != lots)
    is_sent = (is_new | is_full[:, None]) & (levels >= 1)
    state, column = np.nonzero(is_sent)
    old = np.concatenate((levels[:1], levels[:-1]))
    distance = (best[:, None] - old) if side == 0 else (old - best[:, None])
    is_gone = ((distance < 0) | (distance >= depth)) & ~is_full[:, None] & (old >= 1)
    gone_state, gone_column = np.nonzero(is_gone)
    return (
        np.concatenate((state, gone_state)),
        np.concatenate((levels[state, column], old[gone_state, gone_column])),
        np.concatenate((lots[state, column], np.zeros(gone_state.size, dtype=np.int64))),
    )


def update_frame(book: BookDay) -> pl.DataFrame:
    """The update feed: a snapshot at the start and each reconnect, and the changes in between."""
    is_full = book.is_restart.copy()
    is_full[:1] = True
    if book.listing.venue in FULL_SNAPSHOT_VENUES:
        is_full[:] = True
    parts = [(side, *_side_updates(book, side, is_full)) for side, _ in _SIDES]
    states = np.concatenate([part[1] for part in parts])
    sides = np.concatenate([np.full(part[1].size, part[0]) for part in parts])
    order = np.argsort(states, kind="stable")
    states, sides = states[order], sides[order]
    levels = np.concatenate([part[2] for part in parts])[order]
    lots = np.concatenate([part[3] for part in parts])[order]
    names = pl.Series([name for _, name in _SIDES])
    flags = pl.Series(["false", "true"])
    cells = _clocks(book, states)
    cells["is_snapshot"] = flags.gather(is_full[states].astype(np.int64))
    cells["side"] = names.gather(sides)
    cells["price"] = book.prices(levels)
    cells["amount"] = book.amounts(lots)
    return csv_frame(book.listing, DataType.INCREMENTAL_BOOK_L2, cells)
