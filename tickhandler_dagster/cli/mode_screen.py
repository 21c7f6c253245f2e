"""How a mode looks: bars while it runs, a line per run, a table at the end.

What does not belong here: running anything (`mode_runs.py`).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tickhandler_dagster.market.progress import Progress as Step

if TYPE_CHECKING:
    from tickhandler_dagster.cli.mode_runs import ModeRuns, PartitionResult

SHOWN_ROWS = 60
"""Rows of the closing table; what is not well comes first, and `--json` has all of them."""

_WIDTH = 160


class ModeScreen:
    """Progress and result on a terminal; plain lines where the output is no terminal.

    Args:
        as_json: Standard output is for JSON: everything else goes to the error stream.
    """

    def __init__(self, *, as_json: bool) -> None:
        screen = Console(stderr=as_json)
        self.console = screen if screen.is_terminal else Console(stderr=as_json, width=_WIDTH)
        self._as_json = as_json
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._work = self._bars.add_task("", total=None, note="", visible=False)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bars while the body runs."""
        with self._bars:
            yield

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, highlight=False, markup=False)

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

    def started(self, title: str) -> None:
        """A run starts."""
        self._bars.reset(self._work, description=title, total=None, note="", visible=True)

    def ended(self, title: str, *, seconds: float, failures: Sequence[str]) -> None:
        """A run is over."""
        self._bars.update(self._work, visible=False)
        self.say(f"{'failed' if failures else 'ok    '} {title} ({seconds:.1f} s)")
        for text in failures:
            self.say(f"       {text}")

    def close(self, runs: ModeRuns, more: Mapping[str, object] | None = None) -> None:
        """The table, or the JSON."""
        if self._as_json:
            document = {
                "whole": runs.is_well,
                "partitions": [result.as_json() for result in runs.results],
                "failed_runs": runs.failures,
                **(more or {}),
            }
            sys.stdout.write(json.dumps(document, indent=1) + "\n")
        elif runs.results:
            self._table(runs.results)

    def _table(self, results: Sequence[PartitionResult]) -> None:
        table = Table("asset", "partition", "state", "failed checks")
        for header in ("rows", "seconds"):
            table.add_column(header, justify="right")
        ordered = sorted(results, key=lambda one: (one.is_well, bool(not one.warnings)))
        for one in ordered[:SHOWN_ROWS]:
            checks = [*one.errors, *(f"{name} (warning)" for name in one.warnings)]
            table.add_row(
                one.asset,
                one.partition,
                str(one.state),
                ", ".join(checks),
                "" if one.rows is None else f"{one.rows:,}",
                f"{one.seconds:.2f}",
            )
        self.console.print(table)
        counts = Counter(str(one.state) for one in results)
        total = sum(one.rows or 0 for one in results)
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        hidden = max(len(results) - SHOWN_ROWS, 0)
        rest = f"; {hidden:,} of them not shown (--json has all)" if hidden else ""
        self.say(f"{len(results):,} partitions: {told}; {total:,} rows{rest}")
