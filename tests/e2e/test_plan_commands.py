"""`tickhandler plan` and `run --plan` over the sandbox: what is told, done, and what it took."""

import json

import dagster as dg
import pytest
from doubles.installation import moved_in, new_home, settings_over
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

VENUES = ("binance", "okex-swap")
TYPES = ("trades", "derivative_ticker")
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10", "2024-08-11")
BARS = "raw_ticks,candles"


class Shop:
    """An installation in this process: settings in the environment, an instance, a vendor."""

    def __init__(self, settings, server, root):
        self.settings = settings
        self.server = server
        self.root = root

    def tell(self, *words):
        return CliRunner().invoke(app, list(words))

    def plan(self, start, end, *words):
        told = self.tell("plan", "--start-date", start, "--end-date", end, "--json", *words)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    def fetch_catalogs(self):
        key = dg.AssetKey("exchange_catalog")
        job = build_definitions(self.settings).get_repository_def()
        job = job.get_implicit_job_def_for_assets([key])
        with dg.DagsterInstance.from_config(str(self.settings.dagster_home)) as instance:
            for venue in VENUES:
                assert job.execute_in_process(
                    instance=instance, partition_key=venue, asset_selection=[key]
                ).success

    def asked_files(self):
        """Files that were asked for since the last call; the storage behind is not counted."""
        paths = [one.path for one in self.server.requests if one.path.startswith("/v1/")]
        self.server.forget_requests()
        return [path for path in paths if path.endswith(".csv.gz")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Catalogues of two venues, and not one file yet."""
    root = tmp_path_factory.mktemp("plan")
    with SandboxServer(Simulator(7, scale=0.03)) as server:
        settings = settings_over(
            server, root, VENUES, days=DAYS, download_data_types=TYPES, dagster_home=new_home(root)
        )
        with moved_in(settings, root):
            yield Shop(settings, server, root)


def line(plan, asset):
    return next(one for one in plan["lines"] if one["asset"] == asset)


def in_range(actual, estimate):
    return estimate["low"] <= actual <= estimate["high"]


def test_without_a_catalogue_the_command_names_the_one_that_is_missing(shop):
    told = shop.tell("plan", "--start-date", DAYS[0], "--end-date", DAYS[0])
    assert told.exit_code != 0
    assert "exchange_catalog of binance" in str(told.exception)
    shop.fetch_catalogs()


@pytest.fixture(scope="module")
def three_days(shop):
    """Three days run from a saved plan; gives the plan, what it printed, and what was asked."""
    shop.fetch_catalogs()
    file = shop.root / "three.json"
    plan = shop.plan(DAYS[0], DAYS[2], "--assets", BARS, "--save", str(file))
    shop.asked_files()
    told = shop.tell("run", "--plan", str(file))
    assert told.exit_code == 0, told.output
    return plan, told.output, shop.asked_files(), file


def test_planning_asks_the_vendor_nothing(shop, three_days):
    shop.asked_files()
    shop.plan(DAYS[3], DAYS[3])
    assert shop.server.requests == ()


def test_a_run_of_a_plan_asks_for_exactly_its_files(three_days):
    plan, _, asked, _ = three_days
    planned = sum(one["files"] for one in plan["lines"])
    assert planned > 0
    assert len(asked) == planned


def test_a_second_plan_has_nothing_to_do(shop, three_days):
    again = shop.plan(DAYS[0], DAYS[2], "--assets", BARS)
    assert again["nothing_to_do"] is True
    assert sum(one["files"] for one in again["lines"]) == 0
    assert again["total"]["download_bytes"]["high"] == 0
    told = shop.tell(*("plan", "--start-date", DAYS[0], "--end-date", DAYS[2], "--assets", BARS))
    assert told.exit_code == 0
    assert "Nothing to do" in told.output


def test_a_plan_that_was_run_is_refused_and_says_what_changed(shop, three_days):
    told = shop.tell("run", "--plan", str(three_days[3]))
    assert told.exit_code != 0
    assert "the lake changed" in str(told.exception)
    assert "now nothing" in str(told.exception)


def test_actual_numbers_stand_beside_the_estimate(three_days):
    _, output, asked, file = three_days
    report = json.loads(file.with_suffix(".actual.json").read_text())
    assert report["whole"] is True
    files = sum(one["files"]["actual"] for one in report["lines"] if "files" in one)
    assert files == len(asked)
    assert all(one["seconds"]["actual"] > 0 for one in report["lines"])
    assert "What it took" in output


def test_the_fourth_day_lies_within_its_printed_range(shop, three_days):
    file = shop.root / "fourth.json"
    plan = shop.plan(DAYS[3], DAYS[3], "--assets", BARS, "--save", str(file))
    told = shop.tell("run", "--plan", str(file))
    assert told.exit_code == 0, told.output
    report = json.loads(file.with_suffix(".actual.json").read_text())
    raw = [one for one in report["lines"] if one["asset"].startswith("raw_ticks/")]
    assert len(raw) == len(TYPES)
    for one in raw:
        for measure in ("files", "requests", "download_bytes", "rows", "stored_bytes"):
            assert one[measure]["in_range"], (one["asset"], measure, one[measure])
    assert plan["nothing_to_do"] is False


def test_the_table_has_ranges_units_and_says_where_prices_come_from(shop, three_days):
    told = shop.tell(*("plan", "--start-date", DAYS[0], "--end-date", DAYS[2], "--force"))
    assert told.exit_code == 0
    assert "raw_ticks/trades" in told.output
    assert "mft_features/1h" in told.output
    assert "warehouse/candles_1h" in told.output
    assert "list price, check before quoting" in told.output
    assert "$0.00 once" in told.output
    assert "in a bucket and BigQuery: " in told.output
    assert "sizes of files: " in told.output
    assert " to " in told.output
    assert "time: " in told.output


def test_prices_of_a_file_and_limits_they_lead_to_are_told(shop, three_days):
    file = shop.root / "prices.yaml"
    file.write_text("vendor_quota: 0.000001\ngcs_standard: 5\n")
    plan = shop.plan(
        *(DAYS[0], DAYS[0], "--force", "--prices", str(file), "--download-rate", "3"),
        *("--max-instruments", "1", "--assets", "raw_ticks"),
    )
    assert plan["prices"]["gcs_standard"]["value"] == 5
    assert plan["prices"]["download_rate"]["value"] == 3
    assert any("transfer quota" in warning for warning in plan["warnings"])
    assert line(plan, "raw_ticks/trades")["files"] == len(VENUES)


WRONG = {
    "a date": (("--start-date", "08.08.2024", "--end-date", DAYS[0]), "not a date"),
    "the order": (("--start-date", DAYS[1], "--end-date", DAYS[0]), "before the first day"),
    "a venue": (
        ("--start-date", DAYS[0], "--end-date", DAYS[0], "--venues", "nyse"),
        "not a venue",
    ),
    "the grid": (
        ("--start-date", "2020-01-01", "--end-date", "2020-01-02"),
        "not in the partition grid",
    ),
    "a venue beside the grid": (
        ("--start-date", DAYS[0], "--end-date", DAYS[0], "--venues", "binance,upbit"),
        "not in the partition grid",
    ),
    "an asset": (
        ("--start-date", DAYS[0], "--end-date", DAYS[0], "--assets", "bars"),
        "a plan can be made for",
    ),
    "a part of a partition": (
        ("--start-date", DAYS[0], "--end-date", DAYS[0], "--max-instruments", "1", "--save", "x"),
        "together with --save",
    ),
    "a price file": (
        ("--start-date", DAYS[0], "--end-date", DAYS[0], "--prices", "nowhere.yaml"),
        "not a price file",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_named(shop, name):
    words, text = WRONG[name]
    told = shop.tell("plan", *words)
    assert told.exit_code != 0
    assert text in str(told.exception)


def test_a_plan_is_kept_where_it_can_be_written_and_checked_without_a_run(shop, three_days):
    lost = shop.tell(
        *("plan", "--start-date", DAYS[0], "--end-date", DAYS[0], "--save", "nowhere/plan.json")
    )
    assert "cannot be written" in str(lost.exception)
    file = shop.root / "forced.json"
    shop.plan(
        *(DAYS[0], DAYS[0], "--force", "--assets", "raw_ticks", "--venues", VENUES[0]),
        *("--save", str(file)),
    )
    shop.asked_files()
    told = shop.tell("run", "--plan", str(file), "--dry-run")
    assert told.exit_code == 0, told.output
    assert "files from the vendor" in told.output
    assert shop.asked_files() == []
    file.write_text(json.dumps({"version": 99}))
    assert "version 99" in str(shop.tell("run", "--plan", str(file)).exception)
    file.write_text("{")
    assert "not a saved plan" in str(shop.tell("run", "--plan", str(file)).exception)


def test_a_forced_plan_fetches_again_and_an_empty_one_does_nothing(shop, three_days):
    file = shop.root / "again.json"
    choice = ("--assets", "raw_ticks", "--venues", VENUES[0], "--data-types", "trades")
    plan = shop.plan(DAYS[0], DAYS[0], "--force", *choice, "--save", str(file))
    shop.asked_files()
    told = shop.tell("run", "--plan", str(file))
    assert told.exit_code == 0, told.output
    assert len(shop.asked_files()) == line(plan, "raw_ticks/trades")["files"] > 0
    empty = shop.root / "empty.json"
    shop.plan(DAYS[0], DAYS[0], *choice, "--save", str(empty))
    told = shop.tell("run", "--plan", str(empty))
    assert told.exit_code == 0
    assert "Nothing to do" in told.output


def test_tables_are_published_after_their_bars(shop, three_days):
    file = shop.root / "tables.json"
    plan = shop.plan(DAYS[0], DAYS[0], "--assets", "warehouse", "--save", str(file))
    assert plan["warehouse"]["candles_24h"] == [DAYS[0]]
    document = json.loads(file.read_text())
    assert document["work"] == []
    told = shop.tell("run", "--plan", str(file))
    assert told.exit_code == 0, told.output
    assert "ok     warehouse/candles_24h" in told.output
