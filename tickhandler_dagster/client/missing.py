"""What is asked for and not in the lake, as one error: its cells, and the command for them.

What belongs here: the sentence. What does not: finding out what is missing (`listing.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from tickhandler_dagster.market.commands import backfill
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream

_SHOWN = 5


@dataclass(slots=True)
class Missing:
    """Cells of one asset that a question needs and the lake has not, each with its reason.

    Attributes:
        asset: Such as `candles/1m`.
        reasons: By cell and, where it is one instrument's, its key.
    """

    asset: str
    reasons: dict[tuple[VenueDay, str], str] = field(default_factory=dict)

    def add(self, cell: VenueDay, reason: str = "not materialized", *, key: str = "") -> None:
        """Note that a cell, or an instrument of it, is missing."""
        self.reasons[cell, key] = reason

    def require_none(self) -> None:
        """Nothing is missing.

        Raises:
            MissingUpstream: something is; the text names it, and the command that makes it.
        """
        if not self.reasons:
            return
        found = sorted(self.reasons)
        shown = [self._named(*place) for place in found[:_SHOWN]]
        more = len(found) - len(shown)
        raise MissingUpstream(
            self.asset,
            f"not in the lake: {'; '.join(shown)}{f'; and {more} more' if more else ''}",
            remedy=f"Run: {command(self.asset, (cell for cell, _ in found))}",
        )

    def _named(self, cell: VenueDay, key: str) -> str:
        what = f"{cell} {key}" if key else str(cell)
        return f"{what} ({self.reasons[cell, key]})"


def command(asset: str, cells: Iterable[VenueDay]) -> str:
    """The command that makes the days from the first to the last of the cells.

    Example:
        >>> command("candles/1m", [VenueDay.parse("2024-08-08|upbit")])
        'tickhandler backfill --start-date 2024-08-08 --end-date 2024-08-08 --venues upbit \
--assets candles/1m'
    """
    known = sorted(cells)
    days: list[dt.date] = [cell.date for cell in known]
    return backfill(asset, min(days), max(days), sorted({cell.venue for cell in known}))
