"""A replay that is over ends when its bars are made, when its time is up or when it is told to."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tickhandler_dagster.cli.streaming_request import StreamingRequest
from tickhandler_dagster.cli.streaming_running import Session
from tickhandler_dagster.cli.streaming_session import _finish_replay
from tickhandler_dagster.cli.streaming_worker import Worker
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.ports import LiveStatus

STATUS = LiveStatus(
    at=dt.datetime(2024, 8, 8, tzinfo=dt.UTC),
    feeds=[],
    bars={},
    newest_close_us={},
    amended=0,
    late_rows=0,
    publish_delay_us=None,
    spool_bytes=0,
    memory_bytes=0,
)


@pytest.fixture
def played_out():
    """A session whose engine reports so many bars: `played_out(bars, duration_s=...)`."""
    workers = []

    def make(bars, **changes):
        request = StreamingRequest(symbols=("*",), replay=Path("lake"), **changes)
        session = Session(
            request=request,
            settings=None,
            lake=None,
            chosen=SimpleNamespace(instruments=()),
            root=Path("spool"),
            screen=None,
            stop=threading.Event(),
            makes_bars=True,
        )

        def work(stop):
            made = 0
            while not stop.wait(0.01):
                made = min(made + 1, bars)
                session.report(dataclasses.replace(STATUS, bars={Timeframe.S15: made}))

        workers.append(Worker(work))
        workers[-1].start()
        return session, workers[-1]

    yield make
    for one in workers:
        one.stop()


def finished(session, work):
    """Seconds it took, and seconds put ahead."""
    before, began = session.clock.elapsed_us(), time.monotonic()
    _finish_replay(session, work)
    took = time.monotonic() - began
    return took, round((session.clock.elapsed_us() - before) / 1_000_000 - took)


def test_a_backlog_does_not_outlast_the_duration(played_out):
    took, skipped = finished(*played_out(2**40, duration_s=0.5))
    assert 0.3 < took < 10
    assert skipped == 0


def test_a_backlog_does_not_outlast_a_signal(played_out):
    session, work = played_out(2**40)
    threading.Timer(0.5, session.stop.set).start()
    took, skipped = finished(session, work)
    assert 0.3 < took < 10
    assert skipped == 0


def test_a_replay_with_time_left_is_worked_off(played_out):
    session, work = played_out(40, duration_s=60)
    _, skipped = finished(session, work)
    assert session.last.bars == {Timeframe.S15: 40}
    assert skipped == 48


def test_an_engine_that_makes_no_bars_is_not_done_while_it_is_behind(played_out):
    session, work = played_out(0, duration_s=60)
    behind_until = time.monotonic() + 1.5
    session.is_busy = lambda: time.monotonic() < behind_until
    took, skipped = finished(session, work)
    assert took > 1.5
    assert skipped == 48
