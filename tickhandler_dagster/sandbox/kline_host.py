"""The public klines of three venues over HTTP: paths, limits and refusals as theirs.

What belongs here: requests and answers. The rows come from `klines.py`, what goes wrong with them
from `kline_faults.py`.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.kline_faults import KlineFaultPlan
from tickhandler_dagster.sandbox.klines import DayKlines, Row
from tickhandler_dagster.sandbox.source import Source

PATHS: Mapping[str, VenueId] = MappingProxyType(
    {
        "/api/v3/klines": VenueId.BINANCE,
        "/fapi/v1/klines": VenueId.BINANCE_FUTURES,
        "/dapi/v1/klines": VenueId.BINANCE_DELIVERY,
    }
)

_MOST_ROWS = MappingProxyType(
    {VenueId.BINANCE: 1_000, VenueId.BINANCE_FUTURES: 1_500, VenueId.BINANCE_DELIVERY: 1_500}
)
_DEFAULT_ROWS = 500
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"


class KlineHost:
    """Answers requests for klines.

    Args:
        source: Where the files of trades come from.
        faults: What goes wrong.
    """

    def __init__(self, source: Source, faults: KlineFaultPlan) -> None:
        self._klines = DayKlines(source)
        self._faults = faults
        self._lock = asyncio.Lock()

    def add_routes(self, application: web.Application) -> None:
        """Serve the three paths."""
        for path in PATHS:
            application.router.add_get(path, self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        venue = PATHS[request.path]
        symbol = request.query.get("symbol", "")
        if self._faults.refuses(symbol):
            return _refused(429, -1003, "Too many requests.", retry_after="0")
        try:
            start, end = int(request.query["startTime"]), int(request.query["endTime"])
            limit = min(int(request.query.get("limit", _DEFAULT_ROWS)), _MOST_ROWS[venue])
        except (KeyError, ValueError):
            return _refused(400, -1102, "Mandatory parameter was not sent or malformed.")
        if request.query.get("interval") != "1m":
            return _refused(400, -1120, "Invalid interval.")
        async with self._lock:  # the sums are cached, and two threads would add them up twice
            rows = await asyncio.to_thread(self._rows, venue, symbol, (start, end))
        if rows is None:
            return _refused(400, -1121, "Invalid symbol.")
        # Coin-margined gives the last rows of a span that is longer than the limit.
        kept = rows[-limit:] if venue is VenueId.BINANCE_DELIVERY else rows[:limit]
        sent = self._faults.applied(symbol, kept)
        return web.json_response(sent, headers={_USED_WEIGHT: "2"})

    def _rows(self, venue: VenueId, symbol: str, span_ms: tuple[int, int]) -> list[Row] | None:
        if not self._klines.knows(venue, symbol):
            return None
        first, last = (dt.datetime.fromtimestamp(ms / 1_000, dt.UTC).date() for ms in span_ms)
        days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
        return [
            row
            for day in days
            for row in self._klines.rows(venue, symbol, day).values()
            if span_ms[0] <= row[0] <= span_ms[1]
        ]


def _refused(
    status: int, code: int, message: str, *, retry_after: str | None = None
) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return web.json_response({"code": code, "msg": message}, status=status, headers=headers)
