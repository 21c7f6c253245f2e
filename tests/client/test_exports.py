"""Exports hold the reader's rows, in the layouts other libraries read, at the time they were known.

The layouts themselves (numbers, names, types) were taken from files that these libraries wrote, and
what is written here was read by them; the versions are in the modules' charters.
"""

from __future__ import annotations

import datetime as dt
import runpy
import sys
from decimal import Decimal
from types import ModuleType, SimpleNamespace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.client.exports import (
    export_feast,
    export_nautilus,
    vectorbt_frame,
)
from tickhandler_dagster.client.exports.nautilus import fixed
from tickhandler_dagster.market.errors import CorruptData, InvalidInput, InvalidSetting

PERPETUAL = "BINANCE:PERPETUAL:BTC-USD"


# ---- nautilus_trader -----------------------------------------------------------------------


def plain(table, scale=16):
    """A table of the catalog with its integers as numbers."""
    return {
        name: [
            Decimal(int.from_bytes(value, "little", signed=True)).scaleb(-scale)
            if pa.types.is_fixed_size_binary(table.schema.field(name).type)
            else value
            for value in table[name].to_pylist()
        ]
        for name in table.column_names
    }


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1), st.integers(0, 8))
def test_numbers_of_the_catalog_are_the_decimals_that_were_meant(whole, precision):
    meant = [Decimal(number).scaleb(-precision) for number in whole]
    found = plain(pa.table({"n": fixed(pl.Series([float(one) for one in meant]), precision)}))
    assert found["n"] == meant


def test_a_catalog_holds_the_bars_at_the_time_they_were_known(traded, tmp_path):
    lab = traded
    status = {3: "no_trade"}
    bars = lab.bars(lab.one, status=lambda place: status.get(place, "traded")).with_columns(
        pl.col("open", "high", "low", "close", "volume").round(3)
    )
    lab.put_bars(lab.one, frame=bars)
    files = export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)
    kinds = [file.parent.relative_to(tmp_path / "data").as_posix() for file in files]
    name = "BTC-USDT.BINANCE"
    assert kinds == [f"currency_pair/{name}", f"bar/{name}-1-MINUTE-LAST-EXTERNAL"]
    table = pq.read_table(files[1], partitioning=None)
    assert files[1].stem == "2024-08-08T00-01-00-200000000Z_2024-08-09T00-00-00-200000000Z"
    assert table.schema.metadata == {
        b"bar_type": f"{name}-1-MINUTE-LAST-EXTERNAL".encode(),
        b"instrument_id": name.encode(),
        b"price_precision": b"2",
        b"size_precision": b"3",
    }
    read = lab.data.candles(lab.btc, "1m", lab.one, lab.two, fill="drop").collect()
    found = plain(table)
    assert table.num_rows == read.height == 1439
    assert found["ts_init"] == (read["available_at"].to_physical() * 1000).to_list()
    assert found["ts_event"] == (read["ts_close"].to_physical() * 1000).to_list()
    for column, places in (("open", 2), ("high", 2), ("low", 2), ("close", 2), ("volume", 3)):
        step = Decimal(10) ** -places
        meant = [Decimal(repr(value)) for value in read[column]]
        assert all(
            abs(one - other) <= step / 2 for one, other in zip(found[column], meant, strict=True)
        )


def test_a_late_bar_stands_where_it_became_known(traded, tmp_path):
    lab = traded
    late = lab.at(lab.one, 600)
    bars = lab.bars(lab.one).with_columns(
        pl.when(pl.col("ts_open") == lab.at(lab.one, 120))
        .then(pl.lit(late))
        .otherwise("available_at")
        .alias("available_at")
    )
    lab.put_bars(lab.one, frame=bars)
    file = export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)[1]
    times = pq.read_table(file, partitioning=None, columns=["ts_event", "ts_init"])
    assert times["ts_init"].to_pylist() == sorted(times["ts_init"].to_pylist())
    place = times["ts_event"].to_pylist().index(int(lab.at(lab.one, 180).timestamp()) * 10**9)
    assert times["ts_init"][place].as_py() == int(late.timestamp()) * 10**9


