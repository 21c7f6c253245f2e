"""What a comparison of live bars with the batch says as findings.

What belongs here: which cause breaks which rule. What does not: finding causes (`parity.py`) and
how a policy takes a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_differences_table import LiveDifferenceCause
from tickhandler_dagster.market.live.parity import LiveComparison
from tickhandler_dagster.market.quality.findings import SAMPLE_SIZE, Finding
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import Timeframe

SOURCE = "live"
"""Name of the findings file and of their source."""

RULE_OF = {
    LiveDifferenceCause.LOST: RuleName.LIVE_LOST_ROWS,
    LiveDifferenceCause.LATE: RuleName.LIVE_LATE_ROWS,
    LiveDifferenceCause.REVISED: RuleName.LIVE_ROWS_REVISED,
    LiveDifferenceCause.UNEXPLAINED: RuleName.LIVE_DIFFERS,
}
"""Causes that are findings; the others are so by nature."""


def live_findings(comparisons: Iterable[LiveComparison], cell: VenueDay) -> list[Finding]:
    """The broken rules of an instrument over its timeframes; without what is so by nature."""
    done = list(comparisons)
    found = []
    for cause, rule in RULE_OF.items():
        parts = [
            (one, rows)
            for one in done
            if (rows := one.differences.filter(pl.col("cause") == cause.value)).height
        ]
        if parts:
            times = pl.concat([rows["ts_open"] for _, rows in parts])
            told = [text for one, rows in parts for text in _told(rows.head(1), one.timeframe)]
            found.append(
                Finding(
                    date=cell.date,
                    venue=cell.venue,
                    source=SOURCE,
                    instrument_key=parts[0][0].instrument_key,
                    rule=rule,
                    rows=times.len(),
                    of_rows=sum(one.bars for one in done),
                    first_at=times.min(),  # type: ignore[arg-type]
                    last_at=times.max(),  # type: ignore[arg-type]
                    sample="; ".join(told[:SAMPLE_SIZE]),
                )
            )
    return found


def _told(rows: pl.DataFrame, timeframe: Timeframe) -> Iterator[str]:
    for row in rows.iter_rows(named=True):
        what = row["sample"] or ("no live bar" if row["stage"] is None else "no bar of the batch")
        more = f" and {len(row['fields']) - 1} more" if len(row["fields"]) > 1 else ""
        yield f"{timeframe} {row['ts_open']:%H:%M:%S}: {what}{more}"
