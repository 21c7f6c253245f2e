"""What the demo asks the warehouse that it has filled.

What belongs here: the question and its answer as text. What does not: filling it (`demo.py`) and
printing (`demo_screen.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.warehouse import build_warehouse
from tickhandler_dagster.settings import Settings

QUESTION = """\
SELECT CAST(ts_open AS DATE) AS day, venue, SUM(trade_count) AS trades,
       ROUND(SUM(notional)) AS turnover,
       ROUND(AVG(spread_tw_bps), 2) AS spread_bps
FROM candles_1h_final
WHERE instrument_key LIKE '%BTC%'
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT 12"""
"""Needs hours alone, which every demo has, and reads the same in BigQuery."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the warehouse says to a question.

    Attributes:
        question: In SQL.
        header: Columns of the answer.
        rows: Its rows as text.
    """

    question: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def ask(settings: Settings, question: str = QUESTION) -> Answer:
    """Ask the warehouse of these settings.

    Raises:
        MissingUpstream: nothing was published.
    """
    return answer_of(
        question, build_warehouse(settings, build_lake(settings).store).query(question)
    )


def answer_of(question: str, found: pa.Table) -> Answer:
    """The answer as text."""
    return Answer(
        question,
        found.column_names,
        [tuple(map(_text, row.values())) for row in found.to_pylist()],
    )


def _text(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:,}"
    return "" if value is None else str(value)
