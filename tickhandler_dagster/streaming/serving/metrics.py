"""The engine's numbers for Prometheus, in a registry of its own, read when they are asked for.

What belongs here: names, labels and help texts of metrics. What does not: counting (the engine,
`delays.py`, `broadcast.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus
from tickhandler_dagster.streaming.serving.broadcast import Broadcast
from tickhandler_dagster.streaming.serving.delays import BUCKETS_S
from tickhandler_dagster.streaming.serving.status_board import StatusBoard

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "tickhandler_live_"
_US_PER_S = 1_000_000


def exposition(broadcast: Broadcast, board: StatusBoard) -> bytes:
    """All metrics as the text Prometheus reads.

    Values are read off the engine's last word rather than counted a second time beside it, and
    nothing is registered globally: two engines in one process do not mix.
    """
    registry = CollectorRegistry()
    registry.register(_Numbers(broadcast, board))
    return generate_latest(registry)


class _Numbers(Collector):
    def __init__(self, broadcast: Broadcast, board: StatusBoard) -> None:
        self._broadcast = broadcast
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """Every metric there is now."""
        yield _gauge("subscribers", "Subscriptions that are open.", self._broadcast.subscribers)
        yield _counter("dropped_bars", "Bars that slow subscribers lost.", self._broadcast.dropped)
        yield _delays(self._broadcast)
        well = self._board.health().is_well
        yield _gauge("healthy", "1 while /health answers 200.", int(well))
        status, age_s = self._board.latest, self._board.age_s
        if status is None or age_s is None:
            return
        yield _gauge("status_age_seconds", "Time since the engine's last word.", age_s)
        yield from _of_engine(status)
        yield from _of_feeds(status)


def _of_engine(status: LiveStatus) -> Iterator[Metric]:
    published = CounterMetricFamily(
        f"{_PREFIX}bars_published", "Bars published, by timeframe.", labels=["timeframe"]
    )
    for timeframe, bars in status.bars.items():
        published.add_metric([timeframe], bars)
    yield published
    newest = GaugeMetricFamily(
        f"{_PREFIX}newest_close_timestamp_seconds",
        "End of the newest bar published.",
        labels=["timeframe"],
    )
    for timeframe, close_us in status.newest_close_us.items():
        newest.add_metric([timeframe], close_us / _US_PER_S)
    yield newest
    yield _counter("bars_amended", "Bars published again because rows came late.", status.amended)
    yield _counter("late_rows", "Rows too late for any amendment.", status.late_rows)
    yield _gauge("spool_bytes", "Size of the spool on disk.", status.spool_bytes)
    yield _gauge("resident_memory_bytes", "Memory of the engine's process.", status.memory_bytes)
    if status.publish_delay_us is not None:
        yield _gauge(
            "last_publish_delay_seconds",
            "Last round: publication less the end of the bars' grace.",
            status.publish_delay_us / _US_PER_S,
        )


def _of_feeds(status: LiveStatus) -> Iterator[Metric]:
    for name, (kind, text, value) in _FEED_METRICS.items():
        metric = kind(f"{_PREFIX}{name}", text, labels=["venue"])
        for feed in status.feeds:
            number = value(feed)
            if number is not None:
                metric.add_metric([feed.venue], number)
        yield metric
    rows = CounterMetricFamily(
        f"{_PREFIX}feed_rows", "Rows read, by data type.", labels=["venue", "data_type"]
    )
    for feed in status.feeds:
        for data_type, count in feed.rows.items():
            rows.add_metric([feed.venue, data_type], count)
    yield rows


def _delays(broadcast: Broadcast) -> Metric:
    histogram = HistogramMetricFamily(
        f"{_PREFIX}publication_delay_seconds",
        "First publication of a bar less the bar's end.",
        labels=["timeframe"],
    )
    ends = [*map(str, BUCKETS_S), "+Inf"]
    for timeframe, (counts, sum_s) in broadcast.delays.cumulative().items():
        histogram.add_metric(
            [timeframe], buckets=list(zip(ends, counts, strict=True)), sum_value=sum_s
        )
    return histogram


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{_PREFIX}{name}", text, value=value)


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / _US_PER_S


_FeedMetric = tuple[
    type[GaugeMetricFamily | CounterMetricFamily], str, Callable[[FeedStatus], float | None]
]
_FEED_METRICS: dict[str, _FeedMetric] = {
    "feed_connected": (
        GaugeMetricFamily,
        "1 while rows may come.",
        lambda feed: int(feed.is_connected),
    ),
    "feed_lag_seconds": (
        GaugeMetricFamily,
        "Time since the newest row.",
        lambda feed: _seconds(feed.lag_us),
    ),
    "feed_clock_skew_seconds": (
        GaugeMetricFamily,
        "The host's clock less the venue's, as far as delays tell.",
        lambda feed: _seconds(feed.skew_us),
    ),
    "feed_watermark_timestamp_seconds": (
        GaugeMetricFamily,
        "Exchange time up to which bars are closed.",
        lambda feed: _seconds(feed.watermark_us),
    ),
    "feed_gaps": (CounterMetricFamily, "Interruptions.", lambda feed: feed.gaps),
    "feed_overflows": (
        CounterMetricFamily,
        "Rows a full queue gave up.",
        lambda feed: feed.overflows,
    ),
}
