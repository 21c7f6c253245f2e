"""The sandbox's klines are the venue's: shape, paging, refusals; they add up to its own files."""

from __future__ import annotations

import datetime as dt
import json
import urllib.error
import urllib.request

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.sandbox.kline_faults import KlineFault, KlineFaultRule
from tickhandler_dagster.sandbox.server import SandboxServer

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY) // 1_000
MINUTE = 60_000
PLACES = {
    "binance": ("/api/v3/klines", "BTCUSDT"),
    "binance-futures": ("/fapi/v1/klines", "BTCUSDT"),
    "binance-delivery": ("/dapi/v1/klines", "BTCUSD_PERP"),
}


@pytest.fixture(scope="module")
def server(market):
    with SandboxServer(market.simulator) as running:
        yield running


@pytest.fixture(autouse=True)
def _healed(server):
    server.kline_faults.clear()


def ask(server, venue, *, first=0, count=1_440, limit=1_500, **more):
    path, symbol = PLACES[venue]
    query = {
        "symbol": symbol,
        "interval": "1m",
        "startTime": START + first * MINUTE,
        "endTime": START + (first + count) * MINUTE - 1,
        "limit": limit,
    } | more
    text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
    try:
        with urllib.request.urlopen(f"{server.klines_url}{path}?{text}", timeout=30) as reply:  # noqa: S310  (loopback)
            return reply.status, json.loads(reply.read()), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers


@pytest.mark.parametrize("venue", PLACES)
def test_a_row_has_the_venues_twelve_cells(server, venue):
    status, rows, headers = ask(server, venue, count=10)
    assert status == 200
    assert headers["X-Tickhandler-Simulated"] == "true"
    assert headers["X-MBX-USED-WEIGHT-1M"].isdigit()
    assert [row[0] for row in rows] == [START + number * MINUTE for number in range(10)]
    for row in rows:
        assert [type(cell) for cell in row] == [
            int, *[str] * 5, int, str, int, *[str] * 3
        ]  # fmt: skip
        assert row[6] == row[0] + MINUTE - 1


@pytest.mark.parametrize("venue", PLACES)
def test_a_day_adds_up_to_the_trades_of_three_files(server, market, venue):
    rows = [*ask(server, venue, count=720)[1], *ask(server, venue, first=720, count=720)[1]]
    frames = [
        market.rows(venue, DataType.TRADES, DAY + dt.timedelta(days), PLACES[venue][1])
        for days in (-1, 0, 1)
    ]
    trades = pl.concat(frames).filter(
        pl.col("timestamp").is_between(START * 1_000, (START + 1_440 * MINUTE) * 1_000, "left")
    )
    assert sum(row[8] for row in rows) == trades.height > 0
    assert sum(float(row[5]) for row in rows) == pytest.approx(trades["amount"].sum(), rel=1e-12)
    bought = trades.filter(pl.col("side") == "buy")["amount"].sum()
    assert sum(float(row[9]) for row in rows) == pytest.approx(bought, rel=1e-12)
    assert max(float(row[2]) for row in rows) == trades["price"].max()
    assert min(float(row[3]) for row in rows) == trades["price"].min()
    worth = trades["amount"] * trades["price"]
    if venue == "binance-delivery":
        worth = trades["amount"] * 100 / trades["price"]
    assert sum(float(row[7]) for row in rows) == pytest.approx(worth.sum(), rel=1e-6)


def test_a_quiet_minute_repeats_the_close_before_it(server):
    rows = ask(server, "binance", count=1_000, limit=1_000)[1]
    quiet = [number for number, row in enumerate(rows) if number and row[8] == 0]
    assert quiet
    for number in quiet:
        assert rows[number][1:5] == [rows[number - 1][4]] * 4
        assert {rows[number][place] for place in (5, 7, 9, 10)} <= {"0", "0E-8", "0.00000000"}


def test_spot_gives_a_thousand_rows_and_coin_margined_the_last_of_a_span(server):
    spot, coin = (ask(server, venue, limit=1_000)[1] for venue in ("binance", "binance-delivery"))
    assert (spot[0][0], len(spot)) == (START, 1_000)
    assert (coin[-1][0], len(coin)) == (START + 1_439 * MINUTE, 1_000)
    assert len(ask(server, "binance", limit=1_500)[1]) == 1_000
    assert len(ask(server, "binance-futures", limit=None)[1]) == 500


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"interval": "5m"}, -1120),
        ({"startTime": None}, -1102),
        ({"endTime": "noon"}, -1102),
    ],
)
def test_a_wrong_question_is_refused_with_the_venues_code(server, changes, code):
    status, body, _ = ask(server, "binance", **changes)
    assert (status, body["code"]) == (400, code)


def test_faults_strike_the_minute_they_name_and_heal(server):
    true = ask(server, "binance", count=3)[1]
    at = [dt.datetime.fromtimestamp(row[0] / 1_000, dt.UTC) for row in true]
    plan = server.kline_faults
    plan.add(KlineFaultRule(KlineFault.MISSING_MINUTE, symbol="BTC*", at=at[0]))
    plan.add(KlineFaultRule(KlineFault.REVISED_MINUTE, at=at[2] + dt.timedelta(seconds=30)))
    plan.add(KlineFaultRule(KlineFault.RATE_LIMITED, times=1))
    status, body, headers = ask(server, "binance", count=3)
    assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "0")
    rows = ask(server, "binance", count=3)[1]
    assert [row[0] for row in rows] == [row[0] for row in true[1:]]
    assert rows[0] == true[1]
    assert float(rows[1][2]) > float(true[2][2])
    assert float(rows[1][5]) == pytest.approx(float(true[2][5]) + 1)
    plan.clear()
    assert ask(server, "binance", count=3)[1] == true
