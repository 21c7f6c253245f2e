"""Six years of sixty streams on one instance: what its pages, its sensor and its commands take.

What belongs here: filling, measuring and the table. What does not: the events (`instance_fill.py`),
the completeness tables (`completeness_fill.py`) and the page (`instance_page.py`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import completeness_fill
import dagster as dg
import instance_fill as fill
import instance_page as page
import psutil
from dagster import DagsterEventType
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.instance import InstanceRef
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from rich import box
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.adapters.notifiers.building import build_notifiers
from tickhandler_dagster.automation.alert_sensor import Alerting, tick
from tickhandler_dagster.automation.alert_store import store_memory
from tickhandler_dagster.automation.alert_watch import Watch
from tickhandler_dagster.automation.freshness_signals import expected_cells
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.settings import Settings, child_environment

FIRST = dt.date(2019, 1, 1)
TYPES = (
    DataType.TRADES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.QUOTES,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
    DataType.OPTIONS_CHAIN,
)
OTHERS = ("instruments", "completeness", "candles/1m")
WATCHED = dg.AssetKey(["raw_ticks", "trades"])
CHECK = "complete"
NEW_FAILURES = 1_000
POLICY = {
    "deadlines": [{"assets": ["raw_ticks/*", "candles/1m"], "by": "10:00"}],
    "notifiers": {"log": {"type": "file", "path": "alerts.jsonl"}},
}
_MEGA = 1e6
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass
class Cost:
    """What one thing took; a number that was not taken is None.

    Attributes:
        name: What was done.
        wall_s: Seconds by the clock.
        cpu_s: Seconds of processor time, of all processes that took part.
        rss_bytes: Resident memory afterwards, or its peak for a command.
        ratio: Processor time beside another row's.
        note: What came of it.
    """

    name: str
    wall_s: float
    cpu_s: float
    rss_bytes: int | None = None
    ratio: float | None = None
    note: str = ""


@dataclass
class Scale:
    """The instance that is measured, and what was found.

    Attributes:
        folder: Everything lies in it.
        days: Days of the grid.
        note: Progress.
    """

    folder: Path
    days: int
    note: Callable[[str], None]
    costs: list[Cost] = field(default_factory=list)
    size: str = ""

    @property
    def home(self) -> Path:
        """Dagster's folder."""
        return self.folder / "dagster_home"

    @property
    def settings(self) -> Settings:
        """The platform's settings: fourteen venues over these days."""
        return Settings(
            lake_root=self.folder / "lake",
            dagster_home=self.home,
            instrument_exchanges=tuple(VENUES),
            download_venues=tuple(VENUES),
            download_data_types=TYPES,
            partition_start_date=FIRST,
            partition_end_date=self.last_day,
            alerts=parse_alerts(json.dumps(POLICY)),
        )

    @property
    def last_day(self) -> dt.date:
        """The last day of the grid."""
        return FIRST + dt.timedelta(days=self.days - 1)

    @contextmanager
    def measured(self, name: str) -> Iterator[Cost]:
        """Time of this process."""
        self.note(name)
        wall, cpu = time.perf_counter(), time.process_time()
        cost = Cost(name, 0, 0)
        yield cost
        cost.wall_s = time.perf_counter() - wall
        cost.cpu_s = time.process_time() - cpu
        cost.rss_bytes = psutil.Process().memory_info().rss
        self.costs.append(cost)


def measure(folder: Path, days: int, note: Callable[[str], None]) -> Scale:
    """Fill an instance and measure everything on it."""
    folder = (folder / "scale").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    scale = Scale(folder, days, note)
    scale.home.mkdir(parents=True)
    shutil.copy(_PROJECT / "dagster.yaml", scale.home)
    definitions = build_definitions(scale.settings)
    repository = definitions.get_repository_def()
    names = (*(f"raw_ticks/{one}" for one in TYPES), *OTHERS)
    streams = fill.streams_of(repository, names)
    with dg.DagsterInstance.from_config(str(scale.home)) as instance:
        _fill(scale, instance, streams)
        _check_states(scale, instance, repository)
        _grid_states(scale, instance, repository, streams)
        _page(scale, streams)
        _sensor(scale, instance, repository, streams)
    _commands(scale)
    return scale


