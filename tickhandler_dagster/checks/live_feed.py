"""Whether a live session is fed and in time: the checks of `live/feed`.

What belongs here: judging what a session said of itself. What does not: how it says so
(`automation/live_reports.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus

ENDED = "ended"
"""What a report says of a session that told its end."""

_CHECKS = (CheckName.FED, CheckName.IN_TIME)
_US_PER_MS = 1_000
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class LagLimits:
    """What is still in time.

    Attributes:
        feed_us: Since the newest row of a venue.
        publish_us: Publication after the end of a bar's grace.
        bar_us: Since the end of the newest bar, beside the timeframe's own length.
    """

    feed_us: int = 60 * _US
    publish_us: int = 5 * _US
    bar_us: int = 35 * _US


def fed_outcome(status: LiveStatus, overflows_before: int = 0) -> CheckOutcome:
    """Whether every venue is connected, and no row was given up since the report before.

    A venue whose session has just begun is starting: its sidecar is, and nothing is wrong yet.
    """
    off = [feed for feed in status.feeds if not feed.is_connected]
    starting = [feed.venue for feed in off if feed.is_starting]
    cut = [feed.venue for feed in off if not feed.is_starting]
    lost = sum(feed.overflows for feed in status.feeds) - overflows_before
    return CheckOutcome(
        CheckName.FED,
        not cut and lost <= 0,
        {
            "venues": dg.MetadataValue.int(len(status.feeds)),
            "not connected": dg.MetadataValue.int(len(cut)),
            "starting": dg.MetadataValue.int(len(starting)),
            "rows given up since the last report": dg.MetadataValue.int(max(lost, 0)),
            "feeds": feeds(status),
        },
    )


def in_time_outcome(status: LiveStatus, limits: LagLimits | None = None) -> CheckOutcome:
    """Whether feeds, publication and every table of bars are within their limits."""
    late = list(_late(status, limits or LagLimits()))
    return CheckOutcome(
        CheckName.IN_TIME,
        not late,
        {"behind": dg.MetadataValue.int(len(late))}
        | (
            {
                "what is behind": dg.MetadataValue.md(
                    markdown.table(["what", "behind by", "limit"], late)
                )
            }
            if late
            else {}
        ),
    )


def ended_outcomes(status: LiveStatus) -> list[CheckOutcome]:
    """What is said of both when a session has ended in order.

    It is neither cut off nor late: what its last report said, perhaps before its feed was up,
    would else stay as the last word and wake somebody.
    """
    told = {"session": dg.MetadataValue.text(ENDED), "feeds": feeds(status)}
    return [CheckOutcome(name, has_passed=True, metadata=told) for name in _CHECKS]


def _late(status: LiveStatus, limits: LagLimits) -> Iterator[tuple[str, str, str]]:
    now_us = round(status.at.timestamp() * _US)
    for feed in status.feeds:
        if not feed.is_starting and feed.lag_us is not None and feed.lag_us > limits.feed_us:
            yield f"feed of {feed.venue}", _ms(feed.lag_us), _ms(limits.feed_us)
    delay = status.publish_delay_us
    if delay is not None and delay > limits.publish_us:
        yield "publication", _ms(delay), _ms(limits.publish_us)
    for timeframe, close_us in status.newest_close_us.items():
        limit = timeframe.us + limits.bar_us
        if now_us - close_us > limit:
            yield f"bars of {timeframe}", _ms(now_us - close_us), _ms(limit)


def feeds(status: LiveStatus) -> dg.MarkdownMetadataValue:
    """Each venue's feed in a line."""
    return dg.MetadataValue.md(
        markdown.table(
            ["venue", "connected", "lag ms", "clock skew ms", "rows", "gaps", "rows given up"],
            [_line(feed) for feed in status.feeds],
        )
    )


def _line(feed: FeedStatus) -> tuple[object, ...]:
    return (
        feed.venue,
        "yes" if feed.is_connected else "starting" if feed.is_starting else "NO",
        "no row yet" if feed.lag_us is None else f"{feed.lag_us / _US_PER_MS:,.0f}",
        "unknown" if feed.skew_us is None else f"{feed.skew_us / _US_PER_MS:,.1f}",
        f"{sum(feed.rows.values()):,}",
        f"{feed.gaps:,}",
        f"{feed.overflows:,}",
    )


def _ms(us: int) -> str:
    return f"{us / _US_PER_MS:,.0f} ms"
