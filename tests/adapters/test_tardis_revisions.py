"""Asking what the vendor has: over real sockets, with a vendor that says exactly what is needed."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import threading

import pytest
from aiohttp import web
from pydantic import SecretStr

from tickhandler_dagster.adapters.tardis_datasets import RequestLimits
from tickhandler_dagster.adapters.tardis_revisions import TardisRevisions
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.errors import (
    KeyLocked,
    NoEntitlement,
    QuotaExhausted,
    VendorUnavailable,
)
from tickhandler_dagster.market.revisions import VendorFile
from tickhandler_dagster.market.venues import VenueId

FILE = DatasetFile(VenueId.BINANCE, DataType.TRADES, dt.date(2024, 8, 8), "BTC/USD:1")
PATH = "/binance/trades/2024/08/08/BTC%2FUSD:1.csv.gz"
LIMITS = RequestLimits(file_timeout_s=5.0, silence_timeout_s=5, repeats=2, repeat_pause_s=0.01)
SECRET = SecretStr("TD.a-secret-key")
BODY = b"some bytes of a file" * 100
BIG = 200_000_000
BLOCK = b"x" * 65_536
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


class Vendor:
    """Two hosts in a thread: `reply` decides for the first, the second is where it redirects."""

    def __init__(self):
        self.reply = None
        self.seen = []
        self.sent = 0
        self._ready = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self):
        self._loop = loop = asyncio.new_event_loop()
        runners = [loop.run_until_complete(self._open(host)) for host in ("api", "storage")]
        self.url, storage = (f"http://127.0.0.1:{one.addresses[0][1]}" for one in runners)
        self.storage_url = storage.replace("127.0.0.1", "localhost")
        self._ready.set()
        loop.run_forever()
        for runner in runners:
            loop.run_until_complete(runner.cleanup())
        loop.close()

    async def _open(self, host):
        async def answer(request):
            self.seen.append((host, request.raw_path, request.headers.get("Authorization")))
            return await self.reply(self, host, request)

        application = web.Application()
        application.router.add_get("/{path:.+}", answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner


@pytest.fixture
def vendor():
    with Vendor() as running:
        yield running


def ask(vendor, *, content=False, key=SECRET, file=FILE):
    async def once():
        source = TardisRevisions(f"{vendor.url}/", api_key=key, limits=LIMITS)
        async with source.opened(content=content) as of_file:
            return await of_file(file)

    return asyncio.run(once())


def answering(status=200, *, body=BODY, **headers):
    async def reply(_vendor, _host, _request):
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return reply


def test_the_headers_are_read_in_their_vendors_forms(vendor):
    vendor.reply = answering(
        x_md5=f'"{MD5.upper()}"', ETag='W/"abc-2"', Last_Modified="Fri, 09 Aug 2024 06:00:00 GMT"
    )
    assert ask(vendor) == VendorFile(
        bytes=len(BODY),
        md5=MD5,
        etag="abc-2",
        last_modified=dt.datetime(2024, 8, 9, 6, tzinfo=dt.UTC),
    )
    assert vendor.seen == [("api", PATH, f"Bearer {SECRET.get_secret_value()}")]


@pytest.mark.parametrize(
    "headers",
    [{"x_md5": "d41d8cd98f00b204e9800998ecf8427e-4"}, {"x_md5": '""'}, {"Last_Modified": "lately"}],
)
def test_a_header_in_another_form_says_nothing(vendor, headers):
    vendor.reply = answering(**headers)
    assert ask(vendor) == VendorFile(bytes=len(BODY))


def test_content_is_hashed_and_not_kept(vendor):
    vendor.reply = answering()
    found = ask(vendor, content=True)
    assert found == VendorFile(bytes=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())


def test_a_redirect_to_another_host_is_followed_without_the_key(vendor):
    async def reply(vendor, host, _request):
        if host == "api":
            return web.Response(status=302, headers={"Location": f"{vendor.storage_url}/x?sig=1"})
        return web.Response(body=BODY)

    vendor.reply = reply
    assert ask(vendor).bytes == len(BODY)
    assert [(host, key) for host, _, key in vendor.seen] == [
        ("api", f"Bearer {SECRET.get_secret_value()}"),
        ("storage", None),
    ]


def test_a_large_body_is_not_read(vendor):
    async def reply(vendor, _host, request):
        response = web.StreamResponse(headers={"Content-Length": str(BIG)})
        await response.prepare(request)
        for _ in range(BIG // len(BLOCK)):
            await response.write(BLOCK)
            vendor.sent += len(BLOCK)
        return response

    vendor.reply = reply
    assert ask(vendor) == VendorFile(bytes=BIG)
    # What fits the buffers of two sockets of this machine, and nothing like the file.
    assert vendor.sent < BIG / 10


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (400, b'{"code":140,"message":"not available"}'), (400, b'{"code":300}')],
)
def test_no_such_file_is_none(vendor, status, body):
    vendor.reply = answering(status, body=body)
    assert ask(vendor) is None
    assert len(vendor.seen) == (3 if status == 404 else 1)


def test_a_404_that_heals_is_asked_again(vendor):
    async def reply(vendor, _host, _request):
        return web.Response(status=404 if len(vendor.seen) < 2 else 200, body=BODY)

    vendor.reply = reply
    assert ask(vendor).bytes == len(BODY)


@pytest.mark.parametrize(
    ("answer", "error", "requests"),
    [
        ((401, b'{"code":10,"message":"no"}', {}), NoEntitlement, 1),
        ((403, b'{"code":274,"retryAfterSeconds":893}', {}), KeyLocked, 1),
        ((429, b"{}", {"Retry_After": "3600"}), QuotaExhausted, 1),
        ((503, b"", {}), VendorUnavailable, 3),
        ((403, b"<Error/>", {}), VendorUnavailable, 3),
    ],
)
def test_a_refusal_is_the_error_that_a_download_gives(vendor, answer, error, requests):
    status, body, headers = answer
    vendor.reply = answering(status, body=body, **headers)
    with pytest.raises(error) as raised:
        ask(vendor)
    assert SECRET.get_secret_value() not in str(raised.value)
    assert len(vendor.seen) == requests


def test_without_a_key_no_key_is_sent_and_the_refusal_names_the_setting(vendor):
    vendor.reply = answering(401, body=b"{}")
    with pytest.raises(NoEntitlement, match="TARDIS_API_KEY"):
        ask(vendor, key=None)
    assert vendor.seen[0][2] is None


def test_a_connection_that_breaks_is_an_unavailable_vendor(vendor):
    async def reply(_vendor, _host, request):
        request.transport.abort()
        return web.Response()

    vendor.reply = reply
    with pytest.raises(VendorUnavailable, match="no complete answer"):
        ask(vendor)
    assert len(vendor.seen) >= 3


def test_an_answer_that_never_comes_ends_with_the_time_of_the_file(vendor, monkeypatch):
    monkeypatch.setattr(f"{__name__}.LIMITS", RequestLimits(file_timeout_s=0.2, repeats=0))

    async def reply(_vendor, _host, _request):
        await asyncio.sleep(2)
        return web.Response()

    vendor.reply = reply
    with pytest.raises(VendorUnavailable, match="nothing for 0 s"):
        ask(vendor)
