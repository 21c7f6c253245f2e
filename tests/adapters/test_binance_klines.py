"""The REST client against a real HTTP server: paging, pace, repetition, what refusals mean."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time

import pytest
from aiohttp import web

from tickhandler_dagster.adapters.klines.binance_rest import APIS, BinanceKlines, KlineLimits
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidInput,
    NoEntitlement,
    RateLimited,
    VendorUnavailable,
)
from tickhandler_dagster.market.klines import KLINE_SCHEMA, KLINE_VENUES, KlineInstrument
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
START_MS = day_start_us(DAY) // 1_000
SPOT = VenueDay(DAY, VenueId.BINANCE)
BTC = KlineInstrument("BINANCE:SPOT_PAIR:BTC-USDT", "BTCUSDT")
ETH = KlineInstrument("BINANCE:SPOT_PAIR:ETH-USDT", "ETHUSDT")
FAST = KlineLimits(first_pause_s=0.01, attempts=3, timeout_s=2.0)


def row(ms, count=2):
    return [
        ms, "100.1", "101.0", "99.5", "100.7", "3.5", ms + 59_999, "351.25", count, "1.5", "150.5",
        "0",
    ]  # fmt: skip


class Venue:
    """Klines of a day, and answers to be given before them."""

    def __init__(self):
        self.first = []
        self.asked = []
        self.headers = {}
        self.at_once = self.most_at_once = 0
        self.lasts_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    async def _start(self):
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self._runner.addresses[0][1]

    def stop(self):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _answer(self, request):
        self.asked.append((request.path, dict(request.query)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.lasts_s)
        self.at_once -= 1
        if self.first:
            status, body, headers = self.first.pop(0)
            return web.Response(status=status, text=body, headers=headers)
        start, end = int(request.query["startTime"]), int(request.query["endTime"])
        rows = [row(ms) for ms in range(start, end, 60_000)]
        # coin-margined: the last of a span
        kept = rows[-int(request.query["limit"]) :] if "dapi" in request.path else rows
        return web.json_response(kept[: int(request.query["limit"])], headers=self.headers)

    def refuse(self, status, body="", times=1, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.first += [(status, body, named)] * times


@pytest.fixture
def venue():
    server = Venue()
    yield server
    server.stop()


@pytest.fixture
def client(venue):
    return BinanceKlines(venue.url, limits=FAST)


def test_every_kline_venue_has_an_api():
    assert set(APIS) == set(KLINE_VENUES)
    assert all(api.base.startswith("https://") for api in APIS.values())


@pytest.mark.parametrize("name", KLINE_VENUES)
def test_a_day_is_two_pages_each_no_longer_than_its_limit(venue, client, name):
    found = client.fetch(VenueDay(DAY, name), [BTC])
    (frame,) = found.frames.values()
    assert frame.schema == KLINE_SCHEMA
    assert frame["ts_open"].is_unique().all()
    assert (frame.height, found.requests, dict(found.absent)) == (1_440, 2, {})
    assert {path for path, _ in venue.asked} == {APIS[name].path}
    for _, query in venue.asked:
        span = int(query["endTime"]) + 1 - int(query["startTime"])
        assert span == int(query["limit"]) * 60_000 <= 1_000 * 60_000
        assert (query["symbol"], query["interval"]) == ("BTCUSDT", "1m")
    assert frame["ts_open"].min() == dt.datetime(2024, 8, 8, tzinfo=dt.UTC)


def test_coin_margined_counts_contracts_and_the_base_asset_is_the_other_volume(client):
    spot = client.fetch(SPOT, [BTC]).frames[BTC.instrument_key].row(0, named=True)
    coin = client.fetch(VenueDay(DAY, VenueId.BINANCE_DELIVERY), [BTC])
    one = coin.frames[BTC.instrument_key].row(0, named=True)
    volumes = ("volume", "quote_volume", "amount", "buy_volume")
    assert [spot[name] for name in volumes] == [3.5, 351.25, 3.5, 1.5]
    assert [one[name] for name in volumes] == [351.25, None, 3.5, 150.5]


def test_a_429_is_waited_for_and_asked_again(venue, client):
    venue.refuse(429, '{"code": -1003, "msg": "Too many requests."}', Retry_After="1")
    began = time.monotonic()
    found = client.fetch(SPOT, [BTC])
    assert found.requests == 3
    assert found.frames[BTC.instrument_key].height == 1_440
    assert 1.0 <= time.monotonic() - began < 10


@pytest.mark.parametrize("status", [500, 503])
def test_a_servers_error_is_asked_again_and_then_told(venue, client, status):
    venue.refuse(status, "oh no", times=2)
    assert client.fetch(SPOT, [BTC]).requests == 4
    venue.refuse(status, "oh no", times=3)
    with pytest.raises(VendorUnavailable, match=f"klines of BTCUSDT 2024-08-08.*{status} oh no"):
        client.fetch(SPOT, [BTC])


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "words"),
    [
        (429, "{}", {"Retry_After": "120"}, RateLimited, "too many requests"),
        (418, '{"code": -1003}', {"Retry_After": "7"}, RateLimited, "418"),
        (451, '{"code": 0, "msg": "restricted location"}', {}, NoEntitlement, "KLINES_ENDPOINT"),
        (400, '{"code": -1102, "msg": "malformed"}', {}, InvalidInput, "malformed"),
        (404, "<html>", {}, InvalidInput, "KLINES_ENDPOINT"),
        (200, "<html>", {}, CorruptData, "not a list of klines"),
        (200, '{"code": 1}', {}, CorruptData, "not a list of klines"),
        (200, "[[1]]", {}, CorruptData, "IndexError"),
        (200, "[[1, null, 1, 1, 1, 1, 1, 1, 1, 1, 1]]", {}, CorruptData, "TypeError"),
        (200, json.dumps([row(START_MS + 7)]), {}, CorruptData, "opens inside a minute"),
    ],
)
def test_what_asking_again_does_not_heal_is_told_at_once(  # noqa: PLR0917  (a row of a table)
    venue, client, status, body, headers, error, words
):
    venue.refuse(status, body, **headers)
    with pytest.raises(error, match=words) as raised:
        client.fetch(SPOT, [BTC])
    assert len(venue.asked) <= 2
    if error is RateLimited:
        assert raised.value.retry_after_s == float(headers["Retry_After"])


def test_an_unknown_symbol_is_absent_and_the_others_are_there(venue, client):
    venue.refuse(400, '{"code": -1121, "msg": "Invalid symbol."}')
    one_at_a_time = BinanceKlines(venue.url, limits=KlineLimits(concurrent=1))
    found = one_at_a_time.fetch(SPOT, [BTC, ETH])
    assert list(found.frames) == [ETH.instrument_key]
    assert "does not know the symbol" in found.absent[BTC.instrument_key]


def test_no_more_requests_run_at_once_than_allowed(venue):
    venue.lasts_s = 0.02
    limits = KlineLimits(concurrent=3)
    many = [KlineInstrument(f"KEY{number}", f"COIN{number}") for number in range(12)]
    found = BinanceKlines(venue.url, limits=limits).fetch(SPOT, many)
    assert (len(found.frames), venue.most_at_once) == (12, 3)


def test_requests_pause_before_the_weight_of_the_minute_is_used_up(venue, client, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 59.5)
    venue.headers = {"X-MBX-USED-WEIGHT-1M": "4801"}
    began = time.monotonic()
    assert client.fetch(SPOT, [BTC]).requests == 2
    assert time.monotonic() - began >= 0.5
    venue.headers = {"X-MBX-USED-WEIGHT-1M": "4799"}
    time.sleep(0.5)
    began = time.monotonic()
    client.fetch(SPOT, [BTC])
    assert time.monotonic() - began < 0.4


def test_nobody_there_is_a_transient_error(venue):
    client = BinanceKlines("http://127.0.0.1:9", limits=FAST)
    with pytest.raises(VendorUnavailable, match="ClientConnectorError"):
        client.fetch(SPOT, [BTC])
    venue.lasts_s = 0.5
    slow = BinanceKlines(venue.url, limits=KlineLimits(attempts=1, timeout_s=0.1))
    with pytest.raises(VendorUnavailable, match="Timeout"):
        slow.fetch(SPOT, [BTC])
