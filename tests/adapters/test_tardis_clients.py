"""The vendor's client behind our limits, against a real server on loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import time
import traceback

import pytest
from pydantic import SecretStr

from tickhandler_dagster.adapters.tardis_datasets import (
    RequestLimits,
    TardisDatasets,
    sweep_litter,
)
from tickhandler_dagster.adapters.tardis_metadata import MetadataLimits, TardisMetadata
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.errors import (
    CorruptData,
    KeyLocked,
    NoEntitlement,
    RateLimited,
    StorageDenied,
    TickhandlerError,
    VendorUnavailable,
)
from tickhandler_dagster.market.venues import VenueId

FILE = DatasetFile(VenueId.BINANCE, DataType.TRADES, dt.date(2024, 8, 8), "BTCUSDT")
KEY = SecretStr("TD.the-secret-key")
DETAILS = "/v1/exchanges/binance"
INSTRUMENTS = "/v1/instruments/binance"


def fetch(vendor, folder, *, key=KEY, file=FILE, **limits):
    quick = {"attempts": 1, "repeats": 2, "repeat_pause_s": 0.01, "file_timeout_s": 20.0}
    datasets = TardisDatasets(
        vendor.endpoint + "/", api_key=key, limits=RequestLimits(**(quick | limits))
    )
    return asyncio.run(datasets.fetch(file, folder))


def test_the_bytes_arrive_as_they_are_with_the_key(vendor, tmp_path):
    vendor.put("BTCUSDT", b"\x1f\x8bany bytes")
    assert fetch(vendor, tmp_path).read_bytes() == b"\x1f\x8bany bytes"
    assert vendor.requests[0][1] == "Bearer TD.the-secret-key"
    fetch(vendor, tmp_path, key=None)
    assert vendor.requests[1][1] is None


def test_symbols_with_odd_signs_are_addressed(vendor, tmp_path):
    vendor.put("TRX_USDC-3JAN26-0D275-P", b"x")
    file = DatasetFile(VenueId.BINANCE, DataType.TRADES, FILE.date, "TRX_USDC-3JAN26-0d275-P")
    assert fetch(vendor, tmp_path, file=file).read_bytes() == b"x"


def test_a_redirect_to_another_host_does_not_carry_the_key(vendor, answer, tmp_path):
    vendor.answers["/elsewhere"] = [answer(b"far")]
    target = f"http://localhost:{vendor.port}/elsewhere?X-Amz-Signature=s"
    vendor.put("BTCUSDT", answer(b"", 302, {"Location": target}))
    assert fetch(vendor, tmp_path).read_bytes() == b"far"
    assert vendor.requests[-1] == ("/elsewhere", None)


def test_a_refused_signature_and_a_stray_404_are_asked_again(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b"<Error/>", 403), answer(b"", 404), b"data")
    assert fetch(vendor, tmp_path).read_bytes() == b"data"
    vendor.put("BTCUSDT", answer(b"", 404))
    with pytest.raises(VendorUnavailable, match="404"):
        fetch(vendor, tmp_path)


def test_a_locked_key_is_not_asked_again(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b'{"code":274,"message":"m","retryAfterSeconds":5}', 403))
    with pytest.raises(KeyLocked):
        fetch(vendor, tmp_path)
    assert len(vendor.requests) == 1


def test_attempts_of_the_vendor_client_are_limited(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b"", 503))
    with pytest.raises(VendorUnavailable, match="503"):
        fetch(vendor, tmp_path, attempts=2)
    assert len(vendor.requests) == 2


def test_the_vendor_client_heals_a_hiccup_by_itself(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b"", 429, {"Retry-After": "0"}), b"data")
    assert fetch(vendor, tmp_path, attempts=2).read_bytes() == b"data"
    vendor.put("BTCUSDT", answer(b"", 429, {"Retry-After": "7"}))
    with pytest.raises(RateLimited):
        fetch(vendor, tmp_path)


def test_a_compressed_refusal_the_client_cannot_read_ends_at_once(vendor, answer, tmp_path):
    refusal = gzip.compress(b'{"code":10}')
    vendor.put("BTCUSDT", answer(refusal, 401, {"Content-Encoding": "gzip"}))
    began = time.monotonic()
    with pytest.raises(VendorUnavailable, match="UnicodeDecodeError"):
        fetch(vendor, tmp_path, attempts=30)
    assert time.monotonic() - began < 10
    assert len(vendor.requests) == 1


def test_a_cut_body_leaves_no_file(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b"123", promised=100))
    with pytest.raises(VendorUnavailable):
        fetch(vendor, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_takes_too_long_ends(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b"", 503))
    with pytest.raises(VendorUnavailable):
        fetch(vendor, tmp_path, attempts=9, file_timeout_s=0.5)


def test_nobody_listening_is_a_vendor_that_is_not_there(tmp_path):
    datasets = TardisDatasets("http://127.0.0.1:9/v1", limits=RequestLimits(attempts=1))
    with pytest.raises(VendorUnavailable, match="ClientConnectorError"):
        asyncio.run(datasets.fetch(FILE, tmp_path))


def test_a_folder_that_cannot_be_written_ends_at_once(vendor, tmp_path, monkeypatch):
    vendor.put("BTCUSDT", b"data")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("tardis_dev._http.aiofiles.open", denied)
    with pytest.raises(StorageDenied):
        fetch(vendor, tmp_path, attempts=30)
    assert len(vendor.requests) == 1


def test_litter_of_a_killed_download_is_swept(tmp_path):
    (tmp_path / "download.csv.gz0123.unconfirmed").write_bytes(b"1")
    sweep_litter(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_no_error_prints_the_key_or_a_signature(vendor, answer, tmp_path, status):
    said = "TD.the-secret-key at https://s3.host/x?X-Amz-Signature=abcdef"
    vendor.put("BTCUSDT", answer(json.dumps({"code": 1, "message": said}).encode(), status))
    with pytest.raises(TickhandlerError) as caught:
        fetch(vendor, tmp_path)
    printed = "".join(traceback.format_exception(caught.value))
    assert "the-secret-key" not in printed
    assert "abcdef" not in printed


def metadata(vendor, key=KEY):
    limits = MetadataLimits(attempts=3, first_pause_s=0.01)
    return TardisMetadata(vendor.endpoint + "/", api_key=key, limits=limits)


def test_exchange_details_come_decoded_after_a_hiccup(vendor, answer):
    vendor.answers[DETAILS] = [answer(b"", 500), answer(b'{"id": "binance"}')]
    assert metadata(vendor).exchange_details(VenueId.BINANCE) == {"id": "binance"}


def test_attempts_for_metadata_are_bounded(vendor, answer):
    vendor.answers[DETAILS] = [answer(b"", 500)]
    with pytest.raises(VendorUnavailable):
        metadata(vendor).exchange_details(VenueId.BINANCE)
    assert len(vendor.requests) == 3


@pytest.mark.parametrize("status", [401, 403])
def test_without_entitlement_there_are_no_instruments(vendor, answer, status):
    vendor.answers[INSTRUMENTS] = [answer(b'{"code": 10, "message": "no"}', status)]
    assert metadata(vendor).instruments(VenueId.BINANCE) is None
    vendor.answers[INSTRUMENTS] = [answer(b'[{"id": "a"}]')]
    assert metadata(vendor).instruments(VenueId.BINANCE) == [{"id": "a"}]


def test_a_locked_key_is_no_missing_entitlement(vendor, answer):
    vendor.answers[INSTRUMENTS] = [answer(b'{"code": 274, "retryAfterSeconds": 900}', 403)]
    with pytest.raises(KeyLocked):
        metadata(vendor).instruments(VenueId.BINANCE)


@pytest.mark.parametrize("body", [b"<html>", b"[1]"])
def test_another_form_of_answer_is_corrupt(vendor, answer, body):
    vendor.answers[DETAILS] = [answer(body)]
    with pytest.raises(CorruptData, match="TARDIS_ENDPOINT"):
        metadata(vendor).exchange_details(VenueId.BINANCE)


def test_an_unauthorized_file_is_no_entitlement(vendor, answer, tmp_path):
    vendor.put("BTCUSDT", answer(b'{"code":10,"message":"first day only"}', 401))
    with pytest.raises(NoEntitlement, match="first day only"):
        fetch(vendor, tmp_path)