def test_a_catalog_holds_trades_of_inverse_contracts_in_quote_asset(traded, tmp_path):
    lab = traded
    contract = lab.instrument(
        PERPETUAL,
        instrument_type="PERPETUAL",
        exchange_raw_symbol="BTCUSD_PERP",
        settle_asset="BTC",
        is_inverse=True,
        amount_unit="contracts",
        contract_size=100.0,
        tick_size=0.1,
        amount_step=1.0,
    )
    lab.put_universe(lab.one, contract)
    trades = lab.trades(lab.one, [1, 2, 3]).with_columns(
        pl.Series("id", ["a", None, "c"]), pl.Series("side", ["buy", "sell", "unknown"])
    )
    lab.put_ticks(lab.one, trades, PERPETUAL)
    files = export_nautilus(
        lab.data, PERPETUAL, lab.one, lab.two, folder=tmp_path, timeframes=(), has_trades=True
    )
    listed = pq.read_table(files[0], partitioning=None)
    row = listed.to_pylist()[0]
    assert listed.schema.metadata == {b"class": b"CryptoPerpetual"}
    assert row["id"] == "BTCUSD_PERP.BINANCE"
    assert (row["price_increment"], row["size_increment"]) == ("0.1", "100")
    assert (row["is_inverse"], row["settlement_currency"]) == (True, "BTC")
    found = plain(pq.read_table(files[1], partitioning=None))
    assert found["size"] == [100, 100, 100]
    assert found["aggressor_side"] == [1, 2, 0]
    assert found["trade_id"][::2] == ["a", "c"]
    assert found["trade_id"][1]
    assert found["ts_init"] == [
        int(time.timestamp() * 10**6) * 1000 for time in trades["local_timestamp"]
    ]


@pytest.mark.parametrize(
    ("key", "name", "changes"),
    [
        ("BINANCE:FUTURE:BTC-USD-240927", "CryptoFuture", {}),
        (
            "BINANCE:OPTION:BTC-USD-240927-60000-CALL",
            "CryptoOption",
            {"strike": 60_000.0, "option_type": "CALL"},
        ),
    ],
)
def test_contracts_that_end_have_their_end_in_the_catalog(lab, tmp_path, key, name, changes):
    ends = dt.datetime(2024, 9, 27, 8, tzinfo=dt.UTC)
    terms = {"tick_size": 0.5, "amount_step": 0.1, "contract_size": 1.0}
    lab.put_universe(lab.one, lab.instrument(key, expiry=ends, **terms, **changes))
    (file,) = export_nautilus(lab.data, key, lab.one, lab.two, folder=tmp_path, timeframes=())
    table = pq.read_table(file, partitioning=None)
    assert table.schema.metadata == {b"class": name.encode()}
    assert table["expiration_ns"][0].as_py() == int(ends.timestamp()) * 10**9
    assert table["underlying"][0].as_py() == "BTC"


def test_a_span_that_a_catalog_has_is_replaced_and_one_that_overlaps_is_refused(traded, tmp_path):
    lab, noon = traded, traded.at(traded.one, 43_200)
    first = export_nautilus(lab.data, lab.btc, lab.one, noon, folder=tmp_path)
    before = [file.read_bytes() for file in first]
    assert export_nautilus(lab.data, lab.btc, lab.one, noon, folder=tmp_path) == first
    assert [file.read_bytes() for file in first] == before
    export_nautilus(lab.data, lab.btc, noon, lab.two, folder=tmp_path)
    with pytest.raises(InvalidInput, match="holds a part of the span"):
        export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.name.startswith(".")]


def test_what_the_catalog_cannot_count_and_what_has_holes_is_refused(traded, tmp_path):
    lab = traded
    lab.put_universe(lab.one, lab.instrument(lab.btc))
    with pytest.raises(InvalidInput, match="tick_size, amount_step is not known"):
        export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)
    lab.put_universe(lab.one, lab.instrument(lab.btc, tick_size=0.01, amount_step=0.001))
    lab.put_bars(lab.one, volume=lambda place: None if place == 7 else 1.0)
    with pytest.raises(InvalidInput, match="1 bars have prices and no volume"):
        export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)
    lab.put_bars(lab.one, gap_ms=lambda place: 5.0 * (place == 7))
    with pytest.raises(CorruptData, match="holes"):
        export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path)
    files = export_nautilus(lab.data, lab.btc, lab.one, lab.two, folder=tmp_path, on_gap="mask")
    assert pq.read_metadata(files[1]).num_rows == 1439


