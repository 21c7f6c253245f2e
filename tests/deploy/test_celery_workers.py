"""Runs on two Celery workers over Redis and Postgres, all real: the lake of one process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doubles.installation import settings_over
from doubles.services import Services
from doubles.small_market import SmallMarket

from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

DAY = "2024-08-08"
# Two channels each, so that a run takes long enough to be killed in.
VENUES = ("binance", "okex-swap")
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-USDT-SWAP", "ETH-USDT-SWAP")
ASSETS = ("exchange_catalog", "instruments", "raw_ticks", "candles")
WORKERS = ("one", "two")
PATIENCE_S = 400


def objects(lake):
    """Every object of a lake with the hash of its bytes."""
    return {
        str(file.relative_to(lake)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(Path(lake).rglob("*"))
        if file.is_file() and "_scratch" not in file.parts
    }


class Cluster:
    """Two workers, a daemon and a code location over one instance, and a terminal beside them."""

    def __init__(self, settings, environment, services, folder):
        self.lake = Path(settings.lake_root)
        self._environment = environment
        self._services = services
        self._folder = folder
        self.workers = {name: self._start_worker(name) for name in WORKERS}

    def _start_worker(self, name):
        return self._services.start(
            name,
            *("-m", "celery", "-A", "tickhandler_dagster.instance.celery_runs", "worker"),
            *("-n", f"{name}@%h", "-Q", "dagster", "-c", "1", "--loglevel", "INFO"),
        )

    def start_again(self, name):
        self.workers[name] = self._start_worker(name)

    def taken_by(self, name):
        """Tasks that a worker has begun."""
        return set(re.findall(r"Task \S+\[(\S+)\] received", self.log(name)))

    def log(self, name):
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def command(self, *words):
        return [sys.executable, "-m", "tickhandler_dagster", *words]

    def tell(self, *words):
        return subprocess.run(
            self.command(*words),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def wait_until_ready(self):
        words = ("--start-date", DAY, "--end-date", DAY, "--assets", "instruments", "--json")
        for _ in range(40):
            told = self.tell("status", *words)
            is_alive = told.returncode == 0 and json.loads(told.stdout)["daemon"]
            if is_alive and all(f"{name}@" in self.log(name) for name in WORKERS):
                return
        raise AssertionError(told.stderr + self.log("daemon"))


def settings_of(server, root, **more):
    return settings_over(
        server, root, VENUES, days=(DAY,), download_data_types=("trades", "book_snapshot_5"), **more
    )


@pytest.fixture
def cluster(tmp_path, make_home, broker):
    home, database = make_home("deploy/celery/dagster.celery.yaml")
    # As the file is, but the daemon looks after runs every two seconds instead of every 120.
    text = (home / "dagster.yaml").read_text()
    quick = text.replace("run_monitoring:\n", "run_monitoring:\n  poll_interval_seconds: 2\n")
    assert quick != text
    (home / "dagster.yaml").write_text(quick)
    with SandboxServer(SmallMarket(*MARKET)) as server:
        settings = settings_of(server, tmp_path, dagster_home=home)
        environment = {
            **os.environ,
            **child_environment(settings),
            **database,
            **broker.new_environment(),
        }
        with Services(environment, tmp_path) as services:
            location = services.start_code("-m", "tickhandler_dagster.definitions")
            (tmp_path / "workspace.yaml").write_text(
                "load_from:\n  - grpc_server: "
                f"{{host: 127.0.0.1, port: {location[-1]}, location_name: tickhandler}}\n"
            )
            services.start_daemon(location)
            running = Cluster(settings, environment, services, tmp_path)
            running.server = server
            running.wait_until_ready()
            yield running


@pytest.fixture
def lake_of_one_process(cluster, tmp_path_factory):
    """The same days, made by the command in one process on SQLite."""
    root = tmp_path_factory.mktemp("alone")
    home = root / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        (Path(__file__).resolve().parents[2] / "dagster.yaml").read_text()
    )
    settings = settings_of(cluster.server, root, dagster_home=home)
    environment = {**os.environ, **child_environment(settings)}
    for mode in ("instruments", "download", "candle-processing"):
        told = subprocess.run(
            cluster.command(mode, "--start-date", DAY, "--end-date", DAY),
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
    return objects(settings.lake_root)


def test_two_workers_make_the_lake_of_one_process_also_when_one_is_killed_in_its_run(
    cluster, lake_of_one_process
):
    backfill = subprocess.Popen(
        cluster.command(
            *("backfill", "--start-date", DAY, "--end-date", DAY, "--assets", *ASSETS),
            *("--wait", "--json"),
        ),
        env=cluster._environment,
        cwd=cluster._folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        name = wait_for_a_run_at_work(cluster)
        assert all(map(cluster.taken_by, WORKERS)), "both workers have begun runs"
        os.killpg(cluster.workers[name].pid, signal.SIGKILL)
        cluster.workers[name].wait(10)
        cluster.start_again(name)
        told, _ = backfill.communicate(timeout=PATIENCE_S)
    finally:
        backfill.kill()
    assert backfill.returncode == 0, told + cluster.log("daemon")[-4000:]
    assert "no longer has it" in cluster.log("daemon") or "does not answer" in cluster.log("daemon")
    assert objects(cluster.lake) == lake_of_one_process
    assert any(path.startswith("processed_candles/") for path in lake_of_one_process)


def wait_for_a_run_at_work(cluster):
    """Until a worker is at the ticks of its run; gives the worker."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for name in WORKERS:
            _, begun, newest = cluster.log(name).rpartition(" received")
            if begun and "raw_ticks" in newest and " succeeded in " not in newest:
                return name
        time.sleep(0.05)
    raise AssertionError(cluster.log("daemon") + cluster.log("one") + cluster.log("two"))
