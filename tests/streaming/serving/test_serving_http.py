"""A real server on loopback, asked by real clients."""

import asyncio
import json
import re
import socket
import time

import aiohttp
import pytest
from doubles.live_bars import as_live, batch, crowd, key_of
from prometheus_client.parser import text_string_to_metric_families

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.serving.server import serve
from tickhandler_dagster.streaming.serving.streams import StreamLimits

S15 = Timeframe.S15
EMPTY_LINE = b"\n\n"


def asked(work):
    """Run a coroutine that is given a session."""

    async def run():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            return await work(session)

    return asyncio.run(run())


def get(url, **options):
    async def work(session):
        async with session.get(url, **options) as response:
            return response.status, await response.text()

    return asked(work)


def texts(bars):
    return [moment.isoformat() for moment in bars["ts_open"]]


async def bars_of(socket, count):
    """(Bars, messages) until so many bars are there; messages of status are passed over."""
    bars, messages = [], []
    while len(bars) < count:
        message = json.loads(await socket.receive_str(timeout=10))
        if message["type"] == "bars":
            messages.append(message)
            bars += message["bars"]
    return bars, messages


async def answer_of(socket):
    while True:
        message = json.loads(await socket.receive_str(timeout=10))
        if message["type"] not in {"status", "bars"}:
            return message


async def events_of(response, count):
    """So many events of bars, as (id, data)."""
    found = []
    while len(found) < count:
        event = (await response.content.readuntil(EMPTY_LINE)).decode()
        fields = dict(line.split(": ", 1) for line in event.strip().splitlines())
        if fields.get("event") == "bars":
            found.append((fields["id"], json.loads(fields["data"])))
    return found


# ---- WebSocket --------------------------------------------------------------------------------


def test_a_websocket_gets_history_and_then_each_batch(server, broadcast, bars):
    broadcast.publish([batch(bars.head(5))])

    async def talk(session):
        async with session.ws_connect(f"{server.url}/ws") as socket:
            await socket.send_json(
                {"type": "subscribe", "timeframes": ["15s"], "columns": ["close"], "newest": 2}
            )
            said = await answer_of(socket)
            history, _ = await bars_of(socket, 2)
            broadcast.publish([batch(bars.slice(5, 1))])
            live, (message,) = await bars_of(socket, 1)
            return said, history, live, message

    said, history, live, message = asked(talk)
    assert said["type"] == "subscribed"
    assert (said["instruments"], said["columns"]) == (["*"], ["close"])
    assert [bar["ts_open"] for bar in history + live] == texts(bars.slice(3, 3))
    assert live[0] == {
        "instrument_key": key_of("ETH"),
        "timeframe": "15s",
        "ts_open": texts(bars)[5],
        "ts_close": bars["ts_close"][5].isoformat(),
        "revision": 2,
        "stage": "complete",
        "close": bars["close"][5],
    }
    assert (message["is_history"], message["dropped"]) == (False, 0)


def test_all_columns_of_a_bar_arrive_with_their_values(server, broadcast, bars):
    async def talk(session):
        async with session.ws_connect(f"{server.url}/ws", max_msg_size=0) as socket:
            await socket.send_json({"type": "subscribe"})
            await answer_of(socket)
            await asyncio.to_thread(subscribed, broadcast)
            broadcast.publish([batch(bars.head(3))])
            return await bars_of(socket, 3)

    found, _ = asked(talk)
    expected = json.loads(as_live(bars.head(3)).write_json())
    assert [{name: bar[name] for name in LIVE_CANDLE_TABLE.names} for bar in found] == expected


