"""`tickhandler ui`: the page over the demo alone, and nothing of it left when it is stopped."""

import contextlib
import datetime as dt
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tickhandler_dagster.cli.demo import Demo, save_demo
from tickhandler_dagster.market.venues import VenueId

LIMIT_S = 180  # the first load of the marts compiles the dbt project
STOP_S = 40
LAUNCH = """
mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on InvalidSubsetError { message }
} }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOCATION = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"


@pytest.fixture
def ui(tmp_path):
    """The command beside a `.env` of somebody's own, which it must not follow."""
    home, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    day = dt.date(2024, 8, 8)
    save_demo(Demo(home, day, day, (VenueId.BINANCE, VenueId.DERIBIT), seed=7, scale=0.02))
    elsewhere.mkdir()
    (elsewhere / ".env").write_text(
        f"LAKE_ROOT={elsewhere / 'real_lake'}\nDAGSTER_HOME=\nTARDIS_API_KEY=TD.real\n"
        "TARDIS_ENDPOINT=http://127.0.0.1:9/v1\nINSTRUMENT_EXCHANGES=upbit\n"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tickhandler_dagster", "ui"),
            *("--home", str(home), "--port", "0"),
        ],
        cwd=elsewhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    family = [process]
    try:
        yield process, family, home, elsewhere
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        for member in family:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                member.kill()
        process.stdout.close()


TABLE = """
{ assetNodeOrError(assetKey: {path: ["warehouse", "candles_24h"]}) { ... on AssetNode {
  isMaterializable dependedByKeys { path } repository { location { name } } } } }"""


def _wait_for(what, said):
    deadline = time.monotonic() + LIMIT_S
    while not (answer := what()):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)
    return answer


def _is_alive(process):
    """Not one that has ended and waits for the machine's first process to take note of it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_page_runs_a_cell_in_the_demo_alone_and_stops_without_a_trace(ui, ask_page):
    process, family, home, elsewhere = ui
    port = int(re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())[1])

    def is_up():
        with contextlib.suppress(OSError):
            entries = ask_page(port, LOCATION)["workspaceOrError"]["locationEntries"]
            return [entry["loadStatus"] for entry in entries] == ["LOADED", "LOADED"]
        return False

    _wait_for(is_up, "the page does not come up")
    family += psutil.Process(process.pid).children(recursive=True)
    table = ask_page(port, TABLE)["assetNodeOrError"]
    assert table["repository"]["location"]["name"] == "tickhandler_dagster.definitions"
    assert table["isMaterializable"]
    assert ["marts", "daily_bars"] in [key["path"] for key in table["dependedByKeys"]]
    launched = ask_page(
        port,
        LAUNCH,
        params={
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "deribit"}]},
            "selector": {
                "repositoryLocationName": "tickhandler_dagster.definitions",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["exchange_catalog"]}],
            },
        },
    )["launchPipelineExecution"]
    run = launched["run"]["runId"]
    ended = {"SUCCESS", "FAILURE", "CANCELED"}

    def status():
        now = ask_page(port, STATUS, id=run)["runOrError"]["status"]
        return now if now in ended else None

    assert _wait_for(status, "the run does not end") == "SUCCESS"
    assert (home / "lake/exchange_catalog/venue-deribit/catalog.json").is_file()
    assert [file.name for file in elsewhere.iterdir()] == [".env"]

    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_S) == 0
    assert len(family) > 3
    assert not [member for member in family[1:] if _is_alive(member)]
