"""A folder of real files is served byte for byte, under a catalogue read off the folder."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import urllib.error
import urllib.request

import pytest
from tardis_dev import download_datasets

from tickhandler_dagster.market.catalog import parse_catalog
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.server import SandboxServer


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "datasets"
    for path in (
        "binance-futures/trades/2024/08/08/BTCUSDT.csv.gz",
        "binance-futures/trades/2024/08/09/BTCUSDT.csv.gz",
        "binance-futures/quotes/2024/08/09/BTCUSDT_240927.csv.gz",
        "binance-futures/trades/2024/08/09/PERPETUALS.csv.gz",
        "deribit/options_chain/2024/08/09/OPTIONS.csv.gz",
        "deribit/trades/2024/08/09/BTC-9AUG24-60000-C.csv.gz",
    ):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(path.encode()))
    (root / "README.md").write_text("not a dataset")
    return root


def test_windows_run_from_the_first_file_to_the_day_after_the_last(folder):
    details = FolderSource(folder).exchange("binance-futures")
    entries = {one["id"]: one for one in details["datasets"]["symbols"]}
    assert details["availableSince"] == "2024-08-08T00:00:00.000Z"
    assert details["datasets"]["exportedUntil"] == "2024-08-10T00:00:00.000Z"
    assert entries["BTCUSDT"] == {
        "id": "BTCUSDT",
        "type": "perpetual",
        "availableSince": "2024-08-08T00:00:00.000Z",
        "availableTo": "2024-08-10T00:00:00.000Z",
        "dataTypes": ["trades"],
    }
    assert entries["BTCUSDT_240927"]["type"] == "future"
    assert entries["BTCUSDT_240927"]["availableSince"] == "2024-08-09T00:00:00.000Z"
    assert [one["id"] for one in details["availableSymbols"]] == ["BTCUSDT", "BTCUSDT_240927"]


def test_the_end_of_export_can_be_given(folder):
    source = FolderSource(folder, exported_until=dt.date(2024, 8, 9))
    details = source.exchange("binance-futures")
    assert details["datasets"]["exportedUntil"] == "2024-08-09T00:00:00.000Z"
    assert [one["id"] for one in details["datasets"]["symbols"]] == ["BTCUSDT"]
    assert source.exchange("deribit") is None


def test_real_files_are_not_called_simulated(folder):
    source = FolderSource(folder)
    assert "simulated" not in json.dumps(source.exchange("deribit")).lower()
    with (
        SandboxServer(source) as server,
        urllib.request.urlopen(server.api_url + "/exchanges") as reply,  # noqa: S310  (loopback)
    ):
        assert reply.headers["X-Tickhandler-Simulated"] is None
        assert [one["id"] for one in json.loads(reply.read())] == ["binance-futures", "deribit"]


def test_files_of_a_simulator_can_be_marked_as_such(folder):
    details = FolderSource(folder, is_simulated=True).exchange("deribit")
    assert details["simulated"] is True
    assert details["name"].endswith(" (simulated)")


def test_instruments_come_from_a_file_beside_the_data(folder):
    source = FolderSource(folder)
    assert source.instruments("deribit") is None
    records = [{"id": "BTC-9AUG24-60000-C", "type": "option"}]
    (folder / "deribit" / "instruments.json").write_text(json.dumps(records))
    assert source.instruments("deribit") == records
    assert source.instruments("binance") is None


def test_a_promised_file_that_is_not_there_is_404(folder):
    (folder / "deribit/trades/2024/08/09/BTC-9AUG24-60000-C.csv.gz").replace(
        _made(folder / "deribit/trades/2024/08/08/BTC-9AUG24-60000-C.csv.gz")
    )
    with SandboxServer(FolderSource(folder)) as server:
        url = f"{server.datasets_url}/deribit/trades/2024/08/09/BTC-9AUG24-60000-C.csv.gz"
        request = urllib.request.Request(url)  # noqa: S310  (loopback)
        request.add_unredirected_header("Authorization", "Bearer TD.sandbox")
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(request, timeout=20)  # noqa: S310  (loopback)
        caught.value.close()


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_folder_without_datasets_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="no datasets in the folder"):
        FolderSource(tmp_path)


def test_recorded_feeds_arrive_unchanged_through_the_vendors_client(tmp_path, recorded):
    source = FolderSource(recorded)
    catalog = parse_catalog(source.exchange("binance"))
    assert catalog is not None
    with SandboxServer(source) as server:
        download_datasets(
            "binance",
            ["trades", "incremental_book_L2"],
            ["BTCUSDT"],
            "2024-08-08",
            "2024-08-09",
            api_key="TD.sandbox",
            download_dir=str(tmp_path),
            endpoint=server.datasets_url,
        )
    for data_type in (DataType.TRADES, DataType.INCREMENTAL_BOOK_L2):
        original = recorded / f"binance/{data_type}/2024/08/08/BTCUSDT.csv.gz"
        downloaded = tmp_path / f"binance_{data_type}_2024-08-08_BTCUSDT.csv.gz"
        assert downloaded.read_bytes() == original.read_bytes()
