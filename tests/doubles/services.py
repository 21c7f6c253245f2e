"""Processes of Dagster beside a test: code location, daemon, page, workers; none stays behind.

What belongs here: starting, waiting, stopping. What does not: what they serve.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

# The daemon as it is, but it looks every second or two: it waits thirty, for sensors five, and
# nothing sets them.
DAEMON = """
import sys
from dagster._daemon import controller, sensor
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2
sensor.MIN_INTERVAL_LOOP_TIME = 1
from dagster._daemon.cli import main
sys.argv[0] = "dagster-daemon"
main()
"""
READY_S = 240
GRACE_S = 2


class Services:
    """Processes, each with a group of its own; at the end nothing of them is left."""

    def __init__(self, environment, folder):
        self._environment = environment
        self._folder = folder
        self._processes = []

    def __enter__(self):
        return self

    def start(self, name, *command):
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def start_code(self, *where):
        """The code location, given as `-m module` or `-f file`; gives the options to reach it."""
        port = self.free_port()
        self.start("code", "-m", "dagster", "api", "grpc", "-p", str(port), *where)
        self.wait_for(port)
        return ["--grpc-host", "127.0.0.1", "--grpc-port", str(port)]

    def start_daemon(self, location):
        return self.start("daemon", "-c", DAEMON, "run", *location)

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def wait_for(self, port):
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            assert all(process.poll() is None for process in self._processes)
            assert time.monotonic() < deadline, f"nothing on port {port}"
            time.sleep(0.2)

    def stop(self, *processes):
        for process in reversed(processes):
            _signal_group(process, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            _signal_group(process, signal.SIGKILL)
            process.wait(10)
            self._processes.remove(process)

    def __exit__(self, *_):
        # Nobody looks at what a service does after this, and some take many seconds to end.
        for process in reversed(self._processes):
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0))
            _signal_group(process, signal.SIGKILL)
            process.wait(10)


def _signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
