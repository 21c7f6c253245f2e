"""Bars of a simulated day and a server on loopback."""

from __future__ import annotations

import datetime as dt

import pytest

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus
from tickhandler_dagster.streaming.serving.broadcast import Broadcast
from tickhandler_dagster.streaming.serving.server import serve
from tickhandler_dagster.streaming.serving.status_board import StatusBoard

NOW = dt.datetime(2024, 8, 8, 12, tzinfo=dt.UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


@pytest.fixture(scope="session")
def candles(tmp_path_factory):
    """(coin, timeframe) to the bars of a day, made by the pipeline from simulated ticks."""
    from doubles.live_bars import simulated_candles  # noqa: PLC0415  (for the tests that ask for it)

    return simulated_candles(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def bars(candles):
    """Forty bars of 15 s."""
    return candles["ETH", Timeframe.S15].slice(2_000, 40)


def make_status(*feeds, **changes):
    fields = {
        "at": NOW,
        "feeds": feeds or (make_feed(),),
        "bars": {Timeframe.S15: 400, Timeframe.M1: 100},
        "newest_close_us": {Timeframe.S15: NOW_US},
        "amended": 2,
        "late_rows": 3,
        "publish_delay_us": 38_000,
        "spool_bytes": 123_456_789,
        "memory_bytes": 400_000_000,
    }
    return LiveStatus(**(fields | changes))


def make_feed(venue=VenueId.BINANCE_FUTURES, **changes):
    fields = {
        "venue": venue,
        "is_connected": True,
        "last_arrival_us": NOW_US,
        "lag_us": 42_000,
        "skew_us": -3_100,
        "watermark_us": NOW_US - 1_000_000,
        "rows": {"trades": 1_000, "book_snapshot_5": 20_000},
        "gaps": 1,
        "overflows": 7,
    }
    return FeedStatus(**(fields | changes))


@pytest.fixture
def tell(board):
    """The engine says how it is doing: `tell(feed(), ..., amended=1)`."""
    return lambda *feeds, **changes: board.report(make_status(*feeds, **changes))


@pytest.fixture
def feed():
    """Make a feed's status: `feed(VenueId.DERIBIT, gaps=2)`."""
    return make_feed


@pytest.fixture
def broadcast():
    return Broadcast()


@pytest.fixture
def board():
    return StatusBoard()


@pytest.fixture
def server(broadcast, board):
    with serve(broadcast, board) as running:
        yield running
