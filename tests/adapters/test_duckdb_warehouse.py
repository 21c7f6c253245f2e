"""What the DuckDB warehouse promises beyond the Protocol: views, descriptions, readers, files."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from dataclasses import replace

import duckdb
import polars as pl
import pytest

from tickhandler_dagster.adapters import warehouse_day_files
from tickhandler_dagster.adapters.duckdb_views import StoredColumn
from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse, open_for_reading
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE, completeness_frame
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CompletenessFile, InstrumentsFile
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_days import table_days

FIRST_DAY = dt.date(2024, 8, 1)
TABLES = {table.name: table for table in warehouse_tables(Windows())}
COMPLETENESS = TABLES["completeness"]
COMPLETENESS_ROW = {
    "date": FIRST_DAY,
    "venue": "binance",
    "data_type": "trades",
    "instrument_key": "BINANCE:SPOT_PAIR:BTCUSDT",
    "instrument_type": "SPOT_PAIR",
    "state": "present",
    "reason": "it is there",
    "verdict": "ignore",
    "rows": 1,
    "quarantined_rows": 0,
    "bytes": 1,
    "gaps": 0,
    "gap_us": 0,
    "findings": 0,
    "first_timestamp": dt.datetime(2024, 8, 1, tzinfo=dt.UTC),
    "is_simulated": True,
}
INSTRUMENT_ROW = {
    "date": FIRST_DAY,
    "instrument_key": "BINANCE:SPOT_PAIR:BTCUSDT",
    "venue": "binance",
    "instrument_type": "SPOT_PAIR",
    "symbol": "BTCUSDT",
    "tardis_symbol": "BTCUSDT",
    "exchange_raw_symbol": "BTCUSDT",
    "available_from": dt.datetime(2017, 8, 17, tzinfo=dt.UTC),
    "data_types": ["trades", "quotes"],
    "base_asset": "BTC",
    "quote_asset": "USDT",
    "settle_asset": "USDT",
    "is_inverse": False,
    "is_quanto": False,
    "amount_unit": "base",
    "terms_source": "unknown",
    "is_simulated": True,
}


def days_of(count):
    return [FIRST_DAY + dt.timedelta(days=place) for place in range(count)]


def test_every_table_of_the_registry_has_its_views_types_and_descriptions(warehouse):
    for table in (TABLES["candles_1m"], TABLES["mft_features_1h"], *list(TABLES.values())[13:]):
        warehouse.ensure(table)
        views = [table.name, *([table.final_view] if table.has_final_rows else [])]
        for view in views:
            stored = warehouse.query(
                "SELECT column_name, data_type, comment FROM duckdb_columns() "  # noqa: S608
                f"WHERE schema_name = 'main' AND table_name = '{view}' ORDER BY column_index"
            ).to_pylist()
            assert [tuple(row.values()) for row in stored] == [
                (column.name, of.data_type, of.description)
                for column in table.table.columns
                for of in [StoredColumn.of(column)]
            ]
    assert {row["name"] for row in warehouse.query("SHOW TABLES").to_pylist()} == {
        "candles_1m",
        "candles_1m_final",
        "mft_features_1h",
        "mft_features_1h_final",
        "options_surface",
        "instruments",
        "completeness",
    }


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_of_every_table_has_a_type_in_duckdb_that_leads_back(table):
    for column in table.table.columns:
        assert StoredColumn.of(column).dtype == column.dtype


def test_a_table_that_is_as_it_should_be_is_not_touched(warehouse):
    warehouse.ensure(COMPLETENESS)
    before = (warehouse.folder / "warehouse.duckdb").stat()
    warehouse.ensure(COMPLETENESS)
    assert (warehouse.folder / "warehouse.duckdb").stat() == before


def test_a_description_that_changes_reaches_the_catalogue(warehouse, publish_cell):
    publish_cell()
    table = COMPLETENESS.table
    changed = tuple(
        replace(column, description="In other words.") if column.name == "rows" else column
        for column in table.columns
    )
    warehouse.ensure(replace(COMPLETENESS, table=replace(table, columns=changed)))
    comment = warehouse.query(
        "SELECT comment FROM duckdb_columns() WHERE schema_name = 'main' AND column_name = 'rows'"
    )
    assert comment["comment"].to_pylist() == ["In other words. Unit: rows."]
    assert warehouse.query("SELECT * FROM completeness").num_rows == 3


def test_a_person_who_holds_the_file_open_stops_neither_writers_nor_readers(
    warehouse, publish_cell
):
    publish_cell(rows=1)
    script = f"""
