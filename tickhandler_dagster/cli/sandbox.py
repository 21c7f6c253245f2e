"""`tickhandler sandbox`: the vendor's APIs on this machine until interrupted.

What does not belong here: the server (`sandbox/`).
"""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console

from tickhandler_dagster.cli.interruption import interruptible
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator


def run_sandbox(folder: Path | None, *, port: int, seed: int, scale: float) -> None:
    """Serve the folder's datasets, or a simulated market, and say how to reach it.

    Raises:
        InvalidInput: the folder does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise InvalidInput(
            "--folder",
            "no such folder",
            was=folder,
            remedy="Give the folder that holds {exchange}/{data_type}/{YYYY}/{MM}/{DD}",
        )
    source = FolderSource(folder) if folder else Simulator(seed, scale=scale)
    console = Console()
    with interruptible(), SandboxServer(source, port=port) as server:
        console.print(
            f"TARDIS_ENDPOINT={server.api_url}\nTARDIS_DATASETS_ENDPOINT={server.datasets_url}\n"
            f"TARDIS_API_KEY={SANDBOX_KEY}",
            highlight=False,
        )
        console.print("[dim]Stop with Ctrl-C[/dim]")
        threading.Event().wait()
