"""`tickhandler recheck`: which files the vendor has changed, what reads them, and fetching again.

What belongs here: which runs a span needs and the text at the end. What does not: the comparison
(`market/revisions.py`) and what has to run again (`market/repair_plan.py`).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tickhandler_dagster.assets import revisions as revisions_asset
from tickhandler_dagster.automation.repair_job import PLAN_HEADER, plan_rows
from tickhandler_dagster.automation.repair_runs import run_plan
from tickhandler_dagster.checks.revision_outcomes import HEADER, revision_line
from tickhandler_dagster.cli.gaps import Span, run_failures
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.cli.repair import HereStages
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.repair_plan import RepairPlan, cell_ranges
from tickhandler_dagster.market.revisions import Revision
from tickhandler_dagster.pipeline.recheck import (
    has_manifest,
    plan_refetch,
    read_revisions,
    to_repair,
)


@dataclass(frozen=True)
class Recheck:
    """What a recheck found.

    Attributes:
        revisions: Results of the span, of the data types that were asked about.
        failed: Runs that failed, each as text; about their days nothing new is known.
    """

    revisions: tuple[Revision, ...]
    failed: tuple[str, ...]

    @property
    def others(self) -> tuple[Revision, ...]:
        """Results of files that are not as they were taken, as far as anyone can tell."""
        return tuple(item for item in self.revisions if not item.state.is_as_taken)

    @property
    def is_as_taken(self) -> bool:
        """Every file is the one that was taken, and every one was asked about."""
        return not (self.others or self.failed)


def run_recheck(
    platform: Platform, span: Span, *, content: bool, is_repair: bool, as_json: bool
) -> bool:
    """Compare the span's files with the vendor's, print what changed, and fetch it again if asked.

    Returns:
        Whether the lake has what the vendor has; with a repair, after it.

    Raises:
        InvalidInput: nothing was taken in the span.
        InvalidSetting: the span needs a key and there is none.
    """
    _check_key(platform, span)
    cells = _taken_cells(platform, span)
    found = _look(platform, span, cells, content=content)
    plan = plan_refetch(found.revisions, lake=platform.lake, layout=platform.scope.layout())
    screen = Console(stderr=as_json)
    if not as_json:
        _show(screen, found, plan)
    after = None
    if is_repair and not plan.is_empty:
        _repair(platform, found, plan, screen)
        changed = sorted({broken.cell for broken, _ in to_repair(found.revisions)})
        again = _look(platform, span, changed, content=content)
        after = Recheck(
            (
                *(item for item in found.revisions if item.taken.cell not in changed),
                *again.revisions,
            ),
            (*found.failed, *again.failed),
        )
        if not as_json:
            _show_end(screen, after)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(found, plan, after), indent=1) + "\n")
    return (after or found).is_as_taken


def _check_key(platform: Platform, span: Span) -> None:
    """Without a key the vendor gives the first day of a month alone."""
    if platform.settings.tardis_api_key is not None:
        return
    closed = [cell for cell in span.cells if cell.date.day != 1]
    if closed:
        raise InvalidSetting(
            "TARDIS_API_KEY",
            "not set, and the vendor answers without a key for the first day of a month only",
            was=f"a span with {min(closed).date}",
            expected="a text that starts with TD.",
            remedy="Set it in .env, or recheck a first day of a month",
        )


def _taken_cells(platform: Platform, span: Span) -> list[VenueDay]:
    cells = [
        cell for cell in span.cells if has_manifest(platform.lake, cell, span.report.data_types)
    ]
    if not cells:
        raise InvalidInput(
            f"{span.report.start} to {span.report.end}",
            "nothing was taken that could be compared",
            expected="days, venues and data types that were downloaded",
            remedy="Materialize raw_ticks first, or name other days",
        )
    return cells


def _look(platform: Platform, span: Span, cells: Sequence[VenueDay], *, content: bool) -> Recheck:
    types = span.report.data_types
    config = {"data_types": [str(one) for one in types], "content": content}
    failed: list[str] = []
    for part in cell_ranges(cells):
        result = platform.run_assets([revisions_asset.KEY], part, config)
        failed += run_failures(part, result)
    return Recheck(
        tuple(
            item
            for cell in cells
            for item in read_revisions(platform.lake, cell) or ()
            if item.taken.data_type in types
        ),
        tuple(failed),
    )


def _repair(platform: Platform, found: Recheck, plan: RepairPlan, screen: Console) -> None:
    again = {
        (f"raw_ticks/{broken.data_type}", broken.cell): instruments
        for broken, instruments in to_repair(found.revisions)
    }
    run_plan(plan, platform.partitions, HereStages(platform, screen, again))


def _show(screen: Console, found: Recheck, plan: RepairPlan) -> None:
    for text in found.failed:
        screen.print(f"failed {text}", highlight=False, markup=False)
    counts = Counter(item.state for item in found.revisions)
    told = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
    screen.print(f"{len(found.revisions):,} files compared: {told}" if told else "No file.")
    if found.others:
        table = Table("day", "venue", *HEADER)
        for item in found.others:
            table.add_row(str(item.taken.date), item.taken.venue, *revision_line(item))
        screen.print(table)
    if not plan.is_empty:
        screen.print("What it can touch, at most; only what reads another value is written anew:")
        touched = Table(*PLAN_HEADER)
        for row in plan_rows(plan):
            touched.add_row(*row)
        screen.print(touched)


def _show_end(screen: Console, after: Recheck) -> None:
    if after.is_as_taken:
        screen.print("Repaired: the lake has what the vendor has.")
        return
    for text in after.failed:
        screen.print(f"failed {text}", highlight=False, markup=False)
    screen.print(f"Files still not as the vendor has them: {len(after.others):,}")


def _as_json(found: Recheck, plan: RepairPlan, after: Recheck | None) -> dict[str, object]:
    counts = Counter(item.state for item in found.revisions)
    return {
        "files": len(found.revisions),
        "states": {str(state): count for state, count in sorted(counts.items())},
        "not_as_taken": [_item(item) for item in found.others],
        "touches": [
            {"asset": item.asset, "cells": [str(cell) for cell in item.cells]}
            for item in plan.items
        ],
        "failed_runs": list(found.failed),
        "repaired": None
        if after is None
        else {
            "not_as_taken": [_item(item) for item in after.others],
            "failed_runs": list(after.failed),
        },
    }


def _item(revision: Revision) -> dict[str, object]:
    taken = revision.taken
    return {
        "date": str(taken.date),
        "venue": str(taken.venue),
        "data_type": str(taken.data_type),
        "file": taken.source_symbol,
        "state": str(revision.state),
        "reason": revision.reason,
        "instruments": list(taken.instrument_keys),
        "bars_of": [str(day) for day in taken.days_with_its_rows],
    }
