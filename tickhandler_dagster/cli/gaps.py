"""`tickhandler check-gaps`, `missing-tick-reports` and `validate`: look again, and say what is so.

What belongs here: which runs a span needs and the text at the end. What does not: the states
(`market/completeness.py`), the checks (`checks/`) and the report page (`report.py`).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.assets import instruments
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.cli.report import write_report
from tickhandler_dagster.market.data_types import parse_data_type
from tickhandler_dagster.market.days import VenueDay, parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.repair_plan import CellRange, LakeLayout, cell_ranges
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import parse_venue
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan, completeness_batches

FIRST_ROWS = 20
COMPLETE = ("completeness", "complete")
REPORT_FOLDER = Path("report")

_SHOWN = ("date", "venue", "data_type", "instrument_key", "state", "reason")
_MISSING = tuple(str(state) for state in DataState if state.is_missing)


@dataclass(frozen=True)
class Span:
    """Days and venues of a command.

    Attributes:
        report: Days, venues and data types, as the report takes them.
        cells: Cells of the grid among them.
    """

    report: ReportSpan
    cells: tuple[VenueDay, ...]

    @classmethod
    def parse(
        cls,
        start: str,
        end: str,
        venues: Sequence[str],
        data_types: Sequence[str],
        platform: Platform,
    ) -> Span:
        """The span that these texts mean.

        Raises:
            InvalidInput: a date or a name is wrong, the span ends before it starts, or part of it
                is not in the partition grid.
        """
        settings = platform.settings
        named = tuple(map(parse_venue, venues)) or tuple(settings.download_venues)
        types = tuple(map(parse_data_type, data_types)) or tuple(settings.download_data_types)
        report = ReportSpan(
            start=parse_date(start),
            end=parse_date(end),
            venues=tuple(dict.fromkeys(named)),
            data_types=tuple(dict.fromkeys(types)),
        )
        _check_in_grid(report, platform.scope.layout())
        cells = tuple(VenueDay(day, venue) for venue in report.venues for day in report.days)
        return cls(report, cells)


def _check_in_grid(report: ReportSpan, layout: LakeLayout) -> None:
    outside = [day for day in report.days if not layout.first_day <= day <= layout.last_day]
    if outside:
        raise InvalidInput(
            f"{outside[0]} to {outside[-1]}" if len(outside) > 1 else str(outside[0]),
            "not in the partition grid",
            expected=f"days from {layout.first_day} to {layout.last_day}",
            remedy="Name other days, or move PARTITION_START_DATE or PARTITION_END_DATE",
        )
    unknown = [venue for venue in report.venues if venue not in layout.venues]
    if unknown:
        raise InvalidInput(
            ", ".join(unknown),
            "not in the partition grid",
            expected=f"venues {', '.join(layout.venues)}",
            remedy="Add it to DOWNLOAD_VENUES, or name other venues",
        )


@dataclass(frozen=True)
class Missing:
    """What is missing in a span.

    Attributes:
        counts: Number of rows by data type and state.
        first: The first rows, as `_SHOWN`.
        failed: Runs that failed, each as text; about their days nothing new is known.
    """

    counts: Counter[tuple[str, str]]
    first: list[tuple[str, ...]]
    failed: list[str]

    @property
    def is_none(self) -> bool:
        """Nothing is missing, and everything was looked at."""
        return not self.counts and not self.failed


def run_check_gaps(platform: Platform, span: Span, *, as_json: bool) -> bool:
    """Look at the span again and print what is missing.

    Returns:
        Whether nothing is.
    """
    missing = look(platform, span)
    if as_json:
        _print_json(missing_json(missing))
    else:
        _print_missing(missing)
    return missing.is_none


def run_missing_tick_reports(platform: Platform, span: Span, *, as_json: bool) -> bool:
    """The same, and the report page of the span.

    Returns:
        Whether nothing is missing.
    """
    missing = look(platform, span)
    _, paths = write_report(span.report, platform.settings, REPORT_FOLDER)
    if as_json:
        _print_json({**missing_json(missing), "paths": [str(path) for path in paths]})
    else:
        _print_missing(missing)
        for path in paths:
            Console().print(str(path), highlight=False)
    return missing.is_none


def run_validate(platform: Platform, span: Span, *, as_json: bool, is_typed: bool = False) -> bool:
    """Run every check that stands apart from the data's own run.

    Args:
        platform: Where.
        span: Days, venues and data types.
        as_json: Print JSON.
        is_typed: Of completeness only the span's data types decide.

    Returns:
        Whether all passed.
    """
    found = checks_of(platform, span)
    if is_typed:
        found = _of_types(platform, span, found)
    if as_json:
        _print_json(found.as_json())
    else:
        print_checks(found)
    return found.is_well


@dataclass(frozen=True)
class Checks:
    """What the checks of a span say.

    Attributes:
        passed: Number of partitions by asset and check.
        broken: Partitions by asset and check that failed.
        failed: Runs that failed, each as text.
    """

    passed: Counter[tuple[str, str]]
    broken: dict[tuple[str, str], list[str]]
    failed: list[str]

    @property
    def is_well(self) -> bool:
        """Every check passed, and everything was looked at."""
        return not (self.broken or self.failed)

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "passed": {"/".join(name): count for name, count in sorted(self.passed.items())},
            "failed": {"/".join(name): cells for name, cells in sorted(self.broken.items())},
            "failed_runs": self.failed,
        }


def checks_of(platform: Platform, span: Span) -> Checks:
    """Run the job `validate` over the span."""
    failed = _list_instruments(platform, span)
    passed: Counter[tuple[str, str]] = Counter()
    broken: dict[tuple[str, str], list[str]] = {}
    for part in cell_ranges(span.cells):
        result = platform.run_job("validate", part)
        failed += run_failures(part, result)
        for check in evaluations(result):
            name = (check.asset_key.to_user_string(), check.check_name)
            if check.passed:
                passed[name] += 1
            else:
                broken.setdefault(name, []).append(str(check.partition or part))
    return Checks(passed, broken, failed)


def _of_types(platform: Platform, span: Span, found: Checks) -> Checks:
    """The same, but what the span's data types lack decides of completeness."""
    policy = platform.settings.quality_policy or QualityPolicy()
    bad: set[str] = set()
    for batch in completeness_batches(span.report, lake=platform.lake, policy=policy):
        rows = batch.rows.filter(pl.col("verdict") != str(Verdict.IGNORE))
        bad |= {f"{day}|{venue}" for day, venue in rows.select("date", "venue").iter_rows()}
    cells = {str(cell) for cell in span.cells}
    passed, broken = Counter(found.passed), dict(found.broken)
    broken.pop(COMPLETE, None)
    passed[COMPLETE] = len(cells - bad)
    return Checks(passed, {**broken, **({COMPLETE: sorted(bad)} if bad else {})}, found.failed)


