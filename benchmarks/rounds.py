"""Interleaved rounds: every contender once, then every contender again.

What belongs here: starting measurements and keeping their numbers. What does not: measuring
(`measure.py`) and printing (`report.py`). A machine that is busy for a minute is then busy for all
of them, and ratios hold where single numbers do not.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contenders import Contender, Task
from environments import Interpreter
from job import Job

_CHILD = Path(__file__).parent / "measure.py"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run cost.

    Attributes:
        cpu_s: User and system time of the work, all threads.
        wall_s: Time that passed.
        import_cpu_s: CPU time of loading the libraries; not in `cpu_s`.
        peak_bytes: Highest resident memory, libraries included.
        written_bytes: Size of the results.
        result: Parquet file for the comparison; None where there is nothing to compare.
        version: Of the library.
    """

    cpu_s: float
    wall_s: float
    import_cpu_s: float
    peak_bytes: int
    written_bytes: int
    result: str | None
    version: str


@dataclass(slots=True)
class Row:
    """A contender's runs of a task.

    Attributes:
        contender: Who.
        task: At what.
        runs: One per round.
        reason: Why there are none.
    """

    contender: Contender
    task: Task
    runs: list[Measurement] = field(default_factory=list)
    reason: str = ""

    @property
    def label(self) -> str:
        """Name and version; without a run, the lock that would have given the version."""
        name, version = self.contender.label, self.runs[-1].version if self.runs else ""
        if self.reason:
            return f"{name} ({self.contender.environment}.lock)"
        return f"{name} {version}".strip()

    def median(self, name: str) -> float:
        """Median of a field over the rounds."""
        return statistics.median(getattr(run, name) for run in self.runs)


def run(contender: Contender, task: Task, job: Job, python: Path) -> Measurement:
    """One measurement in a new process; its results stay in the job's folder.

    Raises:
        RuntimeError: the contender failed; the text is the end of what it said.
    """
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    done = subprocess.run(
        [str(python), str(_CHILD), contender.module, task, job.to_json()],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"failed: {said[-1][:200]}")
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Measurement(**cost)


def interleaved(
    rows: Sequence[Row],
    *,
    interpreters: Mapping[Contender, Interpreter],
    job: Job,
    repeat: int,
    note: Callable[[str], None],
) -> None:
    """Run all rows `repeat` times, each round in another order.

    A row that cannot run gets a reason and is left out of the further rounds.
    """
    for number in range(repeat):
        turn = number % max(len(rows), 1)
        for row in [*rows[turn:], *rows[:turn]]:
            if not row.reason:
                note(f"round {number + 1}/{repeat}: {row.task} {row.contender.label}")
                _once(row, interpreters[row.contender], job)


def _once(row: Row, interpreter: Interpreter, job: Job) -> None:
    if interpreter.path is None:
        row.reason = interpreter.reason
        return
    name = f"{row.contender.module}-{row.contender.environment}-{row.task}"
    own = dataclasses.replace(job, folder=job.folder / name)
    try:
        row.runs.append(run(row.contender, row.task, own, interpreter.path))
    except RuntimeError as error:
        row.reason = str(error)


def found(rows: Iterable[Row], contender: Contender, task: Task) -> Row | None:
    """The contender's row of a task, where it ran."""
    return next(
        (row for row in rows if row.contender is contender and row.task is task and row.runs), None
    )
