"""`/ws`: subscribe by a JSON message, get JSON messages.

What belongs here: a connection's life and what it may say. What does not: what is sent
(`streams.py`), the fields of a subscription (`requested.py`).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, web

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.streaming.serving.requested import Wish
from tickhandler_dagster.streaming.serving.streams import Streams
from tickhandler_dagster.streaming.serving.subscription import Subscription
from tickhandler_dagster.streaming.serving.wire import message

_MAX_MESSAGE_BYTES = 64 * 1024
_KINDS = ("subscribe", "unsubscribe", "ping")


class WebSockets:
    """The handler of every connection."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._open: WeakSet[web.WebSocketResponse] = WeakSet()

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        """Talk until the other side or the server goes."""
        # Not compressed: 200 bars with all columns would hold the loop for 21 ms.
        socket = web.WebSocketResponse(
            heartbeat=self._streams.limits.heartbeat_s,
            max_msg_size=_MAX_MESSAGE_BYTES,
            compress=False,
        )
        await socket.prepare(request)
        self._open.add(socket)
        connection = _Connection(self._streams, socket, request)
        try:
            async for received in socket:
                if received.type is WSMsgType.TEXT:
                    await connection.take(received.data)
                else:
                    await connection.say_error("Messages are JSON in text frames.")
        except (ConnectionResetError, TimeoutError):
            connection.abort()
        finally:
            await connection.unsubscribe()
        return socket

    async def close_all(self) -> None:
        """Say goodbye to everyone: the server stops."""
        for socket in tuple(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")


class _Connection:
    """One connection; it has at most one subscription, the last one asked for."""

    def __init__(
        self, streams: Streams, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._streams = streams
        self._socket = socket
        self._request = request
        self._subscription: Subscription | None = None
        self._sending: asyncio.Task[None] | None = None

    async def take(self, text: str) -> None:
        """Do what a message says, or say why not."""
        try:
            fields = json.loads(text)
        except ValueError:
            await self.say_error("The message is no JSON.")
            return
        kind = fields.pop("type", None) if isinstance(fields, dict) else None
        if kind == "subscribe":
            await self._subscribe(fields)
        elif kind == "unsubscribe":
            await self.unsubscribe()
            await self._say(message("unsubscribed"))
        elif kind == "ping":
            await self._say(message("pong"))
        else:
            known = ", ".join(_KINDS)
            await self.say_error(f"A message is an object whose type is one of {known}.")

    async def unsubscribe(self) -> None:
        """End the subscription, if there is one."""
        if self._subscription is not None and self._sending is not None:
            self._streams.close(self._subscription)
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
            self._subscription = self._sending = None

    async def say_error(self, text: str) -> None:
        """A sentence about what was wrong with the last message."""
        await self._say(message("error", code="bad_message", text=text))

    def abort(self) -> None:
        """Cut the connection: what waits in its buffers will not arrive."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _subscribe(self, fields: dict[str, object]) -> None:
        try:
            wish = self._streams.read_wish(fields)
        except InvalidInput as error:
            await self.say_error(str(error))
            return
        await self.unsubscribe()
        await self._say(_subscribed(wish))
        self._subscription = self._streams.subscribe(wish)
        self._sending = asyncio.create_task(self._send_all(self._subscription))

    async def _send_all(self, subscription: Subscription) -> None:
        try:
            async for item in self._streams.messages(subscription):
                await self._say(item.text)
                if item.kind == "error":
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too slow")
        except (ConnectionResetError, TimeoutError):
            self.abort()

    async def _say(self, text: str) -> None:
        await self._streams.in_time(self._socket.send_str(text))


def _subscribed(wish: Wish) -> str:
    """The subscription as it was understood."""
    wanted = wish.wanted
    return message(
        "subscribed",
        instruments=wanted.instruments,
        timeframes=sorted(wanted.timeframes, key=lambda timeframe: timeframe.us),
        columns=wanted.columns,
        stages=sorted(wanted.stages),
        on_overflow=wish.on_overflow,
    )
