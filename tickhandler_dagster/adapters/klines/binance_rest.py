"""Klines of one minute from Binance's public REST APIs: spot, USD-margined, coin-margined.

What belongs here: the requests of a day, their pace and their repetition. What does not: what an
answer that is not 200 means (`binance_errors.py`) and the form of a kline (`market/klines.py`).

A plain HTTP client and no wrapper: the requests are three addresses without a key, and what a
wrapper would hide, limits and refusals, is what has to be told apart here.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import aiohttp
import polars as pl

from tickhandler_dagster.adapters.klines.binance_errors import BANNED, Answer, refused, unavailable
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.errors import CorruptData, NotAvailable, TransientError
from tickhandler_dagster.market.klines import (
    COUNT,
    MINUTES_PER_DAY,
    RAW_VALUES,
    FetchedKlines,
    KlineInstrument,
    klines_of,
)
from tickhandler_dagster.market.venues import VenueId

PAGE = 1_000
"""Klines of a request: the most that spot gives, and where the futures' price per row is least."""

_PLACES = MappingProxyType(
    {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7, COUNT: 8}
    | {"buy_volume": 9, "buy_quote_volume": 10}
)
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_SHARE_OF_WEIGHT = 0.8
_LONGEST_WAIT_S = 30.0
_MS_PER_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Api:
    """One of the venue's APIs.

    Attributes:
        base: Its address.
        path: Path of the klines.
        weight_per_minute: What an address may spend.
    """

    base: str
    path: str
    weight_per_minute: int


APIS: Mapping[VenueId, Api] = MappingProxyType(
    {
        VenueId.BINANCE: Api("https://api.binance.com", "/api/v3/klines", 6_000),
        VenueId.BINANCE_FUTURES: Api("https://fapi.binance.com", "/fapi/v1/klines", 2_400),
        VenueId.BINANCE_DELIVERY: Api("https://dapi.binance.com", "/dapi/v1/klines", 2_400),
    }
)


@dataclass(frozen=True, slots=True)
class KlineLimits:
    """How often, how many at once and how long to ask.

    Attributes:
        concurrent: Requests at the same time.
        attempts: Tries of a request.
        first_pause_s: Pause after the first; it doubles each time.
        timeout_s: Of one try.
    """

    concurrent: int = 8
    attempts: int = 4
    first_pause_s: float = 1.0
    timeout_s: float = 30.0


