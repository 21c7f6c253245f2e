"""A backfill through the real daemon and queue: partitions a minute, overhead, memory.

What belongs here: an installation over the sandbox with tiny files, filled by the command
`tickhandler backfill`, and what that took. What does not: its processes (`backfill_services.py`),
the same work without Dagster (`backfill_work.py`), an instance of six years that nobody filled by
runs (`instance_scale.py`).

It is filled twice. The first time fetches; the second finds everything there and fetches nothing,
so that the work is proving that a cell is whole. The same work is done in one process without
Dagster, over the first days; the difference is overhead: the command, the daemon, the code
location, starting processes, events, and the pictures and tables that only an event carries.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from backfill_services import Services, open_services
from pydantic import AnyHttpUrl, SecretStr
from rich import box
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.automation.backfills import is_daemon_alive
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator, Window
from tickhandler_dagster.settings import Settings, child_environment

FIRST = dt.date(2024, 1, 1)
TYPES = (DataType.TRADES, DataType.BOOK_SNAPSHOT_5, DataType.QUOTES)
VENUES = tuple(
    map(
        VenueId,
        (
            *("binance", "okex", "okex-swap", "upbit", "coinbase", "hyperliquid", "bybit-spot"),
            *("bitmex", "binance-delivery", "bybit", "binance-futures", "okex-futures"),
        ),
    )
)
"""Venues with few instruments; all of them have all of the types."""

_SCALE = 0.001
_WORK_DAYS = 5
_LOOK_S = 2.0
_MINUTE_S = 60.0
_MEGA = 1e6
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass
class Pass:
    """One time through all cells.

    Attributes:
        name: Which.
        partitions: Cells of all assets.
        runs: Runs that it took.
        failed: Of these, that failed.
        wall_s: Seconds by the clock.
        runs_s: Processor time of the code location and its runs.
        daemon_s: Processor time of the daemon.
        command_s: Processor time of the command, which waits.
        work_s: Processor time of the same work without Dagster, for as many cells.
        daemon_mb: Resident memory of the daemon, minute after minute.
        log_mb: Size of the instance afterwards.
    """

    name: str
    partitions: int
    runs: int = 0
    failed: int = 0
    wall_s: float = 0.0
    runs_s: float = 0.0
    daemon_s: float = 0.0
    command_s: float = 0.0
    work_s: float = 0.0
    daemon_mb: list[float] = field(default_factory=list)
    log_mb: float = 0.0

    @property
    def overhead_s(self) -> float:
        """Processor time that a partition takes beside the work."""
        return (self.runs_s + self.daemon_s + self.command_s - self.work_s) / self.partitions


@dataclass
class Installation:
    """What is filled.

    Attributes:
        settings: A vendor, venues, days.
        folder: Where everything is.
        note: Progress.
    """

    settings: Settings
    folder: Path
    note: Callable[[str], None]

    @property
    def days(self) -> int:
        """Days of the grid."""
        end = self.settings.partition_end_date or FIRST
        return (end - FIRST).days + 1

    @property
    def partitions(self) -> int:
        """Cells of `instruments` and of every type."""
        return self.days * len(self.settings.download_venues) * (1 + len(TYPES))

    def environment(self, **changes: object) -> dict[str, str]:
        """Of a process, as a user starts it; settings decide over it."""
        settings = self.settings.model_copy(update=changes)
        return {**os.environ, **child_environment(settings)}  # noqa: TID251  (passed on)


def measure(
    folder: Path, days: int, streams: int, note: Callable[[str], None]
) -> tuple[str, list[Pass]]:
    """Fill an installation twice: what it is, and both passes."""
    with ExitStack() as stack:
        installed = stack.enter_context(_Opened(folder, days, streams, note))
        work = work_without_dagster(installed)
        services = stack.enter_context(open_services(installed.environment(), installed.folder))
        wait_for_daemon(installed)
        fill(installed, services, "listings", ["exchange_catalog"])
        passes = []
        for name, of_a_cell in zip(("fetching", "nothing to fetch"), work, strict=True):
            found = fill(installed, services, name, ["instruments", "raw_ticks"])
            found.work_s = of_a_cell * found.partitions
            passes.append(found)
            _print_note(found, note)
    venues = installed.settings.download_venues
    return f"{days:,} days of {len(venues) * len(TYPES)} streams on {len(venues)} venues", passes


class _Opened:
    """An installation over a sandbox of its own."""

    def __init__(self, folder: Path, days: int, streams: int, note: Callable[[str], None]) -> None:
        self._folder = (folder / "backfill").absolute()
        self._note = note
        self._last = FIRST + dt.timedelta(days=days - 1)
        self._venues = VENUES[: -(-streams // len(TYPES))]
        window = Window(FIRST - dt.timedelta(days=31), self._last + dt.timedelta(days=2), FIRST)
        self._server = SandboxServer(Simulator(7, scale=_SCALE, window=window))

    def __enter__(self) -> Installation:
        shutil.rmtree(self._folder, ignore_errors=True)
        home = self._folder / "dagster_home"
        home.mkdir(parents=True)
        shutil.copy(_PROJECT / "dagster.yaml", home)
        server = self._server.__enter__()
        settings = Settings(
            tardis_endpoint=AnyHttpUrl(server.api_url),
            tardis_datasets_endpoint=AnyHttpUrl(server.datasets_url),
            tardis_api_key=SecretStr(SANDBOX_KEY),
            lake_root=self._folder / "lake",
            dagster_home=home,
            instrument_exchanges=self._venues,
            download_venues=self._venues,
            download_data_types=TYPES,
            partition_start_date=FIRST,
            partition_end_date=self._last,
            log_level="ERROR",
        )
        return Installation(settings, self._folder, self._note)

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)


def work_without_dagster(installed: Installation) -> list[float]:
    """Processor time of a partition in each pass, from the first days, in a process of its own."""
    days = min(_WORK_DAYS, installed.days)
    installed.note(f"the work without Dagster, {days} days")
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("backfill_work.py")), str(days)],
        env=installed.environment(lake_root=installed.folder / "lake_without_dagster"),
        cwd=installed.folder,
        stdout=subprocess.PIPE,
        check=True,
    )
    partitions = installed.partitions / installed.days * days
    return [seconds / partitions for seconds in json.loads(told.stdout)]


def wait_for_daemon(installed: Installation) -> None:
    """Until the daemon has been heard of."""
    with dg.DagsterInstance.from_config(str(installed.settings.dagster_home)) as instance:
        while not is_daemon_alive(instance):
            time.sleep(1)


def fill(installed: Installation, services: Services, name: str, assets: Sequence[str]) -> Pass:
    """`tickhandler backfill` of these assets, and what everything took until it was over."""
    installed.note(name)
    one = Pass(name, installed.partitions)
    began = time.perf_counter(), services.code_cpu_s(), services.daemon_cpu_s(), _waited_s()
    span = ("--start-date", str(FIRST), "--end-date", str(installed.settings.partition_end_date))
    with (installed.folder / "command.log").open("ab") as log:
        command = subprocess.Popen(
            [
                *(sys.executable, "-m", "tickhandler_dagster", "backfill", *span),
                *("--assets", *assets, "--wait", "--json"),
            ],
            env=installed.environment(),
            cwd=installed.folder,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        told = _watched(installed, command, services, one)
    services.wait_for_runs()
    one.wall_s = time.perf_counter() - began[0]
    one.runs_s = services.code_cpu_s() - began[1]
    one.daemon_s = services.daemon_cpu_s() - began[2]
    one.command_s = _waited_s() - began[3]
    one.runs = sum(sum(backfill["runs"].values()) for backfill in told["backfills"])
    one.failed = sum(len(backfill["failed_runs"]) for backfill in told["backfills"])
    home = Path(str(installed.settings.dagster_home))
    one.log_mb = sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / _MEGA
    return one


def _watched(
    installed: Installation, command: subprocess.Popen[bytes], services: Services, one: Pass
) -> dict[str, Any]:
    """What the command said at its end; the daemon's memory is looked at until then."""
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            due += _MINUTE_S
            one.daemon_mb.append(services.daemon_mb())
            installed.note(
                f"{len(one.daemon_mb) - 1} min: runs and code location "
                f"{services.code_cpu_s():,.0f} CPU s, daemon {services.daemon_cpu_s():,.0f} CPU s, "
                f"{one.daemon_mb[-1]:.0f} MB; {_runs_over(installed):,} runs are over"
            )
        try:
            said, _ = command.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            continue
        one.daemon_mb.append(services.daemon_mb())
        if not said:
            sys.exit("the backfill did not start: see command.log")
        told: dict[str, Any] = json.loads(said)
        return told


