"""The live feed: the sidecar kept running.

What belongs here: starting, adopting, restarting with growing pauses, stopping. What does not: one
run (`sidecar_process.py`), what it is told (`sidecar_plan.py`).

The sidecar runs in a session of its own and holds the right to write its part of the spool. Where
this process dies, capture goes on; the next one finds the sidecar and takes it over.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

from tickhandler_dagster.adapters.spool import claim
from tickhandler_dagster.adapters.spool_recovery import recover
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import ConcurrentWrite, TickhandlerError
from tickhandler_dagster.streaming.feeds import HostClock
from tickhandler_dagster.streaming.ports import Clock
from tickhandler_dagster.streaming.sidecar_plan import BUFFER_BYTES, Subscription, configuration
from tickhandler_dagster.streaming.sidecar_process import (
    EXIT_CONFIGURATION,
    SidecarProcess,
    read_heartbeat,
)
from tickhandler_dagster.streaming.sidecar_program import SidecarProgram

_LOOK_S = 0.1
_SILENT_US = 30 * US_PER_SECOND
_FRESH_US = 10 * US_PER_SECOND
_SOUND_US = 60 * US_PER_SECOND
_MAX_PAUSE_S = 60.0


class SidecarFeed:
    """A `Feed` of one exchange's live ticks.

    Args:
        program: The installed sidecar.
        wanted: What the exchange is asked for.
        root: The spool.
        max_bytes: Size of the spool at which capture stops; None for no limit.
        buffer_bytes: Lines that may wait in memory for the disk.
        clock: The time.

    Raises:
        InvalidInput: nothing is asked for, or a type that no live feed has.
    """

    def __init__(
        self,
        program: SidecarProgram,
        wanted: Subscription,
        root: Path,
        *,
        max_bytes: int | None = None,
        buffer_bytes: int = BUFFER_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self._program = program
        self._venue = wanted.venue
        self._root = root
        self._folder = root / wanted.venue
        self._config = configuration(wanted, root, max_bytes=max_bytes, buffer_bytes=buffer_bytes)
        self._clock = clock or HostClock()
        self._claimed: io.BufferedWriter | None = None
        self._process: SidecarProcess | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failure: TickhandlerError | None = None
        self.restarts = 0
        """Runs of the sidecar that ended unasked."""

    @property
    def is_alive(self) -> bool:
        """The sidecar runs, or will be started again."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failure(self) -> TickhandlerError | None:
        """Why the sidecar does not run; None while it does."""
        return self._failure

    @property
    def pid(self) -> int | None:
        """The sidecar's process; None before the start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the sidecar, or take over the one that runs with the same configuration.

        Raises:
            ConcurrentWrite: another process writes this exchange.
            StorageDenied: the spool may not be written.
        """
        try:
            self._run()
        except ConcurrentWrite:
            self._process = self._found()
            if self._process is None:
                raise
        self._thread = threading.Thread(target=self._supervise, name="sidecar", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the sidecar; what it has received is in the spool."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._process is not None:
            self._process.stop()
        if self._claimed is not None:
            self._claimed.close()
            self._claimed = None

    def _run(self) -> None:
        if self._claimed is None:
            self._claimed = claim(self._root, self._venue)
        recover(self._root, self._venue)
        self._process = SidecarProcess.started(
            self._program, self._folder, self._config, self._claimed
        )

    def _found(self) -> SidecarProcess | None:
        """The sidecar that runs already, if it does what this one would."""
        beat = read_heartbeat(self._folder)
        if beat is None or beat.digest != self._config["digest"]:
            return None
        if beat.at_us < self._clock.now_us() - _FRESH_US:
            return None
        found = SidecarProcess(self._folder, beat.pid)
        return found if found.exit_code() is None else None

    def _supervise(self) -> None:
        failures = 0
        while not self._stop.is_set():
            since_us = self._clock.elapsed_us()
            code = self._watch(since_us)
            if code is None or self._process is None:
                return
            self._failure = self._process.error()
            if code == EXIT_CONFIGURATION:
                return
            self.restarts += 1
            lasted_us = self._clock.elapsed_us() - since_us
            failures = 1 if lasted_us > _SOUND_US else failures + 1
            if self._stop.wait(min(2.0 ** (failures - 1), _MAX_PAUSE_S)):
                return
            try:
                self._run()
            except TickhandlerError as error:
                self._failure = error

    def _watch(self, since_us: int) -> int | None:
        """The exit code of the present run; None where this is to stop first."""
        process = self._process
        while process is not None and not self._stop.wait(_LOOK_S):
            code = process.exit_code()
            if code is not None:
                return code
            beat = read_heartbeat(self._folder)
            if beat is not None and beat.pid == process.pid and beat.rows:
                self._failure = None
            now_us = self._clock.now_us()
            is_silent = beat is None or beat.at_us < now_us - _SILENT_US
            if is_silent and self._clock.elapsed_us() - since_us > _SILENT_US:
                process.kill()
        return None
