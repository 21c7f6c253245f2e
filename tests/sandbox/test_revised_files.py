"""A file that the sandbox exports again is whole, and differs in exactly what its name says."""

from __future__ import annotations

import gzip
import urllib.request

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.sandbox.faults import REVISIONS, FaultRule, Revised, payload
from tickhandler_dagster.sandbox.revised_files import of_the_same_size
from tickhandler_dagster.sandbox.server import SandboxServer

PATH = "/binance/trades/2024/08/01/BTCUSDT.csv.gz"


@pytest.fixture(scope="module")
def true_body(market, day):
    return market.simulator.dataset("binance", DataType.TRADES, day.replace(day=1), "BTCUSDT")


def _lines(body):
    return gzip.decompress(body).splitlines()


def test_every_way_is_in_the_table():
    assert set(REVISIONS) == set(Revised)


def test_fewer_rows_are_some_of_the_rows(true_body):
    sent = payload(true_body, DataType.TRADES, Revised.FEWER_ROWS)
    true, revised = _lines(true_body), _lines(sent.body)
    assert revised[0] == true[0]
    assert set(revised) < set(true)


@pytest.mark.parametrize("data_type", [DataType.TRADES, DataType.BOOK_SNAPSHOT_5])
def test_the_same_size_has_one_other_digit(market, day, data_type):
    true_body = market.simulator.dataset("binance", data_type, day, "BTCUSDT")
    sent = payload(true_body, data_type, Revised.SAME_SIZE)
    assert len(sent.body) == len(true_body)
    pairs = [
        (was, now)
        for was, now in zip(_lines(true_body), _lines(sent.body), strict=True)
        if was != now
    ]
    ((was, now),) = pairs
    assert len(was) == len(now)
    assert sum(one != other for one, other in zip(was, now, strict=True)) == 1


def test_a_file_without_room_is_refused_and_not_sent_longer():
    best = gzip.compress(b"local_timestamp\n" * 2, 9)[:20]
    with pytest.raises((ValueError, EOFError)):
        of_the_same_size(best, DataType.TRADES)


def test_uploaded_again_has_the_same_bytes_and_other_headers(market, true_body):
    seen = {}
    with SandboxServer(market.simulator) as server:
        for way in (None, Revised.UPLOADED_AGAIN):
            if way is not None:
                server.faults.add(FaultRule(way))
            with urllib.request.urlopen(server.datasets_url + PATH, timeout=20) as response:  # noqa: S310  (loopback)
                seen[way] = (response.read(), response.headers)
    (body, headers), (again, others) = seen.values()
    assert body == again == true_body
    assert headers["ETag"] == headers["x-md5"]
    assert others["ETag"].endswith('-2"')
    assert headers["Last-Modified"] != others["Last-Modified"]
