"""The sandbox speaks the vendor's HTTP: codes, bodies, redirects, keys."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from tardis_dev import download_datasets, get_exchange_details, get_instrument_info

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY, KeyRights
from tickhandler_dagster.sandbox.server import SandboxServer

TRADES = "/binance/trades/2024/08/08/BTCUSDT.csv.gz"
FREE_TRADES = "/binance/trades/2024/08/01/BTCUSDT.csv.gz"
KEYS = {
    "TD.all": KeyRights(),
    "TD.deribit": KeyRights(exchanges=frozenset({"deribit"})),
    "TD.july": KeyRights(first=dt.date(2024, 7, 1), end=dt.date(2024, 8, 1)),
    "TD.solo": KeyRights(has_instruments=False),
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def get(url, key=None, *, follow=False):
    """Status, headers and body; with `follow` the key is sent on, as careless clients do."""
    request = urllib.request.Request(url)  # noqa: S310  (loopback)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    opener = urllib.request.build_opener(*([] if follow else [_NoRedirect]))
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def server(market):
    with SandboxServer(market.simulator, api_keys=KEYS) as running:
        yield running


def test_a_paid_dataset_is_redirected_to_another_host_that_wants_no_key(server, market, day):
    status, headers, _ = get(server.datasets_url + TRADES, "TD.all")
    assert status == 302
    address = urllib.parse.urlsplit(headers["Location"])
    assert address.hostname == "localhost"
    assert address.netloc != urllib.parse.urlsplit(server.api_url).netloc
    assert "signature=" in address.query
    status, headers, body = get(headers["Location"])
    assert status == 200
    assert body == market.simulator.dataset("binance", DataType.TRADES, day, "BTCUSDT")
    assert headers["x-md5"] == f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324  (the vendor's)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Content-Type"] == "text/csv"


def test_a_client_that_sends_its_key_on_is_refused_by_the_storage(server):
    status, _, body = get(server.datasets_url + TRADES, "TD.all", follow=True)
    assert status == 400
    assert body.startswith(b"<?xml")


def test_an_address_with_a_wrong_signature_is_refused(server):
    _, headers, _ = get(server.datasets_url + TRADES, "TD.all")
    status, _, body = get(headers["Location"][:-4] + "0000")
    assert status == 403
    assert b"AccessDenied" in body


def test_the_vendors_own_client_downloads_and_drops_its_key(server, tmp_path, market, day):
    server.forget_requests()
    download_datasets(
        "binance",
        ["trades"],
        ["BTCUSDT"],
        day.isoformat(),
        "2024-08-09",
        api_key="TD.all",
        download_dir=str(tmp_path),
        endpoint=server.datasets_url,
    )
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == market.simulator.dataset("binance", DataType.TRADES, day, "BTCUSDT")
    assert [(one.host, one.status, one.had_authorization) for one in server.requests] == [
        ("api", 302, True),
        ("storage", 200, False),
    ]
    assert all("TD." not in one.path and "signature" not in one.path for one in server.requests)


def test_the_first_day_of_a_month_needs_no_key_and_no_redirect(server):
    status, _, body = get(server.datasets_url + FREE_TRADES)
    assert status == 200
    assert gzip.decompress(body).startswith(b"exchange,symbol,")


@pytest.mark.parametrize("key", [None, "TD.wrong", "TD.deribit", "TD.july"])
def test_a_key_that_does_not_cover_the_dataset_gets_401_code_10(server, key):
    status, _, body = get(server.datasets_url + TRADES, key)
    assert status == 401
    assert json.loads(body)["code"] == 10
    assert "2024-08-08" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/binance/trades/2024/08/08/NOPE.csv.gz", 300, "'NOPE'"),
        ("/binance/trades/2024/08/08/btcusdt.csv.gz", 300, "'btcusdt'"),
        ("/binance/derivative_ticker/2024/08/08/BTCUSDT.csv.gz", 300, "'BTCUSDT'"),
        ("/pacifica/trades/2024/08/08/BTCUSDT.csv.gz", 100, "Allowed values"),
        ("/binance/trades/2024/08/08/TONUSDT.csv.gz", 140, "since '2024-08-09'"),
        ("/binance/trades/2024/08/10/WAVESUSDT.csv.gz", 140, "until '2024-08-09'"),
        ("/binance/trades/2024/06/30/BTCUSDT.csv.gz", 140, "since '2024-07-01'"),
        ("/binance/trades/2025/01/02/BTCUSDT.csv.gz", 140, "until '2025-01-01'"),
        ("/binance/candles/2024/08/08/BTCUSDT.csv.gz", 110, "'candles'"),
        ("/binance/trades/2024/02/30/BTCUSDT.csv.gz", 120, "date"),
        ("/binance/trades/2024/08/08/BTCUSDT.zip", 130, "format"),
    ],
)
def test_what_never_existed_gets_400_with_the_vendors_code(server, path, code, text):
    status, _, body = get(server.datasets_url + path, "TD.all")
    assert status == 400
    assert json.loads(body)["code"] == code
    assert text in json.loads(body)["message"]
    assert "ISO 8601 format" not in json.loads(body)["message"]


def test_the_days_of_listing_and_delisting_have_files(server):
    for symbol in ("TONUSDT", "WAVESUSDT"):
        path = f"/binance/trades/2024/08/09/{symbol}.csv.gz"
        assert get(server.datasets_url + path, "TD.all")[0] == 302


def test_everything_simulated_says_so(server):
    for path, key in (("/exchanges", None), ("/exchanges/deribit", None), (FREE_TRADES, None)):
        _, headers, _ = get(server.api_url + path, key)
        assert headers["X-Tickhandler-Simulated"] == "true"
    _, headers, _ = get(server.api_url + TRADES)
    assert headers["X-Tickhandler-Simulated"] == "true"


def test_all_exchanges_are_listed_and_described(server):
    _, _, body = get(server.api_url + "/exchanges")
    assert [one["id"] for one in json.loads(body)] == [venue.value for venue in VenueId]
    details = get_exchange_details("binance-futures", endpoint=server.api_url)
    assert details["simulated"] is True
    assert {"id": "btcusdt", "type": "perpetual"}.items() <= details["availableSymbols"][0].items()
    entry = next(one for one in details["datasets"]["symbols"] if one["id"] == "BTCUSDT")
    assert entry["availableTo"] == details["datasets"]["exportedUntil"]
    assert "derivative_ticker" in entry["dataTypes"]
    assert get(server.api_url + "/exchanges/pacifica")[0] == 400


def test_instruments_need_a_key_with_that_right(server):
    for key in (None, "TD.wrong", "TD.solo"):
        assert get(server.api_url + "/instruments/deribit", key)[0] == 401


def test_instruments_are_filtered_and_found_by_either_name(server):
    options = get_instrument_info(
        "deribit",
        filter={"type": ["option"], "baseCurrency": "XRP", "active": True},
        api_key="TD.all",
        endpoint=server.api_url,
    )
    assert options
    assert {one["contractType"] for one in options} == {"call_option", "put_option"}
    assert all("0d" in one["id"] and "0D" in one["datasetId"] for one in options)
    for name in ("btcusd_perp", "BTCUSD_PERP"):
        one = get_instrument_info(
            "binance-delivery", symbol=name, api_key="TD.all", endpoint=server.api_url
        )
        assert (one["inverse"], one["contractMultiplier"]) == (True, 100.0)
    status, _, body = get(server.api_url + "/instruments/binance/NOPE", "TD.all")
    assert (status, json.loads(body)["code"]) == (400, 300)


def test_a_change_of_terms_is_in_the_record(server):
    doge = get_instrument_info(
        "okex-swap", symbol="DOGE-USDT-SWAP", api_key="TD.all", endpoint=server.api_url
    )
    assert doge["contractMultiplier"] == 1000.0
    assert doge["changes"] == [{"until": "2024-08-09T00:00:00.000Z", "contractMultiplier": 100.0}]


def test_a_key_can_ask_what_it_covers(server):
    _, _, body = get(server.api_url + "/api-key-info", "TD.july")
    rows = json.loads(body)
    assert len(rows) == len(VenueId)
    assert rows[0].keys() == {"exchange", "accessType", "from", "to", "symbols", "dataPlan"}
    assert (rows[0]["from"], rows[0]["to"]) == ("2024-07-01", "2024-08-01")
    assert get(server.api_url + "/api-key-info")[0] == 401


def test_a_sandbox_without_keys_has_one_that_opens_everything(market):
    with SandboxServer(market.simulator) as running:
        assert get(running.datasets_url + TRADES, SANDBOX_KEY)[0] == 302


def test_a_taken_port_is_named(server, market):
    port = urllib.parse.urlsplit(server.api_url).port
    with pytest.raises(InvalidSetting, match=str(port)):
        SandboxServer(market.simulator, port=port).start()


def test_the_command_line_form_serves_until_interrupted():
    code = (
        "import signal, sys\n"
        # A shell that runs the tests in the background hands down an ignored SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tickhandler_dagster.sandbox.server import SandboxServer\n"
        "from tickhandler_dagster.sandbox.simulator import Simulator\n"
        "SandboxServer(Simulator(scale=0.01), port=int(sys.argv[1])).serve_forever()\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(port)]) as served:
        try:
            assert _answers_within(f"http://127.0.0.1:{port}/v1/exchanges", 20)
            served.send_signal(signal.SIGINT)
            assert served.wait(timeout=20) == 0
        finally:
            served.kill()


def _answers_within(url, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return get(url)[0] == 200
        except urllib.error.URLError:
            time.sleep(0.1)
    return False
