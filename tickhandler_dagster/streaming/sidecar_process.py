"""One run of the sidecar: its start, its signs of life, its end.

What belongs here: the process. What does not: what follows its end (`sidecar_feed.py`).
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.spool import SETTING
from tickhandler_dagster.market.errors import (
    InvalidInput,
    StorageFull,
    TickhandlerError,
    VendorUnavailable,
)
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.streaming.sidecar_program import SidecarProgram

EXIT_CONFIGURATION = 2
EXIT_SPOOL = 3

_HEARTBEAT = "heartbeat.json"
_CONFIG = "sidecar.json"
_LOG = "sidecar.log"
_END_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sidecar's sign of life.

    Attributes:
        pid: Its process.
        digest: Of the configuration it runs with.
        at_us: When.
        rows: Rows received since its start.
        cpu_us: Processor time since its start.
    """

    pid: int
    digest: str
    at_us: int
    rows: int
    cpu_us: int


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The newest sign of life in an exchange's part of the spool; None where there is none."""
    try:
        said = json.loads((folder / _HEARTBEAT).read_bytes())
        return Heartbeat(said["pid"], said["digest"], said["at_us"], said["rows"], said["cpu_us"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing readable is no sign of life


class SidecarProcess:
    """A running sidecar, started by this process or found running.

    Args:
        folder: The exchange's part of the spool.
        pid: Its process.
        child: The handle where this process started it.
    """

    def __init__(
        self, folder: Path, pid: int, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._folder = folder
        self.pid = pid
        self._child = child

    @classmethod
    def started(
        cls,
        program: SidecarProgram,
        folder: Path,
        config: dict[str, object],
        claimed: io.BufferedWriter,
    ) -> SidecarProcess:
        """Start one, in a session of its own: it outlives this process, and keeps the claim.

        Args:
            program: What to start.
            folder: The exchange's part of the spool.
            config: Its configuration.
            claimed: The right to write there.
        """
        with storage_errors(folder, setting=SETTING):
            (folder / _CONFIG).write_bytes(canonical_json(config))
            (folder / _HEARTBEAT).unlink(missing_ok=True)
            with (folder / _LOG).open("wb") as log:
                child = subprocess.Popen(  # noqa: S603  (our program, with a path we wrote)
                    [program.node, str(program.script), str(folder / _CONFIG)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[claimed.fileno()],
                )
        return cls(folder, child.pid, child)

    def exit_code(self) -> int | None:
        """Its exit code; None while it runs; of one found running always 1."""
        if self._child is not None:
            return self._child.poll()
        import psutil  # noqa: PLC0415  (needed for a sidecar found running alone)

        try:
            status = psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return 1
        # one that nobody has collected yet has ended all the same
        return 1 if status == psutil.STATUS_ZOMBIE else None

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        self._wait(_END_S)

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        self._signal(signal.SIGTERM)
        if not self._wait(_END_S):
            self.kill()

    def error(self) -> TickhandlerError:
        """What its end means."""
        words = self._last_words()
        code = self.exit_code()
        if code == EXIT_CONFIGURATION:
            return InvalidInput("live feed", words, remedy="Change what is asked for")
        if code == EXIT_SPOOL:
            return StorageFull("live feed", words, remedy="It goes on when there is room")
        return VendorUnavailable(
            "live feed",
            "the sidecar ended",
            was=f"exit code {code}{': ' + words if words else ''}",
            remedy="It is started again; its words are in sidecar.log of the spool",
        )

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return  # it has ended already

    def _wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.exit_code() is None:
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True

    def _last_words(self) -> str:
        try:
            lines = (self._folder / _LOG).read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[0][:500].rstrip(".") if lines else ""
