"""The commands about what is missing, over a vendor with faults: found, repaired, found whole."""

import json
from pathlib import Path

import dagster as dg
import pytest
from doubles.installation import moved_in, new_home, settings_over
from doubles.small_market import SmallMarket
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer

VENUES = ("binance", "okex-swap")
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10", "2024-08-11")
BROKEN = {("2024-08-08", "binance"), ("2024-08-10", "binance"), ("2024-08-09", "okex-swap")}
FILES = {"binance": "BTCUSDT", "okex-swap": "BTC-USDT-SWAP"}
MARKET = (*FILES.values(), "ETHUSDT", "ETH-USDT-SWAP")
KEPT = ["candles/24h"]
SPAN = ["--start-date", DAYS[0], "--end-date", DAYS[-1]]
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class Shop:
    """An installation in this process: settings in the environment, an instance, a vendor."""

    def __init__(self, settings, server):
        self.settings = settings
        self.server = server
        self._repository = build_definitions(settings).get_repository_def()

    def tell(self, *words):
        return CliRunner().invoke(app, list(words))

    def run(self, *assets, partition=None, venue=None):
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        tags = dict(zip(ENDS, (f"{DAYS[0]}|{venue}", f"{DAYS[-1]}|{venue}"), strict=True))
        with self.instance() as instance:
            result = self._repository.get_implicit_job_def_for_assets(keys).execute_in_process(
                instance=instance,
                partition_key=partition,
                tags=tags if venue else {},
                asset_selection=keys,
                raise_on_error=False,
            )
        assert result.success

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.settings.dagster_home))

    def runs(self):
        with self.instance() as instance:
            return instance.get_runs_count()

    def objects(self):
        root = Path(self.settings.lake_root)
        return {
            str(file.relative_to(root)): file.read_bytes()
            for file in root.rglob("*.parquet")
            if file.is_file()
        }


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Four days of two venues, trades only; three cells met a fault that has healed since."""
    root = tmp_path_factory.mktemp("repair")
    with SandboxServer(SmallMarket(*MARKET)) as server:
        settings = settings_over(
            server,
            root,
            VENUES,
            days=DAYS,
            download_data_types=("trades",),
            dagster_home=new_home(root),
        )
        with moved_in(settings, root):
            shop = Shop(settings, server)
            for day, venue in BROKEN:
                server.faults.add(
                    FaultRule(
                        Fault.MISSING_FILE, venue, data_type="trades", date=day, symbol=FILES[venue]
                    )
                )
            for venue in VENUES:
                shop.run("exchange_catalog", partition=venue)
                shop.run("instruments", "raw_ticks/trades", venue=venue)
                shop.run("completeness", venue=venue)
                shop.run(*KEPT, venue=venue)
            server.faults.clear()
            yield shop


@pytest.fixture(scope="module")
def planned(shop):
    """What a dry run says, and that it changes nothing."""
    before, runs = shop.objects(), shop.runs()
    told = shop.tell("repair", "--since", DAYS[0], "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert shop.objects() == before
    assert shop.runs() == runs
    return json.loads(told.stdout)


def test_a_dry_run_names_exactly_the_broken_cells_and_what_reads_them(planned):
    cells = {
        item["asset"]: {tuple(cell.split("|")) for cell in item["cells"]}
        for item in planned["plan"]
    }
    assert cells["raw_ticks/trades"] == BROKEN
    assert cells["completeness"] == BROKEN
    assert set(cells) == {"raw_ticks/trades", *KEPT, "completeness"}
    for asset in KEPT:
        assert cells[asset] == {
            *((day, "binance") for day in DAYS),
            *((day, "okex-swap") for day in DAYS[:3]),
        }


def test_gaps_are_found_and_repaired_and_then_there_are_none(shop, planned):
    told = shop.tell("check-gaps", *SPAN, "--json")
    assert told.exit_code == 1, told.output
    found = json.loads(told.stdout)
    assert not found["failed_runs"]
    assert {(row["date"], row["venue"]) for row in found["first"]} <= BROKEN
    assert {row["state"] for row in found["missing"]} == {"failed"}

    told = shop.tell("repair", "--since", DAYS[0], "--now")
    assert told.exit_code == 0, told.output
    assert "failed" not in [line.split(" ")[0] for line in told.output.splitlines()]

    told = shop.tell("repair", "--since", DAYS[0])
    assert told.exit_code == 0, told.output
    assert "Nothing to repair." in told.output
    told = shop.tell("check-gaps", *SPAN)
    assert told.exit_code == 0, told.output
    assert "Nothing is missing." in told.output


def test_a_file_deleted_by_hand_is_found_by_validate_and_fetched_again_by_repair(shop):
    file = next(
        Path(shop.settings.lake_root).glob(f"raw_tick_data/by_date/day-{DAYS[2]}/*/*.parquet")
    )
    before = file.read_bytes()
    file.unlink()
    told = shop.tell("validate", *SPAN, "--json")
    assert told.exit_code == 1, told.output
    failed = json.loads(told.stdout)["failed"]
    assert any(DAYS[2] in cell for cell in failed["completeness/complete"]), failed

    told = shop.tell("repair", "--now")
    assert told.exit_code == 0, told.output
    assert file.read_bytes() == before


def test_a_run_that_fails_is_exit_code_one_and_is_planned_again(shop):
    file = next(
        Path(shop.settings.lake_root).glob(f"raw_tick_data/by_date/day-{DAYS[1]}/*/*.parquet")
    )
    file.unlink()
    assert shop.tell("check-gaps", *SPAN).exit_code == 1
    shop.server.faults.add(FaultRule(Fault.QUOTA_EXHAUSTED, data_type="trades"))
    told = shop.tell("repair", "--now")
    shop.server.faults.clear()
    assert told.exit_code == 1, told.output
    told = shop.tell("repair", "--now")
    assert told.exit_code == 0, told.output
    assert file.is_file()


def test_without_a_daemon_the_command_says_so(shop):
    file = next(
        Path(shop.settings.lake_root).glob(f"raw_tick_data/by_date/day-{DAYS[3]}/*/*.parquet")
    )
    file.unlink()
    assert shop.tell("check-gaps", *SPAN).exit_code == 1
    told = shop.tell("repair")
    assert "--now" in str(told.exception)
    assert "daemon" in str(told.exception)
    assert shop.tell("repair", "--now").exit_code == 0


def test_the_report_page_is_written_beside_the_list_of_what_is_missing(shop):
    told = shop.tell("missing-tick-reports", *SPAN, "--json")
    found = json.loads(told.stdout)
    assert told.exit_code == (1 if found["missing"] else 0), told.output
    assert not found["failed_runs"]
    assert {Path(path).suffix for path in found["paths"]} == {".html", ".csv", ".parquet"}
    assert all(Path(path).is_file() for path in found["paths"])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["repair", "--since", "2024/08/08"], "not a date"),
        (["repair", "--venues", "bitmex"], "not a venue of the partition grid"),
        (["repair", "--states", "present"], "not a state that a repair can change"),
        (["check-gaps", "--start-date", DAYS[1], "--end-date", DAYS[0]], "before"),
    ],
)
def test_what_was_typed_wrong_is_a_sentence(shop, words, part):
    told = shop.tell(*words)
    assert part in str(told.exception)
