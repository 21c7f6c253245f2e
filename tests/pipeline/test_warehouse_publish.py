"""Publishing until the table holds what the lake has, whoever else writes meanwhile."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData, StorageUnavailable
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_publish import (
    MOST_ROUNDS,
    MonthlyPublication,
    Publisher,
)

TABLE = next(item for item in warehouse_tables(Windows()) if item.name == "completeness")
VENUES = (VenueId.BINANCE, VenueId.OKEX)
DAY = dt.date(2024, 8, 8)
JANUARY, FEBRUARY = dt.date(2024, 1, 31), dt.date(2024, 2, 1)


class Meddled(DuckDbWarehouse):
    """A DuckDB warehouse, and somebody who does something just before each publication."""

    def __init__(self, folder, store, *deeds):
        super().__init__(folder, store)
        self.deeds = list(deeds)
        self.published = []

    def publish(self, table, days):
        if self.deeds:
            self.deeds.pop(0)()
        self.published.append([item.day for item in days])
        return super().publish(table, days)


@pytest.fixture
def publishing(lake, tmp_path):
    """`publishing(*deeds)` gives a publisher whose warehouse is meddled with."""

    def make(*deeds):
        warehouse = Meddled(tmp_path / "warehouse", lake.store, *deeds)
        return Publisher(TABLE, lake, warehouse, VENUES)

    return make


def rows(tables, *symbols, venue="binance", day=DAY):
    tables.write(*(tables.row(symbol, venue=venue, day=day) for symbol in symbols))


def test_a_day_is_loaded_once_and_counted_by_venue(publishing, completeness_tables):
    rows(completeness_tables, "A", "B")
    rows(completeness_tables, "A", venue="okex")
    publisher = publishing()
    (first,), (second,) = publisher.publish([DAY]), publisher.publish([DAY])
    assert first.rows_by_venue == {VenueId.BINANCE: 2, VenueId.OKEX: 1}
    assert first.is_as_the_lake
    assert first.final_rows is None
    assert first.receipt.is_new
    assert not second.receipt.is_new
    assert second.receipt.bytes == 0
    assert second.rows_by_venue == first.rows_by_venue
    assert second.day.digest == first.day.digest


def test_days_come_in_the_order_they_were_asked_for(publishing, completeness_tables):
    rows(completeness_tables, "A", day=JANUARY)
    rows(completeness_tables, "A", "B", day=FEBRUARY)
    found = publishing().publish([FEBRUARY, DAY, JANUARY])
    assert [(item.day.day, item.rows) for item in found] == [(FEBRUARY, 2), (DAY, 0), (JANUARY, 1)]


def test_what_comes_into_the_lake_while_a_day_is_published_is_in_the_table(
    publishing, completeness_tables
):
    rows(completeness_tables, "A")
    publisher = publishing(lambda: rows(completeness_tables, "A", venue="okex"))
    (found,) = publisher.publish([DAY])
    assert found.rows_by_venue == {VenueId.BINANCE: 1, VenueId.OKEX: 1}
    assert publisher.warehouse.published == [[DAY], [DAY]]


def test_only_the_day_that_changed_meanwhile_is_published_again(publishing, completeness_tables):
    rows(completeness_tables, "A", day=JANUARY)
    rows(completeness_tables, "A", day=FEBRUARY)
    publisher = publishing(lambda: rows(completeness_tables, "A", venue="okex", day=FEBRUARY))
    found = publisher.publish([JANUARY, FEBRUARY])
    assert [item.rows for item in found] == [1, 2]
    assert publisher.warehouse.published == [[JANUARY, FEBRUARY], [FEBRUARY]]


def test_an_object_that_is_replaced_meanwhile_is_read_again(publishing, completeness_tables):
    rows(completeness_tables, "A")
    (found,) = publishing(lambda: rows(completeness_tables, "A", "B")).publish([DAY])
    assert found.rows == 2
    assert found.is_as_the_lake
    assert found.receipt.is_new


def test_somebody_who_publishes_less_afterwards_looks_again_and_finds_it(
    publishing, completeness_tables
):
    """Two runs of one day: each knows the venue that was there when it read the lake."""
    other = publishing()

    def other_one_finishes():
        rows(completeness_tables, "A", venue="okex")
        other.publish([DAY])

    rows(completeness_tables, "A")
    (found,) = publishing(other_one_finishes).publish([DAY])
    assert found.rows_by_venue == {VenueId.BINANCE: 1, VenueId.OKEX: 1}
    assert found.is_as_the_lake


def test_a_lake_that_never_rests_is_an_error_that_a_later_run_heals(
    publishing, completeness_tables
):
    later = list(VenueId)[1 : MOST_ROUNDS + 1]
    deeds = [lambda venue=venue: rows(completeness_tables, "A", venue=venue) for venue in later]
    rows(completeness_tables, "A", venue=VenueId.BINANCE)
    with pytest.raises(ConcurrentWrite, match="Publish again when the runs that build it are over"):
        replace(publishing(*deeds), venues=tuple(VenueId)).publish([DAY])
    (found,) = replace(publishing(), venues=tuple(VenueId)).publish([DAY])
    assert found.is_as_the_lake
    assert found.rows == MOST_ROUNDS + 1


def test_an_object_that_is_replaced_each_time_is_an_error(publishing, completeness_tables):
    names = [f"S{place}" for place in range(MOST_ROUNDS + 1)]
    deeds = [
        lambda count=count: rows(completeness_tables, *names[:count])
        for count in range(1, MOST_ROUNDS + 1)
    ]
    rows(completeness_tables, "A")
    with pytest.raises(ConcurrentWrite, match="not the one that the manifest names"):
        publishing(*deeds).publish([DAY])


class Monthly:
    """Remembers what was asked of it; days listed as bad fail."""

    def __init__(self, publisher, bad=(), error=None):
        self.asked, self.told = [], []
        self.publisher, self.bad, self.error = publisher, set(bad), error

    def __call__(self, days):
        self.asked.append(list(days))
        if self.bad & set(days):
            raise self.error
        return self.publisher.publish(days)

    def over(self, days):
        return MonthlyPublication(days, self, task="warehouse/x", on_progress=self.told.append)


def test_a_range_is_published_a_month_at_a_time_and_tells_how_far_it_is(
    publishing, completeness_tables
):
    days = [JANUARY - dt.timedelta(days=1), JANUARY, FEBRUARY]
    for day in days:
        rows(completeness_tables, "A", day=day)
    monthly = Monthly(publishing())
    publication = monthly.over(days)
    assert [publication.of(day).receipt.day for day in days] == days
    assert monthly.asked == [days[:2], days[2:]]
    assert [(step.done, step.total, step.rows) for step in monthly.told] == [
        (1, 3, 1),
        (2, 3, 2),
        (3, 3, 3),
    ]
    assert monthly.told[-1].is_finished


@pytest.mark.parametrize("kind", [CorruptData, ConcurrentWrite])
def test_a_bad_day_keeps_back_no_other_of_its_month(publishing, completeness_tables, kind):
    days = [dt.date(2024, 5, day) for day in (1, 2, 3)]
    for day in days:
        rows(completeness_tables, "A", day=day)
    monthly = Monthly(publishing(), bad=days[1:2], error=kind("x", "bad", remedy="Heal it"))
    publication = monthly.over(days)
    assert publication.of(days[0]).rows == 1
    with pytest.raises(kind):
        publication.of(days[1])
    assert publication.of(days[2]).rows == 1
    assert monthly.asked == [days, *([day] for day in days)]


def test_a_warehouse_that_does_not_answer_is_not_asked_day_by_day(publishing):
    days = [dt.date(2024, 5, day) for day in (1, 2)]
    monthly = Monthly(
        publishing(), bad=days, error=StorageUnavailable("x", "no answer", remedy="Wait")
    )
    publication = monthly.over(days)
    for day in days:
        with pytest.raises(StorageUnavailable):
            publication.of(day)
    assert monthly.asked == [days]
