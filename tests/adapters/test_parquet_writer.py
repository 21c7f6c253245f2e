"""Parquet files: equal rows are equal bytes, and what is read is what was written."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters import parquet
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.parquet import ParquetTableWriter, row_group_rows, verified
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.paths import CatalogFile, RawTickFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId

TRADES = RAW_TABLES[DataType.TRADES].stored


def trades(rows):
    numbers = pl.Series(range(rows), dtype=pl.Int64)
    return pl.DataFrame(
        {
            "timestamp": (numbers * 7).cast(TIMESTAMP),
            "local_timestamp": (numbers * 9).cast(TIMESTAMP),
            "id": [None if n % 11 == 0 else f"a-long-enough-id-{n}" for n in range(rows)],
            "side": [("buy", "sell")[n % 2] for n in range(rows)],
            "price": numbers.cast(pl.Float64) / 8,
            "amount": [1.0] * rows,
        },
        schema=TRADES.polars_schema,
    )


def write(path, frames, **options):
    with ParquetTableWriter(path, TRADES, **options) as writer:
        for frame in frames:
            writer.write(frame)
        return writer.finish({"k": "v"})


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 500), max_size=6))
def test_bytes_do_not_depend_on_how_the_rows_came(cuts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    frame = trades(500)
    edges = sorted({0, 500, *cuts})
    pieces = [frame[start:end] for start, end in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_ROWS", 64)
        whole = write(folder / "whole", [frame])
        parts = write(folder / "parts", pieces)
    assert whole == parts
    assert (folder / "whole").read_bytes() == (folder / "parts").read_bytes()
    assert pl.read_parquet(folder / "parts").equals(frame)


def test_types_and_encodings_are_those_of_the_table(tmp_path):
    write(tmp_path / "t", [trades(300)])
    schema = pq.read_schema(tmp_path / "t")
    assert schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert schema.field("side").type == pa.string()
    assert not schema.field("price").nullable
    group = pq.read_metadata(tmp_path / "t").row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["timestamp"].encodings
    assert "DELTA_BYTE_ARRAY" in columns["id"].encodings
    assert "RLE_DICTIONARY" in columns["side"].encodings
    assert columns["local_timestamp"].statistics.has_min_max
    assert columns["price"].has_column_index
    assert group.sorting_columns[0].column_index == 1
    assert pq.read_metadata(tmp_path / "t").metadata == {b"k": b"v"}


def test_wide_tables_have_smaller_row_groups():
    assert row_group_rows(RAW_TABLES[DataType.BOOK_SNAPSHOT_25].stored) < row_group_rows(TRADES)


def test_a_table_without_rows_is_a_file(tmp_path):
    assert write(tmp_path / "t", []).rows == 0
    assert pl.read_parquet(tmp_path / "t").schema == TRADES.polars_schema


def test_an_unfinished_writer_leaves_no_file(tmp_path):
    def fail():
        with ParquetTableWriter(tmp_path / "t", TRADES) as writer:
            writer.write(trades(10))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_other_rows_than_written_is_refused(tmp_path):
    write(tmp_path / "t", [trades(10)])
    with pytest.raises(CorruptData, match="was 10; expected 11"):
        verified(tmp_path / "t", rows=11)
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes()[:-5])
    with pytest.raises(CorruptData, match="not a readable Parquet file"):
        verified(tmp_path / "t", rows=10)


def test_the_lake_gives_back_tables_documents_and_footers(tmp_path):
    lake = Lake(LocalObjectStore(tmp_path))
    item = RawTickFile("2024-08-08", DataType.TRADES, "BINANCE:SPOT_PAIR:BTC-USDT")
    assert lake.read_table(item) is None
    assert lake.scan(item) is None
    assert lake.metadata(item) is None
    stored = lake.write_table(item, trades(10), TRADES, metadata={"a": "b"})
    assert lake.read_table(item).equals(trades(10))
    assert lake.read_table(item, columns=["price"]).columns == ["price"]
    assert lake.metadata(item) == {"a": "b"}
    assert lake.digest(item).sha256 == stored.sha256
    document = CatalogFile(VenueId.BINANCE, "catalog")
    assert lake.read_json(document) is None
    lake.write_json(document, {"b": [1], "a": "ü"})
    assert lake.read_json(document) == {"b": [1], "a": "ü"}


def test_an_object_that_is_no_table_is_corrupt(tmp_path):
    lake = Lake(LocalObjectStore(tmp_path))
    item = RawTickFile("2024-08-08", DataType.TRADES, "K")
    lake.store.write(item.path, b"PAR1 not really")
    with pytest.raises(CorruptData):
        lake.read_table(item)
    with pytest.raises(CorruptData):
        lake.metadata(item)
    lake.store.write(item.path, b"{")
    with pytest.raises(CorruptData):
        lake.read_json(item)


def test_lists_are_stored_and_read_back(tmp_path):
    with ParquetTableWriter(tmp_path / "t", INSTRUMENTS_TABLE) as writer:
        writer.finish()
    assert pl.read_parquet(tmp_path / "t").schema == INSTRUMENTS_TABLE.polars_schema