def subscribed(broadcast, count=1):
    deadline = time.monotonic() + 5
    while broadcast.subscribers != count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("nonsense", r"^The message is no JSON\.$"),
        ("[]", r"^A message is an object whose type is one of subscribe, unsubscribe, ping\.$"),
        ('{"type": "buy"}', r"one of subscribe, unsubscribe, ping"),
        ('{"type": "subscribe", "symbols": []}', r"field 'symbols': not known \(expected some of"),
        ('{"type": "subscribe", "timeframes": ["7s"]}', r"was '7s'; expected 15s, 1m, 5m"),
        ('{"type": "subscribe", "columns": "clsoe"}', r"was 'clsoe'; expected a column of the"),
        ('{"type": "subscribe", "instruments": [1]}', r"field 'instruments': cannot be used"),
        ('{"type": "subscribe", "instruments": {"a": 1}}', r"expected keys or patterns"),
        ('{"type": "subscribe", "stages": ["done"]}', r"provisional, complete, amended"),
        ('{"type": "subscribe", "since": "noon"}', r"a time such as 2024-08-08T12:00:00Z"),
        ('{"type": "subscribe", "since": "2024-08-08T12:00"}', r"a time with its offset"),
        ('{"type": "subscribe", "newest": 0}', r"expected a whole number above 0"),
        ('{"type": "subscribe", "newest": true}', r"expected a whole number above 0"),
        ('{"type": "subscribe", "resume": "x"}', r"expected the id of a message"),
        ('{"type": "subscribe", "on_overflow": "wait"}', r"drop_oldest, disconnect"),
    ],
)
def test_a_wrong_message_is_answered_in_a_sentence_and_the_connection_stays(server, sent, said):
    async def talk(session):
        async with session.ws_connect(f"{server.url}/ws") as socket:
            await socket.send_str(sent)
            answer = await answer_of(socket)
            await socket.send_json({"type": "ping"})
            return answer, await answer_of(socket)

    answer, pong = asked(talk)
    assert (answer["type"], answer["code"]) == ("error", "bad_message")
    assert re.search(said, answer["text"]), answer["text"]
    assert pong == {"type": "pong"}


def test_binary_messages_are_refused_in_a_sentence(server):
    async def talk(session):
        async with session.ws_connect(f"{server.url}/ws") as socket:
            await socket.send_bytes(b"{}")
            return await answer_of(socket)

    assert asked(talk)["text"] == "Messages are JSON in text frames."


def test_the_last_subscription_counts_and_can_be_ended(server, broadcast, candles):
    async def talk(session):
        async with session.ws_connect(f"{server.url}/ws") as socket:
            for pattern in ("*:BTC-*", "*:ETH-*"):
                await socket.send_json({"type": "subscribe", "instruments": pattern})
                await answer_of(socket)
            await asyncio.to_thread(subscribed, broadcast)
            for coin in ("BTC", "ETH"):
                broadcast.publish([batch(candles[coin, S15].head(1))])
            found, _ = await bars_of(socket, 1)
            await socket.send_json({"type": "unsubscribe"})
            ended = await answer_of(socket)
            return found, ended, broadcast.subscribers

    found, ended, subscribers = asked(talk)
    assert [bar["instrument_key"] for bar in found] == [key_of("ETH")]
    assert (ended, subscribers) == ({"type": "unsubscribed"}, 0)


def test_a_connection_that_goes_leaves_no_subscription(server, broadcast):
    async def talk(session):
        socket = await session.ws_connect(f"{server.url}/ws")
        await socket.send_json({"type": "subscribe"})
        await answer_of(socket)
        await asyncio.to_thread(subscribed, broadcast)
        await socket.close()
        async with session.get(f"{server.url}/events") as response:
            await response.content.readuntil(EMPTY_LINE)
            await asyncio.to_thread(subscribed, broadcast)

    asked(talk)
    broadcast.publish([])
    subscribed(broadcast, 0)


@pytest.fixture
def short_of_patience(broadcast, board):
    limits = StreamLimits(max_waiting=4, send_s=1.0, status_s=0.2)
    with serve(broadcast, board, limits=limits) as running:
        yield running


def crowds(candles, count):
    rows = as_live(candles["ETH", S15])
    return [BarBatch(S15, crowd(rows.slice(place, 1), 200)) for place in range(count)]


