"""A busy instrument-day to bars with all features: ours beside pandas, and the two goals.

What belongs here: the order of things for `--features` and the goals' verdicts. What does
not: measuring (`measure.py`), the rows (`channels.py`), the comparison of the results
(`agreement.py`) and the tables (`report.py`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from channels import BOOK_SHARE, TICKER_ROWS, channels
from contenders import CONTENDERS, OURS, Contender, Task
from environments import Interpreter
from job import Job
from rounds import Measurement, Row, found, interleaved, run

from tickhandler_dagster.market.data_types import DataType

DEFAULT_TRADES = 10_000_000
GOAL_ROWS_PER_S = 1_500_000
BOUND_BYTES = 1024**3

_MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Day:
    """What is measured: the lake that holds the channels, and how many rows they have."""

    job: Job
    rows: int
    trades: int
    origin: str

    @property
    def title(self) -> str:
        """What was measured, for the head of the table."""
        books = self.rows - self.trades - TICKER_ROWS
        return (
            f"{self.trades:,} {self.origin} trades, {books:,} states of a five-level book, "
            f"{TICKER_ROWS:,} ticker rows to all timeframes"
        )


def prepared(trades: int, folder: Path, recorded: Path, work: Path) -> Day:
    """A lake with every channel of a day of that many trades."""
    files = channels(trades, folder / "data", recorded)
    first = files[DataType.TRADES]
    paths = {str(name): dataset.path for name, dataset in files.items()}
    job = first.job(work / "lake", channels=paths)
    ticks = run(OURS, Task.CHANNELS, job, Path(sys.executable)).result
    rows = trades + round(trades * BOOK_SHARE) + TICKER_ROWS
    return Day(job.after_ingest(str(ticks), work), rows, trades, first.origin)


def compared(
    day: Day,
    interpreters: Mapping[Contender, Interpreter],
    repeat: int,
    note: Callable[[str], None],
) -> list[Row]:
    """All contenders at the day, in interleaved rounds."""
    rows = [Row(one, Task.FEATURES) for one in CONTENDERS if Task.FEATURES in one.tasks]
    interleaved(rows, interpreters=interpreters, job=day.job, repeat=repeat, note=note)
    return rows


def verdicts(rows: Sequence[Row], day: Day) -> list[str]:
    """The goals and whether they hold in this run."""
    ours = found(rows, OURS, Task.FEATURES)
    if ours is None:
        return ["  ?    not measured"]
    speed, peak = day.rows / ours.median("cpu_s"), ours.median("peak_bytes")
    is_fast, is_small = speed >= GOAL_ROWS_PER_S, peak <= BOUND_BYTES
    goal, bound = GOAL_ROWS_PER_S / _MEGA, BOUND_BYTES / _MEGA
    return [
        f"  {_mark(holds=is_fast)}{speed / _MEGA:.2f}M rows per CPU-second (at least {goal:g}M)",
        f"  {_mark(holds=is_small)}peak of {peak / _MEGA:.0f} MB (at most {bound:.0f} MB)",
        *(_beside(row, ours) for row in rows if row is not ours and row.runs),
    ]


def cost(day: Day) -> Measurement:
    """One run of ours alone."""
    job = dataclasses.replace(day.job, folder=day.job.folder / "ours")
    return run(OURS, Task.FEATURES, job, Path(sys.executable))


def _bars(row: Row) -> pl.DataFrame:
    return pl.read_parquet(str(row.runs[-1].result), hive_partitioning=False, glob=False)


def _beside(row: Row, ours: Row) -> str:
    ratio = row.median("cpu_s") / ours.median("cpu_s")
    columns = len(_bars(row).columns) - 1
    return (
        f"       {ratio:.1f} x less than {row.label}, which computes {columns} of our "
        f"{len(_bars(ours).columns)} columns"
    )


def _mark(*, holds: bool) -> str:
    return f"{'holds' if holds else 'MISSED':7}"
