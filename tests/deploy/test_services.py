"""The services of the compose file on loopback: code over gRPC, page, daemon, metrics, Postgres."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from doubles.installation import settings_over
from doubles.services import DAEMON, Services
from doubles.small_market import SmallMarket

from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
DAY = "2024-08-08"
SPAN = ("--start-date", DAY, "--end-date", DAY)
COMPOSE = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]


class Host:
    """What compose starts, each on a port of its own."""

    def __init__(self, settings, environment, services, folder):
        self.settings = settings
        self.environment = environment
        self.services = services
        self.folder = folder
        self.ports = {}

    def start(self, name):
        """A service as the file says it, but for its port, and a daemon that looks more often."""
        command = [*COMPOSE[name]["command"]]
        self.ports[name] = port = self.services.free_port()
        if "--port" in command:
            command[command.index("--port") + 1] = str(port)
        if "--host" in command:
            command[command.index("--host") + 1] = "127.0.0.1"
        command = [
            str(self.folder / "workspace.yaml") if word.endswith("/workspace.yaml") else word
            for word in command
        ]
        # Every program of ours is a script of this interpreter.
        program = PROGRAMS / command[0]
        assert os.access(program, os.X_OK)
        start = ("-c", DAEMON) if program.name == "dagster-daemon" else (str(program),)
        self.services.start(name, *start, *command[1:])
        if "--port" in command:
            self.services.wait_for(port)

    def write_workspace(self):
        """The file of compose, with the location that is started here."""
        text = (ROOT / "deploy/compose/workspace.yaml").read_text()
        found = yaml.safe_load(text)["load_from"][:1]
        found[0]["grpc_server"] |= {"host": "127.0.0.1", "port": self.ports["code"]}
        (self.folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": found}))

    def is_well(self, name):
        """What the file asks a container, asked here."""
        check = COMPOSE[name]["healthcheck"]["test"][1:]
        public = next((port for port in COMPOSE[name].get("ports", ())), "::4000").split(":")[-1]
        words = [word.replace(public, str(self.ports[name])) for word in check]
        return self.tell(str(PROGRAMS / words[0]), *words[1:]).returncode == 0

    def tell(self, *words):
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def command(self, *words):
        return self.tell(sys.executable, "-m", "tickhandler_dagster", *words)

    def ask(self, name, path, body=None):
        address = f"http://127.0.0.1:{self.ports[name]}{path}"
        if body is None:
            return requests.get(address, timeout=60).text
        return requests.post(address, json=body, timeout=60).text


@pytest.fixture
def host(tmp_path, make_home):
    home, database = make_home("deploy/dagster.postgres.yaml")
    with SandboxServer(SmallMarket("BTCUSDT")) as server:
        settings = settings_over(
            server,
            tmp_path,
            ("binance",),
            days=(DAY,),
            dagster_home=home,
            log_level="INFO",
            log_format="json",
        )
        environment = {**os.environ, **child_environment(settings), **database}
        with Services(environment, tmp_path) as services:
            yield Host(settings, environment, services, tmp_path)


LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"


def test_the_services_of_compose_run_a_backfill_and_pass_their_own_health_checks(host):
    host.start("code")
    host.write_workspace()
    shutil.copy(host.folder / "workspace.yaml", host.settings.dagster_home)
    host.start("daemon")
    host.start("webserver")
    told = host.ask("webserver", "/graphql", {"query": LOCATIONS})
    entries = json.loads(told)["data"]["workspaceOrError"]["locationEntries"]
    assert entries == [{"name": "tickhandler", "loadStatus": "LOADED"}]

    told = host.command("backfill", *SPAN, "--assets", "exchange_catalog", "--wait")
    assert told.returncode == 0, told.stdout + told.stderr
    lines = [
        json.loads(line)
        for line in (host.folder / "code.log").read_text().splitlines()
        if line.startswith("{")
    ]
    assert any(entry.get("partition") == "binance" for entry in lines), "runs log in JSON"

    host.start("metrics")
    told = host.ask("metrics", "/metrics")
    assert "tickhandler_metrics_up 1.0" in told
    assert re.search(r'tickhandler_runs_ended_24h\{status="success"\} [1-9]', told)
    assert 'tickhandler_daemon_heartbeat_age_seconds{daemon="backfill"}' in told
    for name in ("code", "webserver", "daemon", "metrics"):
        assert host.is_well(name), name
