"""The platform as a user has it: real assets, a real instance, a vendor on loopback, a lake."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from doubles.installation import settings_over
from doubles.services import Services
from pydantic import SecretStr

from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.server import SandboxServer

CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class Platform:
    """Everything built once from settings; `run` is one Dagster run."""

    def __init__(self, settings, instance):
        self.settings = settings
        self.instance = instance
        self.lake = build_lake(settings)
        self._repository = build_definitions(settings).get_repository_def()

    def run(self, *assets, partition=None, span=None, config=None):
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        job = self._repository.get_implicit_job_def_for_assets(keys)
        return job.execute_in_process(
            instance=self.instance,
            partition_key=partition,
            tags=dict(zip(ENDS, span, strict=True)) if span else {},
            asset_selection=keys,
            run_config=config or {},
            raise_on_error=False,
        )

    def prepare(self, venue, *partitions):
        """Catalogue and universes, without which nothing starts."""
        assert self.run("exchange_catalog", partition=venue).success
        for partition in partitions:
            assert self.run("instruments", partition=partition).success

    def states(self, cell, data_type=DataType.TRADES):
        rows = read_raw_manifest(self.lake, VenueDay.parse(cell), data_type) or []
        return {row.tardis_symbol: row for row in rows}

    def bars(self, date, timeframe, pattern="*"):
        folder = f"processed_candles/by_date/day-{date}/timeframe-{timeframe}"
        files = sorted(Path(self.settings.lake_root, folder).glob(f"{pattern}.parquet"))
        return pl.concat([pl.read_parquet(file, glob=False) for file in files])

    def bytes(self):
        """Every object of the lake with the hash of its bytes."""
        root = Path(self.settings.lake_root)
        return {
            str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }

    @staticmethod
    def failures(result):
        return [
            event.step_failure_data.user_failure_data.description
            if event.step_failure_data.user_failure_data
            else event.step_failure_data.error.message
            for event in result.all_events
            if event.is_step_failure
        ]

    @staticmethod
    def checks(result):
        return {
            (item.asset_key.to_user_string(), item.check_name): item.passed
            for item in result.get_asset_check_evaluations()
        }


@contextmanager
def opened_platform(
    root,
    source,
    venues,
    *,
    start="2024-08-01",
    key=SANDBOX_KEY,
    more_settings=None,
    **server_options,
):
    """A platform over a source; gives (platform, server)."""
    with (
        SandboxServer(source, **server_options) as server,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        given = {
            "tardis_api_key": SecretStr(key) if key else None,
            "partition_start_date": start,
            "log_level": "INFO",
            **(more_settings or {}),
        }
        settings = settings_over(server, root, venues, **given)
        yield Platform(settings, instance), server


@pytest.fixture(scope="session")
def open_platform():
    """The context manager `opened_platform`, for fixtures of any scope."""
    return opened_platform


@pytest.fixture
def make_platform(tmp_path):
    """Build a platform that lasts for the test: `make_platform(source, venues)`."""
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(opened_platform(tmp_path, *args, **more))


@pytest.fixture
def ask_page():
    """Ask the page's API: `ask_page(port, query, **variables)` gives the data of the answer."""

    def ask(port, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    return ask


CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """Real Chromiums, one for each context, each over an empty profile; one driver for all."""

    def __init__(self, executable, new_folder):
        self._executable = executable
        self._new_folder = new_folder
        self._stack = None
        self._contexts = 0

    @contextmanager
    def __call__(self, **options):
        """A context with these options: `with browser(color_scheme="dark") as context`."""
        context = self._driver().chromium.launch_persistent_context(
            self._new_folder("profile"),
            executable_path=self._executable,
            args=list(CHROMIUM_FLAGS),
            headless=True,
            **options,
        )
        self._contexts += 1
        try:
            yield context
        finally:
            context.close()
            self._contexts -= 1
            # It runs an event loop in this thread: open for the session, it would break every test
            # with a loop of its own.
            if not self._contexts:
                self._stack.close()
                self._stack = None

    def _driver(self):
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  (slow import)

        if self._stack is None:
            self._stack = ExitStack()
            self._running = self._stack.enter_context(sync_playwright())
        return self._running


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Opens contexts of a real browser; see `Browser`.

    `.ci/run` installs one, so that these tests are skipped on a developer's machine alone.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(names)})")
    return Browser(executable, tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def open_services():
    """The context manager `Services(environment, folder)`."""
    return Services


@pytest.fixture(scope="session")
def platform_over():
    """`platform_over(settings, instance)`: the platform on an instance of one's own."""
    return Platform
