"""An exchange on loopback: a real WebSocket server with Deribit's and Binance's raw protocol.

It answers subscriptions and says what a test tells it to say; it closes connections and sends
garbage on demand. Times are the test's own: the vendor's mappers take them from the messages.
"""

from __future__ import annotations

import asyncio
import json
import threading

from aiohttp import WSMsgType, web


class MockExchange:
    def __init__(self):
        self.channels = []
        """Channels of each connection ever made, in order."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = set()
        self._ready = threading.Condition()

    def start(self):
        self._thread.start()
        self.port = self._do(self._start())

    def stop(self):
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def wait_for(self, connections, timeout=30):
        """Until so many connections have ever been subscribed."""
        with self._ready:
            assert self._ready.wait_for(lambda: len(self.channels) >= connections, timeout)

    def say(self, *messages):
        """Send to every open connection that asked for the message's channel; in order."""
        self._do(self._say([(_channel(message), json.dumps(message)) for message in messages]))

    def flood(self, message, times):
        """Send the same message many times, as fast as the other side reads."""
        self._do(self._flood(_channel(message), json.dumps(message).encode(), times))

    def garble(self):
        """Send what no mapper can read to every connection."""
        self._do(self._say([(None, "{not json")]))

    def disconnect(self):
        """Close every connection without a word."""
        self._do(self._disconnect())

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self):
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._open.add(client := _Client(socket, request.transport))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._answer(client, json.loads(message.data))
        self._open.discard(client)
        return socket

    async def _answer(self, client, message):
        match message:
            case {"method": "public/subscribe", "params": {"channels": channels}}:
                client.channels.update(channels)
                await client.socket.send_json({"jsonrpc": "2.0", "id": 3, "result": channels})
            case {"method": "SUBSCRIBE", "params": channels}:
                client.channels.update(channels)
                await client.socket.send_json({"result": None, "id": message["id"]})
            case _:
                await client.socket.send_json({"jsonrpc": "2.0", "id": 0, "result": "ok"})
                return
        with self._ready:
            self.channels.append(sorted(channels))
            self._ready.notify_all()

    async def _say(self, messages):
        for client in list(self._open):
            for channel, text in messages:
                if channel is None or channel in client.channels:
                    await client.socket.send_str(text)

    async def _flood(self, channel, text, times):
        # Frames of the protocol by hand: a call for each would be slower than the reader.
        size = len(text)
        frame = b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)) + text
        for client in self._open:
            if channel in client.channels:
                client.transport.write(frame * times)

    async def _disconnect(self):
        for client in list(self._open):
            self._open.discard(client)
            await client.socket.close()


class _Client:
    def __init__(self, socket, transport):
        self.socket = socket
        self.transport = transport
        self.channels = set()


def _channel(message):
    return message["stream"] if "stream" in message else message["params"]["channel"]


def _deribit(channel, data):
    return {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {"channel": f"{channel}.100ms", "data": data},
    }


def deribit_trades(symbol, trades):
    """A message of trades: dictionaries of id, price, amount, direction, timestamp in ms."""
    data = [
        {
            "trade_id": trade["id"],
            "instrument_name": symbol,
            "price": trade["price"],
            "amount": trade["amount"],
            "direction": trade["direction"],
            "timestamp": trade["timestamp"],
            **({"liquidation": trade["liquidation"]} if "liquidation" in trade else {}),
        }
        for trade in trades
    ]
    return _deribit(f"trades.{symbol}", data)


def deribit_book(symbol, timestamp, bids, asks, *, is_snapshot=True):
    """A book: levels of price and amount; an amount of 0 takes a level away."""

    def levels(side):
        return [["delete" if amount == 0 else "new", price, amount] for price, amount in side]

    data = {
        "type": "snapshot" if is_snapshot else "change",
        "timestamp": timestamp,
        "instrument_name": symbol,
        "change_id": 2,
        **({} if is_snapshot else {"prev_change_id": 1}),
        "bids": levels(bids),
        "asks": levels(asks),
    }
    return _deribit(f"book.{symbol}", data)


def deribit_ticker(symbol, timestamp, **values):
    data = {
        "instrument_name": symbol,
        "timestamp": timestamp,
        "index_price": 60_010.5,
        "mark_price": 60_020.25,
        "open_interest": 1_234_560,
        "last_price": 60_021.0,
        **values,
    }
    return _deribit(f"ticker.{symbol}", data)


def deribit_option(symbol, timestamp):
    return deribit_ticker(
        symbol,
        timestamp,
        best_bid_price=0.0105,
        best_bid_amount=12.5,
        bid_iv=51.2,
        best_ask_price=0.011,
        best_ask_amount=3.0,
        ask_iv=53.1,
        mark_iv=52.0,
        last_price=None,
        underlying_price=60_000.5,
        underlying_index="BTC-27DEC24",
        greeks={"delta": -0.25, "gamma": 1e-7, "vega": 12.0, "theta": -3.5, "rho": -0.125},
    )


def binance_trade(symbol, number, price, amount, timestamp, *, is_sell, kind="MARKET"):
    return {
        "stream": f"{symbol.lower()}@trade",
        "data": {
            "e": "trade",
            "E": timestamp,
            "T": timestamp,
            "s": symbol,
            "t": number,
            "p": price,
            "q": amount,
            "X": kind,
            "m": is_sell,
        },
    }
