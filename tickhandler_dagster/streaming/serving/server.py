"""The server: a port, a thread, a loop, beside the engine and out of its way.

What belongs here: starting and stopping. What does not: what it answers (`application.py`).
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from aiohttp import web

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.streaming.serving.access import require_token_beyond_loopback
from tickhandler_dagster.streaming.serving.application import build_application
from tickhandler_dagster.streaming.serving.broadcast import Broadcast
from tickhandler_dagster.streaming.serving.status_board import StatusBoard
from tickhandler_dagster.streaming.serving.streams import StreamLimits

LOOPBACK = "127.0.0.1"
_SHUTDOWN_S = 1.0


def serve(
    broadcast: Broadcast,
    board: StatusBoard,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    token: str | None = None,
    limits: StreamLimits | None = None,
) -> LiveServer:
    """A server that is started by `with`, or by `start`; the engine goes on in its own thread.

    Args:
        broadcast: The bars.
        board: The engine's status.
        host: Address to listen on; others than loopback need a token.
        port: 0 is any free one.
        token: What every request has to bear, but those of `/health`.
        limits: How patient connections are.

    Raises:
        InvalidInput: other machines would reach it and there is no token.

    Example:
        >>> import urllib.request
        >>> with serve(Broadcast(), StatusBoard()) as server:
        ...     urllib.request.urlopen(f"{server.url}/metrics").status
        200
    """
    require_token_beyond_loopback(host, token)
    application = build_application(broadcast, board, token=token, limits=limits)
    return LiveServer(application, host, port)


class LiveServer:
    """A running server; see `serve`."""

    def __init__(self, application: web.Application, host: str, port: int) -> None:
        self._application = application
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="live-serving", daemon=True)

    @property
    def port(self) -> int:
        """The port that is open."""
        return self._port

    @property
    def url(self) -> str:
        """Its address, without a final slash and without the token."""
        name = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{name}:{self._port}"

    def start(self) -> None:
        """Open the port; returns when it is open.

        Raises:
            InvalidInput: it cannot be opened.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise InvalidInput(
                "port",
                f"cannot be opened on {self._host}",
                was=self._port,
                expected="a free port of this machine",
                remedy="Choose another one, or 0 for any",
            ) from self._failure

    def stop(self) -> None:
        """Close streams and port, and end the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> LiveServer:  # noqa: PYI034  (Self would hide the class from the reader of the example)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # No log of requests: addresses may bear the token.
        runner = web.AppRunner(
            self._application, access_log=None, shutdown_timeout=_SHUTDOWN_S, handle_signals=False
        )
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, self._host, self._port).start()
            except OSError as error:
                self._failure = error
                return
            self._port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()
