"""`tickhandler demo`: simulated days of some venues through Dagster, from listing to marts.

What belongs here: which runs there are and in which order. The runs are real ones on a real
instance: the page of `tickhandler ui` shows them and their partitions.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
from pydantic import AnyHttpUrl, SecretStr, TypeAdapter

from tickhandler_dagster.assets import (
    completeness,
    exchange_catalog,
    instruments,
    options_surface,
)
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.information_bars import bars_key
from tickhandler_dagster.assets.mft_features import mft_key
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.assets.warehouse import tables_of, warehouse_key
from tickhandler_dagster.cli.demo_marts import ask_marts, make_marts
from tickhandler_dagster.cli.demo_screen import DemoScreen
from tickhandler_dagster.cli.demo_warehouse import Answer, ask
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import VENUE, Grid, build_grid
from tickhandler_dagster.pipeline.cell_summary import summarize_cell
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.platform import ProgressListener
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import Settings

DEMO_FILE = "demo.json"

LONG_DAYS = 7
"""A demo of more days than these has one run per step and venue instead of one per day."""

_LONG_TYPES = (
    DataType.TRADES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
)
"""What a long demo fetches: the least that every family of features has values from."""

_LONG_TIMEFRAMES = (Timeframe.H1, Timeframe.H4, Timeframe.H24)
"""What a long demo makes: simulated trades are too few for every minute to have one."""

_SHORT_TIMEFRAMES = (Timeframe.M1, Timeframe.H1, Timeframe.H24)
"""Features of a short demo: minutes are warm after two days, hours in part, days not at all."""

_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Demo:
    """What to show.

    Attributes:
        home: Folder of the lake and of Dagster's instance.
        start: First day.
        end: Last day, included.
        venues: Venues of the grid.
        seed: Seed of the market.
        scale: Factor on its rows.
        has_marts: Whether dbt makes its marts at the end.
    """

    home: Path
    start: dt.date
    end: dt.date
    venues: tuple[VenueId, ...]
    seed: int
    scale: float
    has_marts: bool = True

    @property
    def days(self) -> list[dt.date]:
        """All days, earliest first."""
        return [
            self.start + dt.timedelta(days=offset)
            for offset in range((self.end - self.start).days + 1)
        ]

    @property
    def is_long(self) -> bool:
        """One run per step and venue instead of one per day."""
        return len(self.days) > LONG_DAYS


_DEMO = TypeAdapter(Demo)


@dataclass(frozen=True)
class DemoRun:
    """One Dagster run of the demo: some assets of one partition, or of a venue's days in a row.

    Attributes:
        partition: The partition, or the first of the range.
        keys: Assets.
        last: The last partition of the range; empty where there is one partition.
    """

    partition: str
    keys: tuple[dg.AssetKey, ...]
    last: str = ""

    @property
    def title(self) -> str:
        """What the run is about, in a few words."""
        names = [key.path[0] for key in self.keys]
        return f"{self.partition} {' '.join(dict.fromkeys(names))}"

    @property
    def tags(self) -> dict[str, str]:
        """What tells Dagster the range."""
        return dict(zip(_RANGE_TAGS, (self.partition, self.last), strict=True)) if self.last else {}


def run_demo(demo: Demo) -> bool:
    """Run everything and print the table.

    Returns:
        Whether all runs succeeded; what failed is on the screen.

    Raises:
        InvalidInput: the last day lies before the first.
    """
    if demo.end < demo.start:
        raise InvalidInput(
            "--end-date",
            "before --start-date",
            was=demo.end,
            expected=f"{demo.start} or later",
            remedy="Swap the two",
        )
    save_demo(demo)
    screen = DemoScreen()
    with SandboxServer(Simulator(demo.seed, scale=demo.scale)) as server:
        settings = demo_settings(demo, endpoint=server.api_url)
        with open_instance(demo.home) as instance:
            with screen.live():
                is_whole = _run_all(demo, settings, instance, screen)
            if demo.has_marts and is_whole:
                is_whole = make_marts(settings, instance, screen, first=demo.start, last=demo.end)
    lake = build_lake(settings)
    screen.close(
        [summarize_cell(lake, VenueDay(day, venue)) for day in demo.days for venue in demo.venues],
        home=demo.home,
        answers=_answers(demo, settings) if is_whole else [],
    )
    return is_whole


def _answers(demo: Demo, settings: Settings) -> list[Answer]:
    return [ask(settings), *([ask_marts(settings, is_long=demo.is_long)] if demo.has_marts else [])]


def _run_all(
    demo: Demo, settings: Settings, instance: dg.DagsterInstance, screen: DemoScreen
) -> bool:
    definitions = build_definitions(
        settings, resources={"progress": ProgressListener(screen.on_progress)}
    )
    repository = definitions.get_repository_def()
    runs = list(plan_runs(demo, build_grid(demo.venues, demo.start, demo.end)))
    screen.expect(len(runs))
    is_whole = True
    for run in runs:
        job = repository.get_implicit_job_def_for_assets(run.keys)
        if job is None:
            raise InvalidInput(
                run.title, "assets of several grids", remedy="Report this: the plan is wrong"
            )
        screen.start(run.title)
        result = job.execute_in_process(
            instance=instance,
            partition_key=None if run.last else run.partition,
            tags=run.tags,
            asset_selection=list(run.keys),
            # the lines of a range run would break the bars on the screen
            run_config={"loggers": {"console": {"config": {"log_level": settings.log_level}}}},
            raise_on_error=False,
        )
        screen.finish(run.title, result)
        is_whole = is_whole and result.success
    return is_whole


def plan_runs(demo: Demo, grid: Grid) -> Iterator[DemoRun]:
    """The runs in order: catalogues, the ticks of every cell, bars day by day, then features.

    Bars come after the ticks of the day after theirs, so that they are final at once, and after the
    bars of the day before, whose state they take over. Information-driven bars need the volumes of
    the day before and begin with the second day. Features read bars of earlier days and of other
    venues and come after all of them: every venue's days in one run. Completeness looks back at all
    that was done.
    """
    for venue in demo.venues:
        yield DemoRun(str(venue), (exchange_catalog.KEY,))
    yield from _long_runs(demo, grid) if demo.is_long else _short_runs(demo, grid)
    timeframes = _LONG_TIMEFRAMES if demo.is_long else _SHORT_TIMEFRAMES
    for venue in demo.venues:
        yield _all_days(demo, venue, tuple(map(mft_key, timeframes)))
    for venue in demo.venues:
        yield _all_days(demo, venue, (completeness.KEY,))
    # Tables without data in the demo as well: views over the warehouse name all of them.
    tables = tuple(map(warehouse_key, tables_of(grid, Windows())))
    yield DemoRun(demo.start.isoformat(), tables, demo.end.isoformat())


def _short_runs(demo: Demo, grid: Grid) -> Iterator[DemoRun]:
    """Every data type and every bar, a run for each day: each shows its progress and its time."""
    core, others = _by_grid(grid)
    ticks = (instruments.KEY, *map(raw_ticks_key, core))
    candles = tuple(map(candles_key, Timeframe))
    kinds = tuple(map(bars_key, BarKind))
    for day in demo.days:
        for venue in demo.venues:
            cell = str(VenueDay(day, venue))
            yield DemoRun(cell, ticks)
            for venues, types in others.items():
                if venue in venues:
                    yield DemoRun(cell, (*map(raw_ticks_key, types), *_made_of(types)))
    for day in demo.days:
        for venue in demo.venues:
            keys = candles if day == demo.start else (*candles, *kinds)
            yield DemoRun(str(VenueDay(day, venue)), keys)


def _long_runs(demo: Demo, grid: Grid) -> Iterator[DemoRun]:
    """What features of many days need and no more, all days of a venue in one run per grid."""
    core, others = _by_grid(grid)
    wanted = [data_type for data_type in core if data_type in _LONG_TYPES]
    for venue in demo.venues:
        yield _all_days(demo, venue, (instruments.KEY, *map(raw_ticks_key, wanted)))
        for venues, types in others.items():
            extra = tuple(raw_ticks_key(one) for one in types if one in _LONG_TYPES)
            if extra and venue in venues:
                yield _all_days(demo, venue, extra)
    for venue in demo.venues:
        yield _all_days(demo, venue, tuple(map(candles_key, _LONG_TIMEFRAMES)))


def _all_days(demo: Demo, venue: VenueId, keys: tuple[dg.AssetKey, ...]) -> DemoRun:
    first, last = (str(VenueDay(day, venue)) for day in (demo.start, demo.end))
    return DemoRun(first, keys, last)


def _made_of(types: Sequence[DataType]) -> tuple[dg.AssetKey, ...]:
    """Assets over the grid of a type that some venues lack, made in the run of its ticks."""
    return (options_surface.KEY,) if DataType.OPTIONS_CHAIN in types else ()


def _by_grid(grid: Grid) -> tuple[list[DataType], dict[tuple[str, ...], list[DataType]]]:
    """Data types of the core grid, and the others by the venues that have them: one run each."""
    core: list[DataType] = []
    others: dict[tuple[str, ...], list[DataType]] = {}
    for data_type, days in grid.by_type.items():
        if days is grid.core:
            core.append(data_type)
        else:
            venues = days.get_partitions_def_for_dimension(VENUE).get_partition_keys()
            others.setdefault(tuple(venues), []).append(data_type)
    return core, others


def demo_settings(demo: Demo, *, endpoint: str) -> Settings:
    """Settings of the demo: its own lake and grid, the sandbox in the vendor's place."""
    return Settings(
        tardis_endpoint=AnyHttpUrl(endpoint),
        tardis_datasets_endpoint=AnyHttpUrl(endpoint),
        tardis_api_key=SecretStr(SANDBOX_KEY),
        lake_root=demo.home / "lake",
        warehouse_folder=demo.home / "warehouse",
        dagster_home=demo.home / "dagster_home",
        instrument_exchanges=demo.venues,
        download_venues=demo.venues,
        download_data_types=_LONG_TYPES if demo.is_long else tuple(DataType),
        partition_start_date=demo.start,
        partition_end_date=demo.end,
        log_level="ERROR",
    )


