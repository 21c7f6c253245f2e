"""What the documentation is tried on: a lake of two simulated days, as a small demo makes it."""

from __future__ import annotations

import datetime as dt
import os

import dagster as dg
import pytest

from tickhandler_dagster.assets import completeness, exchange_catalog, instruments, options_surface
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.mft_features import mft_key
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.cli.demo import Demo, demo_settings
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

DAYS = (dt.date(2024, 8, 8), dt.date(2024, 8, 9))
EVE = dt.date(2024, 8, 7)  # its ticks make the first bars of the day after final
VENUES = (VenueId.BINANCE, VenueId.DERIBIT)
TICKS = (instruments.KEY, raw_ticks_key(DataType.TRADES), raw_ticks_key(DataType.BOOK_SNAPSHOT_5))
CHAIN = (raw_ticks_key(DataType.OPTIONS_CHAIN), options_surface.KEY)
BARS = tuple(map(candles_key, Timeframe))
FEATURES = (mft_key(Timeframe.H1),)
# Bars of three spot pairs; of the venue of hundreds of options the chain of a day alone.
RUNS = {
    VenueId.BINANCE: [
        (TICKS, (EVE, *DAYS)),
        *((step, DAYS) for step in (BARS, FEATURES, (completeness.KEY,))),
    ],
    VenueId.DERIBIT: [
        (step, DAYS[:1]) for step in ((instruments.KEY,), CHAIN, (completeness.KEY,))
    ],
}
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def _runs():
    """Assets and partitions of each run."""
    for venue, steps in RUNS.items():
        yield (exchange_catalog.KEY,), (str(venue), str(venue))
        for keys, days in steps:
            yield keys, (f"{days[0]}|{venue}", f"{days[-1]}|{venue}")


@pytest.fixture(scope="session")
def small_home(tmp_path_factory):
    """A folder with a lake, made once, and never written again by a page's examples."""
    home = tmp_path_factory.mktemp("documentation")
    demo = Demo(home, EVE, DAYS[-1], VENUES, seed=7, scale=0.02, has_marts=False)
    with (
        SandboxServer(Simulator(demo.seed, scale=demo.scale)) as server,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        definitions = build_definitions(demo_settings(demo, endpoint=server.api_url))
        repository = definitions.get_repository_def()
        for keys, (first, last) in _runs():
            result = repository.get_implicit_job_def_for_assets(keys).execute_in_process(
                instance=instance,
                partition_key=first if first == last else None,
                tags={} if first == last else dict(zip(ENDS, (first, last), strict=True)),
                asset_selection=list(keys),
                raise_on_error=False,
            )
            assert result.success, keys
    return home


@pytest.fixture
def desk(small_home, tmp_path, monkeypatch):
    """A reader's folder: the lake under the names that pages use."""
    (tmp_path / ".demo").mkdir()
    (tmp_path / "dagster_home").mkdir()
    for name in ("lake", ".demo/lake"):
        (tmp_path / name).symlink_to(small_home / "lake")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TARDIS_", "GCS_", "GCP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKE_ROOT", "lake")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    monkeypatch.setenv("PARTITION_START_DATE", "2024-01-01")
    return tmp_path
