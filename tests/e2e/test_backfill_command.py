"""`tickhandler backfill` with a real daemon: exactly the cells, few runs, followed to the end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from doubles.installation import new_home, settings_over
from doubles.small_market import SmallMarket

from tickhandler_dagster.automation.backfills import is_daemon_alive
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

VENUES = ("binance", "okex-swap")
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-USDT-SWAP")
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10")
SPAN = ("--start-date", DAYS[0], "--end-date", DAYS[1])
LIMIT_S = 480
ASSETS = ("exchange_catalog", "instruments", "raw_ticks", "candles/24h", "warehouse/candles_24h")


class Installation:
    """Settings, a vendor, and a terminal beside the services."""

    def __init__(self, settings, server, folder):
        self.settings = settings
        self.server = server
        self._folder = folder

    def tell(self, *words):
        return subprocess.run(
            [sys.executable, "-m", "tickhandler_dagster", *words],
            cwd=self._folder,
            env={**os.environ, **child_environment(self.settings)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def runs(self, backfill):
        with dg.DagsterInstance.from_config(str(self.settings.dagster_home)) as instance:
            return instance.get_runs(filters=dg.RunsFilter(tags={"dagster/backfill": backfill}))


@pytest.fixture
def installation(tmp_path, open_services):
    with SandboxServer(SmallMarket(*MARKET)) as server:
        settings = settings_over(
            server,
            tmp_path,
            VENUES,
            days=DAYS,
            download_data_types=("trades",),
            dagster_home=new_home(tmp_path),
        )
        with open_services(child_environment(settings), tmp_path) as services:
            location = services.start_code("-m", "tickhandler_dagster.definitions")
            workspace = tmp_path / "workspace.yaml"
            workspace.write_text(
                "load_from:\n  - grpc_server: "
                f"{{host: 127.0.0.1, port: {location[-1]}, location_name: tickhandler}}\n"
            )
            services.start_daemon(location)
            yield Installation(settings, server, tmp_path)


def _wait_for_daemon(installation):
    """In this process: the command takes seconds for each answer."""
    with dg.DagsterInstance.from_config(str(installation.settings.dagster_home)) as instance:
        deadline = time.monotonic() + LIMIT_S
        while not is_daemon_alive(instance):
            assert time.monotonic() < deadline
            time.sleep(0.3)


def test_a_backfill_makes_exactly_what_it_says_in_few_runs(installation):
    _wait_for_daemon(installation)
    told = installation.tell("backfill", *SPAN, "--assets", *ASSETS)
    assert told.returncode == 2, told.stderr
    assert "--wait" in told.stderr

    words = ("--wait", "--json", "--log-level", "warning")
    told = installation.tell("backfill", *SPAN, "--assets", *ASSETS, *words)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["whole"] is True
    by_title = {one["title"]: one for one in found["backfills"]}
    assert set(by_title) == {
        "listings of venues",
        *(f"{venue}, {DAYS[0]} to {DAYS[1]}" for venue in VENUES),
        f"tables, {DAYS[0]} to {DAYS[1]}",
    }
    for venue in VENUES:
        runs = installation.runs(by_title[f"{venue}, {DAYS[0]} to {DAYS[1]}"]["id"])
        assert len(runs) == 1, "days in a row are one run"
        assert runs[0].tags["dagster/asset_partition_range_start"] == f"{DAYS[0]}|{venue}"
        assert runs[0].tags["dagster/asset_partition_range_end"] == f"{DAYS[1]}|{venue}"
        assert runs[0].run_config == {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}

    told = installation.tell("status", "--start-date", DAYS[0], "--end-date", DAYS[2], "--json")
    found = json.loads(told.stdout)
    assert found["daemon"] is True
    assets = found["assets"]
    for asset in ("instruments", "raw_ticks/trades", "candles/24h"):
        assert set(assets[asset]["not_materialized"]) == {f"{DAYS[2]}|{v}" for v in VENUES}
    assert assets["candles/1h"]["materialized"] == 0
    file = next(Path(installation.settings.warehouse_folder).glob("*.duckdb"))
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.sql("select count(*) from candles_24h").fetchone()[0] > 0

    installation.server.faults.add(FaultRule(Fault.QUOTA_EXHAUSTED, "binance"))
    told = installation.tell(
        *("backfill", "--start-date", DAYS[0], "--end-date", DAYS[2], "--venues", "binance"),
        *("--assets", "instruments", "raw_ticks", "--missing", "--wait", "--json"),
    )
    assert told.returncode == 1, told.stderr
    found = json.loads(told.stdout)
    assert found["parts"][0]["assets"] == {
        "instruments": [f"{DAYS[2]}|binance"],
        "raw_ticks/trades": [f"{DAYS[2]}|binance"],
    }
    assert found["backfills"][0]["failed_runs"]