import duckdb, sys
connection = duckdb.connect({str(warehouse.folder / "warehouse.duckdb")!r})
print("open", flush=True)
sys.stdin.read()
"""
    person = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert person.stdout.readline() == "open\n"
    try:
        with pytest.raises(duckdb.IOException, match="lock"):
            duckdb.connect(warehouse.folder / "warehouse.duckdb", read_only=True)
        assert warehouse.query("SELECT count(*) AS n FROM completeness")["n"].to_pylist() == [3]
        assert publish_cell(rows=2).is_new
        rows = warehouse.query("SELECT DISTINCT rows FROM completeness")["rows"].to_pylist()
        assert rows == [2]
    finally:
        person.communicate("")


def test_a_reader_goes_on_seeing_what_it_opened_while_another_in_its_process_sees_the_new(
    warehouse, publish_cell
):
    publish_cell(rows=1)
    question = "SELECT DISTINCT rows FROM completeness"
    with open_for_reading(warehouse.folder) as early:
        publish_cell(rows=2)
        with open_for_reading(warehouse.folder) as late:
            assert late.execute(question).fetchall() == [(2,)]
        assert early.execute(question).fetchall() == [(1,)]


def test_files_of_replaced_days_stay_for_a_day_and_then_go(warehouse, publish_cell, monkeypatch):
    publish_cell(rows=1)
    publish_cell(rows=2)
    home = warehouse.folder / "days" / "completeness"
    leftover = home / "2024-08-01-0123456789abcdef.parquet"
    leftover.write_bytes(b"of a writer that was killed")
    publish_cell(day=days_of(2)[1])
    assert len(list(home.iterdir())) == 4
    later = time.time() + warehouse_day_files.RETIRED_KEPT_S + 60
    monkeypatch.setattr(warehouse_day_files.time, "time", lambda: later)
    publish_cell(day=days_of(3)[2])
    assert len(list(home.iterdir())) == 3
    assert warehouse.query("SELECT * FROM completeness").num_rows == 9


def test_a_folder_that_was_moved_is_right_again_after_its_table_is_made_sure_of(
    tmp_path, lake, warehouse, publish_cell
):
    publish_cell()
    moved = DuckDbWarehouse(tmp_path / "moved", lake.store)
    warehouse.folder.rename(moved.folder)
    moved.ensure(COMPLETENESS)
    assert moved.query("SELECT * FROM completeness").num_rows == 3


def test_a_range_of_days_opens_the_files_of_its_months_alone(warehouse, publish_cell):
    for month in range(1, 7):
        publish_cell(day=dt.date(2024, month, 5))
    with open_for_reading(warehouse.folder) as connection:

        def scans(condition):
            question = f"EXPLAIN SELECT count(*) FROM completeness WHERE {condition}"  # noqa: S608
            return connection.execute(question).fetchall()[0][1].count("READ_PARQUET")

        per_month = scans("true") // 6
        assert per_month > 0
        assert scans("date >= '2024-03-01' AND date < '2024-05-01'") == 2 * per_month
        assert scans("date BETWEEN '2024-03-01' AND '2024-04-30'") == 2 * per_month
        assert scans("date = '2024-03-05'") == per_month


def test_a_users_question_about_bars_is_answered_in_utc(lake, warehouse):
    frame = pl.DataFrame(
        {
            column.name: [INSTRUMENT_ROW.get(column.name)] * 1
            for column in INSTRUMENTS_TABLE.columns
        },
        schema=INSTRUMENTS_TABLE.polars_schema,
    )
    lake.write_table(InstrumentsFile(FIRST_DAY, VenueId.BINANCE), frame, INSTRUMENTS_TABLE)
    warehouse.ensure(TABLES["instruments"])
    warehouse.publish(
        TABLES["instruments"],
        table_days(lake, TABLES["instruments"], [FIRST_DAY], [VenueId.BINANCE]),
    )
    answer = warehouse.query(
        "SELECT instrument_key, available_from, data_types, strike FROM instruments "
        "WHERE date BETWEEN '2024-08-01' AND '2024-08-31' AND list_contains(data_types, 'trades')"
    )
    assert answer.to_pylist() == [
        {
            "instrument_key": "BINANCE:SPOT_PAIR:BTCUSDT",
            "available_from": dt.datetime(2017, 8, 17, tzinfo=dt.UTC),
            "data_types": ["trades", "quotes"],
            "strike": None,
        }
    ]


def test_a_lake_in_a_bucket_is_published_as_one_in_a_folder(gcs, tmp_path):
    store = GcsObjectStore(
        gcs.bucket(),
        prefix="lake",
        credentials=load_credentials(None, is_emulated=True),
        cache=ObjectCache(tmp_path / "cache", 10**9),
        endpoint=gcs.endpoint,
    )
    lake = Lake(store)
    frame = completeness_frame([])
    lake.write_table(CompletenessFile(FIRST_DAY, VenueId.DERIBIT), frame, COMPLETENESS_TABLE)
    frame = pl.DataFrame([COMPLETENESS_ROW], schema=COMPLETENESS_TABLE.polars_schema)
    lake.write_table(CompletenessFile(FIRST_DAY, VenueId.BINANCE), frame, COMPLETENESS_TABLE)
    warehouse = DuckDbWarehouse(tmp_path / "warehouse", store)
    days = table_days(lake, COMPLETENESS, [FIRST_DAY], tuple(VenueId))
    assert len(days[0].objects) == 2
    assert warehouse.publish(COMPLETENESS, days)[0].rows == 1
    assert pl.from_arrow(warehouse.query("SELECT * FROM completeness")).equals(frame)
