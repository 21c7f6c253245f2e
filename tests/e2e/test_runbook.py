"""The runbook knows every alert, and its commands do what it says, in a shell as they stand."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import duckdb
import pytest
from doubles.small_market import SmallMarket
from pydantic import AnyHttpUrl, SecretStr

from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market import errors
from tickhandler_dagster.market.alerts.signal import IncidentKind
from tickhandler_dagster.market.alerts.wording import KIND_WORDS, TRANSITION_WORDS
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.sandbox.faults import Fault, FaultRule, Revised
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import Settings, child_environment

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
TESTED, UNTESTED = "tested", "not tested here: "
BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```bash\n(.*?)```", re.DOTALL)
DAYS = ("2024-08-08", "2024-08-09")
VENUE = "binance"
# One whose files are broken, one whose files are not, and one of a venue that joins later.
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-PERPETUAL")


def _sections():
    parts = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


SECTIONS = _sections()
BLOCKS = defaultdict(list)
for _title, _body in SECTIONS.items():
    for _mark, _commands in BLOCK.findall(_body):
        if _mark == TESTED:
            BLOCKS[_title].append(_commands)


def test_every_alert_has_a_heading_with_its_words():
    headings = set(re.findall(r"^### (.*)$", TEXT, flags=re.MULTILINE))
    kinds = {words for kind, words in KIND_WORDS.items() if kind is not IncidentKind.FAILED_CHECK}
    checks = {f"{KIND_WORDS[IncidentKind.FAILED_CHECK]}: {name}" for name in CheckName}
    assert headings == kinds | checks


def test_every_way_a_message_can_begin_is_explained():
    table = SECTIONS["On call: by the alert's text"]
    begins = set(re.findall(r"^\| `([A-Z ]+)` \|", table, flags=re.MULTILINE))
    assert begins == {words for words in TRANSITION_WORDS.values() if words}


def test_every_error_that_can_end_a_run_has_a_remedy():
    classes = {
        name
        for name, item in vars(errors).items()
        if isinstance(item, type) and issubclass(item, errors.TickhandlerError)
    } - {"TickhandlerError", "PermanentError", "TransientError"}
    table = TEXT.partition("### run failed")[2].partition("### ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == classes


def test_a_section_that_is_referred_to_is_there():
    for name in re.findall(r"\*([A-Z][\w' ]+)\*", SECTIONS["On call: by the alert's text"]):
        assert name in SECTIONS or name in {"Automation", "Partitions"}, name


def test_every_block_is_tested_or_says_why_not():
    assert TEXT.count("```bash") == len(BLOCK.findall(TEXT))
    marks = [mark for mark, _ in BLOCK.findall(TEXT)]
    assert all(mark == TESTED or mark.startswith(UNTESTED) for mark in marks)
    assert sum(mark == TESTED for mark in marks) >= 15


class Installation:
    """A folder with a lake, an instance and a `.env`, and a shell in it."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server
        self.lake = folder / "lake"
        self.home = folder / "dagster_home"
        self.warehouse = folder / "warehouse"

    def write_key(self, key):
        (self.folder / ".env").write_text(f"TARDIS_API_KEY={key}\n", encoding="utf-8")

    def shell(self, commands, *, codes=(0,), **more):
        settings = Settings(
            tardis_endpoint=AnyHttpUrl(self.server.api_url),
            tardis_datasets_endpoint=AnyHttpUrl(self.server.datasets_url),
            tardis_api_key=SecretStr(SANDBOX_KEY),
            lake_root=self.lake,
            warehouse_folder=self.warehouse,
            streaming_spool_folder=self.folder / "spool",
            dagster_home=self.home,
            download_venues=(VENUE,),
            download_data_types=("trades",),
            partition_start_date=DAYS[0],
            partition_end_date="2024-08-12",
            log_level="ERROR",
        )
        environment = {**os.environ, **child_environment(settings), **more}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        # The key is in the `.env`; these are what the blocks set for themselves.
        for name in ("TARDIS_API_KEY", "DOWNLOAD_VENUES", "INSTRUMENT_EXCHANGES"):
            environment.pop(name, None)
        environment.setdefault("DOWNLOAD_VENUES", VENUE)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode in codes, f"{commands}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert SANDBOX_KEY not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, section, place=0, **more):
        return self.shell(BLOCKS[section][place], **more)

    def bytes(self, pattern="**/*.parquet"):
        files = sorted(self.lake.glob(pattern))
        return {str(file.relative_to(self.lake)): file.read_bytes() for file in files}

    def break_file(self, fault):
        self.server.faults.add(
            FaultRule(fault, VENUE, data_type="trades", date=DAYS[1], symbol="BTC*")
        )


@pytest.fixture(scope="module")
def vendor():
    with SandboxServer(SmallMarket(*MARKET)) as server:
        yield server


