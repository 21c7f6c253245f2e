"""An exchange that says a given number of messages a second, in Deribit's words, on loopback.

What belongs here: the messages, their schedule, and counting them. What does not: who listens
(`soak.py`).

Every message becomes one row: a trade, a book whose best five levels it changes, or a ticker with
a new index price. Frames are made by hand and handed to the socket many at a time; through the
server's own call for a text they would cost this process more than they cost the listener.

Run by `soak.py`: `python soak_exchange.py FOLDER --symbols 200 --rate 20000`. The port is in
FOLDER/port, what was said in FOLDER/said.json, once a second and at the end. SIGTERM ends the
saying; the sockets stay open until a second one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from aiohttp import WSMsgType, web
from soak_numbers import FIRST_AMOUNT

TYPES = ("trades", "book_snapshot_5", "derivative_ticker")
PATTERN = (0, 1, 0, 0, 1, 0, 2, 0, 1, 0)
"""Kinds of ten messages in a row: 60 % trades, 30 % books, 10 % tickers."""

_LEVELS = 5
_TICK_S = 0.02
_MOST_WAITING_BYTES = 64 * 1024 * 1024


def symbols(count: int) -> list[str]:
    """Symbols of so many linear perpetuals."""
    return [f"A{number}_USDC-PERPETUAL" for number in range(1, count + 1)]


def frame(payload: bytes) -> bytes:
    """A text in a frame of the WebSocket protocol, as servers send it: not masked."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + payload


class Market:
    """One instrument: a book of five levels a side that moves by a tick now and then.

    Messages of each kind are numbered from 1 (`soak_numbers.py`).

    Args:
        symbol: Its symbol.
    """

    def __init__(self, symbol: str) -> None:
        self._chance = random.Random(symbol)  # noqa: S311  (no secret)
        self._at = self._chance.randint(20_000, 80_000)
        self.said = [0, 0, 0]
        name = symbol.encode()
        self._trade = (
            b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.%s.100ms",'
            b'"data":[{"trade_id":"%%d","instrument_name":"%s","price":%%.1f,"amount":%%.2f,'
            b'"direction":"%%s","timestamp":%%d}]}}' % (name, name)
        )
        self._book = (
            b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.%s.100ms",'
            b'"data":{"type":"%%s","timestamp":%%d,"instrument_name":"%s","change_id":2,'
            b'%%s"bids":[%%s],"asks":[%%s]}}}' % (name, name)
        )
        self._ticker = (
            b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.%s.100ms",'
            b'"data":{"instrument_name":"%s","timestamp":%%d,"index_price":%%.3f,'
            b'"mark_price":%%.2f,"last_price":%%.1f,"open_interest":%%d,"current_funding":0.0001}}}'
        ) % (name, name)
        self._makers = (self._say_trade, self._say_book, self._say_ticker)

    def message(self, kind: int, now_ms: int) -> bytes:
        """The next message of a kind, as a frame; its number is in the row that it becomes."""
        self.said[kind] += 1
        return frame(self._makers[kind](now_ms, self.said[kind]))

    def snapshot(self, now_ms: int) -> bytes:
        """The whole book, which begins a connection."""
        bids = b",".join(_level(b"new", self._at - k, k + 1) for k in range(_LEVELS + 3))
        asks = b",".join(_level(b"new", self._at + 1 + k, k + 1) for k in range(_LEVELS + 3))
        return frame(self._book % (b"snapshot", now_ms, b"", bids, asks))

    def _say_trade(self, now_ms: int, number: int) -> bytes:
        is_buy = number & 1
        price = (self._at + is_buy) / 10
        amount = (number % 900 + 1) / 100
        return self._trade % (number, price, amount, b"buy" if is_buy else b"sell", now_ms)

    def _say_book(self, now_ms: int, number: int) -> bytes:
        if number % 4:
            # an amount that it cannot have had: the listener leaves out what changes nothing
            bids, asks = _level(b"change", self._at, number + FIRST_AMOUNT), b""
        elif self._chance.random() < 0.5:
            self._at += 1
            bids, asks = self._moved(1, number)
        else:
            self._at -= 1
            asks, bids = self._moved(-1, number)
        return self._book % (b"change", now_ms, b'"prev_change_id":1,', bids, asks)

    def _moved(self, way: int, number: int) -> tuple[bytes, bytes]:
        """Levels of the side that the market moves away from, and of the one it moves into."""
        amount = number + FIRST_AMOUNT
        best, other = (self._at, self._at + 1) if way > 0 else (self._at + 1, self._at)
        behind = best - way * (_LEVELS + 3)
        ahead = other + way * (_LEVELS + 2)
        left = _level(b"new", best, amount) + b"," + _level(b"delete", behind, 0)
        right = _level(b"delete", other - way, 0) + b"," + _level(b"new", ahead, amount)
        return left, right

    def _say_ticker(self, now_ms: int, number: int) -> bytes:
        index = self._at / 10 + (number % 997) / 1_000
        return self._ticker % (now_ms, index, self._at / 10, self._at / 10, number)


