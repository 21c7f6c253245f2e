"""Every rule that files, rows, universes and bars are held to, with its severity: one table.

What does not belong here: how a rule is computed (`file_rules.py`, `row_rules.py`, `tick_csv.py`,
`adapters/tick_files.py`, the audits) and what an installation makes of it (`policy.py`).
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
    WARN = "warn"
    """The data is used, and somebody should look."""
    INFO = "info"
    """The data is used; the number stands in the findings."""


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
    UNSORTED_LEVELS = "unsorted_levels"
    ROWS_NOT_CONSERVED = "rows_not_conserved"
    LOST_TRADE_IDS = "lost_trade_ids"
    SILENCE = "silence"
    VENUE_SILENCE = "venue_silence"
    RESNAPSHOT = "resnapshot"
    OFF_PRICE_GRID = "off_price_grid"
    OUT_OF_ORDER = "out_of_order"
    UNKNOWN_SIDE = "unknown_side"
    CROSSED_BOOK = "crossed_book"
    WIDE_SPREAD = "wide_spread"
    REVERTING_JUMP = "reverting_jump"
    TRADE_OUTSIDE_QUOTES = "trade_outside_quotes"
    UNUSUAL_ROW_COUNT = "unusual_row_count"
    UNUSUAL_INSTRUMENT_COUNT = "unusual_instrument_count"
    NO_CONTRACT_TERMS = "no_contract_terms"
    ROLL_UP_DIFFERS = "roll_up_differs"
    SPOT_PERPETUAL_APART = "spot_perpetual_apart"
    AWAY_FROM_INDEX = "away_from_index"
    KLINE_MISSING = "kline_missing"
    KLINE_PRICE_DIFFERS = "kline_price_differs"
    KLINE_VOLUME_DIFFERS = "kline_volume_differs"
    LIVE_DIFFERS = "live_differs"
    LIVE_LOST_ROWS = "live_lost_rows"
    LIVE_LATE_ROWS = "live_late_rows"
    LIVE_ROWS_REVISED = "live_rows_revised"


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
        RuleName.UNSORTED_LEVELS: Rule(
            Severity.QUARANTINE, "the levels of a book side are not in the order of their prices"
        ),
        RuleName.ROWS_NOT_CONSERVED: Rule(
            Severity.FAIL, "rows of the vendor's file are neither in the lake nor in quarantine"
        ),
        RuleName.LOST_TRADE_IDS: Rule(
            Severity.WARN, "trade numbers that count up by one skip some"
        ),
        RuleName.SILENCE: Rule(
            Severity.WARN, "no row came for longer than the instrument's own rate explains"
        ),
        RuleName.VENUE_SILENCE: Rule(
            Severity.WARN, "no row of any instrument of the venue came for a while"
        ),
        RuleName.RESNAPSHOT: Rule(
            Severity.WARN, "the book was sent whole again inside the day, as after a reconnect"
        ),
        RuleName.OFF_PRICE_GRID: Rule(
            Severity.WARN, "a price is no multiple of the price step the catalogue has for the day"
        ),
        RuleName.OUT_OF_ORDER: Rule(
            Severity.INFO, "a row's exchange time lies before that of the row above it"
        ),
        RuleName.UNKNOWN_SIDE: Rule(Severity.INFO, "the taker's side of a trade is unknown"),
        RuleName.CROSSED_BOOK: Rule(
            Severity.INFO, "the best bid is not below the best ask; bars leave such states out"
        ),
        RuleName.WIDE_SPREAD: Rule(
            Severity.INFO, "the spread is more than fifty times the day's median"
        ),
        RuleName.REVERTING_JUMP: Rule(
            Severity.INFO, "the mid jumped by ten times its usual change and came back"
        ),
        RuleName.TRADE_OUTSIDE_QUOTES: Rule(
            Severity.INFO, "a trade lies beyond the last quotes by more than their spread"
        ),
        RuleName.UNUSUAL_ROW_COUNT: Rule(
            Severity.WARN, "the day has far more or fewer rows than its weekdays before"
        ),
        RuleName.UNUSUAL_INSTRUMENT_COUNT: Rule(
            Severity.WARN, "the venue lists far more or fewer instruments than the day before"
        ),
        RuleName.NO_CONTRACT_TERMS: Rule(
            Severity.INFO, "what a contract is worth is unknown, so its volumes have no unit"
        ),
        RuleName.ROLL_UP_DIFFERS: Rule(
            Severity.FAIL, "a stored bar is not what the 15 s bars inside it add up to"
        ),
        RuleName.SPOT_PERPETUAL_APART: Rule(
            Severity.WARN, "spot and perpetual of one asset closed bars far from each other"
        ),
        RuleName.AWAY_FROM_INDEX: Rule(
            Severity.WARN, "bars closed far from the index price the venue gives"
        ),
        RuleName.KLINE_MISSING: Rule(
            Severity.WARN, "a minute traded here or in the venue's klines, not in both"
        ),
        RuleName.KLINE_PRICE_DIFFERS: Rule(
            Severity.WARN, "a price of the bar is not that of the venue's own kline"
        ),
        RuleName.KLINE_VOLUME_DIFFERS: Rule(
            Severity.WARN, "volume or trades of the bar are not those of the venue's own kline"
        ),
        RuleName.LIVE_DIFFERS: Rule(
            Severity.FAIL, "a live bar is not the batch's bar, and nothing known explains it"
        ),
        RuleName.LIVE_LOST_ROWS: Rule(
            Severity.WARN, "live did not see rows that the vendor's files have"
        ),
        RuleName.LIVE_LATE_ROWS: Rule(
            Severity.INFO, "rows reached live after the time in which a bar is still amended"
        ),
        RuleName.LIVE_ROWS_REVISED: Rule(
            Severity.INFO, "the vendor's files have other rows than live received"
        ),
    }
)
