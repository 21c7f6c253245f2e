"""How peak memory grows with the file: four times the rows, the same process.

What belongs here: the three cases and their bound. What does not: measuring (`measure.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import data
import features
from contenders import OURS, Task
from features import BOUND_BYTES
from rich import box
from rich.console import Console
from rich.table import Table
from rounds import Measurement, run

_FACTORS = (1, 4)
_CHAIN_SHARE = 3
"""An option chain's row has three times the cells of a trade's."""

_MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: a task at a size."""

    task: Task
    rows: int
    cost: Measurement


def print_memory(console: Console, cases: list[Case]) -> None:
    """Peak and growth of each task, beside the bound."""
    table = Table(
        title=f"Peak memory of {OURS.label} as the file grows; bound {BOUND_BYTES / _MEGA:.0f} MB",
        box=box.SIMPLE,
        title_justify="left",
    )
    for name in ("task", "rows", "CPU s", "peak MB", "growth", "within the bound"):
        table.add_column(name, justify="right")
    for case in cases:
        first = next(other for other in cases if other.task is case.task)
        table.add_row(
            str(case.task),
            f"{case.rows:,}",
            f"{case.cost.cpu_s:.2f}",
            f"{case.cost.peak_bytes / _MEGA:.0f}",
            f"{case.cost.peak_bytes / first.cost.peak_bytes:.2f} x",
            "yes" if case.cost.peak_bytes <= BOUND_BYTES else "NO",
        )
    console.print(table)


def measure(
    rows: int,
    *,
    folder: Path,
    recorded: Path,
    python: Path,
    note: Callable[[str], None],
    of_features: bool,
) -> Iterator[Case]:
    """The cases of the features alone, or all the others."""
    if of_features:
        yield from _feature_cases(rows, folder=folder, recorded=recorded, note=note)
    else:
        yield from _cases(rows, folder=folder, recorded=recorded, python=python, note=note)


def _feature_cases(
    rows: int, *, folder: Path, recorded: Path, note: Callable[[str], None]
) -> Iterator[Case]:
    """Bars with all features of a quarter of the trades and of all of them."""
    for factor in reversed(_FACTORS):
        trades = rows // factor
        note(f"memory: {trades:,} trades, book and ticker")
        day = features.prepared(trades, folder, recorded, folder / "memory" / "features")
        yield Case(Task.FEATURES, day.rows, features.cost(day))


def _cases(
    rows: int, *, folder: Path, recorded: Path, python: Path, note: Callable[[str], None]
) -> Iterator[Case]:
    """`rows` trades and four times as many, a third of that of an option chain."""
    for factor in _FACTORS:
        note(f"memory: {factor * rows:,} trades")
        dataset = data.trades(factor * rows, folder / "data", recorded)
        job = dataset.job(folder / "memory" / "ingest")
        cost = run(OURS, Task.INGEST, job, python)
        yield Case(Task.INGEST, factor * rows, cost)
        job = job.after_ingest(str(cost.result), folder / "memory" / "candles")
        yield Case(Task.CANDLES, factor * rows, run(OURS, Task.CANDLES, job, python))
    for factor in _FACTORS:
        wanted = factor * rows // _CHAIN_SHARE
        note(f"memory: option chain of {wanted:,} rows")
        dataset = data.option_chain(wanted, folder / "data")
        cost = run(OURS, Task.CHAIN, dataset.job(folder / "memory" / "chain"), python)
        yield Case(Task.CHAIN, wanted, cost)
