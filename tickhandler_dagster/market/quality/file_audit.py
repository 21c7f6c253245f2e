"""One pass over a stored file of ticks: everything the audits ask of it.

What belongs here: which auditors a data type has, and what they found as an audit, gaps and
findings. What does not: the auditors, what other files say (`tick_gaps.py`), and reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.arrivals import ArrivalAudit, Arrivals
from tickhandler_dagster.market.quality.book_states import BEST_PRICES, BookAudit, SnapshotAudit
from tickhandler_dagster.market.quality.broken_rows import BrokenRows, FileSubject
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap
from tickhandler_dagster.market.quality.price_grid import PRICE_COLUMNS, GridAudit
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.tick_gaps import number_gaps, resnapshot_gaps
from tickhandler_dagster.market.quality.trade_numbers import NumberAudit, TradeNumbers


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says by itself.

    Attributes:
        rows: Its rows.
        arrivals: When they came.
        numbers: Its trade numbers; None where they count nothing.
        gaps: Holes that the file proves: lost numbers and later snapshots.
        findings: Rules that its rows break.
    """

    rows: int
    arrivals: Arrivals
    numbers: TradeNumbers | None
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]


class FileAudit:
    """Follows the rows of a file through every auditor of its type.

    Args:
        subject: Which file.
    """

    def __init__(self, subject: FileSubject) -> None:
        self._subject = subject
        kind = subject.data_type
        self._rows = 0
        self._arrivals = ArrivalAudit(subject.day[0])
        self._unknown = BrokenRows()
        prices, best = PRICE_COLUMNS[kind], BEST_PRICES.get(kind)
        self._grid = GridAudit(subject.tick_size, prices) if subject.tick_size and prices else None
        self._book = None if best is None else BookAudit(best)
        self._numbers = NumberAudit() if subject.has_dense_ids else None
        self._snapshots = SnapshotAudit() if kind is DataType.INCREMENTAL_BOOK_L2 else None

    def add(self, frame: pl.DataFrame) -> None:
        """Add the rows of a piece that follows the pieces before it."""
        if not frame.height:
            return
        self._rows += frame.height
        exchange, arrival = (
            frame[name].to_physical().to_numpy() for name in ("timestamp", "local_timestamp")
        )
        self._arrivals.add(exchange, arrival)
        if self._numbers is not None:
            self._numbers.add(frame["id"], exchange)
        if self._subject.data_type is DataType.TRADES:
            self._unknown.add((frame["side"] == "unknown").to_numpy(), exchange, {})
        for auditor in (self._grid, self._book, self._snapshots):
            if auditor is not None:
                auditor.add(frame, exchange)

    def finish(self) -> FileFacts:
        """What the file says."""
        numbers = None if self._numbers is None else self._numbers.finish()
        blocks = [] if self._snapshots is None else self._snapshots.blocks
        broken = self._broken()
        found = [
            self._subject.finding(rule, rows, of_rows=self._rows) for rule, rows in broken.items()
        ]
        return FileFacts(
            rows=self._rows,
            arrivals=self._arrivals.finish(),
            numbers=numbers,
            gaps=(*number_gaps(self._subject, numbers), *resnapshot_gaps(self._subject, blocks)),
            findings=tuple(finding for finding in found if finding is not None),
        )

    def _broken(self) -> dict[RuleName, BrokenRows]:
        broken = {
            RuleName.OUT_OF_ORDER: self._arrivals.out_of_order,
            RuleName.UNKNOWN_SIDE: self._unknown,
        }
        if self._grid is not None:
            broken[RuleName.OFF_PRICE_GRID] = self._grid.broken
        if self._book is not None:
            broken |= dict(self._book.finish())
        if self._snapshots is not None:
            broken[RuleName.RESNAPSHOT] = self._snapshots.broken()
        return broken
