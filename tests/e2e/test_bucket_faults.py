"""A lake in a bucket when something goes wrong: killed runs, two writers, refusals, no answer."""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from doubles.small_market import SmallMarket

from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.object_store import is_temporary
from tickhandler_dagster.assets import retries
from tickhandler_dagster.cli import app
from tickhandler_dagster.settings import child_environment

DAY = "2024-08-08"
VENUE = "binance"
CELL = f"{DAY}|{VENUE}"
ASSETS = ("raw_ticks/trades", "candles/1m", "candles/1h")
KILLS = 8
PROCESS = Path(__file__).with_name("bucket_process.py")
CANDLE = f"processed_candles/by_date/day-{DAY}/timeframe-1h/BINANCE:SPOT_PAIR:BTC-USDT.parquet"


def make_cell(settings):
    """A run of the cell in this process."""
    runpy.run_path(str(PROCESS))["make_cell"](settings)


class Requests(list):
    """The emulator's record of requests; `act` is told of each before it takes effect."""

    act = None

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()

    def append(self, request):
        with self._lock:
            super().append(request)
            number = len(self)
        if self.act is not None:
            self.act(number, *request)


class Launcher:
    """Starts runs in processes of their own."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(PROCESS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, settings):
        environment = {
            name: text
            for name, text in child_environment(settings).items()
            if name in settings.variables()
        }
        self._process.stdin.write(f"{json.dumps(environment)}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self):
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Bucket:
    """Lakes of one bucket, each under a prefix of its own and prepared up to the universe."""

    def __init__(self, gcs, folder, template, server):
        self.gcs, self.folder, self.server = gcs, folder, server
        self.template = template
        self.name = gcs.bucket()

    def settings(self, prefix):
        return {
            "gcs_bucket": self.name,
            "gcs_prefix": prefix,
            "gcs_endpoint": self.gcs.endpoint,
            "cache_folder": self.folder / "cache",
        }

    def prepare(self, prefix):
        for path, data in self.template.items():
            self.gcs.put(self.name, f"{prefix}/{path}", data)

    def objects(self, prefix):
        root = self.gcs.folder / self.name / prefix
        paths = {file.relative_to(root).as_posix(): file for file in root.rglob("*")}
        return {
            path: file.read_bytes()
            for path, file in sorted(paths.items())
            if file.is_file() and not is_temporary(path)
        }


@pytest.fixture(scope="module")
def market(open_platform, tmp_path_factory, _gcs_server):
    """(bucket, what a whole lake holds, a way to open a platform over a prefix)."""
    root = tmp_path_factory.mktemp("bucket_faults")
    simulator = SmallMarket("BTCUSDT", "ETHUSDT")
    options = {"start": DAY}
    _gcs_server.requests = Requests()
    with open_platform(root, simulator, [VENUE], **options) as (platform, server):
        platform.prepare(VENUE, CELL)
        lake = Path(platform.settings.lake_root)

        def objects():
            return {
                file.relative_to(lake).as_posix(): file.read_bytes()
                for file in sorted(lake.rglob("*"))
                if file.is_file()
            }

        bucket = Bucket(_gcs_server, root, objects(), server)
        result = platform.run(*ASSETS, partition=CELL)
        assert result.success, platform.failures(result)

        @contextmanager
        def opened(prefix, **more):
            settings = bucket.settings(prefix) | more
            with open_platform(root, simulator, [VENUE], more_settings=settings, **options) as (
                over_bucket,
                _,
            ):
                yield over_bucket

        yield bucket, objects(), opened
    _gcs_server.requests = []


@pytest.fixture(autouse=True)
def _calm(market):
    """No faults and no acts outlast a test."""
    yield
    bucket, _, _ = market
    bucket.gcs.requests.act = None
    bucket.gcs.forget()


@pytest.fixture(scope="module")
def launcher():
    launcher = Launcher()
    yield launcher
    launcher.close()


def whole(objects, expected):
    """Each object is one that a whole lake holds, or an earlier state of a table of the cell."""
    return {path for path, data in objects.items() if data != expected.get(path)}


def asked(market, prefix):
    """How many requests a run of the cell is: it is made once and not disturbed."""
    bucket, _, opened = market
    bucket.prepare(prefix)
    bucket.gcs.forget()
    with opened(prefix) as platform:
        make_cell(platform.settings)
    return len(bucket.gcs.requests)


def test_a_second_run_and_a_run_after_a_cold_cache_write_nothing(market):
    bucket, expected, opened = market
    bucket.prepare("twice")
    with opened("twice") as platform:
        assert platform.run(*ASSETS, partition=CELL).success
        assert bucket.objects("twice") == expected
        bucket.gcs.forget()
        assert platform.run(*ASSETS, partition=CELL).success
    with opened("twice", cache_folder=bucket.folder / "cold") as platform:
        assert platform.run(*ASSETS, partition=CELL).success
    written = {
        unquote(target).partition("/twice/")[2].partition("?")[0]
        for method, target in bucket.gcs.requests
        if method in {"PUT", "POST"}
    }
    manifest = f"raw_tick_data/by_date/day-{DAY}/data_type-trades/_manifests/{VENUE}.parquet"
    assert written <= {manifest}  # the one object whose bytes a run always makes anew
    assert bucket.objects("twice") == expected


def test_killed_at_random_requests_there_is_no_half_object_and_the_next_run_ends_it(
    market, launcher
):
    bucket, expected, opened = market
    count = asked(market, "counted")
    points = sorted(random.Random(5).sample(range(3, count), KILLS))
    endings = []
    with opened("any") as any_platform:
        for point in points:
            prefix = f"killed-{point}"
            bucket.prepare(prefix)
            bucket.gcs.forget()
            settings = any_platform.settings.model_copy(update={"gcs_prefix": prefix})
            pid = launcher.start(settings)

            def kill(number, *_, pid=pid, point=point):
                if number == point:
                    os.kill(pid, signal.SIGKILL)

            bucket.gcs.requests.act = kill
            endings.append(launcher.answer())
            bucket.gcs.requests.act = None
            assert whole(bucket.objects(prefix), expected) == set(), point
            make_cell(settings)
            assert bucket.objects(prefix) == expected, point
    assert endings.count(-signal.SIGKILL) >= KILLS - 2, endings  # an order of requests varies


def test_two_processes_on_one_cell_leave_the_lake_of_one(market, launcher):
    bucket, expected, opened = market
    bucket.prepare("both")
    with opened("both") as platform:
        launcher.start(platform.settings)
        make_cell(platform.settings)
        assert launcher.answer() == 0
    assert bucket.objects("both") == expected


def test_who_loses_against_another_writer_tries_again_and_overwrites_nothing_unseen(
    market, monkeypatch
):
    bucket, expected, opened = market
    monkeypatch.setattr(retries, "CONCURRENT_WAIT_S", 0.1)
    bucket.prepare("raced")
    seen = []

    def act(_, method, target):
        if method == "PUT" and CANDLE in unquote(target) and not seen:
            seen.append(target)
            bucket.gcs.put(bucket.name, f"raced/{CANDLE}", expected[CANDLE] + b" of another")

    with opened("raced") as platform:
        bucket.gcs.requests.act = act
        assert not platform.run(*ASSETS, partition=CELL).success  # what is there is not Parquet
        assert bucket.objects("raced")[CANDLE].endswith(b" of another")
        bucket.gcs.requests.act = None
        with_ours = f"raced/{CANDLE}"
        bucket.gcs.put(bucket.name, with_ours, expected[CANDLE])
        result = platform.run(*ASSETS, partition=CELL)
        assert result.success, platform.failures(result)
    assert seen
    assert bucket.objects("raced") == expected


def failure_text(result):
    texts = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            texts.append(
                data.user_failure_data.description
                if data.user_failure_data and data.user_failure_data.description
                else data.error.to_string()
            )
    return "\n".join(texts)


def _denied(code, message="no"):
    return f"<Error><Code>{code}</Code><Details>{message}</Details></Error>".encode()


REFUSALS = {
    "no permission": (
        {"status": 403, "times": None, "body": _denied("AccessDenied", "sa lacks objects.get")},
        "Grant them roles/storage.objectUser on the bucket",
    ),
    "wrong project": (
        {"status": 400, "times": None, "body": _denied("UserProjectInvalid", "UserProject p")},
        "GCP_PROJECT_ID: not a project that these credentials can use",
    ),
    "not accepted": (
        {"status": 401, "times": None, "body": _denied("AuthenticationRequired")},
        "the credentials are not accepted",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_sentence_in_the_run_and_in_the_command_and_loses_nothing(
    case, market, monkeypatch, capsys
):
    fault, sentence = REFUSALS[case]
    bucket, expected, opened = market
    prefix = case.replace(" ", "-")
    bucket.prepare(prefix)
    before = bucket.objects(prefix)
    with opened(prefix) as platform:
        bucket.gcs.fail(**fault)
        result = platform.run(*ASSETS, partition=CELL)
        assert not result.success
        assert sentence in failure_text(result)
        code, said = command(platform.settings, monkeypatch, capsys)
        assert code == 2
        assert sentence in said
        assert said.count("\n") == 1
        bucket.gcs.forget()
        assert bucket.objects(prefix) == before
        assert platform.run(*ASSETS, partition=CELL).success
    assert bucket.objects(prefix) == expected


def test_no_bucket_and_a_wrong_credentials_file_name_the_remedy(
    market, tmp_path, monkeypatch, capsys
):
    _, _, opened = market
    with opened("x", gcs_bucket="not-there") as platform:
        result = platform.run(*ASSETS, partition=CELL)
        assert "gcloud storage buckets create gs://not-there" in failure_text(result)
        code, said = command(platform.settings, monkeypatch, capsys)
        assert (code, said.count("\n")) == (2, 1)
        assert "GCS_BUCKET: no such bucket (was not-there" in said
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "private_key": "s3cret"}')
    with opened("x", gcs_endpoint=None, gcp_credentials_path=key) as platform:
        result = platform.run(*ASSETS, partition=CELL)
        assert "GCP_CREDENTIALS_PATH: not a credentials file" in failure_text(result)
        assert "s3cret" not in failure_text(result)
        code, said = command(platform.settings, monkeypatch, capsys)
        assert (code, said.count("\n")) == (2, 1)
        assert "Download the key again" in said


def test_an_endpoint_that_is_down_is_worth_another_try_later(market, monkeypatch, capsys):
    bucket, expected, opened = market
    monkeypatch.setitem(GcsObjectStore.__init__.__kwdefaults__, "retries", 0)
    monkeypatch.setattr(retries, "MAX_RETRIES", 0)
    bucket.prepare("down")
    with opened("down", gcs_endpoint="http://127.0.0.1:9") as platform:
        result = platform.run(*ASSETS, partition=CELL)
        assert not result.success
        assert "no answer" in failure_text(result)
        code, said = command(platform.settings, monkeypatch, capsys)
        assert (code, said.count("\n")) == (75, 1)
        assert "the next try goes on from here" in said
    with opened("down") as platform:
        assert platform.run(*ASSETS, partition=CELL).success
    assert bucket.objects("down") == expected


def test_a_bucket_that_fails_while_files_come_is_no_fault_of_the_vendor(market, monkeypatch):
    bucket, expected, opened = market
    monkeypatch.setitem(GcsObjectStore.__init__.__kwdefaults__, "retries", 0)
    monkeypatch.setattr(retries, "MAX_RETRIES", 0)
    for status in (503, 401):
        prefix = f"midway-{status}"
        bucket.prepare(prefix)
        with opened(prefix) as platform:
            bucket.gcs.fail(
                status=status, times=None, method="PUT", contains="data_type-trades/BINANCE"
            )
            assert not platform.run(*ASSETS, partition=CELL).success
            assert platform.states(CELL) == {}  # no manifest that says failed or not entitled
            bucket.gcs.forget()
            assert platform.run(*ASSETS, partition=CELL).success
        assert bucket.objects(prefix) == expected


def command(settings, monkeypatch, capsys):
    """`tickhandler settings --check`: its exit code and what it says on the error stream."""
    with monkeypatch.context() as patch:
        for name, text in child_environment(settings).items():
            patch.setenv(name, text)
        patch.setattr(sys, "argv", ["tickhandler", "settings", "--check"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            app.main()
    return exit_.value.code, capsys.readouterr().err


def test_the_check_says_where_the_lake_is_and_leaves_nothing(market, monkeypatch, capsys):
    bucket, _, opened = market
    with opened("checked") as platform, monkeypatch.context() as patch:
        for name, text in child_environment(platform.settings).items():
            patch.setenv(name, text)
        patch.setattr(sys, "argv", ["tickhandler", "settings", "--check"])
        with pytest.raises(SystemExit) as exit_:
            app.main()
        assert exit_.value.code == 0
        said = capsys.readouterr().out
        where = f"gs://{bucket.name}/checked"
        assert f"# The lake is {where}\n" in said
        assert f"# {where} can be written and read, location EU.\n" in said
    assert not [name for name in bucket.gcs.names(bucket.name) if name.startswith("checked/")]


def test_a_bucket_elsewhere_than_the_dataset_is_refused_before_anything_is_loaded(
    market, monkeypatch, capsys
):
    bucket, _, opened = market
    elsewhere = bucket.gcs.bucket(location="US-EAST1")
    more = {"warehouse": "bigquery", "gcs_bucket": elsewhere}
    with opened("x", **more) as platform:
        code, said = command(platform.settings, monkeypatch, capsys)
        assert code == 2
        assert "BIGQUERY_LOCATION: not where the bucket is (was EU; expected US-EAST1)" in said
