"""A stored table comes back in order and whole, in pieces or at once."""

import polars as pl
import pytest

from tickhandler_dagster.adapters import table_batches
from tickhandler_dagster.adapters.table_batches import read_batches
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.tables import Column, Table
from tickhandler_dagster.market.timeframes import Timeframe

TABLE = Table("numbers", "one number", (Column("n", pl.Int64(), "A number."),))
FRAME = pl.DataFrame({"n": range(1_000)})


@pytest.fixture
def item(files):
    return CandleFile(files.day, Timeframe.M1, "BINANCE:SPOT_PAIR:BTC-USDT")


@pytest.mark.parametrize("small_bytes", [0, 10**9])
@pytest.mark.parametrize("batch_rows", [1, 7, 1_000, 5_000])
def test_the_pieces_are_the_table(lake, item, monkeypatch, small_bytes, batch_rows):
    monkeypatch.setattr(table_batches, "SMALL_BYTES", small_bytes)
    lake.write_table(item, FRAME, TABLE)
    pieces = list(read_batches(lake, item, batch_rows=batch_rows))
    assert max(piece.height for piece in pieces) <= batch_rows
    assert pl.concat(pieces).equals(FRAME)


def test_an_empty_table_still_has_its_columns(lake, item):
    lake.write_table(item, FRAME.clear(), TABLE)
    (piece,) = read_batches(lake, item)
    assert piece.equals(FRAME.clear())


def test_nothing_stored_gives_nothing(lake, item):
    assert list(read_batches(lake, item)) == []


@pytest.mark.parametrize("small_bytes", [0, 10**9])
def test_what_is_no_parquet_is_said(lake, item, monkeypatch, small_bytes):
    monkeypatch.setattr(table_batches, "SMALL_BYTES", small_bytes)
    lake.store.write(item.path, b"no parquet at all")
    with pytest.raises(CorruptData, match="cannot be read"):
        list(read_batches(lake, item))