def look(platform: Platform, span: Span) -> Missing:
    """Make the record of the span anew, and read what it lacks."""
    failed = _list_instruments(platform, span)
    for part in cell_ranges(span.cells):
        failed += run_failures(part, platform.run_job("check_gaps", part))
    counts: Counter[tuple[str, str]] = Counter()
    first: list[tuple[str, ...]] = []
    policy = platform.settings.quality_policy or QualityPolicy()
    for batch in completeness_batches(span.report, lake=platform.lake, policy=policy):
        rows = batch.rows.filter(pl.col("state").is_in(_MISSING))
        for data_type, state, number in (
            rows.group_by("data_type", "state").agg(pl.len()).iter_rows()
        ):
            counts[data_type, state] += number
        head = rows.select(_SHOWN).head(FIRST_ROWS - len(first))
        first += [tuple(map(str, row)) for row in head.iter_rows()]
    return Missing(counts, first, failed)


def _list_instruments(platform: Platform, span: Span) -> list[str]:
    """Make the universes that are missing: without one nothing says what a day should have."""
    absent = [
        cell
        for cell in span.cells
        if not platform.lake.exists(InstrumentsFile(cell.date, cell.venue))
    ]
    failed: list[str] = []
    for part in cell_ranges(absent):
        failed += run_failures(part, platform.run_assets([instruments.KEY], part))
    return failed


def run_failures(part: CellRange | str, result: dg.ExecuteInProcessResult) -> list[str]:
    """Why the run failed, one text per step; empty where it did not."""
    texts = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            told = data.user_failure_data.description if data.user_failure_data else None
            texts.append(f"{part}: {told or (data.error.message.strip() if data.error else '')}")
    return texts if texts or result.success else [f"{part}: run {result.run_id} failed"]


def evaluations(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    """One per check and cell; those that stand for a whole range only where no cell has its own."""
    found = result.get_asset_check_evaluations()
    with_cells = {(one.asset_key, one.check_name) for one in found if one.partition}
    return [
        one for one in found if one.partition or (one.asset_key, one.check_name) not in with_cells
    ]


def _print_missing(missing: Missing) -> None:
    screen = Console()
    for text in missing.failed:
        screen.print(f"failed {text}", highlight=False)
    if not missing.counts:
        screen.print("Nothing is missing." if missing.is_none else "Not everything was looked at.")
        return
    table = Table("data type", "state", "rows")
    for (data_type, state), count in sorted(missing.counts.items()):
        table.add_row(data_type, state, f"{count:,}")
    screen.print(table)
    for row in missing.first:
        screen.print("  ".join(row), highlight=False, markup=False)
    hidden = sum(missing.counts.values()) - len(missing.first)
    if hidden:
        screen.print(f"and {hidden:,} more")


def print_checks(found: Checks) -> None:
    """A line per check, then why runs failed."""
    screen = Console()
    table = Table("asset", "check", "passed", "failed", "first that failed")
    for name in sorted({*found.passed, *found.broken}):
        cells = found.broken.get(name, [])
        count = f"{found.passed[name]:,}"
        table.add_row(*name, count, f"{len(cells):,}", ", ".join(sorted(cells)[:3]))
    screen.print(table)
    for text in found.failed:
        screen.print(f"failed {text}", highlight=False, markup=False)


def missing_json(missing: Missing) -> dict[str, object]:
    """Counts, the first rows, and why runs failed."""
    return {
        "missing": [
            {"data_type": data_type, "state": state, "rows": count}
            for (data_type, state), count in sorted(missing.counts.items())
        ],
        "first": [dict(zip(_SHOWN, row, strict=True)) for row in missing.first],
        "failed_runs": missing.failed,
    }


def _print_json(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