class BinanceKlines:
    """The public klines of the three venues.

    Args:
        endpoint: Address in place of the venues' own; the paths stay.
        limits: How often, how many at once and how long to ask.
    """

    def __init__(self, endpoint: str | None = None, *, limits: KlineLimits | None = None) -> None:
        self._endpoint = None if endpoint is None else endpoint.rstrip("/")
        self._limits = limits or KlineLimits()
        self._resume_at = 0.0

    def fetch(self, cell: VenueDay, instruments: Sequence[KlineInstrument]) -> FetchedKlines:
        """The klines of a day of each instrument.

        Raises:
            RateLimited: too many requests, also after waiting.
            NoEntitlement: the venue does not serve this region.
            VendorUnavailable: no answer after all attempts.
            InvalidInput: the venue refuses the request.
            CorruptData: the answer is not a list of klines.
        """
        return asyncio.run(self._fetch(cell, instruments))

    async def _fetch(self, cell: VenueDay, instruments: Sequence[KlineInstrument]) -> FetchedKlines:
        timeout = aiohttp.ClientTimeout(total=self._limits.timeout_s)
        connector = aiohttp.TCPConnector(limit=self._limits.concurrent)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            asked = _Asked(session, asyncio.Semaphore(self._limits.concurrent))
            tasks = [
                asyncio.ensure_future(self._day(asked, cell, instrument))
                for instrument in instruments
            ]
            try:
                days = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        found = dict(zip((item.instrument_key for item in instruments), days, strict=True))
        return FetchedKlines(
            {key: day for key, day in found.items() if isinstance(day, pl.DataFrame)},
            {key: day for key, day in found.items() if isinstance(day, str)},
            asked.requests,
        )

    async def _day(
        self, asked: _Asked, cell: VenueDay, instrument: KlineInstrument
    ) -> pl.DataFrame | str:
        """The klines of the day, or why there are none."""
        subject = f"klines of {instrument.symbol} {cell}"
        rows: list[Any] = []
        try:
            for first in range(0, MINUTES_PER_DAY, PAGE):
                # A page asks for a span no longer than its limit: where a span is longer, spot and
                # USD-margined give its first rows, coin-margined its last ones.
                count = min(PAGE, MINUTES_PER_DAY - first)
                start = day_start_us(cell.date) // 1_000 + first * _MS_PER_MINUTE
                parameters = {
                    "symbol": instrument.symbol,
                    "interval": "1m",
                    "startTime": str(start),
                    "endTime": str(start + count * _MS_PER_MINUTE - 1),
                    "limit": str(count),
                }
                rows += await self._page(asked, cell.venue, subject, parameters)
        except NotAvailable as error:
            return str(error)
        return klines_of(_frame(rows, subject), cell, subject=subject)

    async def _page(
        self, asked: _Asked, venue: VenueId, subject: str, parameters: Mapping[str, str]
    ) -> list[Any]:
        pause = self._limits.first_pause_s
        attempt = 0
        while True:
            attempt += 1
            try:
                async with asked.places:
                    await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
                    return await self._once(asked, venue, subject, parameters)
            except TransientError as error:
                wait = pause if error.retry_after_s is None else error.retry_after_s
                is_banned = str(error.was).startswith(str(BANNED))
                if attempt >= self._limits.attempts or wait > _LONGEST_WAIT_S or is_banned:
                    raise
                if error.retry_after_s is not None:
                    self._hold(wait)  # everybody: a request in the wait would lengthen it
            await asyncio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311  (jitter)
            pause *= 2

    async def _once(
        self, asked: _Asked, venue: VenueId, subject: str, parameters: Mapping[str, str]
    ) -> list[Any]:
        api = APIS[venue]
        asked.requests += 1
        try:
            async with asked.session.get(
                f"{self._endpoint or api.base}{api.path}", params=parameters
            ) as response:
                body = await response.text()
                self._pace(response.headers.get(_USED_WEIGHT), api)
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise unavailable(subject, f"{type(error).__name__}: {error}") from None
        if response.status != 200:  # noqa: PLR2004  (the only good answer)
            retry_after = response.headers.get("Retry-After")
            raise refused(Answer(subject, response.status, body, retry_after))
        return _list_of(body, subject)

    def _pace(self, used: str | None, api: Api) -> None:
        """Wait for the next minute before the weight is used up: a ban costs more."""
        is_near = used is not None and used.isdecimal()
        if is_near and int(str(used)) > _SHARE_OF_WEIGHT * api.weight_per_minute:
            self._hold(60.0 - time.time() % 60.0)

    def _hold(self, seconds: float) -> None:
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)


@dataclass(slots=True)
class _Asked:
    """One round of requests: its session, its free places and its count."""

    session: aiohttp.ClientSession
    places: asyncio.Semaphore
    requests: int = 0


def _list_of(body: str, subject: str) -> list[Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise _malformed(subject, body[:80])
    return found


def _frame(rows: Sequence[Any], subject: str) -> pl.DataFrame:
    """Rows of twelve cells, prices and volumes as text, as the columns `klines_of` takes."""
    try:
        columns = {
            name: [_number(row[place], name) for row in rows] for name, place in _PLACES.items()
        }
        opens = [int(row[0]) * 1_000 for row in rows]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise _malformed(subject, f"{type(error).__name__}: {error}") from None
    dtypes = {name: pl.Int64() if name == COUNT else pl.Float64() for name in RAW_VALUES}
    return pl.DataFrame({"ts_open": opens, **columns}, schema={"ts_open": pl.Int64(), **dtypes})


def _number(cell: str | int, name: str) -> float | int:
    return int(cell) if name == COUNT else float(cell)


def _malformed(subject: str, was: str) -> CorruptData:
    return CorruptData(
        subject,
        "the answer is not a list of klines",
        was=was,
        expected="rows of twelve cells",
        remedy="Check KLINES_ENDPOINT",
    )
