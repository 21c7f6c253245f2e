"""The command lines for real days work as written, against the sandbox in the vendor's place."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.small_market import SmallMarket

from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- run by tests/e2e -->\n```bash\n(.*?)```", re.DOTALL)
PREFIX = "dagster asset materialize "


def _commands(block):
    return [line for line in block.splitlines() if line.startswith(PREFIX)]


WITHOUT_KEY, WITH_KEY = (
    _commands(block)
    for block in BLOCK.findall((ROOT / "docs" / "real-data.md").read_text(encoding="utf-8"))
)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    """A user's shell: an environment and a folder; gives a function that runs a command line."""
    home = tmp_path_factory.mktemp("user")
    (home / "dagster_home").mkdir()
    shutil.copy(ROOT / "dagster.yaml", home / "dagster_home")
    with SandboxServer(SmallMarket("BTCUSDT")) as server:
        environment = {
            **os.environ,
            "TARDIS_ENDPOINT": server.api_url,
            "TARDIS_DATASETS_ENDPOINT": server.datasets_url,
            "DAGSTER_HOME": str(home / "dagster_home"),
            "LAKE_ROOT": str(home / "lake"),
        }
        environment.pop("TARDIS_API_KEY", None)

        def run(command, **more):
            words = shlex.split(command)
            return subprocess.run(
                [sys.executable, "-m", *words],
                env=environment | more,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        run.lake = home / "lake"
        yield run


def _candles(lake, day):
    return list(lake.glob(f"processed_candles/by_date/day-{day}/timeframe-*/BINANCE:*.parquet"))


def test_the_page_has_the_lines_that_are_asked_for():
    assert len(WITHOUT_KEY) == 2
    assert len(WITH_KEY) == 5
    assert any("--partition-range" in line for line in WITH_KEY)
    assert (
        f"{PREFIX}-m tickhandler_dagster.definitions --select 'raw_ticks/trades' --partition "
        in (WITH_KEY[1].replace("'2024-08-08|binance'", ""))
    )


def test_a_free_day_goes_from_instruments_to_candles_in_one_run(terminal):
    for command in WITHOUT_KEY:
        done = terminal(command)
        assert done.returncode == 0, done.stderr
    assert len(_candles(terminal.lake, "2024-08-01")) >= 7


def test_with_a_key_any_day_range_and_force_work(terminal):
    if not (terminal.lake / "exchange_catalog").is_dir():
        assert terminal(WITHOUT_KEY[0]).returncode == 0
    for command in WITH_KEY:
        done = terminal(command, TARDIS_API_KEY=SANDBOX_KEY)
        assert done.returncode == 0, done.stderr
        assert SANDBOX_KEY not in done.stdout + done.stderr
    manifests = terminal.lake.glob(
        "raw_tick_data/by_date/day-*/data_type-trades/_manifests/binance.parquet"
    )
    assert {"day-2024-08-08", "day-2024-08-09"} <= {file.parts[-4] for file in manifests}
    assert len(_candles(terminal.lake, "2024-08-08")) >= 7


SELECT = f"{PREFIX}-m tickhandler_dagster.definitions --select "
BAD = {
    "a date in another form": (
        f"{SELECT} raw_ticks/trades --partition '2024/08/08|binance'",
        {},
        r"containing the passed partition key `2024/08/08\|binance`",
    ),
    "an unknown venue": (
        f"{SELECT} raw_ticks/trades --partition '2024-08-08|nowhere'",
        {},
        r"containing the passed partition key `2024-08-08\|nowhere`",
    ),
    "an unknown data type": (
        f"{SELECT} raw_ticks/candles --partition '2024-08-08|binance'",
        {},
        "raw_ticks/candles",
    ),
    "a venue without the data type": (
        f"{SELECT} raw_ticks/liquidations --partition '2024-08-08|binance'",
        {},
        r"containing the passed partition key `2024-08-08\|binance`",
    ),
    "a wrong setting": (
        f"{SELECT} instruments --partition '2024-08-08|binance'",
        {"BATCH_SIZE": "many"},
        r"BATCH_SIZE: not valid \(was 'many'; expected 1 or more\)\.",
    ),
    "no catalogue": (
        f"{SELECT} instruments --partition '2024-08-08|upbit'",
        {},
        r"exchange_catalog of upbit: not in the lake\. Run: dagster asset materialize ",
    ),
    "no raw ticks": (
        f"{SELECT} group:candles --partition '2024-08-20|binance'",
        {},
        r"instruments of 2024-08-20\|binance: not in the lake\. Run: ",
    ),
    "no key": (
        f"{SELECT} 'instruments,raw_ticks/trades' --partition '2024-08-05|binance'",
        {},
        r"TARDIS_API_KEY: not set, and .* is not served without a key",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_clear_error_and_loses_nothing(terminal, case):
    if not (terminal.lake / "exchange_catalog").is_dir():
        assert terminal(WITHOUT_KEY[0]).returncode == 0
    command, environment, text = BAD[case]
    before = {file: file.read_bytes() for file in terminal.lake.rglob("*.parquet")}
    done = terminal(command, **environment)
    assert done.returncode != 0
    assert re.search(text, done.stdout + done.stderr), done.stderr[-3000:]
    assert all(file.read_bytes() == data for file, data in before.items())
