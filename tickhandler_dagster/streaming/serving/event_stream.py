"""`/events`: the stream as server-sent events, which a browser resumes by itself.

What belongs here: the events' form and a connection's life. What does not: what is sent
(`streams.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs, web

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.streaming.serving.requested import Wish
from tickhandler_dagster.streaming.serving.streams import StreamMessage, Streams
from tickhandler_dagster.streaming.serving.subscription import Subscription

RETRY_MS = 1_000
_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    # Proxies that collect a response before they pass it on would hold the bars back.
    "X-Accel-Buffering": "no",
}


class EventStream:
    """The handler. Fields of `requested.py` are in the address, `Last-Event-ID` resumes."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send events until the other side or the server goes."""
        subscription = self._streams.subscribe(self._wish(request))
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await response.prepare(request)
            await self._send(response, subscription)
        except (ConnectionResetError, TimeoutError):
            # Gone, or its buffer has been full for too long: what is in it will not arrive.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.close(subscription)
        return response

    def _wish(self, request: web.Request) -> Wish:
        fields = request_fields(request.query)
        resume = request.headers.get("Last-Event-ID")
        try:
            return self._streams.read_wish(fields | ({"resume": resume} if resume else {}))
        except InvalidInput as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None

    async def _send(self, response: web.StreamResponse, subscription: Subscription) -> None:
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        async for item in self._streams.messages(subscription):
            await self._streams.in_time(response.write(_event(item)))
        await response.write_eof()


def request_fields(query: Mapping[str, str]) -> dict[str, object]:
    """The address' fields without the token, which is not for whoever reads bars."""
    return {name: value for name, value in query.items() if name != "token"}


def _event(item: StreamMessage) -> bytes:
    named = f"id: {item.resume}\n" if item.resume else ""
    # JSON has no line breaks outside its texts and escapes those within: one line is enough.
    return f"{named}event: {item.kind}\ndata: {item.text}\n\n".encode()
