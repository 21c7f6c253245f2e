"""The whole live path under load: an exchange on loopback, the sidecar, the command, a subscriber.

What belongs here: starting the parts, looking at them from outside, once a minute and at the end.
What does not: what the exchange says (`soak_exchange.py`), what was counted (`soak_counts.py`,
`soak_numbers.py`) and how it is shown (`soak_report.py`).

The command is the user's own: `tickhandler streaming-candles --keep-ticks --serve`. Its feed is the
real sidecar, which is told by its library's own variable to connect to loopback.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import psutil
import soak_exchange
from soak_counts import Listener, SpooledLines, stored
from soak_numbers import arrived
from soak_report import Minute, Soak, line

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings, child_environment

VENUE = VenueId.DERIBIT
RETENTION_HOURS = 0.5
_LOOK_S = 1.0
_START_S = 120.0
_END_S = 300.0
_HERE = Path(__file__).resolve().parent


def measure(
    folder: Path, *, minutes: float, rate: int, instruments: int, note: Callable[[str], None]
) -> Soak:
    """Run it all for so many minutes, and wait until everything said is where it belongs."""
    root = folder / "soak"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    _write_universe(root / "lake", instruments)
    seen = Soak(rate, instruments)
    with _exchange(root, rate, instruments) as exchange, _session(root) as (session, port):
        watch = _Watch(root, port, {"exchange": exchange.pid, "session": session.pid})
        _until(lambda: watch.said()["said"]["trades"] > 0, _START_S, session)
        with Listener(port, watch.note_delay):
            began = time.monotonic()
            while time.monotonic() - began < minutes * 60:
                minute = watch.minute(began, min(60.0, minutes * 60), session)
                seen.minutes.append(minute)
                note(line(minute))
            exchange.send_signal(signal.SIGTERM)
            _until(lambda: watch.said()["is_ended"], 10, session)
            with suppress(TimeoutError):
                _until(lambda: watch.read_rows() >= watch.total_said(), _END_S, session)
            seen.minutes.append(watch.minute(began, 0, session))
        session.send_signal(signal.SIGTERM)
        out, _ = session.communicate(timeout=_END_S)
        seen.closing = json.loads(out)
        seen.said = watch.said()
    seen.in_lake = stored(root / "lake")
    seen.numbers = {
        data_type: arrived(root / "lake", data_type, watch.said_by_symbol(place))
        for place, data_type in enumerate(soak_exchange.TYPES)
    }
    seen.events = watch.events()
    return seen


class _Watch:
    """Looks at all parts from outside."""

    def __init__(self, root: Path, port: int, processes: dict[str, int]) -> None:
        self._root = root
        self._url = f"http://127.0.0.1:{port}/status"
        self._processes = processes
        self._lines = SpooledLines(root / "spool" / VENUE)
        self._lags: list[float] = []
        self._delays: list[float] = []
        self._read = 0
        self._cpu: dict[str, float] = {}

    def note_delay(self, delay_ms: float) -> None:
        """A bar came."""
        self._delays.append(delay_ms)

    def said(self) -> dict[str, object]:
        """What the exchange wrote down last."""
        return json.loads((self._root / "said.json").read_text())

    def total_said(self) -> int:
        """Messages sent."""
        return sum(self.said()["said"].values())

    def said_by_symbol(self, place: int) -> dict[str, int]:
        """Messages of one kind sent of each instrument."""
        return {symbol: counts[place] for symbol, counts in self.said()["by_symbol"].items()}

    def read_rows(self) -> int:
        """Rows the engine has read; notes the lag."""
        with suppress(OSError), urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310  (loopback)
            status = json.load(answer)["engine"]
            if status is not None:
                (feed,) = status["feeds"]
                self._read = sum(feed["rows"].values())
                if feed["lag_us"] is not None:
                    self._lags.append(feed["lag_us"] / 1_000)
        return self._read

    def minute(self, began: float, seconds: float, session: subprocess.Popen[str]) -> Minute:
        """Look once a second for so long; what came of it."""
        end = time.monotonic() + seconds
        looks = [self._resident()]
        while time.monotonic() < end and session.poll() is None:
            self.read_rows()
            self._lines.count()
            time.sleep(_LOOK_S)
            looks.append(self._resident())
        least, most = _extremes(looks)
        lags, self._lags = self._lags, []
        delays, self._delays = self._delays, []
        return Minute(
            second=time.monotonic() - began,
            said=self.total_said(),
            spooled=self._lines.count(),
            read=self.read_rows(),
            stored=sum(rows for rows, _ in stored(self._root / "lake").values()),
            rss=least,
            rss_most=most,
            cpu=dict(self._cpu),
            spool_bytes=self._lines.size(),
            lags_ms=lags,
            delays_ms=delays,
        )

    def events(self) -> dict[str, int]:
        """What the feed said of itself, by kind, heartbeats apart; of what is still spooled."""
        counts: dict[str, int] = {}
        for file in (self._root / "spool" / VENUE / "events").glob("*.jsonl"):
            for event in file.read_text().splitlines():
                kind = json.loads(event)["kind"]
                if kind != "heartbeat":
                    counts[kind] = counts.get(kind, 0) + 1
        return counts

    def _resident(self) -> dict[str, int]:
        """Resident memory of every process, children by what they do; notes processor time."""
        rss, now = {}, {}
        for name, pid in {**self._processes, "looking": os.getpid()}.items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                family = [(name, process)]
                if name == "session":
                    family += [(_role(one), one) for one in process.children(recursive=True)]
                for role, one in family:
                    with suppress(psutil.Error):
                        rss[role] = rss.get(role, 0) + one.memory_info().rss
                        times = one.cpu_times()
                        now[role] = now.get(role, 0.0) + times.user + times.system
        self._cpu |= now
        return rss


def _extremes(looks: Sequence[dict[str, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """The least and the most of each process."""
    sizes: dict[str, list[int]] = {}
    for look in looks:
        for name, size in look.items():
            sizes.setdefault(name, []).append(size)
    return (
        {name: min(found) for name, found in sizes.items()},
        {name: max(found) for name, found in sizes.items()},
    )


def _role(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    if "sidecar" in words:
        return "sidecar"
    return "completion" if "spawn_main" in words else "others"


@contextmanager
def _exchange(root: Path, rate: int, instruments: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(_HERE / "soak_exchange.py"), str(root)]
    sizes = ["--symbols", str(instruments), "--rate", str(rate)]
    with subprocess.Popen([*command, *sizes]) as exchange:
        try:
            yield exchange
        finally:
            exchange.kill()


@contextmanager
def _session(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command, ended whatever happens; its sidecar with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _until((root / "port").is_file, 20)
    settings = Settings(
        lake_root=str(root / "lake"),
        streaming_spool_folder=root / "spool",
        streaming_spool_hours=RETENTION_HOURS,
    )
    environment = child_environment(settings) | {
        "WSS_URL_DERIBIT": f"ws://127.0.0.1:{(root / 'port').read_text()}/"
    }
    options = "--venues deribit --keep-ticks --serve --no-dagster --json --symbol *-USDC"
    types = ["--data-types", ",".join(soak_exchange.TYPES), "--port", str(port)]
    command = [sys.executable, "-m", "tickhandler_dagster", "streaming-candles"]
    with (
        (root / "session.log").open("w") as log,
        subprocess.Popen(
            [*command, *options.split(), *types],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=root,
        ) as session,
    ):
        try:
            yield session, port
        finally:
            if session.poll() is None:
                session.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    session.wait(60)
            session.kill()


def _until(
    is_so: Callable[[], object], seconds: float, session: subprocess.Popen[str] | None = None
) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError, ValueError):
            if is_so():
                return
        if session is not None and session.poll() is not None:
            sys.exit(f"soak: the session ended with exit code {session.returncode}")
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.2)


def _write_universe(root: Path, instruments: int) -> None:
    """A venue of linear perpetuals, as of today."""
    today = dt.datetime.now(dt.UTC).date()
    rows = [
        dict.fromkeys(INSTRUMENTS_TABLE.names)
        | {
            "date": today,
            "instrument_key": f"DERIBIT:PERPETUAL:{symbol.partition('_')[0]}-USDC",
            "venue": VENUE.value,
            "instrument_type": "PERPETUAL",
            "symbol": f"{symbol.partition('_')[0]}-USDC",
            "tardis_symbol": symbol,
            "exchange_raw_symbol": symbol,
            "data_types": list(soak_exchange.TYPES),
            "base_asset": symbol.partition("_")[0],
            "quote_asset": "USDC",
            "settle_asset": "USDC",
            "is_inverse": False,
            "is_quanto": False,
            "contract_size": 1.0,
            "amount_unit": "base",
            "tick_size": 0.1,
            "terms_source": "venue_rule",
            "is_simulated": True,
        }
        for symbol in soak_exchange.symbols(instruments)
    ]
    frame = pl.DataFrame(rows, schema=INSTRUMENTS_TABLE.polars_schema)
    frame = frame.with_columns(available_from=pl.lit(0).cast(TIMESTAMP)).sort("instrument_key")
    lake = Lake(LocalObjectStore(root))
    lake.write_table(InstrumentsFile(today, VENUE), frame, INSTRUMENTS_TABLE)
