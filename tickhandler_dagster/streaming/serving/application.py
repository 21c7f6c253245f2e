"""The addresses: streams, newest bars, status, health, metrics, the page.

What belongs here: which address gives what. What does not: opening a port (`server.py`).
"""

from __future__ import annotations

import json

from aiohttp import web

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.streaming.serving import wire
from tickhandler_dagster.streaming.serving.access import guard
from tickhandler_dagster.streaming.serving.broadcast import Broadcast, StartFrom
from tickhandler_dagster.streaming.serving.event_stream import EventStream, request_fields
from tickhandler_dagster.streaming.serving.metrics import CONTENT_TYPE, exposition
from tickhandler_dagster.streaming.serving.page.page import render_page
from tickhandler_dagster.streaming.serving.requested import read_wish, token
from tickhandler_dagster.streaming.serving.status_board import StatusBoard
from tickhandler_dagster.streaming.serving.streams import StreamLimits, Streams
from tickhandler_dagster.streaming.serving.web_socket import WebSockets

_FRESH = {"Cache-Control": "no-store"}


def build_application(
    broadcast: Broadcast,
    board: StatusBoard,
    *,
    token: str | None = None,
    limits: StreamLimits | None = None,
) -> web.Application:
    """The application, to be run by `server.py` or inside another one.

    Args:
        broadcast: The bars.
        board: The engine's status.
        token: What every request has to bear; None answers this machine's own names alone.
        limits: How patient connections are.
    """
    streams = Streams(broadcast, board, limits if limits is not None else StreamLimits())
    sockets = WebSockets(streams)
    answers = _Answers(broadcast, board)

    async def close(_: web.Application) -> None:
        streams.close_all()
        await sockets.close_all()

    application = web.Application(middlewares=[guard(token)])
    application.add_routes(
        [
            web.get("/", answers.page),
            web.get("/bars", answers.bars),
            web.get("/status", answers.status),
            web.get("/health", answers.health),
            web.get("/metrics", answers.metrics),
            web.get("/events", EventStream(streams).answer),
            web.get("/ws", sockets.answer),
        ]
    )
    application.on_shutdown.append(close)
    return application


class _Answers:
    """What is answered at once."""

    def __init__(self, broadcast: Broadcast, board: StatusBoard) -> None:
        self._broadcast = broadcast
        self._board = board
        self._page = render_page()

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(
            text=self._page,
            content_type="text/html",
            # The address may bear the token: it must not go along with a link.
            headers=_FRESH | {"Referrer-Policy": "no-referrer"},
        )

    async def bars(self, request: web.Request) -> web.Response:
        """The newest bars that are remembered, one of each series unless `newest` says more."""
        try:
            wish = read_wish(request_fields(request.query), boot=self._broadcast.boot)
        except InvalidInput as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        start = StartFrom(newest=1) if wish.start.is_now else wish.start
        found = self._broadcast.newest(wish.wanted, start)
        resume = token(self._broadcast.boot, found[-1].sequence) if found else ""
        texts = [wire.bars_message(item, resume=resume, dropped=0) for item in found]
        return _json(f"[{','.join(texts)}]")

    async def status(self, _: web.Request) -> web.Response:
        fields = wire.status_fields(self._board) | {
            "instruments": self._broadcast.instruments(),
            "subscribers": self._broadcast.subscribers,
            "dropped_bars": self._broadcast.dropped,
        }
        return _json(wire.message("status", **fields))

    async def health(self, _: web.Request) -> web.Response:
        health = self._board.health()
        return _json(json.dumps(wire.health_fields(health)), status=200 if health.is_well else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=exposition(self._broadcast, self._board),
            headers=_FRESH | {"Content-Type": CONTENT_TYPE},
        )


def _json(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json", headers=_FRESH)
