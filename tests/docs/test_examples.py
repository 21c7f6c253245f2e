"""Every example of README and docs does what it says: Python, SQL and lines of the command."""

import re
import shlex
from pathlib import Path

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app

UsageError = typer.BadParameter.__base__  # of the parser that typer brings along
ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:tickhandler|python -m tickhandler_dagster) (.*)$")

# Read by the command's own parser alone, which knows every option and its values, and why.
ONLY_PARSED = {
    "backfill": "the daemon does it: tests/e2e/test_backfill_command.py",
    "bigquery-upload": "a mode, run by tests/e2e/test_modes.py",
    "candle-processing": "a mode, run by tests/e2e/test_modes.py",
    "check-gaps": "a mode, run by tests/e2e/test_modes.py",
    "demo": "tests/e2e/test_demo.py",
    "download": "a mode, run by tests/e2e/test_modes.py",
    "export": "its pages' Python blocks and tests/client do the same",
    "full-pipeline-ticks": "a mode, run by tests/e2e/test_modes.py",
    "instruments": "a mode, run by tests/e2e/test_modes.py",
    "metrics": "serves until it is stopped: tests/deploy/test_instance_metrics.py",
    "recheck": "asks the vendor: tests/e2e/test_recheck.py",
    "repair": "asks Dagster's instance: tests/e2e/test_repair_commands.py",
    "run": "a saved plan's runs: tests/e2e/test_plan_commands.py",
    "status": "asks Dagster's instance: tests/e2e/test_runbook.py",
    "streaming-candles": "goes on until it is stopped: tests/e2e/test_live_command.py",
    "streaming-ticks": "goes on until it is stopped: tests/e2e/test_live_command.py",
    "validate": "a mode, run by tests/e2e/test_modes.py",
}
# Blocks of Python and SQL that are compiled or left alone, by a text of theirs, and why.
ONLY_READ = {
    "broadcast": "needs a live session: tests/streaming/serving",
    "kline_differences": "klines of a venue: tests/e2e/test_kline_conformance.py",
    "marts.duckdb": "made by dbt: tests/dbt/test_dbt_marts.py",
}


def blocks(page, *kinds):
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind in kinds]


def command_lines(page):
    """The arguments of every line of the command, comments and what a shell does with it apart."""
    for text in blocks(page, "bash", "console", "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            match = COMMAND.match(line.removeprefix("$ "))
            if match:
                words = shlex.split(match[1], comments=True)
                ends = [place for place, word in enumerate(words) if word in {"||", "&&", "|", ">"}]
                yield words[: ends[0]] if ends else words


def parsed(words):
    """The command and the context that it would be called with; refuses what it does not know."""
    group = typer.main.get_command(app)
    with group.make_context("tickhandler", list(words)) as context:
        name, command, rest = group.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        command.make_context(name, rest, parent=context).close()
        return name


def test_a_wrong_option_is_seen():
    with pytest.raises(UsageError, match="No such option"):
        parsed(["plan", "--start-date", "2024-08-08", "--end-dates", "2024-08-08"])


def with_examples(*kinds):
    pages = [page for page in PAGES if blocks(page, *kinds)]
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def is_run(text):
    return not any(mark in text for mark in ONLY_READ)


@with_examples("python")
def test_python_of_a_page_runs_from_top_to_bottom(page, desk):
    names = {"__name__": page.stem}
    for number, text in enumerate(blocks(page, "python"), start=1):
        if is_run(text):
            code = compile(text, f"{page.name}, block {number}", "exec")
            exec(code, names)  # noqa: S102  (the repository's own text)


@with_examples("sql")
def test_sql_of_a_page_runs_over_the_lakes_files(page, desk):
    for text in filter(is_run, blocks(page, "sql")):
        assert duckdb.connect().execute(text).fetchall()


@with_examples("bash", "console", "sh")
def test_every_command_line_of_a_page_is_one(page):
    for words in command_lines(page):
        try:
            parsed(words)
        except UsageError as error:
            pytest.fail(f"tickhandler {shlex.join(words)}: {error.format_message()}")


def test_what_reads_the_lake_alone_runs(desk):
    pages = [page for page in PAGES if page.name != "runbook.md"]  # tests/e2e/test_runbook.py
    lines = {shlex.join(words) for page in pages for words in command_lines(page)}
    lines = sorted(line for line in lines if parsed(shlex.split(line)) not in ONLY_PARSED)
    assert {line.split()[0] for line in lines} >= {"plan", "report", "settings", "sql"}
    for line in lines:
        done = CliRunner().invoke(app, shlex.split(line), catch_exceptions=False)
        assert done.exit_code == 0, f"tickhandler {line}\n{done.output}"


def test_what_is_only_read_is_there_and_has_a_reason():
    said = "\n".join(text for page in PAGES for text in blocks(page, "python", "sql"))
    assert [mark for mark in ONLY_READ if mark not in said] == []
    commands = set(typer.main.get_command(app).commands)
    assert set(ONLY_PARSED) <= commands | {"export"}
    files = re.findall(r"tests/[\w/.]+", " ".join([*ONLY_PARSED.values(), *ONLY_READ.values()]))
    assert [file for file in files if not (ROOT / file.rstrip(".")).exists()] == []