# ---- Feast ---------------------------------------------------------------------------------


def definitions(folder, monkeypatch):
    """What the repository defines, with the names it imports recorded instead of Feast's."""
    made = ModuleType("feast")
    for name in ("Entity", "FeatureView", "Field", "FileSource"):
        setattr(made, name, SimpleNamespace)
    types = ModuleType("feast.types")
    types.__getattr__ = lambda name: name
    values = ModuleType("feast.value_type")
    values.ValueType = SimpleNamespace(STRING="STRING")
    for name, module in (("feast", made), ("feast.types", types), ("feast.value_type", values)):
        monkeypatch.setitem(sys.modules, name, module)
    found = runpy.run_path(str(folder / "definitions.py"))
    return {one.name: one for name, one in found.items() if hasattr(one, "schema")}


def test_a_feature_repository_knows_each_value_when_it_was_known(traded, tmp_path, monkeypatch):
    lab = traded
    names = ["close", "trade_count", "price_impact_30s_bps"]
    files = export_feast(
        lab.data, [lab.btc, lab.eth], "1m", lab.one, lab.two, folder=tmp_path, names=names
    )
    assert {file.relative_to(tmp_path).as_posix() for file in files} == {
        "feature_store.yaml",
        "definitions.py",
        "data/candles_1m.parquet",
        "data/candles_1m_30s.parquet",
    }
    views = definitions(tmp_path, monkeypatch)
    read = lab.data.features([lab.btc, lab.eth], "1m", lab.one, lab.two, names=names).collect()
    for view, fields, known in (
        ("candles_1m", names[:2], "available_at"),
        ("candles_1m_30s", names[2:], "available_at_30s"),
    ):
        assert [field.name for field in views[view].schema] == fields
        source = views[view].source
        stored = pl.read_parquet(tmp_path / source.path)
        assert stored.height == 2880
        assert stored[source.timestamp_field].equals(read[known], null_equal=True)
        assert stored[source.created_timestamp_column].equals(read["ts_close"])
        assert stored.select(fields).equals(read.select(fields))
        assert views[view].ttl == dt.timedelta(minutes=2)
    assert [field.dtype for field in views["candles_1m"].schema] == ["Float64", "Int64"]


def test_a_repository_of_nothing_is_refused_and_one_that_cannot_be_written_is_said_to_be_so(
    traded, tmp_path
):
    lab = traded
    question = (lab.data, lab.btc, "1m", lab.one, lab.two)
    with pytest.raises(InvalidInput, match="no features"):
        export_feast(*question, folder=tmp_path, names=[])
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InvalidSetting, match="taken"):
        export_feast(*question, folder=tmp_path / "taken", names=["close"])


# ---- vectorbt ------------------------------------------------------------------------------


def test_a_frame_has_a_row_for_each_end_and_a_column_for_each_instrument(traded):
    lab = traded
    lab.put_bars(lab.one, lab.eth, available_at=lambda place: lab.at(lab.one, 60 * place + 130))
    frame = vectorbt_frame(lab.data, [lab.btc, lab.eth], "1m", lab.one, lab.two)
    assert frame.shape == (1440, 10)
    assert str(frame.index.tz) == "UTC"
    closes = frame["Close"]
    read = lab.data.candles(lab.btc, "1m", lab.one, lab.two).collect()
    assert closes[lab.btc].tolist() == read["close"].to_list()
    assert frame.index.to_list() == read["ts_close"].to_list()
    assert closes[lab.eth].isna().all()  # known later than the end of the bar after


def test_pandas_is_asked_for_in_a_sentence(traded, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InvalidInput, match="which vectorbt needs as well"):
        vectorbt_frame(traded.data, traded.btc, "1m", traded.one, traded.two)