def test_a_slow_reader_holds_up_neither_the_engine_nor_the_others(
    short_of_patience, broadcast, candles
):
    """Half a gigabyte would wait for it otherwise: 240 batches of 2.4 MB."""
    batches = crowds(candles, 30)

    async def talk(session):
        slow = await session.ws_connect(f"{short_of_patience.url}/ws", max_msg_size=0)
        slow._response.connection.transport.pause_reading()
        await slow.send_json({"type": "subscribe"})
        quick = await session.ws_connect(f"{short_of_patience.url}/ws")
        await quick.send_json({"type": "subscribe", "columns": ["close"], "instruments": "*C007*"})
        await answer_of(quick)
        await asyncio.to_thread(subscribed, broadcast, 2)
        took, found = [], []
        for item in batches:
            start = time.process_time()
            broadcast.publish([item])
            took.append(time.process_time() - start)
            found += (await bars_of(quick, 1))[0]
        dropped = broadcast.dropped
        # It takes nothing for longer than the limit: it is cut off.
        await asyncio.to_thread(subscribed, broadcast, 1)
        await quick.close()
        slow._response.connection.transport.abort()
        return took, found, dropped

    took, found, dropped = asked(talk)
    assert len(found) == 30
    assert dropped >= 200
    assert max(took) < 0.2


def test_a_slow_reader_that_may_lose_nothing_is_told_and_closed(
    short_of_patience, broadcast, candles
):
    batches = crowds(candles, 12)

    async def talk(session):
        socket = await session.ws_connect(f"{short_of_patience.url}/ws", max_msg_size=0)
        await socket.send_json({"type": "subscribe", "on_overflow": "disconnect"})
        await answer_of(socket)
        await asyncio.to_thread(subscribed, broadcast)
        broadcast.publish(batches)
        answer = await answer_of(socket)
        closing = await socket.receive(timeout=10)
        return answer, closing, socket.close_code

    answer, closing, code = asked(talk)
    assert (answer["type"], answer["code"]) == ("error", "too_slow")
    assert "Subscribe again from the last bar taken" in answer["text"]
    assert closing.type is aiohttp.WSMsgType.CLOSE
    assert code == 1008


def test_streams_end_when_the_server_stops(broadcast, board):
    async def talk(session):
        server = serve(broadcast, board)
        server.start()
        socket = await session.ws_connect(f"{server.url}/ws")
        await socket.send_json({"type": "subscribe"})
        await answer_of(socket)
        response = await session.get(f"{server.url}/events")
        await asyncio.to_thread(subscribed, broadcast, 2)
        start = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        while not (await socket.receive(timeout=10)).type.name.startswith("CLOS"):
            pass
        await response.content.read()
        await stopping
        return socket.close_code, time.monotonic() - start

    code, took = asked(talk)
    assert code == 1001
    assert took < 5
    assert broadcast.subscribers == 0


# ---- server-sent events -----------------------------------------------------------------------


def test_events_resume_after_the_last_one_received(server, broadcast, bars):
    async def talk(session):
        address = f"{server.url}/events?timeframes=15s&columns=close"
        async with session.get(address) as response:
            await asyncio.to_thread(subscribed, broadcast)
            for place in range(3):
                broadcast.publish([batch(bars.slice(place, 1))])
            first = await events_of(response, 2)
        broadcast.publish([batch(bars.slice(3, 2))])
        async with session.get(address, headers={"Last-Event-ID": first[-1][0]}) as response:
            second = await events_of(response, 1)
        # Another process numbers anew: all that is remembered comes.
        async with session.get(address, headers={"Last-Event-ID": "beef-3"}) as response:
            return first, second, await events_of(response, 1)

    first, second, other = asked(talk)
    assert [bar["ts_open"] for _, item in first for bar in item["bars"]] == texts(bars.head(2))
    assert [bar["ts_open"] for _, item in second for bar in item["bars"]] == texts(bars.slice(2, 3))
    assert second[0][1]["is_history"]
    assert [bar["ts_open"] for bar in other[0][1]["bars"]] == texts(bars.head(5))


