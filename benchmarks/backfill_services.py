"""The services a backfill needs, as processes: a code location and the daemon; what they took.

What belongs here: starting, stopping, processor time and memory. What does not: what is asked of
them (`backfill.py`). The daemon is Dagster's own, looks every thirty seconds and has the heap that
it has on a single host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

_COMPOSE = Path(__file__).resolve().parents[1] / "deploy" / "compose" / "compose.yaml"
_HEAP = "MALLOC_ARENA_MAX"
_HOST = "127.0.0.1"
_READY_S = 240.0
_STOP_S = 30.0


@dataclass(frozen=True)
class Services:
    """Running services.

    Attributes:
        code: The code location; runs are its children.
        daemon: The daemon.
    """

    code: psutil.Process
    daemon: psutil.Process

    def code_cpu_s(self) -> float:
        """Processor time of the code location and of every run so far."""
        return cpu_s(self.code)

    def daemon_cpu_s(self) -> float:
        """Processor time of the daemon so far."""
        return cpu_s(self.daemon)

    def daemon_mb(self) -> float:
        """Resident memory of the daemon."""
        return float(self.daemon.memory_info().rss / 1e6)

    def wait_for_runs(self) -> None:
        """Until no process of a run is left: their time is then their parent's."""
        deadline = time.monotonic() + _STOP_S
        while self.code.children() and time.monotonic() < deadline:
            time.sleep(0.2)


def cpu_s(process: psutil.Process) -> float:
    """User and system time of a process, of those it has waited for and of those that live."""
    times = [process.cpu_times()]
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(child.cpu_times())
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


@contextmanager
def open_services(environment: Mapping[str, str], folder: Path) -> Iterator[Services]:
    """Start both; nothing of them is left afterwards. Their logs are in the folder."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = int(probe.getsockname()[1])
    where = ["--grpc-host", _HOST, "--grpc-port", str(port)]
    module = ["-m", "tickhandler_dagster.definitions"]
    processes = []
    try:
        processes.append(
            _start(
                environment, folder, "code", ["dagster", "api", "grpc", "-p", str(port), *module]
            )
        )
        _wait(processes[0], port)
        of_daemon = {**environment, _HEAP: daemon_heap()}
        processes.append(_start(of_daemon, folder, "daemon", ["dagster._daemon", "run", *where]))
        yield Services(*(psutil.Process(one.pid) for one in processes))
    finally:
        for process in reversed(processes):
            _end(process)


def daemon_heap() -> str:
    """How many heaps the daemon's threads share on a single host."""
    services = yaml.safe_load(_COMPOSE.read_text())["services"]
    return str(services["daemon"]["environment"][_HEAP])


def _start(
    environment: Mapping[str, str], folder: Path, name: str, command: Sequence[str]
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((_HOST, port), 1):
            return
        time.sleep(0.2)
    sys.exit("the code location did not start: see code.log")
