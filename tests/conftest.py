"""What several test folders share: a vendor on loopback, small vendor files, a lake in a folder."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web
from hypothesis import settings

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.market.errors import MissingUpstream, VendorUnavailable
from tickhandler_dagster.market.paths import CompletenessFile
from tickhandler_dagster.market.quality.policy import DEFAULT_OF_STATE
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.streaming.sidecar_program import install_sidecar

# A law is right or wrong; how long an example takes says more of the machine than of the law.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

DAY = dt.date(2024, 8, 8)
RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "recorded"


@pytest.fixture(scope="session", autouse=True)
def _sqlite_does_not_wait_for_the_disk():
    """Here, and in every process that a test starts."""
    import doubles.sqlite.sitecustomize as quick  # noqa: PLC0415  (it changes SQLite)

    folders = [str(Path(quick.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        yield


@pytest.fixture(scope="session", autouse=True)
def _folder_of_the_session(tmp_path_factory):
    """Folders that settings name by default (`warehouse`, `spool`) are not made in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("working"))
        yield


@dataclass
class Answer:
    """What the vendor says: a status, a body, headers; `promised` is a wrong Content-Length."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    promised: int | None = None


class VendorServer:
    """A real HTTP server; a path's answers are given in turn, the last one for ever."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._counts = defaultdict(int)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def paths(self):
        return [path for path, _ in self.requests]

    def put(self, symbol, *answers, venue="binance", data_type="trades", date=DAY):
        path = f"/v1/{venue}/{data_type}/{date:%Y/%m/%d}/{symbol}.csv.gz"
        self.answers[path] = [
            answer if isinstance(answer, Answer) else Answer(answer) for answer in answers
        ]
        self._counts[path] = 0

    def start(self):
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _answer(self, request):
        self.requests.append((request.path, request.headers.get("Authorization")))
        answers = self.answers.get(request.path, [Answer(status=404)])
        answer = answers[min(self._counts[request.path], len(answers) - 1)]
        self._counts[request.path] += 1
        if answer.promised is None:
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        response = web.StreamResponse(headers={"Content-Length": str(answer.promised)})
        await response.prepare(request)
        await response.write(answer.body)
        request.transport.close()
        return response


@pytest.fixture
def vendor():
    server = VendorServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def answer():
    return Answer


@pytest.fixture(scope="session")
def _gcs_server(tmp_path_factory):
    from doubles.gcs.emulator import GcsEmulator  # noqa: PLC0415  (for the tests that ask for it)

    server = GcsEmulator(tmp_path_factory.mktemp("gcs")).start()
    yield server
    server.stop()


@pytest.fixture
def gcs(_gcs_server):
    """A Cloud Storage server with fresh buckets on demand; faults end with the test."""
    _gcs_server.forget()
    yield _gcs_server
    _gcs_server.forget()


@pytest.fixture
def bigquery(gcs):
    """A BigQuery of the test's own; `gs://` are the objects of the Cloud Storage server."""
    from doubles.bigquery.server import BigQueryStandIn  # noqa: PLC0415  (slow import)

    server = BigQueryStandIn(gcs.folder).start()
    yield server
    server.stop()


@pytest.fixture
def lake(tmp_path):
    return Lake(LocalObjectStore(tmp_path / "lake"))


class VendorFiles:
    """Makes vendor files: rows are dicts of CSV cells, or plain lines."""

    day = DAY
    start_us = day_start_us(DAY)

    def header(self, data_type=DataType.TRADES):
        return ",".join(RAW_TABLES[data_type].header)

    def text(self, lines, data_type=DataType.TRADES):
        return "".join(f"{line}\n" for line in (self.header(data_type), *lines)).encode()

    def gz(self, lines, data_type=DataType.TRADES):
        return gzip.compress(self.text(lines, data_type), mtime=0)

    def trade(self, number, *, venue="binance", symbol="BTCUSDT", **cells):
        local = self.start_us + 1_000_000 + number * 1000
        row = {
            "timestamp": local - 5000,
            "local_timestamp": local,
            "id": 1000 + number,
            "side": ("buy", "sell", "unknown")[number % 3],
            "price": 60000 + number % 7 / 10,
            "amount": 0.5 + number % 5,
        } | cells
        return ",".join([venue, symbol, *(str(row[name]) for name in list(row)[:6])])

    def trades(self, count, **cells):
        return [self.trade(number, **cells) for number in range(count)]


@pytest.fixture(scope="session")
def files():
    return VendorFiles()


@pytest.fixture(scope="session")
def recorded():
    if not RECORDED.is_dir():
        pytest.skip("the recorded data lies beside the project and is not here")
    return RECORDED


@pytest.fixture(scope="session")
def sidecar(request):
    """The live feed's program, installed once and kept between sessions."""
    try:
        return install_sidecar(request.config.cache.mkdir("sidecar"))
    except (MissingUpstream, VendorUnavailable) as error:
        pytest.skip(str(error))


def read_csv(data, data_type):
    """The slow and obvious reading of a vendor file: every cell by Python."""
    text = gzip.decompress(data).decode().splitlines()[1:]
    columns = [column.stored for column in RAW_TABLES[data_type].columns]
    records = [line.split(",")[2:] for line in text]
    return pl.DataFrame(
        {
            column.name: [_cell(record[place], column.dtype) for record in records]
            for place, column in enumerate(columns)
        },
        schema={column.name: column.dtype for column in columns},
    )


def _cell(text, dtype):
    if not text:
        return None
    if isinstance(dtype, pl.Datetime):
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(text))
    if dtype == pl.Float64():
        return float(text)
    return text == "true" if dtype == pl.Boolean() else text


@pytest.fixture(scope="session")
def slow_reader():
    return read_csv


class CompletenessTables:
    """Writes completeness tables of cells as their asset does, from a few words per row."""

    def __init__(self, lake):
        self.lake = lake

    @staticmethod
    def row(symbol, state="present", *, day=DAY, venue="binance", data_type="trades", **more):
        state, venue = DataState(state), VenueId(venue)
        key_name = VENUES[venue].key_name
        values = {
            "date": day,
            "venue": venue,
            "data_type": DataType(data_type),
            "instrument_key": f"{key_name}:SPOT_PAIR:{symbol}",
            "instrument_type": "SPOT_PAIR",
            "state": state,
            "reason": STATE_MEANINGS[state],
            "verdict": DEFAULT_OF_STATE[state],
            "is_simulated": True,
        }
        return Completeness(**values | more)

    def write(self, *rows):
        """Store the rows, each in the table of its cell."""
        cells = defaultdict(list)
        for row in rows:
            cells[row.date, row.venue].append(row)
        for (day, venue), some in cells.items():
            item = CompletenessFile(day, venue)
            self.lake.write_table(item, completeness_frame(some), COMPLETENESS_TABLE)


@pytest.fixture
def completeness_tables(lake):
    return CompletenessTables(lake)


@pytest.fixture(scope="session")
def completeness_row():
    return CompletenessTables.row
