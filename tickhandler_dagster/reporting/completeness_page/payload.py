"""What the page's scripts read: the numbers of a report, packed small.

What belongs here: columns instead of rows, texts once, runs of equal counts as pairs, gzip without
a clock. What does not: numbers (`pipeline/completeness_report.py`) and markup (`page.html.j2`).
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tickhandler_dagster.market.quality.gaps import GAP_KIND_MEANINGS, GapKind
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.pipeline.completeness_reading import WHOLE_CELL
from tickhandler_dagster.pipeline.completeness_report import CompletenessReport
from tickhandler_dagster.pipeline.completeness_runs import COMPLETE_STATES, NOT_EXPECTED_STATES
from tickhandler_dagster.reporting.pictures import STATE_COLOURS

MAX_WORST = 2_000

BADNESS: tuple[DataState, ...] = (
    DataState.NOT_LISTED,
    DataState.PRESENT,
    DataState.EMPTY,
    DataState.NOT_EXPORTED_YET,
    DataState.PARTIAL,
    DataState.INCIDENT,
    DataState.NO_ENTITLEMENT,
    DataState.NOT_INGESTED,
    DataState.QUARANTINED,
    DataState.FAILED,
)
"""States from the least to the most worrying: a cell has the colour of its worst."""

_PRETTY = {state: state.value.replace("_", " ") for state in DataState}


def state_title(state: DataState) -> str:
    """The state in words.

    Example:
        >>> state_title(DataState.NOT_LISTED)
        'not listed'
    """
    return _PRETTY[state]


def head_json(report: CompletenessReport) -> str:
    """What every script needs at once, as JSON that may stand inside a script element."""
    head = {
        "start": report.span.start.isoformat(),
        "days": len(report.span.days),
        "streams": [[str(venue), str(data_type)] for venue, data_type in report.span.streams],
        "states": [
            {
                "name": state.value,
                "title": state_title(state),
                "meaning": STATE_MEANINGS[state],
                "colour": STATE_COLOURS[state],
                "complete": state in COMPLETE_STATES,
                "expected": state not in NOT_EXPECTED_STATES,
            }
            for state in BADNESS
        ],
        "wholeCell": WHOLE_CELL,
        "kinds": [[kind.value, GAP_KIND_MEANINGS[kind]] for kind in GapKind],
    }
    # Inside a script element `</script>` would end it whatever the JSON says.
    return _json(head).replace("<", "\\u003c")


def packed(report: CompletenessReport) -> str:
    """Everything the scripts show, as JSON in gzip in base64; equal reports are equal texts."""
    texts = _Texts()
    streams = {
        (str(venue), str(data_type)): place
        for place, (venue, data_type) in enumerate(report.span.streams)
    }
    document = {
        "counts": _counts(report, streams),
        "runs": _columns(report.runs, report, streams, texts),
        "holes": _columns(report.holes, report, streams, texts),
        "worst": _columns(report.worst.head(MAX_WORST), report, streams, texts),
        "texts": texts.all,
    }
    data = gzip.compress(_json(document).encode(), compresslevel=6, mtime=0)
    return base64.b64encode(data).decode()


class _Texts:
    """Texts by number: a reason of a thousand rows is stored once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def all(self) -> list[str]:
        return list(self._numbers)


def _columns(
    frame: pl.DataFrame,
    report: CompletenessReport,
    streams: Mapping[tuple[str, str], int],
    texts: _Texts,
) -> dict[str, list[Any]]:
    """A frame as lists: dates as days after the start, times in µs, texts as numbers."""
    pairs = zip(frame["venue"], frame["data_type"], strict=True)
    columns: dict[str, list[Any]] = {"stream": [streams[pair] for pair in pairs]}
    for name, dtype in frame.schema.items():
        if name in {"venue", "data_type", "verdict"}:
            continue
        column = frame[name]
        if name == "state":
            columns[name] = [BADNESS.index(DataState(state)) for state in column]
        elif dtype == pl.Date:
            columns[name] = (column - report.span.start).dt.total_days().to_list()
        elif isinstance(dtype, pl.Datetime):
            columns[name] = column.dt.epoch("us").to_list()
        elif dtype == pl.String:
            columns[name] = [texts.number(text) for text in column]
        else:
            columns[name] = column.to_list()
    return columns


def _counts(report: CompletenessReport, streams: Mapping[tuple[str, str], int]) -> list[list[Any]]:
    """For each stream, state and kind of row: the instruments of every day, as (count, days)."""
    days = len(report.span.days)
    key = ("venue", "data_type", "state", "is_whole_cell")
    daily = report.counts.group_by(*key, "date").agg(pl.col("instruments").sum())
    found = []
    for (venue, data_type, state, is_whole), rows in daily.sort(*key, "date").group_by(
        key, maintain_order=True
    ):
        line = [0] * days
        offsets = (rows["date"] - report.span.start).dt.total_days()
        for offset, count in zip(offsets, rows["instruments"], strict=True):
            line[offset] = count
        found.append(
            [
                streams[str(venue), str(data_type)],
                BADNESS.index(DataState(str(state))),
                int(bool(is_whole)),
                _run_lengths(line),
            ]
        )
    return found


def _run_lengths(line: Sequence[int]) -> list[int]:
    runs = ((count, len(list(group))) for count, group in itertools.groupby(line))
    return list(itertools.chain.from_iterable(runs))


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
