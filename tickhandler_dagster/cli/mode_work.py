"""From what a mode was told to its runs and its closing table.

What belongs here: opening the platform, reading the selection, the order of a full pipeline. What
does not: the steps (`modes.py`) and looking for what is missing (`gaps.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tickhandler_dagster.cli.gaps import (
    REPORT_FOLDER,
    Missing,
    Span,
    checks_of,
    look,
    missing_json,
    print_checks,
)
from tickhandler_dagster.cli.mode_request import ModeRequest
from tickhandler_dagster.cli.mode_runs import ModeRuns
from tickhandler_dagster.cli.mode_screen import ModeScreen
from tickhandler_dagster.cli.modes import STEPS, Choice, Mode
from tickhandler_dagster.cli.options import names
from tickhandler_dagster.cli.platform import Platform, open_platform
from tickhandler_dagster.cli.report import write_report
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.restriction import Restriction, parse_instrument_type

MODE_TAG = "tickhandler/mode"
FULL_PIPELINE = "full-pipeline-ticks"


def run_mode(mode: Mode, request: ModeRequest) -> bool:
    """Run a mode and print what became of every partition.

    Returns:
        Whether every run succeeded and no check is an error.

    Raises:
        InvalidInput: a date or a name is wrong, or not in the grid.
    """
    with _opened(str(mode), request) as work:
        with work.screen.live():
            STEPS[mode](work.runs, work.choice)
        work.screen.close(work.runs)
    return work.runs.is_well


def run_full_pipeline(request: ModeRequest, *, is_all: bool) -> bool:
    """Look for gaps, list instruments, report what is missing, fetch it, and validate.

    Args:
        request: What the command was told.
        is_all: Between fetching and validating also make candles, features and tables.

    Returns:
        Whether every run succeeded and every check of the validation passed. What was missing
        before the download decides nothing.

    Raises:
        InvalidInput: a date or a name is wrong, or not in the grid.
    """
    with _opened(FULL_PIPELINE, request) as work:
        with work.screen.live():
            before = work.look()
            work.step(Mode.INSTRUMENTS, work.exchanges)
            paths = work.report()
            for mode in _making(is_all=is_all):
                work.step(mode, work.choice)
            checks = checks_of(work.platform, work.choice.span)
        more: Mapping[str, object] = {
            "missing_before": missing_json(before),
            "report": paths,
            "validate": checks.as_json(),
        }
        work.screen.close(work.runs, more)
        if not request.as_json:
            print_checks(checks)
    return work.runs.is_well and checks.is_well


def _making(*, is_all: bool) -> Sequence[Mode]:
    derived = (Mode.CANDLES, Mode.FEATURES, Mode.WAREHOUSE)
    return (Mode.DOWNLOAD, *(derived if is_all else ()))


@dataclass(frozen=True)
class _Work:
    platform: Platform
    screen: ModeScreen
    runs: ModeRuns
    choice: Choice
    exchanges: Choice

    def step(self, mode: Mode, choice: Choice) -> None:
        self.screen.say(f"{mode}:")
        STEPS[mode](self.runs, choice)

    def look(self) -> Missing:
        """What is missing before anything is fetched, where the listings are there to know it."""
        self.screen.say("check-gaps:")
        missing = look(self.platform, self.choice.span)
        self.screen.say(f"       {sum(missing.counts.values()):,} instruments and types missing")
        return missing

    def report(self) -> list[str]:
        self.screen.say("missing-tick-reports:")
        report = self.choice.span.report
        _, paths = write_report(report, self.platform.settings, REPORT_FOLDER)
        for path in paths:
            self.screen.say(f"       {path}")
        return [str(path) for path in paths]


@contextlib.contextmanager
def _opened(mode: str, request: ModeRequest) -> Iterator[_Work]:
    # Before the platform: what was typed wrong is told at once.
    for text in (request.start, request.end):
        parse_date(text)
    restriction = Restriction(
        frozenset(map(parse_instrument_type, names(request.instrument_types))),
        request.max_instruments,
    )
    screen = ModeScreen(as_json=request.as_json)
    with open_platform(
        request.env_file,
        request.config_file,
        is_verbose=request.is_verbose,
        log_level=request.log_level,
        on_progress=screen.on_progress,
    ) as platform:
        span = _span(platform, request, request.venues)
        choice = Choice(span, restriction, request.is_forced, request.max_workers)
        listed = _span(platform, request, request.exchanges) if request.exchanges else span
        tagged = replace(platform, tags={MODE_TAG: mode, **choice.tags})
        yield _Work(tagged, screen, ModeRuns(tagged, screen), choice, Choice(listed))


def _span(platform: Platform, request: ModeRequest, venues: str) -> Span:
    types = names(request.data_types)
    return Span.parse(request.start, request.end, names(venues), types, platform)
