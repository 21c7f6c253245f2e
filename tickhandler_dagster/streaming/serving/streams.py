"""What every stream of messages has in common, whichever wire it goes over.

What belongs here: subscribing by fields, batches and status in turn, how patient a connection is.
What does not: the wires (`event_stream.py`, `web_socket.py`) and the messages' form (`wire.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass

from tickhandler_dagster.streaming.serving.broadcast import Broadcast
from tickhandler_dagster.streaming.serving.requested import Wish, read_wish, token
from tickhandler_dagster.streaming.serving.status_board import StatusBoard
from tickhandler_dagster.streaming.serving.subscription import (
    DEFAULT_WAITING,
    Publication,
    SubscriberTooSlow,
    Subscription,
)
from tickhandler_dagster.streaming.serving.wire import bars_message, message, status_fields

_MAX_CELLS_IN_LOOP = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How patient a connection is.

    Attributes:
        status_s: A stream says how the engine is doing this often; also a sign of life.
        heartbeat_s: A WebSocket is pinged this often, and closed when the answer stays out.
        send_s: A message that is not taken within this time ends the connection.
        max_waiting: Batches that may wait for a connection.
    """

    status_s: float = 2.0
    heartbeat_s: float = 20.0
    send_s: float = 30.0
    max_waiting: int = DEFAULT_WAITING


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """A text on its way.

    Attributes:
        kind: bars, status or error.
        text: The JSON.
        resume: Token to go on from after it; empty where it is no place to resume.
    """

    kind: str
    text: str
    resume: str = ""


class Streams:
    """Subscriptions of connections, and what is sent to them.

    Args:
        broadcast: Where bars come from.
        board: Where the engine's status comes from.
        limits: How patient connections are.

    Attributes:
        limits: The same.
    """

    def __init__(self, broadcast: Broadcast, board: StatusBoard, limits: StreamLimits) -> None:
        self.limits = limits
        self._broadcast = broadcast
        self._board = board
        self._open: set[Subscription] = set()

    def read_wish(self, fields: Mapping[str, object]) -> Wish:
        """What the fields of a message or an address ask for.

        Raises:
            InvalidInput: something unknown.
        """
        return read_wish(fields, boot=self._broadcast.boot)

    def subscribe(self, wish: Wish) -> Subscription:
        """The subscription that was wished for."""
        subscription = self._broadcast.subscribe(
            wish.wanted,
            start=wish.start,
            max_waiting=self.limits.max_waiting,
            on_overflow=wish.on_overflow,
        )
        self._open.add(subscription)
        return subscription

    def close(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._open.discard(subscription)
        subscription.close()

    def close_all(self) -> None:
        """End every stream: the server stops."""
        for subscription in tuple(self._open):
            self.close(subscription)

    async def messages(self, subscription: Subscription) -> AsyncIterator[StreamMessage]:
        """Batches as they come, the status now and then; an error at most once, at the end."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if loop.time() >= due:
                yield StreamMessage("status", message("status", **status_fields(self._board)))
                due = loop.time() + self.limits.status_s
            try:
                async with asyncio.timeout_at(due):
                    publication = await subscription.take()
            except TimeoutError:
                continue
            except SubscriberTooSlow as error:
                yield StreamMessage("error", message("error", code="too_slow", text=str(error)))
                return
            if publication is None:
                return
            resume = token(self._broadcast.boot, publication.sequence)
            yield StreamMessage("bars", await self._text(publication, resume, subscription), resume)

    @staticmethod
    async def _text(publication: Publication, resume: str, subscription: Subscription) -> str:
        cells = publication.bars.height * publication.bars.width
        if cells <= _MAX_CELLS_IN_LOOP:
            return bars_message(publication, resume=resume, dropped=subscription.dropped)
        # Polars leaves the interpreter to others while it writes: whoever asked for one column of
        # one instrument does not wait for whoever asked for everything.
        return await asyncio.to_thread(
            bars_message, publication, resume=resume, dropped=subscription.dropped
        )

    async def in_time(self, sending: Awaitable[None]) -> None:
        """Send, but not for ever.

        Raises:
            TimeoutError: the other side takes nothing.
        """
        async with asyncio.timeout(self.limits.send_s):
            await sending
