"""What the DuckDB warehouse refuses, what it says then, and that nothing is lost."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tickhandler_dagster.adapters import duckdb_catalogue, warehouse_day_files
from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    MissingUpstream,
    StorageFull,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CompletenessFile
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_days import table_days

FIRST_DAY = dt.date(2024, 8, 1)
TABLES = {table.name: table for table in warehouse_tables(Windows())}
COMPLETENESS = TABLES["completeness"]


def test_nobody_can_change_the_warehouse_through_a_question(warehouse, publish_cell):
    publish_cell()
    with pytest.raises(InvalidInput, match="read-only"):
        warehouse.query("CREATE TABLE mine AS SELECT 1")


def test_a_lost_file_is_an_error_with_a_remedy_and_publishing_its_day_heals_it(
    warehouse, publish_cell
):
    publish_cell()
    for file in (warehouse.folder / "days" / "completeness").iterdir():
        file.unlink()
    with pytest.raises(CorruptData, match="publish again"):
        warehouse.query("SELECT * FROM completeness")
    assert publish_cell().is_new
    assert warehouse.query("SELECT * FROM completeness").num_rows == 3


def test_a_file_that_is_no_warehouse_is_an_error_with_a_remedy_and_is_not_overwritten(
    warehouse, publish_cell
):
    publish_cell()
    file = warehouse.folder / "warehouse.duckdb"
    file.write_bytes(b"something else" * 1000)
    for use in (lambda: publish_cell(rows=2), lambda: warehouse.query("SELECT 1")):
        with pytest.raises(CorruptData, match=r"Move warehouse\.duckdb away"):
            use()
    assert file.read_bytes() == b"something else" * 1000


def test_a_warehouse_without_a_table_says_what_to_do(warehouse):
    with pytest.raises(MissingUpstream, match="Materialize"):
        warehouse.query("SELECT 1")
    assert warehouse.counts(COMPLETENESS, [FIRST_DAY]) == {}
    assert not warehouse.folder.exists()


def test_an_object_that_changed_since_its_manifest_was_read_is_not_published(
    lake, warehouse, publish_cell, completeness_tables
):
    publish_cell(rows=1)
    completeness_tables.write(completeness_tables.row("C0", day=FIRST_DAY, rows=2))
    days = table_days(lake, COMPLETENESS, [FIRST_DAY], [VenueId.BINANCE])
    completeness_tables.write(completeness_tables.row("C0", day=FIRST_DAY, rows=3))
    with pytest.raises(ConcurrentWrite, match="sha256"):
        warehouse.publish(COMPLETENESS, days)
    lake.delete(CompletenessFile(FIRST_DAY, VenueId.BINANCE))
    with pytest.raises(ConcurrentWrite, match="no object"):
        warehouse.publish(COMPLETENESS, days)
    assert warehouse.query("SELECT DISTINCT rows FROM completeness")["rows"].to_pylist() == [1]


def test_rows_of_another_venue_than_the_path_says_are_refused(lake, warehouse, completeness_tables):
    completeness_tables.write(completeness_tables.row("C0", day=FIRST_DAY))
    days = table_days(lake, COMPLETENESS, [FIRST_DAY], [VenueId.BINANCE])
    lie = replace(days[0].objects[0], venue=VenueId.DERIBIT)
    warehouse.ensure(COMPLETENESS)
    with pytest.raises(CorruptData, match="another venue"):
        warehouse.publish(COMPLETENESS, [TableDay(FIRST_DAY, (lie,))])


def test_an_object_with_a_column_of_another_type_is_refused(lake, warehouse, completeness_tables):
    completeness_tables.write(completeness_tables.row("C0", day=FIRST_DAY))
    item = CompletenessFile(FIRST_DAY, VenueId.BINANCE)
    frame = lake.read_table(item).with_columns(pl.col("rows").cast(pl.Float64()))
    columns = tuple(
        replace(column, dtype=pl.Float64()) if column.name == "rows" else column
        for column in COMPLETENESS.table.columns
    )
    lake.write_table(item, frame, replace(COMPLETENESS.table, columns=columns))
    warehouse.ensure(COMPLETENESS)
    with pytest.raises(CorruptData, match="column rows"):
        warehouse.publish(
            COMPLETENESS, table_days(lake, COMPLETENESS, [FIRST_DAY], [VenueId.BINANCE])
        )


def test_a_holder_of_the_lock_that_hangs_is_reported(tmp_path):
    with exclusive_lock(tmp_path / "held.lock"), pytest.raises(ConcurrentWrite, match="lock"):  # noqa: SIM117
        with exclusive_lock(tmp_path / "held.lock", timeout_s=0.05):
            pass


def test_a_full_device_is_told_from_a_broken_file():
    for reason, expected in (
        ("IO Error: Could not write file: No space left on device", StorageFull),
        ("IO Error: No files found", CorruptData),
    ):
        found = duckdb_catalogue._file_error(duckdb.IOException(reason), Path("warehouse.duckdb"))
        assert type(found) is expected


def test_rows_are_counted_as_a_reader_would_before_anybody_sees_them(
    lake, warehouse, publish_cell, completeness_tables, monkeypatch
):
    publish_cell(rows=1)
    completeness_tables.write(completeness_tables.row("C0", day=FIRST_DAY, rows=2))
    days = table_days(lake, COMPLETENESS, [FIRST_DAY], [VenueId.BINANCE])
    monkeypatch.setattr(warehouse_day_files, "_prove", lambda *_, **__: None)
    lie = TableDay(FIRST_DAY, (replace(days[0].objects[0], rows=2),))
    with pytest.raises(CorruptData, match=r"was 1 rows; expected 2 rows"):
        warehouse.publish(COMPLETENESS, [lie])
    assert warehouse.query("SELECT rows FROM completeness")["rows"].to_pylist() == [1] * 3


def test_a_file_that_is_removed_before_it_is_shown_is_another_try(
    warehouse, publish_cell, monkeypatch
):
    publish_cell(rows=1)
    write = DuckDbWarehouse._written

    def written_and_removed(self, *arguments):
        made = write(self, *arguments)
        (self.folder / made.file).unlink()
        return made

    monkeypatch.setattr(DuckDbWarehouse, "_written", written_and_removed)
    with pytest.raises(ConcurrentWrite, match="removed the file"):
        publish_cell(rows=2)
    assert warehouse.query("SELECT DISTINCT rows FROM completeness")["rows"].to_pylist() == [1]


def test_a_table_that_is_removed_while_it_is_filled_is_another_try(
    warehouse, publish_cell, monkeypatch
):
    monkeypatch.setattr(DuckDbWarehouse, "ensure", lambda *_: None)
    with pytest.raises(ConcurrentWrite, match="gone"):
        publish_cell()


def test_an_object_that_goes_while_it_is_read_is_another_try(
    tmp_path, lake, warehouse, publish_cell, monkeypatch
):
    monkeypatch.setattr(lake.store, "local", lambda path: tmp_path / "gone" / path)
    item = LoadedObject("a", VenueId.BINANCE, 1, 1, "0" * 64)
    warehouse.ensure(COMPLETENESS)
    with pytest.raises(ConcurrentWrite, match="no object"):
        warehouse.publish(COMPLETENESS, [TableDay(FIRST_DAY, (item,))])


def test_a_day_whose_file_somebody_removed_can_leave(warehouse, publish_cell):
    publish_cell()
    shutil.rmtree(warehouse.folder / "days")
    assert warehouse.publish(COMPLETENESS, [TableDay(FIRST_DAY, ())])[0].is_new
    assert warehouse.query("SELECT * FROM completeness").num_rows == 0
    assert warehouse.counts(TABLES["instruments"], [FIRST_DAY]) == {}
