"""What the demo shows: a bar over all runs, one for the work at hand, and a final table.

What does not belong here: running anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tickhandler_dagster.cli.demo_warehouse import Answer
from tickhandler_dagster.market.progress import Progress as Step
from tickhandler_dagster.pipeline.cell_summary import CellSummary


class DemoScreen:
    """Progress and result of a demo on a terminal; plain lines where the output is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._runs = self._bars.add_task("runs", total=None, note="")
        self._work = self._bars.add_task("", total=None, note="", visible=False)
        self._seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._files = 0
        self._files_written = 0

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bars while the body runs."""
        self._console.print("[bold]Simulated data[/bold] from the sandbox: not a market.")
        with self._bars:
            yield

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text)

    def expect(self, runs: int) -> None:
        """There will be that many runs."""
        self._bars.update(self._runs, total=runs)

    def start(self, title: str) -> None:
        """A run starts."""
        self._started = time.monotonic()
        self._bars.update(self._runs, note=title.partition(" ")[0])

    def on_progress(self, step: Step) -> None:
        """A step forward inside a run."""
        self._bars.update(
            self._work,
            description=step.task,
            completed=step.done,
            total=step.total,
            note=f"{step.unit}, {step.rows:,} rows",
            visible=True,
        )

    def finish(self, title: str, result: dg.ExecuteInProcessResult) -> None:
        """A run is over."""
        partition = title.split(" ", 1)[0]
        self._seconds[partition] = (
            self._seconds.get(partition, 0.0) + time.monotonic() - self._started
        )
        self._bars.advance(self._runs)
        for event in result.get_asset_materialization_events():
            metadata = event.materialization.metadata
            self._files += _number(metadata.get("files fetched"))
            self._files_written += _number(metadata.get("files written"))
        for event in result.all_events:
            if event.is_step_failure:
                self._console.print(f"[red]{title}[/red]: {_reason(event)}")

    def close(self, cells: Sequence[CellSummary], *, home: Path, answers: Sequence[Answer]) -> None:
        """Print the table, what the warehouse says, and the next command."""
        table = Table(
            title="Simulated days in the lake",
            box=SIMPLE,
            padding=(0, 1),
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("partition", no_wrap=True)
        for header in ("instruments", "tick rows", "missing", "bars", "time"):
            table.add_column(header, justify="right", no_wrap=True)
        for cell in cells:
            table.add_row(
                str(cell.cell),
                f"{cell.instruments:,}",
                f"{cell.rows:,}",
                f"{cell.missing:,}",
                f"{cell.bars:,}",
                f"{self._seconds.get(str(cell.cell), 0.0):.1f} s",
            )
        self._console.print(table)
        bars, final = sum(cell.bars for cell in cells), sum(cell.final_bars for cell in cells)
        self._console.print(
            f"{final:,} of {bars:,} bars are final; others wait for the neighbouring day."
        )
        if not self._files and not self._files_written:
            self._console.print("Nothing to do: all is there (0 files fetched, 0 written).")
        for answer in answers:
            self._show(answer)
        self._console.print(f"Lake: {home / 'lake'}\nNext: [bold]make ui[/bold]")

    def _show(self, answer: Answer) -> None:
        self._console.print(f"\nAsked in SQL:\n{answer.question}", markup=False, highlight=False)
        table = Table(box=SIMPLE, padding=(0, 1), pad_edge=False, collapse_padding=True)
        for place, name in enumerate(answer.header):
            table.add_column(name, justify="right" if place > 1 else "left", no_wrap=True)
        for row in answer.rows:
            table.add_row(*row)
        self._console.print(table)


def _number(value: dg.MetadataValue | None) -> int:
    return int(value.value) if isinstance(value, dg.IntMetadataValue) and value.value else 0


def _reason(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return failure.error.message if failure.error else "no reason given"
