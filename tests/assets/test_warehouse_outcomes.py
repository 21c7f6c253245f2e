"""What checks say of a published day."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from tickhandler_dagster.adapters.warehouse import LoadedObject, Receipt, TableDay
from tickhandler_dagster.checks.warehouse_outcomes import published_outcome
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.warehouse_publish import DayPublication

DAY = dt.date(2024, 8, 8)


def publication(in_table, *, final_rows=None):
    day = TableDay(
        DAY,
        (
            LoadedObject("a.parquet", VenueId.BINANCE, 1500, 10, "a"),
            LoadedObject("b.parquet", VenueId.OKEX, 7, 10, "b"),
        ),
    )
    receipt = Receipt(day=DAY, rows=day.rows, bytes=20, job_id="", is_new=True)
    return DayPublication(day, receipt, in_table, final_rows)


def test_a_table_with_the_rows_of_the_lake_passes():
    found = published_outcome(publication({VenueId.BINANCE: 1500, VenueId.OKEX: 7}))
    assert found.has_passed
    assert found.metadata["rows in the table"].value == 1507
    assert "venues and their rows" not in found.metadata


@pytest.mark.parametrize(
    ("in_table", "lines"),
    [
        ({VenueId.BINANCE: 1500}, ["| okex | 0 | 7 |"]),
        (
            {VenueId.BINANCE: 1499, VenueId.OKEX: 8},
            ["| binance | 1,499 | 1,500 |", "| okex | 8 | 7 |"],
        ),
        ({VenueId.BINANCE: 1500, VenueId.OKEX: 7, VenueId.UPBIT: 3}, ["| upbit | 3 | 0 |"]),
    ],
)
def test_a_venue_whose_rows_differ_is_an_error_that_lists_both_sides(in_table, lines):
    found = published_outcome(publication(in_table))
    assert not found.has_passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert found.metadata["venues that differ"].value == len(lines)
    assert found.metadata["venues and their rows"].value.splitlines()[2:] == lines