@pytest.fixture(scope="module")
def first_day(vendor, tmp_path_factory):
    """An installation after its first day, made by the runbook itself."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copy(ROOT / "dagster.yaml", folder)
    made = Installation(folder, vendor)
    made.write_key(SANDBOX_KEY)
    made.said = made.run("First day")
    return made


@pytest.fixture
def installation(first_day, vendor, tmp_path):
    """A copy of it; the vendor is well again afterwards."""
    folder = tmp_path / "installation"
    shutil.copytree(first_day.folder, folder)
    yield Installation(folder, vendor)
    vendor.faults.clear()


def test_the_first_day_ends_with_candles_of_two_days(first_day):
    assert "binance" in first_day.said
    for day in DAYS:
        assert first_day.bytes(f"processed_candles/by_date/day-{day}/timeframe-1m/*.parquet")


def test_a_new_key_is_proved_on_a_day_that_is_there(installation):
    before = installation.bytes("raw_tick_data/**/*.parquet")
    installation.write_key("TD.revoked")
    download = BLOCKS["Key rotation"][0].splitlines()[-1]
    said = installation.shell(download, codes=(1,))
    assert "no file could be fetched again" in " ".join(said.split())
    assert installation.bytes("raw_tick_data/**/*.parquet") == before
    installation.run("Key rotation", NEW_KEY=SANDBOX_KEY)
    assert (installation.folder / ".env").read_text() == f"TARDIS_API_KEY={SANDBOX_KEY}\n"
    assert installation.bytes("raw_tick_data/**/*.parquet") == before


def test_a_venue_joins_the_grid(installation):
    before = installation.bytes()
    installation.run("A venue added or renamed")
    after = installation.bytes()
    assert {name: after[name] for name in before} == before
    assert any("DERIBIT:" in name for name in after)


def test_a_revised_file_is_found_and_taken(installation):
    installation.break_file(Revised.FEWER_ROWS)
    before = installation.bytes("raw_tick_data/**/*.parquet")
    look, take = BLOCKS["A bad day of the vendor"][0].splitlines()
    look = look.partition(" ||")[0]
    installation.shell(look, codes=(1,))
    assert installation.bytes("raw_tick_data/**/*.parquet") == before
    installation.shell(take)
    assert installation.bytes("raw_tick_data/**/*.parquet") != before
    installation.shell(look)


def test_a_cut_file_is_fetched_again_when_the_vendor_has_it_whole(installation):
    before = installation.bytes()
    installation.break_file(Fault.TRUNCATED_BODY)
    shutil.rmtree(installation.lake / f"raw_tick_data/by_date/day-{DAYS[1]}")
    fetch = BLOCKS["First day"][0].splitlines()[4]
    installation.shell(fetch, codes=(1,))
    look, plan, repair = BLOCKS["A bad day of the vendor"][1].splitlines()
    assert "BTC-USDT" in installation.shell(look)
    installation.server.faults.clear()
    assert "raw_ticks/trades" in installation.shell(plan)
    installation.shell(repair)
    raw = f"raw_tick_data/by_date/day-{DAYS[1]}/data_type-trades/"
    after = installation.bytes()
    assert {name for name in before if name.startswith(raw)} <= after.keys()


def test_what_the_checks_found_is_shown(installation):
    installation.run("A bad day of the vendor", 2)
    assert (installation.folder / "report" / "completeness.html").is_file()


@pytest.mark.parametrize(
    "section",
    [
        "Disk full",
        "Out of memory",
        "The queue is stuck",
        "The daemon is down",
        "The quota is exhausted",
        "Cost",
        "The live feed is down",
    ],
)
def test_looking_changes_nothing_that_is_there(installation, section):
    before = installation.bytes()
    said = installation.run(section)
    assert said
    after = installation.bytes()
    assert {name: after[name] for name in before if "_manifests" not in name} == {
        name: data for name, data in before.items() if "_manifests" not in name
    }


def test_a_lost_instance_is_filled_again_from_the_lake(installation):
    before = installation.bytes()
    shutil.rmtree(installation.home)
    said = installation.run("Restore", 0)
    assert installation.bytes() == before
    assert "made" in said


def test_a_lost_part_of_the_lake_is_made_again_as_it_was(installation):
    before = installation.bytes("**/*:*.parquet")
    for folder in ("raw_tick_data", "processed_candles"):
        shutil.rmtree(installation.lake / folder / "by_date" / f"day-{DAYS[1]}")
    installation.run("Restore", 1)
    assert installation.bytes("**/*:*.parquet") == before


def test_a_lost_warehouse_is_published_again(installation):
    installation.warehouse.mkdir(exist_ok=True)
    installation.run("Restore", 2)
    (file,) = installation.warehouse.glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.sql("select count(*) from candles_1m").fetchone()[0] > 0


def test_an_upgrade_changes_no_bar_of_the_same_kernel(installation):
    before = installation.bytes()
    installation.run("Upgrade")
    assert installation.bytes() == before
    assert (installation.folder / "dagster_home.before").is_dir()


def test_every_tested_block_is_run_by_a_test_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{title}"' in source for title in BLOCKS)
    assert len(BLOCKS["Restore"]) == len(BLOCKS["A bad day of the vendor"]) == 3
    assert all(
        len(blocks) == 1
        for title, blocks in BLOCKS.items()
        if title not in {"Restore", "A bad day of the vendor"}
    )
