"""A process that builds complete larger bars, one request at a time.

What belongs here: asking, the process, its death and its successor, results as bytes. What does
not: building (`completion_build.py`) and which process is asked (`completion.py`).
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.spool import spooled_types
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_retention import swept_before
from tickhandler_dagster.market.errors import MissingUpstream, TickhandlerError
from tickhandler_dagster.streaming.completion_build import complete_bars
from tickhandler_dagster.streaming.completion_request import CompletedBars, CompletionRequest

WAITING = 256
"""Requests that may wait: a day's of one venue, or an hour's of six."""

ATTEMPTS = 2
"""How often a request is given to a process before it is given up."""


@dataclass(slots=True)
class _Asked:
    """A request and how often a process has taken it."""

    request: CompletionRequest
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that was given up: its bars stay provisional until the batch.

    Attributes:
        request: The request.
        reason: What was in the way.
    """

    request: CompletionRequest
    reason: str


class CompletionProcess:
    """Answers requests from a process of its own.

    Args:
        spool: The spool's folder.
        waiting: Requests that may wait for the process.
    """

    def __init__(self, spool: Path, *, waiting: int = WAITING) -> None:
        self._spool = spool
        self._limit = waiting
        self._waiting: deque[_Asked] = deque()
        self._asked: _Asked | None = None
        self._done: list[CompletedBars] = []
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._is_ready = False
        self._failed: list[FailedRequest] = []
        self.restarts = 0
        """How often the process died and was replaced."""

    @property
    def pending(self) -> int:
        """Requests that are not answered yet."""
        return len(self._waiting) + (self._asked is not None)

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def submit(self, request: CompletionRequest) -> bool:
        """Ask for bars; False where too many requests wait, and then nothing was asked."""
        if len(self._waiting) >= self._limit:
            return False
        self._waiting.append(_Asked(request))
        self._hand_over()
        return True

    def results(self) -> list[CompletedBars]:
        """What has been built since the last time; never waits."""
        while self._received():
            pass
        self._hand_over()
        done, self._done = self._done, []
        return done

    def take_failed(self) -> list[FailedRequest]:
        """The requests that were given up since the last time."""
        failed, self._failed = self._failed, []
        return failed

    def close(self) -> None:
        """End the process; requests that wait are forgotten."""
        self._waiting.clear()
        self._asked = None
        self._end_process()

    def _hand_over(self) -> None:
        """Give the process the next request, once it says that it listens."""
        if not self._waiting:
            return
        try:
            line = self._started()
        except OSError:  # no memory or no process left: as if it had died before it listened
            self._process_died()
            return
        if self._asked is None and self._is_ready:
            self._asked = self._waiting.popleft()
            self._asked.attempts += 1
            try:
                line.send(self._asked.request)
            except OSError:
                self._process_died()

    def _started(self) -> Connection:
        if self._line is None:
            context = multiprocessing.get_context("spawn")
            line, other = context.Pipe()
            with contextlib.ExitStack() as undone, other:
                undone.callback(line.close)
                process = context.Process(
                    target=work, args=(other, self._spool), daemon=True, name="live-completion"
                )
                process.start()
                undone.pop_all()  # with only one end open elsewhere, its death ends the line
            self._line, self._process, self._is_ready = line, process, False
        return self._line

    def _received(self) -> bool:
        """Take one message, if there is one."""
        line = self._line
        if line is None:
            return False
        try:
            if not line.poll():
                return False
            message = line.recv()
        except (EOFError, OSError):
            self._process_died()
            return False
        self._take(message)
        return True

    def _take(self, message: object) -> None:
        asked, self._asked = self._asked, None
        match message:
            case _Answer() as answer if asked is not None:
                self._done.append(answer.bars(asked.request))
            case str(reason) if asked is not None:
                self._failed.append(FailedRequest(asked.request, reason))
            case _:
                self._is_ready = True

    def _process_died(self) -> None:
        """Ask its successor the same, unless that killed more than one already."""
        never_listened = not self._is_ready
        self._end_process()
        self.restarts += 1
        asked, self._asked = self._asked, None
        if asked is None and never_listened and self._waiting:
            asked = self._waiting.popleft()
            asked.attempts += 1
        if asked is None:
            return
        if asked.attempts < ATTEMPTS:
            self._waiting.appendleft(asked)
        else:
            reason = f"the process that builds it died {asked.attempts} times"
            self._failed.append(FailedRequest(asked.request, reason))

    def _end_process(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join()
        self._line = self._process = None
        self._is_ready = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """Built bars as bytes, in the file format of Arrow."""

    table: bytes

    @classmethod
    def of(cls, built: CompletedBars) -> _Answer:
        """The bars, ready to be sent."""
        buffer = io.BytesIO()
        built.bars.write_ipc(buffer)
        return cls(buffer.getvalue())

    def bars(self, request: CompletionRequest) -> CompletedBars:
        """The bars that were sent."""
        return CompletedBars(
            venue=request.venue,
            timeframe=request.timeframe,
            span=request.span,
            bars=pl.read_ipc(io.BytesIO(self.table)),
        )


def require_kept(spool: Path, request: CompletionRequest) -> None:
    """Refuse bars of which the spool has forgotten rows: they would look whole.

    Raises:
        MissingUpstream: it has.
    """
    for data_type in spooled_types(spool, request.venue):
        kept_us = swept_before(spool, request.venue, data_type)
        if kept_us is not None and kept_us > request.span.start:
            raise MissingUpstream(
                f"{request.timeframe} bars of {request.venue}",
                f"the spool has forgotten {data_type} of their time",
                was=f"kept from {kept_us} us on",
                expected=f"from {request.span.start} us on",
                remedy="Raise STREAMING_SPOOL_HOURS above the length of the largest bar",
            )


def work(line: Connection, spool: Path) -> None:
    """What the process does: answer requests until the other end of the line is gone."""
    line.send(None)
    while True:
        try:
            request = line.recv()
        except (EOFError, OSError):
            return
        try:
            answer: _Answer | str = _Answer.of(complete_bars(request, SpoolReader(spool)))
            require_kept(spool, request)  # asked afterwards: rows may go while others are read
        except TickhandlerError as error:
            answer = str(error)
        line.send(answer)
