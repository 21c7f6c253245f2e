"""`tickhandler ui`: `dagster dev` over the demo's instance, the sandbox as the vendor.

What does not belong here: the demo's runs (`demo.py`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from tickhandler_dagster.cli.demo import demo_settings, load_demo
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import child_environment


def run_ui(home: Path, *, port: int) -> None:
    """Serve the page until interrupted.

    Raises:
        InvalidInput: there is no demo in the folder.
    """
    demo = load_demo(home)
    with SandboxServer(Simulator(demo.seed, scale=demo.scale)) as server:
        settings = demo_settings(
            home, endpoint=server.api_url, venues=demo.venues, start=demo.start
        )
        Console().print(f"Dagster: http://127.0.0.1:{port}  (simulated data from the sandbox)")
        subprocess.run(  # noqa: S603  (our own interpreter and module, no text from outside)
            [
                *(sys.executable, "-m", "dagster", "dev"),
                *("-m", "tickhandler_dagster.definitions"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            env=child_environment(settings),
            check=False,
        )
