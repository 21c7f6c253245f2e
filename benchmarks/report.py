"""Tables for the terminal.

What does not belong here: numbers. They come from `rounds.py` and `memory.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from contenders import LIMIT, OURS, Task
from rich import box
from rich.console import Console
from rich.table import Table
from rounds import Row, found

_MEGA = 1e6


def print_rows(console: Console, rows: Sequence[Row], *, title: str) -> None:
    """The table of all rows, one block per task."""
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in ("task", "contender"):
        table.add_column(name, no_wrap=True)
    for name in ("CPU s", "x limit", "x ours", "peak MB", "written MB", "import CPU s", "wall s"):
        table.add_column(name, justify="right")
    for task in Task:
        for row in (row for row in rows if row.task is task):
            table.add_row(str(task), row.label, *_cells(row, rows))
        table.add_section()
    console.print(table)


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    if not row.runs:
        return (f"absent: {row.reason}",)
    cpu = row.median("cpu_s")
    limit, ours = found(rows, LIMIT, row.task), found(rows, OURS, row.task)
    return (
        f"{cpu:.2f}",
        "" if limit is None else f"{cpu / limit.median('cpu_s'):.1f}",
        "" if ours is None else f"{cpu / ours.median('cpu_s'):.2f}",
        f"{row.median('peak_bytes') / _MEGA:.0f}",
        f"{row.median('written_bytes') / _MEGA:.1f}",
        f"{row.median('import_cpu_s'):.2f}",
        f"{row.median('wall_s'):.1f}",
    )
