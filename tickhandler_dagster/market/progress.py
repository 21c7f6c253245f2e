"""What long work says while it goes on: how much of how much, in files, rows and bytes.

What does not belong here: showing it. The command line draws bars, a run writes log lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """A step forward of one piece of work.

    Attributes:
        task: What is being done, such as `raw_ticks/trades 2024-08-08|binance`.
        done: Finished units.
        total: All units.
        unit: What a unit is: files, instruments.
        rows: Rows written so far.
        bytes: Bytes fetched or written so far.
    """

    task: str
    done: int
    total: int
    unit: str
    rows: int = 0
    bytes: int = 0

    @property
    def is_finished(self) -> bool:
        """All units are done."""
        return self.done >= self.total


OnProgress: TypeAlias = Callable[[Progress], None]
