"""The job `repair` with a real code location, page and daemon: from the page, from a terminal."""

import json
import os
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest
from doubles.installation import new_home, settings_over
from doubles.small_market import SmallMarket

from tickhandler_dagster.automation.backfills import REPAIR_TAG
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

VENUES = ("binance", "okex-swap")
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10", "2024-08-11")
FILES = {"binance": "BTCUSDT", "okex-swap": "BTC-USDT-SWAP"}
MARKET = (*FILES.values(), "ETHUSDT", "ETH-USDT-SWAP")
BROKEN = {"2024-08-08|binance", "2024-08-10|binance", "2024-08-09|okex-swap"}
CANDLES = {f"{day}|binance" for day in DAYS} | {f"{day}|okex-swap" for day in DAYS[:3]}
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
LIMIT_S = 150

PLACE = (
    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
)
LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""


class Installation:
    """A lake with three broken cells, its services, and the answers of the page."""

    def __init__(self, settings, folder, services, ask):
        self.settings = settings
        self.services = services
        self.port = services.free_port()
        self._folder = folder
        self._ask = ask

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.settings.dagster_home))

    def repair_from_the_page(self, **config):
        """Fill the launchpad, press the button, wait for the end; the metadata of the answer."""
        repository = self._ask(self.port, PLACE)["repositoriesOrError"]["nodes"][0]
        launched = self._ask(
            self.port,
            LAUNCH,
            params={
                "selector": {
                    "jobName": "repair",
                    "repositoryName": repository["name"],
                    "repositoryLocationName": repository["location"]["name"],
                },
                "runConfigData": {"ops": {"repair_partitions": {"config": config}}},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        with self.instance() as instance:
            _until(lambda: instance.get_run_by_id(run_id).is_finished)
            assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.SUCCESS
            outputs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
        return outputs[0].dagster_event.step_output_data.metadata

    def tell(self, *words):
        return subprocess.run(
            [sys.executable, "-m", "tickhandler_dagster", *words],
            cwd=self._folder,
            env=child_environment(self.settings),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def asked(self):
        """Per asset the cells of every backfill of a repair, each as often as it was asked for."""
        found = {}
        with self.instance() as instance:
            for backfill in instance.get_backfills():
                assert REPAIR_TAG in backfill.tags
                subsets = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
                for key, subset in subsets.items():
                    found.setdefault(key.to_user_string(), []).extend(subset.get_partition_keys())
        return {asset: sorted(map(str, cells)) for asset, cells in found.items()}

    def made(self, asset, since):
        """Cells that runs of backfills materialized since then, ranges written out."""
        with self.instance() as instance:
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(
                    asset_key=dg.AssetKey(asset.split("/")), after_timestamp=since
                ),
                limit=100,
            ).records
        return sorted({record.partition_key for record in records})


def _until(is_so):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Four days of two venues, trades only; three files were not there and are now."""
    root = tmp_path_factory.mktemp("page")
    with SandboxServer(SmallMarket(*MARKET)) as server:
        settings = settings_over(
            server,
            root,
            VENUES,
            days=DAYS,
            download_data_types=("trades",),
            dagster_home=new_home(root),
            log_level="INFO",
        )
        for cell in BROKEN:
            day, venue = cell.split("|")
            server.faults.add(FaultRule(Fault.MISSING_FILE, venue, "trades", day, FILES[venue]))
        _fill(settings)
        server.faults.clear()
        yield settings, root


def _fill(settings):
    repository = build_definitions(settings).get_repository_def()

    def run(*assets, **how):
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        job = repository.get_implicit_job_def_for_assets(keys)
        assert job.execute_in_process(instance=instance, asset_selection=keys, **how).success

    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for venue in VENUES:
            span = (f"{DAYS[0]}|{venue}", f"{DAYS[-1]}|{venue}")
            tags = dict(zip(ENDS, span, strict=True))
            run("exchange_catalog", partition_key=venue)
            run("instruments", "raw_ticks/trades", tags=tags)
            run("completeness", tags=tags)
            run("candles/24h", tags=tags)


@pytest.fixture
def installation(lake, open_services, ask_page):
    settings, root = lake
    with open_services(child_environment(settings), root) as services:
        found = Installation(settings, root, services, ask_page)
        location = services.start_code("-m", "tickhandler_dagster.definitions")
        services.start("page", "-m", "dagster_webserver", "-p", str(found.port), *location)
        services.start_daemon(location)
        services.wait_for(found.port)
        yield found


def test_a_repair_runs_exactly_the_broken_cells_once_wherever_it_is_started(installation):
    started = time.time()
    assert installation.repair_from_the_page(dry_run=True)["cells"].value == 13
    assert installation.asked() == {}

    metadata = installation.repair_from_the_page(venues=list(VENUES), since=DAYS[0])
    assert "/runs/b/" in metadata["backfills"].value
    expected = {
        "raw_ticks/trades": sorted(BROKEN),
        "candles/24h": sorted(CANDLES),
        "completeness": sorted(BROKEN),
    }
    assert installation.asked() == expected
    for asset, cells in expected.items():
        assert installation.made(asset, started) == cells, asset
    told = installation.tell("repair", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["cells"] == 0

    # A second break, and a repair that is killed when its first backfill is on its way.
    file = next(
        installation.settings.lake_root.glob(
            f"raw_tick_data/by_date/day-{DAYS[1]}/*/BINANCE*.parquet"
        )
    )
    before = file.read_bytes()
    file.unlink()
    span = ("--start-date", DAYS[0], "--end-date", DAYS[-1])
    assert installation.tell("check-gaps", *span).returncode == 1
    killed = installation.services.start("killed", "-m", "tickhandler_dagster", "repair")
    _until(lambda: len(installation.asked()["raw_ticks/trades"]) == len(BROKEN) + 1)
    os.killpg(killed.pid, signal.SIGKILL)
    told = installation.tell("repair")
    assert told.returncode == 0, told.stdout + told.stderr
    assert file.read_bytes() == before
    asked = installation.asked()
    assert asked["completeness"].count(f"{DAYS[1]}|binance") == 1
    assert installation.tell("check-gaps", *span).returncode == 0
