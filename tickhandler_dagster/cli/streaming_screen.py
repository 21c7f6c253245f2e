"""What a live session shows: a line while it runs, tables at its end.

What belongs here: text. What does not: the session (`streaming_session.py`).
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus

_US_PER_MS = 1_000


@dataclass(frozen=True, slots=True)
class Closing:
    """What is told at the end.

    Attributes:
        status: The last status; None where nothing was ever said.
        seconds: How long the session lasted.
        stored: Ticks stored, by venue and data type.
        dead: Rows kept as dead letters.
        unreadable: Lines of the spool, or of what was played, that are no rows.
        reports: Reports to Dagster: sent and given up; None without Dagster.
        failure: What ended it; empty where it was ended.
    """

    status: LiveStatus | None
    seconds: float
    stored: Mapping[str, int]
    dead: int
    unreadable: int
    reports: tuple[int, int] | None
    failure: str


def progress_line(status: LiveStatus) -> str:
    """The session in one line."""
    rows = sum(sum(feed.rows.values()) for feed in status.feeds)
    off = [feed for feed in status.feeds if not feed.is_connected]
    starting = [feed.venue for feed in off if feed.is_starting]
    cut = [feed.venue for feed in off if not feed.is_starting]
    bars = ", ".join(f"{count:,} of {timeframe}" for timeframe, count in status.bars.items())
    delay = status.publish_delay_us
    parts = [
        f"{rows:,} rows",
        *([f"bars {bars}"] if bars else []),
        *([f"published {delay / _US_PER_MS:,.0f} ms after the grace"] if delay is not None else []),
        *([f"{sum(feed.gaps for feed in status.feeds):,} gaps"]),
        *([f"starting: {', '.join(starting)}"] if starting else []),
        *([f"NOT CONNECTED: {', '.join(cut)}"] if cut else []),
        f"spool {status.spool_bytes / 1e6:,.0f} MB",
    ]
    return ", ".join(parts)


def show_closing(screen: Console, closing: Closing, *, as_json: bool) -> None:
    """The end, as tables or as JSON on standard output."""
    if as_json:
        sys.stdout.write(json.dumps(closing_json(closing), indent=1) + "\n")
        return
    if closing.status is not None:
        _show_status(screen, closing.status)
    for stream, count in closing.stored.items():
        screen.print(f"{stream}: {count:,} ticks stored", highlight=False)
    if closing.dead:
        screen.print(f"{closing.dead:,} rows kept as dead letters.")
    if closing.unreadable:
        screen.print(
            f"{closing.unreadable:,} lines are no rows: no bar and no tick is made of them. They "
            "are in dead_letters/ of the spool, with why."
        )
    if closing.reports is not None:
        sent, lost = closing.reports
        screen.print(f"{sent:,} reports to Dagster, {lost:,} given up.")
    screen.print(f"Ran {closing.seconds:,.0f} s.")


def _show_status(screen: Console, status: LiveStatus) -> None:
    feeds = Table("venue", "rows", "gaps", "rows given up", "newest arrival, UTC")
    for feed in status.feeds:
        feeds.add_row(*_feed_cells(feed))
    screen.print(feeds)
    if status.bars:
        bars = Table("timeframe", "publications", "newest end, UTC")
        for timeframe, count in status.bars.items():
            bars.add_row(timeframe, f"{count:,}", _moment(status.newest_close_us[timeframe]))
        screen.print(bars)
        screen.print(
            f"{status.amended:,} bars published again for late rows; "
            f"{status.late_rows:,} rows too late for any."
        )


def closing_json(closing: Closing) -> dict[str, object]:
    """The same for a script."""
    status = closing.status
    feeds = () if status is None else status.feeds
    return {
        "seconds": round(closing.seconds, 3),
        "feeds": [
            {
                "venue": feed.venue,
                "rows": dict(feed.rows),
                "gaps": feed.gaps,
                "overflows": feed.overflows,
                "last_arrival_us": feed.last_arrival_us,
            }
            for feed in feeds
        ],
        "bars": {} if status is None else {str(one): n for one, n in status.bars.items()},
        "newest_close_us": {}
        if status is None
        else {str(one): us for one, us in status.newest_close_us.items()},
        "amended": 0 if status is None else status.amended,
        "late_rows": 0 if status is None else status.late_rows,
        "ticks_stored": dict(closing.stored),
        "dead_letters": closing.dead,
        "unreadable_lines": closing.unreadable,
        "reports": None if closing.reports is None else list(closing.reports),
        "failure": closing.failure,
    }


def _feed_cells(feed: FeedStatus) -> tuple[str, ...]:
    newest = feed.last_arrival_us
    return (
        str(feed.venue),
        f"{sum(feed.rows.values()):,}",
        f"{feed.gaps:,}",
        f"{feed.overflows:,}",
        "none" if newest is None else _moment(newest),
    )


def _moment(us: int) -> str:
    return f"{dt.datetime.fromtimestamp(us / US_PER_SECOND, dt.UTC):%Y-%m-%d %H:%M:%S}"