def _fill(scale: Scale, instance: dg.DagsterInstance, streams: list[fill.Stream]) -> None:
    venues = [venue.value for venue in VENUES]
    with scale.measured("fill: event log") as cost:
        filled = fill.Fill(instance, streams)
        filled.write(FIRST, scale.days, venues)
        size = sum(file.stat().st_size for file in scale.home.rglob("*") if file.is_file())
        cost.note = f"{filled.events:,} events of {filled.runs:,} runs, {size / _MEGA:,.0f} MB"
    cells = [
        VenueDay(FIRST + dt.timedelta(days=day), venue)
        for day in range(scale.days)
        for venue in VENUES
    ]
    with scale.measured("fill: completeness tables") as cost:
        rows = completeness_fill.write_tables(scale.folder / "lake", cells, TYPES)
        cost.note = f"{len(cells):,} tables, {rows:,} rows"
    raw = sum(len(one.venues) for one in streams if one.key.path[0] == "raw_ticks")
    scale.size = (
        f"{scale.days:,} days x {len(VENUES)} venues, {raw} streams of raw ticks, "
        f"{filled.cells:,} cells with {sum(len(one.checks) for one in streams)} checks"
    )


@contextmanager
def _dagsters_own(scale: Scale) -> Iterator[dg.DagsterInstance]:
    """Dagster's own classes over the same files: no file of settings names ours."""
    ref = InstanceRef.from_dir(str(scale.home), config_filename="no_such_file.yaml")
    with dg.DagsterInstance.from_ref(ref) as own:
        yield own


