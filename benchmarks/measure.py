"""One contender, one task, in this process and nothing else in it: what it cost, as JSON.

What belongs here: the measuring. A process of its own gives every contender its own peak of memory
and its own imports; CPU-seconds count all threads and hold still on a busy machine where wall time
does not. Runs in every environment, so it imports the standard library alone.

A contender is a module with a function per task (`ingest`, `candles`, `chain`) that takes a `Job`.
`prepare_<task>` runs before it and `result_<task>` after it, both unmeasured; the latter gives the
Parquet file that holds the results for the comparison. `LIBRARY` names the distribution whose
version the table shows.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from job import Job

_KIBI = 1024


def cpu_seconds() -> float:
    """User and system time of this process, all its threads and its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_bytes() -> int:
    """Highest resident memory since this program began.

    `ru_maxrss` also remembers the process that started this one; where the kernel tells the peak of
    the program alone, that is it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * _KIBI
    unit = 1 if sys.platform == "darwin" else _KIBI
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(module: str, task: str, job: Job) -> dict[str, object]:
    """Run a contender's task and say what it cost."""
    begin = cpu_seconds()
    contender = importlib.import_module(f"contenders.{module}")
    import_cpu = cpu_seconds() - begin
    _step(contender, f"prepare_{task}")(job)
    begin, begin_wall = cpu_seconds(), time.perf_counter()
    getattr(contender, task)(job)
    cost = {
        "cpu_s": cpu_seconds() - begin,
        "wall_s": time.perf_counter() - begin_wall,
        "import_cpu_s": import_cpu,
        "peak_bytes": peak_bytes(),
    }
    written = sum(path.stat().st_size for path in job.folder.rglob("*") if path.is_file())
    result = _step(contender, f"result_{task}")(job)
    library = getattr(contender, "LIBRARY", None)
    return cost | {
        "written_bytes": written,
        "result": None if result is None else str(result),
        "version": "" if library is None else version(library),
    }


def _step(contender: ModuleType, name: str) -> Callable[[Job], Any]:
    return getattr(contender, name, lambda _job: None)


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], sys.argv[2], Job.from_json(sys.argv[3]))))