def _runs_over(installed: Installation) -> int:
    with dg.DagsterInstance.from_config(str(installed.settings.dagster_home)) as instance:
        return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))


def _waited_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print_note(one: Pass, note: Callable[[str], None]) -> None:
    note(
        f"{one.name}: {one.wall_s:.0f} s, {one.overhead_s:.3f} s of overhead a partition; CPU s of "
        f"runs {one.runs_s:.1f}, daemon {one.daemon_s:.1f}, command {one.command_s:.1f}, "
        f"work {one.work_s:.1f}"
    )


def print_backfill(console: Console, title: str, passes: Sequence[Pass]) -> None:
    """The table, and the daemon's memory by the minute."""
    table = Table("pass", box=box.SIMPLE, title=f"Backfill of {title}")
    columns: Mapping[str, Callable[[Pass], str]] = {
        "partitions": lambda one: f"{one.partitions:,}",
        "runs": lambda one: f"{one.runs:,}",
        "failed": lambda one: f"{one.failed:,}",
        "wall s": lambda one: f"{one.wall_s:,.0f}",
        "a minute": lambda one: f"{one.partitions / one.wall_s * _MINUTE_S:,.0f}",
        "runs CPU s": lambda one: f"{one.runs_s:,.0f}",
        "daemon CPU s": lambda one: f"{one.daemon_s:,.0f}",
        "command CPU s": lambda one: f"{one.command_s:,.0f}",
        "work CPU s": lambda one: f"{one.work_s:,.0f}",
        "overhead CPU s each": lambda one: f"{one.overhead_s:.3f}",
        "instance MB": lambda one: f"{one.log_mb:,.1f}",
    }
    for name in columns:
        table.add_column(name, justify="right")
    for one in passes:
        table.add_row(one.name, *(text(one) for text in columns.values()))
    console.print(table)
    for one in passes:
        looks = " ".join(f"{megabytes:.0f}" for megabytes in one.daemon_mb)
        console.print(f"MB of the daemon, minute after minute, {one.name}: {looks}")