def test_events_tell_the_status_even_without_bars(server, tell):
    tell()

    async def talk(session):
        async with session.get(f"{server.url}/events") as response:
            kind = response.headers["Content-Type"]
            await response.content.readuntil(EMPTY_LINE)
            return kind, (await response.content.readuntil(EMPTY_LINE)).decode()

    kind, event = asked(talk)
    assert kind.startswith("text/event-stream")
    assert event.startswith("event: status\ndata: {")
    told = json.loads(event.split("data: ")[1])
    assert told["engine"]["feeds"][0]["venue"] == "binance-futures"
    assert told["health"]["is_well"]


def test_a_wrong_address_is_answered_in_a_sentence(server):
    for path in ("events", "bars"):
        status, text = get(f"{server.url}/{path}?timeframes=7s")
        assert status == 400
        assert "was '7s'; expected 15s, 1m" in text


# ---- requests ---------------------------------------------------------------------------------


def test_bars_are_the_newest_of_each_series(server, broadcast, candles):
    for coin in ("BTC", "ETH"):
        for timeframe in (S15, Timeframe.M1):
            broadcast.publish([batch(candles[coin, timeframe].head(9), timeframe)])
    status, text = get(f"{server.url}/bars?columns=close")
    batches = json.loads(text)
    assert status == 200
    assert [item["timeframe"] for item in batches] == ["15s", "1m"]
    for item in batches:
        expected = {
            (key_of(coin), candles[coin, Timeframe(item["timeframe"])]["close"][8])
            for coin in ("BTC", "ETH")
        }
        assert {(bar["instrument_key"], bar["close"]) for bar in item["bars"]} == expected
    _, text = get(f"{server.url}/bars?timeframes=1m&instruments=*BTC*&newest=4")
    (item,) = json.loads(text)
    assert [bar["ts_open"] for bar in item["bars"]] == texts(
        candles["BTC", Timeframe.M1].slice(5, 4)
    )
    assert json.loads(get(f"{server.url}/bars?instruments=none")[1]) == []


def test_status_says_what_there_is(server, broadcast, bars, tell):
    assert json.loads(get(f"{server.url}/status")[1])["engine"] is None
    tell()
    broadcast.publish([batch(bars)])
    told = json.loads(get(f"{server.url}/status")[1])
    assert told["instruments"] == [key_of("ETH")]
    assert told["engine"]["bars"] == {"15s": 400, "1m": 100}
    assert (told["subscribers"], told["dropped_bars"]) == (0, 0)


def test_health_follows_silence_and_lag(server, tell, feed):
    code, text = get(f"{server.url}/health")
    assert (code, json.loads(text)["faults"]) == (503, ["The engine has said nothing yet."])
    tell(feed(is_connected=False))
    code, text = get(f"{server.url}/health")
    assert (code, json.loads(text)["warnings"]) == (200, ["binance-futures: not connected."])
    tell(feed(VenueId.DERIBIT, lag_us=61_000_000))
    code, text = get(f"{server.url}/health")
    assert code == 503
    assert re.match(
        r"deribit: no row for 61\.\d s \(expected one every 60 s", json.loads(text)["faults"][0]
    )


