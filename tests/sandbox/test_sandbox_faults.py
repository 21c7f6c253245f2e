"""Every named fault does what its name says, to the true bytes, and heals when told to."""

from __future__ import annotations

import gzip
import http.client
import json
import urllib.error
import urllib.request
import zlib

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.sandbox.faults import (
    DAMAGES,
    REFUSALS,
    Fault,
    FaultPlan,
    FaultRule,
    payload,
)
from tickhandler_dagster.sandbox.server import SandboxServer

FREE = "/binance/trades/2024/08/01/BTCUSDT.csv.gz"
OTHER = "/binance/trades/2024/08/01/ETHUSDT.csv.gz"
HEADER = ",".join(RAW_TABLES[DataType.TRADES].header)


@pytest.fixture(scope="module")
def server(market):
    with SandboxServer(market.simulator) as running:
        yield running


@pytest.fixture(scope="module")
def true_body(market, day):
    return market.simulator.dataset("binance", DataType.TRADES, day.replace(day=1), "BTCUSDT")


@pytest.fixture(scope="module")
def true_lines(true_body):
    return gzip.decompress(true_body).decode().splitlines()


@pytest.fixture
def fetch(server):
    def fetch_with(fault, path=FREE, times=None):
        server.faults.clear()
        server.faults.add(FaultRule(fault, times=times))
        return _get(server.datasets_url + path)

    yield fetch_with
    server.faults.clear()


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310  (loopback)
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def _lines(body):
    return gzip.decompress(body).decode().splitlines()


def test_every_fault_is_either_a_refusal_or_a_damage():
    assert set(Fault) == REFUSALS.keys() | DAMAGES.keys()
    assert not REFUSALS.keys() & DAMAGES.keys()


def test_missing_file_is_404(fetch):
    assert fetch(Fault.MISSING_FILE)[0] == 404


def test_rate_limited_asks_for_a_short_wait(fetch):
    status, headers, _ = fetch(Fault.RATE_LIMITED)
    assert status == 429
    assert 0 < int(headers["Retry-After"]) <= 5


def test_quota_exhausted_asks_for_a_long_wait(fetch):
    status, headers, _ = fetch(Fault.QUOTA_EXHAUSTED)
    assert status == 429
    assert int(headers["Retry-After"]) > 300


def test_server_error_is_500(fetch):
    assert fetch(Fault.SERVER_ERROR)[0] == 500


def test_ip_locked_is_403_code_274_with_a_wait_in_the_body(fetch):
    status, headers, body = fetch(Fault.IP_LOCKED)
    assert status == 403
    assert json.loads(body)["code"] == 274
    assert json.loads(body)["retryAfterSeconds"] == 893
    assert headers["Retry-After"] is None


def test_truncated_body_ends_before_its_announced_length(fetch):
    with pytest.raises(http.client.IncompleteRead):
        fetch(Fault.TRUNCATED_BODY)


def test_corrupt_gzip_has_the_right_length_and_the_wrong_bytes(fetch, true_body):
    _, _, body = fetch(Fault.CORRUPT_GZIP)
    assert len(body) == len(true_body)
    with pytest.raises((gzip.BadGzipFile, zlib.error, EOFError)):
        gzip.decompress(body)


def test_corrupt_gzip_breaks_even_an_empty_file():
    sent = payload(gzip.compress(b""), DataType.TRADES, Fault.CORRUPT_GZIP)
    with pytest.raises((gzip.BadGzipFile, zlib.error, EOFError)):
        gzip.decompress(sent.body)


def test_cut_last_row_is_sound_gzip_that_ends_inside_a_line(fetch, true_lines):
    text = gzip.decompress(fetch(Fault.CUT_LAST_ROW)[2]).decode()
    assert not text.endswith("\n")
    assert text.splitlines()[:-1] == true_lines[:-1]
    assert true_lines[-1].startswith(text.splitlines()[-1])


