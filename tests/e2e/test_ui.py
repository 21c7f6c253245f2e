"""The page as a person has it: a real browser over a real installation, the sandbox as the vendor.

`SCREENSHOTS=DIR` keeps the pictures of every step in a folder, for whoever wants to look.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from doubles.installation import new_home, settings_over
from doubles.small_market import SmallMarket

from tickhandler_dagster.cli.mode_work import MODE_TAG
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

VENUES = ("binance", "deribit")
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-PERPETUAL")
FIRST, LAST = "2024-08-05", "2024-08-12"
DAYS = 8
FETCHED = ("2024-08-08", "2024-08-09")
BROKEN = f"{FETCHED[1]}|binance"
LISTED = ("2024-08-08", "2024-08-11")
CLICKED = ("2024-08-10", "2024-08-11")
TRADES = "raw_ticks/trades"
VISIBLE_S = 60
BACKFILL_S = 180


class Installation:
    """A page and a daemon over an instance, and a terminal beside them."""

    def __init__(self, settings, folder):
        self.settings = settings
        self.folder = folder
        self.url = ""

    def tell(self, *words):
        done = subprocess.run(
            [sys.executable, "-m", "tickhandler_dagster", *words],
            cwd=self.folder,
            env={**os.environ, **child_environment(self.settings)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done

    def runs(self, **tags):
        with dg.DagsterInstance.from_config(str(self.settings.dagster_home)) as instance:
            return instance.get_runs(filters=dg.RunsFilter(tags=tags or None))


@pytest.fixture(scope="module")
def installation(tmp_path_factory, open_services):
    """Two days of two venues fetched from a terminal, one file of them broken; more days listed."""
    folder = tmp_path_factory.mktemp("installation")
    with SandboxServer(SmallMarket(*MARKET)) as vendor:
        vendor.faults.add(
            FaultRule(
                Fault.CORRUPT_GZIP, "binance", data_type="trades", date=FETCHED[1], symbol="ETH*"
            )
        )
        settings = settings_over(
            vendor, folder, VENUES, days=(FIRST, LAST), dagster_home=new_home(folder)
        )
        with open_services(child_environment(settings), folder) as services:
            console = Installation(settings, folder)
            location = services.start_code("-m", "tickhandler_dagster.definitions")
            port = services.free_port()
            services.start("page", "-m", "dagster_webserver", "-p", str(port), *location)
            services.start_daemon(location)
            services.wait_for(port)
            console.url = f"http://127.0.0.1:{port}"
            console.tell("instruments", "--start-date", LISTED[0], "--end-date", LISTED[1])
            span = ("--start-date", FETCHED[0], "--end-date", FETCHED[1])
            console.tell("download", *span, "--data-types", "trades")
            yield console


class Screen:
    """One tab of the browser: what is visible, and pictures of it."""

    def __init__(self, tab, url, folder):
        self._tab = tab
        self._url = url
        self._folder = folder
        self.broken = []
        tab.set_default_timeout(VISIBLE_S * 1_000)
        tab.on("pageerror", lambda error: self.broken.append(str(error)))
        tab.on("response", self._read)

    def _read(self, response):
        if response.status >= 500:
            self.broken.append(f"{response.status} {response.url}")

    def open(self, path):
        self._tab.goto(f"{self._url}{path}")

    def shown(self, text):
        """Every visible element with exactly this text; long names are there twice, once hidden."""
        return self._tab.locator(f"text={json.dumps(text)} >> visible=true")

    def see(self, text):
        self.shown(text).first.wait_for()

    def click(self, text):
        self.shown(text).last.click()

    def press(self, name):
        self._tab.get_by_role("button", name=name).last.click()

    def keep(self, name):
        """A picture of the tab as it is, which is no empty one."""
        # For whoever looks, what moves has arrived.
        self._tab.wait_for_timeout(700 if "SCREENSHOTS" in os.environ else 50)
        file = self._folder / f"{name}.png"
        self._tab.screenshot(path=file)
        assert file.stat().st_size > 20_000

    def __getattr__(self, name):
        return getattr(self._tab, name)


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    asked = os.environ.get("SCREENSHOTS")
    folder = Path(asked) if asked else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def screen(browser, installation, screenshots):
    with browser(viewport={"width": 1600, "height": 1000}) as context:
        screen = Screen(context.new_page(), installation.url, screenshots)
        yield screen
        assert not screen.broken


@pytest.fixture(scope="module")
def repository(installation):
    return build_definitions(installation.settings).get_repository_def()


def test_the_graph_shows_every_group_from_the_vendor_to_the_tables(screen, repository):
    groups = {node.group_name for node in repository.asset_graph.asset_nodes}
    assert "default" not in groups
    screen.open("/asset-groups")
    for group in groups:
        screen.see(group)
    flow = ("reference", "raw_ticks", "candles", "warehouse")
    places = [screen.shown(group).last.bounding_box()["x"] for group in flow]
    assert places == sorted(places)
    assert len(set(places)) == len(flow)
    screen.keep("asset-graph")


def test_every_asset_says_what_it_is_and_how_it_is_stored(screen, repository):
    nodes = [repository.asset_graph.get(key) for key in repository.asset_graph.get_all_asset_keys()]
    assert all(node.description for node in nodes)
    assert {node.key.to_user_string() for node in nodes if not node.kinds} <= {
        node.key.to_user_string() for node in nodes if node.key.path[0] == "candle_history"
    }
    screen.open(f"/assets/{TRADES}?view=overview")
    screen.get_by_text("verified ticks of every instrument").first.wait_for()
    screen.get_by_text("Time of arrival at the vendor's recorder").first.wait_for()
    text = screen.inner_text("body")
    assert "local_timestamp" in text
    assert "Unit: UTC." in text
    screen.keep("asset-overview")


def test_the_grid_says_which_cells_are_there_and_which_are_missing(screen):
    cells, there = DAYS * len(VENUES), len(FETCHED) * len(VENUES)
    screen.open(f"/assets/{TRADES}?view=partitions")
    screen.see(f"Materialized ({there})")
    screen.see(f"Missing ({cells - there})")
    screen.see("Failed (0)")
    screen.keep("partition-grid")
    screen.click(FETCHED[0])
    screen.click("deribit")
    screen.see(f"{FETCHED[0]}|deribit")
    screen.see("Simulated data")
    text = screen.inner_text("body")
    for label in ("states", "instruments", "size in bytes", "files fetched", "rows in quarantine"):
        assert label in text
    screen.keep("cell-with-metadata")
    screen.click(FIRST)
    screen.click("deribit")
    screen.see(f"{FIRST}|deribit")
    screen.see("No metadata entries")
    screen.keep("missing-cell")


def test_a_failed_check_leads_to_the_list_of_its_instruments(screen):
    screen.open(f"/assets/{TRADES}?view=checks&checkDetail=complete")
    screen.get_by_text("non-blocking").wait_for()
    screen.get_by_role("tab", name="Partitions").nth(1).click()
    screen.see("Failed (1)")
    screen.see(f"Passed ({len(FETCHED) * len(VENUES) - 1})")
    screen.click(FETCHED[1])
    screen.click("binance")
    screen.see(BROKEN)
    screen.keep("failed-check")
    screen.click("[Show Markdown]")
    screen.see("quarantined")
    text = screen.get_by_role("dialog").last.inner_text()
    assert re.search(r"BINANCE:SPOT_PAIR:ETH-\w+", text)
    assert "error" in text
    screen.keep("failed-check-list")


def test_a_range_says_which_of_its_cells_failed(screen, installation):
    (run,) = (
        run
        for run in installation.runs(**{MODE_TAG: "download"})
        if run.asset_selection == {dg.AssetKey(TRADES.split("/"))}
        and run.tags["dagster/asset_partition_range_end"] == BROKEN
    )
    screen.open(f"/runs/{run.run_id}")
    screen.get_by_text(f"{BROKEN}. The tab Partitions").first.wait_for()
    screen.keep("run-with-a-failed-check")


def test_a_run_of_the_terminal_is_a_run_of_the_page(screen, installation):
    screen.open("/runs")
    screen.get_by_text(f"{MODE_TAG}: download").first.wait_for()
    screen.keep("runs")
    run = installation.runs(**{MODE_TAG: "download"})[0]
    screen.open(f"/runs/{run.run_id}")
    screen.see("Success")
    screen.press("View tags and config")
    dialog = screen.get_by_role("dialog")
    dialog.get_by_text(f"{MODE_TAG}: download").first.wait_for()
    screen.keep("run-of-the-terminal")


def test_a_backfill_is_launched_by_clicking_and_its_cells_turn_green(screen, installation):
    screen.open(f"/assets/{TRADES}?view=partitions")
    screen.see(f"Materialized ({len(FETCHED) * len(VENUES)})")
    screen.press("Materialize")
    dialog = screen.get_by_role("dialog")
    dialog.get_by_placeholder("ex: ").fill(f"[{CLICKED[0]}...{CLICKED[1]}]")
    screen.keyboard.press("Tab")
    dialog.get_by_text("Select a partition").click()
    screen.click("binance")
    screen.keyboard.press("Escape")
    dialog.get_by_text("2 partitions").wait_for()
    screen.keep("launching-a-backfill")
    dialog.get_by_role("button", name="Launch backfill").click()
    dialog.wait_for(state="detached")
    deadline = time.monotonic() + BACKFILL_S
    green = f"Materialized ({len(FETCHED) * len(VENUES) + len(CLICKED)})"
    while True:
        screen.open(f"/assets/{TRADES}?view=partitions")
        screen.get_by_text("Materialized (").first.wait_for()
        screen.wait_for_timeout(1_500)
        if screen.shown(green).count():
            break
        assert time.monotonic() < deadline, screen.inner_text("body")
    screen.click(CLICKED[0])
    screen.click("binance")
    screen.see(f"{CLICKED[0]}|binance")
    screen.keep("backfilled-cell")
    screen.open("/runs?view=backfills")
    screen.get_by_text("2 partitions").first.wait_for()
    screen.keep("backfills")
    (run,) = (run for run in installation.runs() if "dagster/backfill" in run.tags)
    terminal = installation.runs(**{MODE_TAG: "download"})[0]
    assert run.job_name == terminal.job_name
    ends = {f"dagster/asset_partition_range_{end}" for end in ("start", "end")}
    assert ends <= run.tags.keys() & terminal.tags.keys()
    assert [run.tags[end] for end in sorted(ends, reverse=True)] == [
        f"{day}|binance" for day in CLICKED
    ]


def test_the_clock_is_on_the_page_and_says_what_it_starts(screen, repository):
    clocks = repository.schedule_defs
    assert clocks
    assert all(clock.description for clock in clocks)
    screen.open("/automation")
    for clock in clocks:
        screen.see(clock.name)
    screen.keep("automation")


def test_the_jobs_are_there_with_their_words(screen, repository):
    names = [name for name in repository.job_names if not name.startswith("__")]
    assert all(repository.get_job(name).description for name in names)
    screen.open("/jobs")
    for name in names:
        screen.see(name)
    screen.keep("jobs")


def test_a_live_session_is_seen_beside_the_batch(screen, installation):
    told = installation.tell(
        *("streaming-candles", "--symbol", "*", "--venues", "binance", "--data-types", "trades"),
        *("--replay", str(installation.settings.lake_root), "--to-now", "--duration", "6s"),
    )
    assert told.returncode == 0, told.stderr
    screen.open("/assets/live/feed")
    screen.see("External Asset")
    screen.see("Fails if more than 15 minutes since last materialization")
    assert "Never materialized" not in screen.inner_text("body")
    screen.keep("live-feed")
    screen.open("/assets/live/feed?view=checks")
    screen.see("fed")
    screen.see("in_time")
    screen.keep("live-checks")