def _check_states(
    scale: Scale, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> None:
    """The status of one check by our event log and by Dagster's own, over the same file."""
    key = dg.AssetCheckKey(WATCHED, CHECK)
    wanted = [(key, repository.asset_graph.get(WATCHED).partitions_def)]
    # The file is read once beforehand, so that the first one does not pay for the second.
    instance.event_log_storage.get_asset_check_partition_info([key])
    found = []
    with _dagsters_own(scale) as own:
        for name, one in (
            ("status of one check", instance),
            ("the same, Dagster's own event log", own),
        ):
            with scale.measured(name) as cost:
                state = one.event_log_storage.get_asset_check_state(wanted)[key]
                cost.note = ", ".join(
                    f"{subset.size:,} {status.value.lower().replace('_', ' ')}"
                    for status, subset in state.subsets.items()
                    if subset.size
                )
            found.append(state.subsets)
    if found[0] != found[1]:
        sys.exit("The two event logs disagree: the ratio means nothing.")
    ours = scale.costs[-2]
    scale.costs[-1].ratio = scale.costs[-1].cpu_s / ours.cpu_s


def _grid_states(
    scale: Scale,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    streams: list[fill.Stream],
) -> None:
    """The first look at the cells of every asset, by our event log and by Dagster's own."""
    grids = [(one.key, repository.asset_graph.get(one.key).partitions_def) for one in streams]
    found = []
    with _dagsters_own(scale) as own:
        for name, log in (
            (f"first look at {len(streams)} assets", instance),
            ("the same, Dagster's own event log", own),
        ):
            for key, _ in grids:
                log.event_log_storage.wipe_asset_cached_status(key)
            with scale.measured(name) as cost:
                values = log.event_log_storage.get_asset_status_cache_values(
                    grids, LoadingContextForTest(log)
                )
            looks = _cells(grids, values)
            cost.note = f"{sum(map(len, looks)):,} cells are there"
            found.append(looks)
    if found[0] != found[1]:
        sys.exit("The two grids disagree: the ratio means nothing.")
    scale.costs[-1].ratio = scale.costs[-1].cpu_s / scale.costs[-2].cpu_s
    for one in streams:  # the page's first look is one
        instance.event_log_storage.wipe_asset_cached_status(one.key)


def _cells(
    grids: Sequence[tuple[dg.AssetKey, dg.PartitionsDefinition | None]],
    values: Sequence[AssetStatusCacheValue | None],
) -> list[PartitionsSubset[str]]:
    looks = []
    for (key, grid), value in zip(grids, values, strict=True):
        if grid is None or value is None:
            sys.exit(f"{key.to_user_string()} was not filled.")
        looks.append(value.deserialize_materialized_partition_subsets(grid))
    return looks


def _page(scale: Scale, streams: list[fill.Stream]) -> None:
    """What a person waits for, by the page's own queries; each twice, as a second look is."""
    keys = [{"path": list(one.key.path)} for one in streams]
    watched = {"path": list(WATCHED.path)}
    with page.open_page(child_environment(scale.settings), scale.folder) as server:
        _asked(scale, server, "page: first answer", page.OVERVIEW, assetKeys=keys[:1])
        for look in ("first", "second"):
            _asked(scale, server, f"page: grid, {look} look", page.GRID, assetKey=watched)
            _asked(
                scale,
                server,
                f"page: grid of a check, {look} look",
                page.CHECK_GRID,
                assetKey=watched,
                checkName=CHECK,
            )
            name = f"page: overview of {len(keys)} assets, {look} look"
            _asked(scale, server, name, page.OVERVIEW, assetKeys=keys)


def _asked(scale: Scale, server: page.Page, name: str, query: str, **variables: object) -> None:
    scale.note(name)
    wall, cpu = time.perf_counter(), server.cpu_s()
    answer = server.ask(query, **variables)
    cost = Cost(name, time.perf_counter() - wall, server.cpu_s() - cpu, server.rss_bytes())
    cost.note = f"{len(json.dumps(answer)) / _MEGA:.2f} MB of JSON"
    scale.costs.append(cost)


def _sensor(
    scale: Scale,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    streams: list[fill.Stream],
) -> None:
    settings = scale.settings
    policy = settings.alerts
    if policy is None:
        raise TypeError("the benchmark's settings have a policy")
    now = dt.datetime.combine(scale.last_day, dt.time(12), dt.UTC) + dt.timedelta(days=1)
    now_us = int(now.timestamp()) * 1_000_000
    told = scale.folder / "alerts.jsonl"
    expected = expected_cells(list(repository.assets_defs_by_key.values()), settings, policy)

    def at(seconds: int) -> Alerting:
        moment = now_us + seconds * 1_000_000
        return Alerting(policy, lambda: build_notifiers(policy, {}), expected, lambda: moment)

    os.chdir(scale.folder)  # the policy's file is relative, as a user writes it
    for name, seconds in (("alerts: first tick", 0), ("alerts: tick without news", 30)):
        with scale.measured(name) as cost:
            cost.note = tick(instance, at(seconds)).text
    _fail(instance, streams, now.timestamp() + 60)
    before = len(told.read_text().splitlines()) if told.exists() else 0
    with scale.measured(f"alerts: tick after {NEW_FAILURES:,} new failures") as cost:
        cost.note = tick(instance, at(600)).text
    with scale.measured("alerts: tick that tells them") as cost:
        tick(instance, at(1_200))
        cost.note = f"{len(told.read_text().splitlines()) - before:,} messages"
    with scale.measured("alerts: tick that tells nothing, incidents open") as cost:
        cost.note = tick(instance, at(1_230)).text
    store_memory(instance, Watch(cursor=-1), Ledger())
    with scale.measured("alerts: tick at the start of a backlog of years") as cost:
        cost.note = tick(instance, at(1_260)).text


def _fail(instance: dg.DagsterInstance, streams: list[fill.Stream], at: float) -> None:
    """New failures, each stored by Dagster as a run stores it."""
    run_id = "00000000-0000-0000-0000-ffffffffffff"
    days = [str(FIRST + dt.timedelta(days=day)) for day in range(40)]
    cells = [f"{day}|{venue.value}" for day in days for venue in VENUES]
    target = (1, run_id, at)
    for _, (stream, name, cell) in zip(
        range(NEW_FAILURES), fill.failures(streams, cells), strict=False
    ):
        failed = fill.evaluation(stream.key, name, cell, target, has_passed=False)
        kind = DagsterEventType.ASSET_CHECK_EVALUATION
        instance.event_log_storage.store_event(fill.entry(run_id, at, kind, failed))


def _commands(scale: Scale) -> None:
    environment = child_environment(scale.settings)
    span = ("--start-date", str(FIRST), "--end-date", str(scale.last_day))
    output = str(scale.folder / "report")
    _command(scale, "tickhandler report", environment, "report", *span, "--output", output)
    pages = Path(output).glob("*")
    sizes = [f"{one.name} {one.stat().st_size / _MEGA:.1f} MB" for one in sorted(pages)]
    scale.costs[-1].note = ", ".join(sizes)
    _command(scale, "tickhandler repair --dry-run", environment, "repair", "--dry-run")


def _command(scale: Scale, name: str, environment: Mapping[str, str], *words: str) -> None:
    """A command as a user calls it; what starting Python takes is in it."""
    scale.note(name)
    began = time.perf_counter()
    with (scale.folder / "command.log").open("w+b") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tickhandler_dagster", *words],
            cwd=scale.folder,
            env=dict(environment),
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read().decode()
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}:\n{said[-2000:]}")
    scale.costs.append(
        Cost(
            name,
            time.perf_counter() - began,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            note=said.strip().splitlines()[-1] if said.strip() else "",
        )
    )


def print_scale(console: Console, scale: Scale) -> None:
    """The table."""
    table = Table(title=scale.size, box=box.SIMPLE, title_justify="left")
    table.add_column("what", no_wrap=True)
    for name in ("wall s", "CPU s", "RSS MB", "x ours"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what came of it")
    for cost in scale.costs:
        table.add_row(
            cost.name,
            f"{cost.wall_s:.2f}",
            f"{cost.cpu_s:.2f}",
            "" if cost.rss_bytes is None else f"{cost.rss_bytes / _MEGA:,.0f}",
            "" if cost.ratio is None else f"{cost.ratio:.0f}",
            cost.note,
        )
    console.print(table)