def test_metrics_are_what_the_engine_said(server, broadcast, bars, tell, feed):
    assert "tickhandler_live_healthy 0.0" in get(f"{server.url}/metrics")[1]
    tell(feed(), feed(VenueId.DERIBIT, lag_us=None, skew_us=None, watermark_us=None))
    broadcast.publish([batch(bars, stage="provisional", delay_s=1.2)])
    _, text = get(f"{server.url}/metrics")
    found = {
        (
            sample.name.removeprefix("tickhandler_live_"),
            *sorted(sample.labels.values()),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["bars_published_total", "15s"] == 400
    assert found["publication_delay_seconds_bucket", "1.0", "15s"] == 0
    assert found["publication_delay_seconds_bucket", "1.25", "15s"] == bars.height
    assert found["publication_delay_seconds_bucket", "+Inf", "15s"] == bars.height
    assert found["publication_delay_seconds_count", "15s"] == bars.height
    assert found["feed_lag_seconds", "binance-futures"] == 0.042
    assert ("feed_lag_seconds", "deribit") not in found
    assert found["feed_clock_skew_seconds", "binance-futures"] == -0.0031
    assert found["feed_gaps_total", "deribit"] == 1
    assert found["feed_overflows_total", "deribit"] == 7
    assert found["feed_rows_total", "deribit", "trades"] == 1_000
    assert found["late_rows_total",] == 3
    assert found["bars_amended_total",] == 2
    assert found["spool_bytes",] == 123_456_789
    assert found["resident_memory_bytes",] == 400_000_000
    assert found["last_publish_delay_seconds",] == 0.038
    assert found["healthy",] == 1
    assert (found["subscribers",], found["dropped_bars_total",]) == (0, 0)


# ---- who may ask ------------------------------------------------------------------------------

TOKEN = "a-token-of-the-test"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  (what is tested)


@pytest.fixture
def locked(broadcast, board):
    with serve(broadcast, board, token=TOKEN) as running:
        yield running


@pytest.mark.parametrize("path", ["", "bars", "status", "metrics", "events", "ws"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "x"}])
def test_without_the_token_nothing_is_answered(locked, path, headers):
    code, text = get(f"{locked.url}/{path}", headers=headers)
    assert code == 401
    assert text.startswith("The token is missing or wrong: send `Authorization: Bearer <token>`")
    assert TOKEN not in text
    assert get(f"{locked.url}/{path}?token=wrong")[0] == 401


def test_a_websocket_with_a_wrong_token_is_refused_before_it_opens(locked):
    async def handshake():
        async with aiohttp.ClientSession() as session:
            await session.ws_connect(f"{locked.url}/ws?token=wrong")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        asyncio.run(handshake())
    assert refused.value.status == 401


def test_the_token_goes_in_a_header_or_in_the_address(locked):
    assert get(f"{locked.url}/bars", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert get(f"{locked.url}/bars?token={TOKEN}")[0] == 200
    assert get(f"{locked.url}/health")[0] == 503  # a verdict is given without


def test_the_token_is_in_no_log(locked, caplog, capfd):
    caplog.set_level("DEBUG")
    get(f"{locked.url}/bars?token={TOKEN}")
    get(f"{locked.url}/bars?token={TOKEN}&timeframes=7s")
    output = capfd.readouterr()
    logged = "".join(
        record.getMessage() for record in caplog.records if "aiohttp.client" not in record.name
    )
    assert TOKEN not in logged + output.out + output.err


def test_a_page_of_another_origin_may_not_read(server):
    code, text = get(f"{server.url}/bars", headers={"Origin": "https://elsewhere.example"})
    assert (code, text) == (403, "Pages of other origins may not read from here.\n")
    assert get(f"{server.url}/bars", headers={"Origin": server.url})[0] == 200


def test_without_a_token_another_name_of_this_machine_is_refused(server):
    code, _ = get(f"{server.url}/bars", headers={"Host": f"rebound.example:{server.port}"})
    assert code == 403
    assert get(f"{server.url}/bars", headers={"Host": f"localhost:{server.port}"})[0] == 200


@pytest.mark.parametrize("host", [ANY_ADDRESS, "::", "10.1.2.3", "some.name"])
def test_an_address_of_the_network_needs_a_token(broadcast, board, host):
    with pytest.raises(InvalidInput, match="reached from other machines and there is no token"):
        serve(broadcast, board, host)


def test_with_a_token_it_serves_the_network(broadcast, board):
    with serve(broadcast, board, ANY_ADDRESS, token=TOKEN) as running:
        assert get(f"http://127.0.0.1:{running.port}/bars?token={TOKEN}")[0] == 200


def test_the_address_of_version_six_is_in_brackets(broadcast, board):
    with serve(broadcast, board, "::1") as running:
        assert get(f"{running.url}/metrics")[0] == 200


def test_a_port_that_is_taken_is_said_so(broadcast, board):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInput, match=r"port: cannot be opened on 127\.0\.0\.1"):
            serve(broadcast, board, port=taken.getsockname()[1]).start()
