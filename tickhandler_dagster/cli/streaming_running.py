"""A live session while it runs: what its parts know of each other, and whether it is to end.

What belongs here: the value. What does not: starting, watching and ending the parts
(`streaming_session.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.spool_dead_letters import DeadLetterFile
from tickhandler_dagster.cli.streaming_parts import Chosen
from tickhandler_dagster.cli.streaming_request import StreamingRequest
from tickhandler_dagster.settings import Settings
from tickhandler_dagster.streaming.clocks import HostClock
from tickhandler_dagster.streaming.ports import LiveStatus
from tickhandler_dagster.streaming.skipping_clock import SkippingClock


@dataclass(slots=True)
class Session:
    """What is running."""

    request: StreamingRequest
    settings: Settings
    lake: Lake
    chosen: Chosen
    root: Path
    screen: Console
    stop: threading.Event
    clock: SkippingClock = field(default_factory=lambda: SkippingClock(HostClock()))
    last: LiveStatus | None = None
    steps: int = 0
    began: float = field(default_factory=time.monotonic)
    is_played_out: bool = False
    makes_bars: bool = False
    is_busy: Callable[[], bool] = lambda: False
    trouble: Callable[[], str] = str
    hold: Callable[[], None] = lambda: None
    told: Callable[[], LiveStatus] | None = None
    boxes: list[DeadLetterFile] = field(default_factory=list)

    def box(self, consumer: str) -> DeadLetterFile:
        """Where a consumer's lines go that are no rows; they are counted."""
        self.boxes.append(DeadLetterFile(self.root, consumer))
        return self.boxes[-1]

    @property
    def is_over(self) -> bool:
        """It was told to end, or its time is up."""
        end = self.request.duration_s
        return self.stop.is_set() or (end is not None and time.monotonic() - self.began >= end)

    def report(self, status: LiveStatus) -> None:
        """Remember the engine's last word: the session is a `StatusSink` of its own."""
        self.last = status
        self.steps += 1
