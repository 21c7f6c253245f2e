"""Many days of minute bars to mid-frequency features: ours beside TA-Lib's part of them.

What belongs here: the order of things for `--mft`. What does not: measuring (`measure.py`), the
bars (`candle_days.py`), the comparison of the results (`agreement.py`), the tables (`report.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from candle_days import VENUE, candle_lake, dates, keys
from contenders import CONTENDERS, OURS, Contender, Task
from environments import Interpreter
from job import Job
from rounds import Row, found, interleaved

from tickhandler_dagster.market.timeframes import Timeframe

DEFAULT_DAYS = 60
DEFAULT_INSTRUMENTS = 50

_MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Span:
    """What is measured: the lake that holds the candles, and how many there are."""

    job: Job
    days: int
    instruments: int

    @property
    def bars(self) -> int:
        """Minute bars of all days and instruments."""
        return self.days * self.instruments * Timeframe.M1.bars_per_day

    @property
    def title(self) -> str:
        """What was measured, for the head of the table."""
        return (
            f"{self.days} days x {self.instruments} instruments x 1m = {self.bars:,} simulated "
            "bars to mid-frequency features"
        )


def prepared(days: int, instruments: int, folder: Path, work: Path) -> Span:
    """A lake of candles; the last day of the first instrument is what results are compared by."""
    lake = candle_lake(days, instruments, folder / "data")
    job = Job(
        source=lake,
        catalog=lake,
        venue=VENUE.value,
        symbol=keys(instruments)[0],
        date=dates(days)[-1].isoformat(),
        lake=lake,
        ticks=lake,
        folder=work,
    )
    return Span(job, days, instruments)


def compared(
    span: Span,
    interpreters: Mapping[Contender, Interpreter],
    repeat: int,
    note: Callable[[str], None],
) -> list[Row]:
    """All contenders over the span, in interleaved rounds."""
    rows = [Row(one, Task.MFT) for one in CONTENDERS if Task.MFT in one.tasks]
    interleaved(rows, interpreters=interpreters, job=span.job, repeat=repeat, note=note)
    return rows


def sentences(rows: Sequence[Row], span: Span) -> list[str]:
    """What the numbers come to, by bar and by column."""
    ours = found(rows, OURS, Task.MFT)
    if ours is None:
        return ["  not measured"]
    return [
        f"  {row.label}: {span.bars / row.median('cpu_s') / _MEGA:.3f}M bars per CPU-second, "
        f"{row.median('cpu_s') / span.bars / _columns(row) * 1e9:.0f} ns per value of "
        f"{_columns(row)} columns, peak of {row.median('peak_bytes') / _MEGA:.0f} MB"
        for row in rows
        if row.runs
    ]


def _columns(row: Row) -> int:
    """Columns of numbers; what says which bar a row is does not count."""
    schema = pl.read_parquet_schema(str(row.runs[-1].result))
    return sum(dtype.is_numeric() for name, dtype in schema.items() if name != "row_version")
