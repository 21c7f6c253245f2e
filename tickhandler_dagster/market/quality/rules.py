"""Every rule a vendor file and its rows are held to, with its severity: one table.

What does not belong here: how a rule is computed (`file_rules.py`, `row_rules.py`, `tick_csv.py`,
`adapters/tick_files.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """What breaking a rule does."""

    FAIL = "fail"
    """The file is kept aside whole; its instruments are `quarantined`."""
    QUARANTINE = "quarantine"
    """The row is kept aside with the rule's name; the rest of the file is used."""


class RuleName(StrEnum):
    """A rule's name as it stands in reasons, quarantine objects and reports."""

    COMPLETE_GZIP = "complete_gzip"
    EXACT_HEADER = "exact_header"
    FINAL_NEWLINE = "final_newline"
    PARSEABLE_CELLS = "parseable_cells"
    EXPECTED_EXCHANGE_AND_SYMBOL = "expected_exchange_and_symbol"
    NO_NULLS_IN_KEY_COLUMNS = "no_nulls_in_key_columns"
    MICROSECOND_TIMES = "microsecond_times"
    ARRIVAL_INSIDE_DAY = "arrival_inside_day"
    ARRIVAL_NON_DECREASING = "arrival_non_decreasing"
    UNEXPECTED_SYMBOL = "unexpected_symbol"
    NOT_FINITE = "not_finite"
    NOT_POSITIVE = "not_positive"
    OUT_OF_BOUNDS = "out_of_bounds"
    CLOCKS_APART = "clocks_apart"
    DUPLICATE_ID = "duplicate_id"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        severity: What breaking it does.
        meaning: What is so where it is broken, in one sentence.
    """

    severity: Severity
    meaning: str


RULES: Mapping[RuleName, Rule] = MappingProxyType(
    {
        RuleName.COMPLETE_GZIP: Rule(
            Severity.FAIL, "the file is not gzip, is cut, or fails its checksum"
        ),
        RuleName.EXACT_HEADER: Rule(Severity.FAIL, "the header is not that of the data type"),
        RuleName.FINAL_NEWLINE: Rule(Severity.FAIL, "the last line does not end"),
        RuleName.PARSEABLE_CELLS: Rule(
            Severity.FAIL, "a line is short or long, or a cell is not of its column's type"
        ),
        RuleName.EXPECTED_EXCHANGE_AND_SYMBOL: Rule(
            Severity.FAIL, "a row belongs to another exchange or symbol"
        ),
        RuleName.NO_NULLS_IN_KEY_COLUMNS: Rule(
            Severity.FAIL, "a cell is empty in a column that always has a value"
        ),
        RuleName.MICROSECOND_TIMES: Rule(Severity.FAIL, "times are not in microseconds"),
        RuleName.ARRIVAL_INSIDE_DAY: Rule(Severity.FAIL, "a row arrived outside the file's day"),
        RuleName.ARRIVAL_NON_DECREASING: Rule(
            Severity.FAIL, "a row arrived before the row above it"
        ),
        RuleName.UNEXPECTED_SYMBOL: Rule(
            Severity.QUARANTINE, "a grouped file holds a symbol the venue's catalogue does not list"
        ),
        RuleName.NOT_FINITE: Rule(Severity.QUARANTINE, "a number is NaN or infinite"),
        RuleName.NOT_POSITIVE: Rule(
            Severity.QUARANTINE, "a price, amount or strike is zero or negative"
        ),
        RuleName.OUT_OF_BOUNDS: Rule(
            Severity.QUARANTINE, "a number is outside its column's bounds"
        ),
        RuleName.CLOCKS_APART: Rule(
            Severity.QUARANTINE, "exchange time and arrival are more than an hour apart"
        ),
        RuleName.DUPLICATE_ID: Rule(
            Severity.QUARANTINE, "an earlier row of the file has the same event id"
        ),
    }
)
