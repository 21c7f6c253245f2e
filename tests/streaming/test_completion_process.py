"""The process beside the engine when it cannot be started: nothing hangs, nothing else is said."""

from __future__ import annotations

import datetime as dt
import errno
from multiprocessing.context import SpawnProcess

import pytest

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.completion_process import ATTEMPTS, CompletionProcess
from tickhandler_dagster.streaming.completion_request import CompletionRequest
from tickhandler_dagster.streaming.instruments import relations

MINUTE = CompletionRequest(
    venue=VenueId.DERIBIT,
    timeframe=Timeframe.M1,
    span=Span(0, Timeframe.M1.us),
    windows=(),
    relations=relations([], dt.date(2024, 8, 8)),
)


def test_a_process_that_cannot_be_told_its_spool_is_closed_all_the_same():
    process = CompletionProcess(lambda: "no path: cannot be sent to another process")
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local object"):
        process.submit(MINUTE)
    process.close()
    assert process.process_id is None
    assert process.pending == 0


def test_bars_stay_provisional_where_the_machine_gives_no_process(tmp_path, monkeypatch):
    tried = []

    def start(process):
        tried.append(process)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(SpawnProcess, "start", start)
    process = CompletionProcess(tmp_path)
    assert process.submit(MINUTE)
    for _ in range(ATTEMPTS):
        assert process.results() == []
    (failed,) = process.take_failed()
    assert failed.request is MINUTE
    assert (len(tried), process.pending) == (ATTEMPTS, 0)
    process.close()
