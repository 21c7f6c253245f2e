"""Markdown for the catalogue: tables of plain cells and a picture that travels inside the text.

What does not belong here: drawing (`pictures.py`) and choosing what to show (the assets).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

SIMULATED_NOTICE = "**Simulated data** from the sandbox: not a market."


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, limit: int = 1000) -> str:
    """A Markdown table; rows past `limit` become one line that says how many there are.

    Example:
        >>> print(table(["key", "rows"], [["A", 1], ["B", 2], ["C", 3]], limit=2))
        | key | rows |
        |---|---|
        | A | 1 |
        | B | 2 |
        <BLANKLINE>
        and 1 more
    """
    all_rows = list(rows)
    lines = [_line(header), "|" + "---|" * len(header)]
    lines += [_line(row) for row in all_rows[:limit]]
    hidden = len(all_rows) - limit
    return "\n".join(lines) + (f"\n\nand {hidden:,} more" if hidden > 0 else "")


def picture(png: bytes, title: str) -> str:
    """A PNG as an image inside the text."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _line(cells: Sequence[object]) -> str:
    return (
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    )
