"""The modes of the earlier system and the commands of this one: one table for docs and tests.

What belongs here: each old form with its new one, what it does, and its place in the page. What
does not: the commands. `D` stands for a day, `S` for
symbols; the tests run every line with real ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A line of the table.

    Attributes:
        old: The earlier mode; empty where there was none.
        new: The command.
        what: What it does.
        page: Where the same is in Dagster's page.
    """

    old: str
    new: str
    what: str
    page: str


SPAN = "--start-date D --end-date D"

COMMANDS: tuple[CommandLine, ...] = (
    CommandLine(
        "check-gaps",
        f"check-gaps {SPAN}",
        "what every day should have and lacks; exit code 1 where something is missing",
        "job `check_gaps`",
    ),
    CommandLine(
        "instruments",
        f"instruments {SPAN}",
        "catalogues of the venues, then the instruments of every day",
        "`exchange_catalog`, `instruments`",
    ),
    CommandLine(
        "missing-tick-reports",
        f"missing-tick-reports {SPAN}",
        "the same as `check-gaps`, and the page of `report`",
        "job `missing_tick_reports`",
    ),
    CommandLine(
        "download",
        f"download {SPAN}",
        "ticks that are missing; `--force` fetches what is there as well",
        "`raw_ticks/*`",
    ),
    CommandLine(
        "candle-processing",
        f"candle-processing {SPAN}",
        "option surfaces, then candles of seven timeframes with their features",
        "`options_surface`, `candles/*`",
    ),
    CommandLine(
        "mft-processing",
        f"mft-processing {SPAN}",
        "mid-frequency features, then the named sets",
        "`mft_features/*`, `mft_sets/*`",
    ),
    CommandLine(
        "bigquery-upload",
        f"bigquery-upload {SPAN}",
        "the warehouse's tables (`WAREHOUSE`: BigQuery or DuckDB), all venues of the lake",
        "`warehouse/*`",
    ),
    CommandLine(
        "validate",
        f"validate {SPAN}",
        "every check that stands apart from the data's own run; passed and failed per check",
        "job `validate`",
    ),
    CommandLine(
        "full-pipeline-ticks",
        f"full-pipeline-ticks {SPAN}",
        "check-gaps, instruments, missing-tick-reports, download, validate; with `--all` candles, "
        "features and tables before the last",
        "the same assets",
    ),
    CommandLine(
        "",
        f"plan {SPAN}",
        "what it would fetch, store and cost; starts nothing",
        "",
    ),
    CommandLine(
        "",
        f"report {SPAN}",
        "completeness as an HTML page, CSV and Parquet",
        "job `missing_tick_reports`",
    ),
    CommandLine(
        "",
        f"status {SPAN}",
        "what is materialized, failed, running or missing, and the queue",
        "the assets' grids",
    ),
    CommandLine(
        "",
        "repair --since D --until D",
        "what failed or is missing, and what is made of it, again",
        "job `repair`",
    ),
    CommandLine(
        "",
        f"backfill {SPAN}",
        "assets by name, by the daemon; `--wait` follows it, `--missing`, `--dry-run`",
        "*Materialize*, a range",
    ),
)
"""Every command about days that runs and ends."""

LIVE_COMMANDS: tuple[CommandLine, ...] = (
    CommandLine(
        "streaming-ticks",
        "streaming-ticks --symbol S",
        "live ticks as they come, until it is stopped",
        "the live assets",
    ),
    CommandLine(
        "streaming-candles",
        "streaming-candles --symbol S",
        "live candles as they close, until it is stopped",
        "the live assets",
    ),
)
"""Commands without days; they run until somebody stops them."""


def command_table() -> str:
    """The table as docs/commands.md has it."""
    rows = [
        f"| {f'`--mode {line.old}`' if line.old else ''} | `tickhandler {line.new}` "
        f"| {line.what} | {line.page} |"
        for line in (*COMMANDS, *LIVE_COMMANDS)
    ]
    header = ["| earlier mode | command | what it does | in the page |", "|---|---|---|---|"]
    return "\n".join([*header, *rows]) + "\n"
