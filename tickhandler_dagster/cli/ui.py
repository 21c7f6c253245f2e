"""`tickhandler ui`: `dagster dev` over the demo's instance, the sandbox as the vendor.

What does not belong here: the demo's runs (`demo.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from tickhandler_dagster.cli.demo import demo_settings, load_demo, prepare_instance
from tickhandler_dagster.cli.interruption import interruptible
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import child_environment

_HOST = "127.0.0.1"
_STOP_S = 20.0


def run_ui(home: Path, *, port: int) -> None:
    """Serve the page until interrupted or terminated; nothing of it is left then.

    Raises:
        InvalidInput: there is no demo in the folder.
    """
    demo = load_demo(home)
    folder = prepare_instance(home)
    port = port or _free_port()
    with interruptible(), SandboxServer(Simulator(demo.seed, scale=demo.scale)) as server:
        settings = demo_settings(demo, endpoint=server.api_url)
        Console().print(f"Dagster: http://{_HOST}:{port}  (simulated data from the sandbox)")
        page = subprocess.Popen(  # noqa: S603  (our own interpreter and module, no text from outside)
            [
                *(sys.executable, "-m", "dagster", "dev"),
                *("-m", "tickhandler_dagster.definitions"),
                *("-m", "tickhandler_dagster.dbt_assets.location"),
                *("--host", _HOST, "--port", str(port)),
            ],
            env=child_environment(settings),
            # Dagster lets a `.env` of its working folder overrule the environment: beside the
            # user's own file the demo would write into the real lake, with the real key.
            cwd=folder,
            # A group of its own: Ctrl-C reaches this process alone, which ends the other in order.
            start_new_session=True,
        )
        try:
            page.wait()
        finally:
            _stop(page)


def _stop(page: subprocess.Popen[bytes]) -> None:
    """End Dagster in order; what is left after that, or at a second Ctrl-C, at once."""
    page.send_signal(signal.SIGINT)  # the one signal on which `dagster dev` ends its services
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        page.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(page.pid, signal.SIGKILL)
    page.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
