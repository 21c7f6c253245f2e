"""What a deployment stands on, real and on loopback: Postgres, Redis, and an instance over them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import redis

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_ready, process, what):
    deadline = time.monotonic() + READY_S
    while not is_ready():
        assert process.poll() is None, f"{what} ended"
        assert time.monotonic() < deadline, f"{what} is not ready"
        time.sleep(0.1)


def program(name):
    """A server's program, on PATH or where Debian keeps the versions of Postgres."""
    kept = (str(file) for file in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    found = shutil.which(name) or next(kept, None)
    if found is None:
        pytest.skip(f"no {name} on this machine; .ci/run installs it")
    return found


class Postgres:
    """A server of the session; every test asks it for a database of its own."""

    def __init__(self, port):
        self.port = port
        self._made = 0

    def is_ready(self):
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def new_database(self):
        self._made += 1
        name = f"test_{self._made}"
        connection = self._connect("postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return name

    def environment(self, database):
        """The variables of `dagster.postgres.yaml`."""
        return {
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(self.port),
            "DAGSTER_POSTGRES_USER": "tickhandler",
            "DAGSTER_POSTGRES_PASSWORD": "no secret",
            "DAGSTER_POSTGRES_DB": database,
        }

    def _connect(self, database):
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="tickhandler", dbname=database
        )


@contextmanager
def running_postgres():
    initdb, postgres = program("initdb"), program("postgres")
    # Postgres refuses to run as root, and its user cannot enter a folder of root's.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="tickhandler-postgres-"))
    if user:
        shutil.chown(folder, user)
    data, port = str(folder / "data"), free_port()
    options = {"user": user, "group": user, "extra_groups": []} if user else {}
    try:
        subprocess.run(
            [initdb, "-D", data, "-U", "tickhandler", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **options,
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)),
                    *("-c", "fsync=off", "-c", "max_connections=200"),
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                **options,
            )
        try:
            server = Postgres(port)
            wait_until(server.is_ready, process, "postgres")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: waits for no client
            process.wait(30)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres():
    with running_postgres() as server:
        yield server


class Redis:
    """A server of the session; every test asks it for two databases of its own."""

    def __init__(self, port):
        self.port = port
        self._next = 0

    def is_ready(self):
        client = redis.Redis(port=self.port)
        try:
            return client.ping()
        except redis.ConnectionError:
            return False
        finally:
            client.close()

    def new_environment(self):
        """The variables of `dagster.celery.yaml`."""
        self._next += 2
        address = f"redis://127.0.0.1:{self.port}"
        return {
            "CELERY_BROKER_URL": f"{address}/{self._next}",
            "CELERY_RESULT_BACKEND": f"{address}/{self._next + 1}",
        }


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    server, port = program("redis-server"), free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [
            *(server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--databases", "64"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        running = Redis(port)
        wait_until(running.is_ready, process, "redis-server")
        yield running
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def make_home(tmp_path, postgres):
    """`make_home("deploy/dagster.postgres.yaml")`: (folder of an instance, its environment)."""

    def make(path):
        home = tmp_path / "dagster_home"
        home.mkdir()
        shutil.copy(ROOT / path, home / "dagster.yaml")
        environment = postgres.environment(postgres.new_database())
        return home, {"DAGSTER_HOME": str(home), **environment}

    return make
