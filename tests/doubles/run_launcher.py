"""A launcher of runs in this process, one after the other, each in a thread of its own.

What belongs here: launching. A process per run is seven seconds of imports; Dagster's own launcher
for tests runs inside the daemon's event loop, where a run cannot have one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher


class ThreadRunLauncher(SyncInMemoryRunLauncher):
    """Gives back control when the run is over."""

    def launch_run(self, context):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(super().launch_run, context).result()