def _level(word: bytes, ticks: int, amount: int) -> bytes:
    return b'["%s",%.1f,%d]' % (word, ticks / 10, amount)


class Client:
    """A connection: whose channels, and where bytes go."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket = socket
        self.transport = transport
        self.symbols: set[str] = set()


class Exchange:
    """Says messages to whoever subscribed.

    Args:
        markets: The instruments by symbol.
        rate: Messages a second.
    """

    def __init__(self, markets: Mapping[str, Market], rate: int) -> None:
        self._markets = markets
        self._rate = rate
        self._clients: dict[str, Client] = {}
        self.said = [0, 0, 0]
        self.most_waiting = 0
        self.held_back_s = 0.0
        self.connections = 0
        self.is_ended = False
        self._complete = asyncio.Event()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """A connection from its subscription to its end."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (for the type checker)
        client = Client(socket, transport)
        self.connections += 1
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._answer(client, json.loads(message.data))
        for symbol in client.symbols:
            if self._clients.get(symbol) is client:
                del self._clients[symbol]
        return socket

    async def _answer(self, client: Client, message: Mapping[str, object]) -> None:
        params = message.get("params")
        if message.get("method") != "public/subscribe" or not isinstance(params, dict):
            await client.socket.send_json({"jsonrpc": "2.0", "id": 0, "result": "ok"})
            return
        channels: list[str] = params["channels"]
        await client.socket.send_json({"jsonrpc": "2.0", "id": 3, "result": channels})
        client.symbols = {channel.split(".")[1] for channel in channels}
        now_ms = time.time_ns() // 1_000_000
        for symbol in sorted(client.symbols):
            client.transport.write(self._markets[symbol].snapshot(now_ms))
            self.said[1] += 1
            self._clients[symbol] = client
        if len(self._clients) == len(self._markets):
            self._complete.set()

    async def run(self) -> None:
        """Say what is due, tick by tick, once everyone has subscribed."""
        await self._complete.wait()
        began, due_of_kinds, names = time.monotonic(), 0, list(self._markets)
        kinds, turn = itertools.cycle(PATTERN), random.Random(7)  # noqa: S311  (no secret)
        while not self.is_ended:
            await asyncio.sleep(_TICK_S)
            waiting = self._waiting()
            self.most_waiting = max(self.most_waiting, waiting)
            if waiting > _MOST_WAITING_BYTES:
                self.held_back_s += _TICK_S
                began += _TICK_S
                continue
            due = int((time.monotonic() - began) * self._rate)
            self._say(turn.choices(names, k=due - due_of_kinds), kinds)
            due_of_kinds = due

    def _say(self, whose: list[str], kinds: itertools.cycle[int]) -> None:
        now_ms = time.time_ns() // 1_000_000
        texts: dict[Client, list[bytes]] = {}
        for symbol, kind in zip(whose, kinds, strict=False):
            client = self._clients.get(symbol)
            if client is None:  # between a lost connection and the next one
                continue
            texts.setdefault(client, []).append(self._markets[symbol].message(kind, now_ms))
            self.said[kind] += 1
        for client, frames in texts.items():
            client.transport.write(b"".join(frames))

    def _waiting(self) -> int:
        clients = set(self._clients.values())
        return sum(client.transport.get_write_buffer_size() for client in clients)

    async def tell(self, file: Path) -> None:
        """Write down what was said, once a second."""
        while True:
            said = {
                "said": dict(zip(TYPES, self.said, strict=True)),
                "by_symbol": {name: market.said for name, market in self._markets.items()},
                "waiting_bytes": self._waiting(),
                "most_waiting_bytes": self.most_waiting,
                "held_back_s": self.held_back_s,
                "connections": self.connections,
                "is_ended": self.is_ended,
            }
            scratch = file.with_suffix(".tmp")
            scratch.write_text(json.dumps(said))
            scratch.replace(file)
            await asyncio.sleep(1.0)


async def main() -> None:
    """Serve until a second SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second")
    options = parser.parse_args()
    exchange = Exchange({name: Market(name) for name in symbols(options.symbols)}, options.rate)
    stop = asyncio.Event()

    def end() -> None:
        if exchange.is_ended:
            stop.set()
        exchange.is_ended = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    app = web.Application()
    app.router.add_get("/", exchange.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    work = [
        asyncio.create_task(exchange.run()),
        asyncio.create_task(exchange.tell(options.folder / "said.json")),
    ]
    (options.folder / "port").write_text(str(runner.addresses[0][1]))
    await stop.wait()
    for task in work:
        task.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
