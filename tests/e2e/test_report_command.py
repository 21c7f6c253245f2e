"""`tickhandler report` as it is typed: files, closing table, exit codes, refusals."""

import datetime as dt
import json
import subprocess
import sys

import polars as pl
import pytest
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

DAY = dt.date(2024, 8, 8)
SPAN = ("--start-date", "2024-08-08", "--end-date", "2024-08-09")
CHOICE = ("--venues", "binance", "--data-types", "trades")


@pytest.fixture
def run(tmp_path, completeness_tables):
    """Run the command over a lake of two days; `command` is what is typed."""
    make = completeness_tables.row
    completeness_tables.write(
        make("BTC-USDT", rows=10),
        make("ETH-USDT", "partial", gaps=1, gap_us=1_000_000),
        make("BTC-USDT", day=DAY + dt.timedelta(days=1), rows=10),
    )
    settings = tmp_path / "settings.env"
    settings.write_text(f"LAKE_ROOT={tmp_path / 'lake'}\n", encoding="utf-8")

    def invoke(*command):
        files = ("--output", str(tmp_path / "out"), "--env-file", str(settings))
        return CliRunner().invoke(app, ["report", *command, *files])

    invoke.folder = tmp_path / "out"
    invoke.settings = settings
    return invoke


def test_the_page_and_the_rows_are_written_and_counted(run):
    result = run(*SPAN, *CHOICE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.split("\n")
    assert any(line.split() == ["present", "2", "0"] for line in lines)
    assert any(line.split() == ["partial", "1", "0"] for line in lines)
    names = ("completeness.html", "completeness.csv", "completeness.parquet")
    for name in names:
        assert str(run.folder / name) in lines
    assert {file.name for file in run.folder.iterdir()} == set(names)
    assert pl.read_parquet(run.folder / "completeness.parquet").height == 3


def test_a_second_report_is_the_same_bytes(run):
    run(*SPAN, *CHOICE)
    before = {file.name: file.read_bytes() for file in run.folder.iterdir()}
    run(*SPAN, *CHOICE)
    assert {file.name: file.read_bytes() for file in run.folder.iterdir()} == before


def test_the_summary_is_json_and_nothing_else(run):
    summary = json.loads(run(*SPAN, *CHOICE, "--json").stdout)
    assert summary["instrument_days"]["present"] == 2
    assert summary["worst_verdict"] == "warning"
    assert summary["totals"]["rows"] == 20
    assert summary["paths"][0].endswith("completeness.html")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ((*SPAN, *CHOICE), 0),
        ((*SPAN, *CHOICE, "--fail-on", "error"), 0),
        ((*SPAN, *CHOICE, "--fail-on", "warning"), 1),
    ],
)
def test_the_exit_code_follows_the_policy(run, command, code):
    assert run(*command).exit_code == code


def test_without_a_choice_all_venues_and_types_of_the_settings_are_shown(run):
    with run.settings.open("a", encoding="utf-8") as file:
        file.write("DOWNLOAD_VENUES=upbit\nDOWNLOAD_DATA_TYPES=trades,quotes\n")
    summary = json.loads(run(*SPAN, "--json").stdout)
    assert summary["venues"] == ["upbit"]
    assert summary["data_types"] == ["trades", "quotes"]
    assert summary["cells_without_table"]["not_ingested"] == 4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("--start-date", "2023/05/23", "--end-date", "2024-08-08"), "'2023/05/23': not a date"),
        (("--start-date", "2024-08-09", "--end-date", "2024-08-08"), "--end-date: before --start"),
        ((*SPAN, "--venues", "binanse"), "'binanse': "),
        ((*SPAN, "--data-types", "tradez"), "'tradez': not a data type"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(run, command, message):
    result = run(*command)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
    assert not run.folder.exists()


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tickhandler_dagster", "report"),
            *("--start-date", "2023/05/23", "--end-date", "2024-08-08"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("'2023/05/23': not a date (expected YYYY-MM-DD).")
    assert done.stderr.count("\n") == 1


def test_a_report_over_real_runs_says_what_they_left(tmp_path, make_platform):
    platform, _ = make_platform(Simulator(5, scale=0.02), [VenueId.UPBIT])
    cells = ("2024-08-08|upbit", "2024-08-09|upbit")
    platform.prepare("upbit", *cells)
    assert platform.run("raw_ticks/trades", partition=cells[0]).success
    platform.run("completeness", partition=cells[0])
    settings = tmp_path / "settings.env"
    settings.write_text(f"LAKE_ROOT={platform.settings.lake_root}\n", encoding="utf-8")
    result = CliRunner().invoke(
        app,
        [
            *("report", *SPAN, "--venues", "upbit", "--data-types", "trades", "--json"),
            *("--output", str(tmp_path / "out"), "--env-file", str(settings)),
        ],
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    present = sum(row.state == "present" for row in platform.states(cells[0]).values())
    counts = summary["instrument_days"]
    assert present > 0
    assert counts["present"] + counts["partial"] == present
    assert summary["cells_without_table"]["not_ingested"] == 1  # the day nobody looked at
    page = (tmp_path / "out" / "completeness.html").read_text(encoding="utf-8")
    assert "Simulated data" in page