def test_wrong_header_keeps_the_rows(fetch, true_lines):
    lines = _lines(fetch(Fault.WRONG_HEADER)[2])
    assert lines[0] != HEADER
    assert lines[1:] == true_lines[1:]


def test_html_is_not_gzip(fetch):
    status, headers, body = fetch(Fault.HTML_NOT_GZIP)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert body.startswith(b"<!DOCTYPE html>")


def test_empty_has_three_shapes(fetch):
    assert fetch(Fault.EMPTY_BODY)[2] == b""
    assert gzip.decompress(fetch(Fault.EMPTY_GZIP)[2]) == b""
    assert _lines(fetch(Fault.HEADER_ONLY)[2]) == [HEADER]


def test_duplicates_repeat_real_rows(fetch, true_lines):
    lines = _lines(fetch(Fault.DUPLICATES)[2])
    assert len(lines) > len(true_lines)
    assert list(dict.fromkeys(lines)) == true_lines


def test_out_of_order_keeps_the_rows_and_lets_arrivals_go_back(fetch, true_lines):
    lines = _lines(fetch(Fault.OUT_OF_ORDER)[2])
    assert sorted(lines) == sorted(true_lines)
    arrivals = [int(line.split(",")[3]) for line in lines[1:]]
    assert arrivals != sorted(arrivals)


@pytest.mark.parametrize(
    ("fault", "is_wrong"),
    [
        (Fault.ZERO_VALUES, lambda value: value == 0),
        (Fault.NEGATIVE_VALUES, lambda value: value < 0),
    ],
)
def test_impossible_values_stand_in_a_few_rows(fetch, true_lines, fault, is_wrong):
    lines = _lines(fetch(fault)[2])
    changed = [line for line, true in zip(lines, true_lines, strict=True) if line != true]
    assert len(changed) == 3
    assert all(any(is_wrong(float(cell)) for cell in line.split(",")[6:]) for line in changed)


@pytest.mark.parametrize("data_type", DataType)
@pytest.mark.parametrize("fault", DAMAGES)
def test_every_damage_changes_a_file_of_every_type(market, day, data_type, fault):
    venue = "deribit"
    symbol = "OPTIONS" if data_type is DataType.OPTIONS_CHAIN else "BTC-PERPETUAL"
    body = market.simulator.dataset(venue, data_type, day, symbol)
    sent = payload(body, data_type, fault)
    assert sent.body != body
    assert payload(body, data_type, None).body == body


def test_a_fault_heals_after_the_first_requests_of_each_file(fetch, server):
    assert fetch(Fault.SERVER_ERROR, times=2)[0] == 500
    assert _get(server.datasets_url + FREE)[0] == 500
    assert _get(server.datasets_url + FREE)[0] == 200
    assert _get(server.datasets_url + OTHER)[0] == 500


def test_a_rule_meets_only_what_it_names(server):
    server.faults.add(
        FaultRule(Fault.MISSING_FILE, exchange="bin*", date="2024-08-*", symbol="ETH*")
    )
    try:
        assert _get(server.datasets_url + OTHER)[0] == 404
        assert _get(server.datasets_url + FREE)[0] == 200
    finally:
        server.faults.clear()


def test_a_paid_file_is_damaged_behind_the_redirect(market, tmp_path):
    plan = FaultPlan([FaultRule(Fault.HTML_NOT_GZIP, data_type="trades")])
    with SandboxServer(market.simulator, faults=plan) as running:
        url = f"{running.datasets_url}/binance/trades/2024/08/08/BTCUSDT.csv.gz"
        request = urllib.request.Request(url)  # noqa: S310  (loopback)
        request.add_unredirected_header("Authorization", "Bearer TD.sandbox")
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  (loopback)
            assert response.read().startswith(b"<!DOCTYPE html>")
    # A request is noted when its answer is out, which the client may have read already.
    assert [one.status for one in running.requests] == [302, 200]