def save_demo(demo: Demo) -> None:
    """Keep what is shown, so that `tickhandler ui` serves the same market over the same grid."""
    demo.home.mkdir(parents=True, exist_ok=True)
    text = _DEMO.dump_json(demo, indent=1).decode()
    (demo.home / DEMO_FILE).write_text(text, encoding="utf-8")


def load_demo(home: Path) -> Demo:
    """The demo that was last run in the folder.

    Raises:
        InvalidInput: none was.
    """
    file = home / DEMO_FILE
    if not file.is_file():
        raise InvalidInput(str(home), "no demo here", remedy="Run: make demo")
    # The folder may have been moved since.
    return replace(_DEMO.validate_json(file.read_text(encoding="utf-8")), home=home)


def prepare_instance(home: Path) -> Path:
    """The folder of the demo's instance, made where there is none, configured as the project is."""
    folder = home / "dagster_home"
    folder.mkdir(parents=True, exist_ok=True)
    settings = _PROJECT / "dagster.yaml"
    if settings.is_file():  # only a checkout has it
        # Without it Dagster sends telemetry, and its page asks a newcomer for an e-mail address.
        shutil.copyfile(settings, folder / "dagster.yaml")
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """Dagster's instance of the demo."""
    return dg.DagsterInstance.from_config(str(prepare_instance(home)))
