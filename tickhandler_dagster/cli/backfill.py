"""`tickhandler backfill`: ranges of days, venues and assets as backfills of the daemon.

What belongs here: which backfills there are, in which order, following them. What does not: asking
the daemon (`automation/backfills.py`).

A venue is a backfill: Dagster cuts it along days in a row, so that it is one run per grid, in which
all days of an asset are over before an asset that reads them begins. Bars read the ticks of the day
after theirs, and no edge of the graph says so. Of many days those that are fetched are
blocks of their own, over before anything that reads them begins (`backfill_blocks.py`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from rich.table import Table

from tickhandler_dagster.automation.backfill_blocks import blocks_of
from tickhandler_dagster.automation.backfills import (
    POLL_S,
    BackfillState,
    is_daemon_alive,
    start_partitions,
    state_of,
)
from tickhandler_dagster.cli.gaps import Span
from tickhandler_dagster.cli.mode_screen import ModeScreen
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.cli.selection import cells_in, chosen_assets, is_by_cell, is_by_day
from tickhandler_dagster.cli.status import partition_statuses
from tickhandler_dagster.market.errors import InvalidInput, TransientError
from tickhandler_dagster.market.progress import Progress

BACKFILL_TAGS = {
    "tickhandler/backfill": "command",
    # The instance's own limit is for runs of a day; these have all days of a venue.
    "dagster/max_runtime": str(14 * 86_400),
}
_OVER = ("success", "failure", "canceled")
_REST_PER_LOOK = 9
"""Looking takes a tenth of the time at most."""

DEFAULT_ASSETS = ("instruments", "raw_ticks", "candles", "mft_features", "completeness")


@dataclass(frozen=True)
class Part:
    """What becomes one backfill.

    Attributes:
        title: What the page shows.
        wave: Parts of a wave can go on side by side; a later wave reads what an earlier one made.
        keys: Partition keys by asset.
    """

    title: str
    wave: int
    keys: Mapping[dg.AssetKey, tuple[str, ...]]

    @property
    def partitions(self) -> int:
        """Number of partitions of all assets."""
        return sum(map(len, self.keys.values()))


def run_backfill(
    platform: Platform, parts: Sequence[Part], *, is_waiting: bool, is_dry: bool, as_json: bool
) -> bool:
    """Show the parts, start them, and follow them to their end if asked.

    Returns:
        Whether everything that was waited for succeeded.

    Raises:
        InvalidInput: the parts have to wait for each other, and nobody would.
        TransientError: no daemon runs that could take the backfills up.
    """
    screen = ModeScreen(as_json=as_json)
    if not as_json:
        _show(screen, parts)
    states: list[BackfillState] = []
    if parts and not is_dry:
        _check(platform.instance, parts, is_waiting=is_waiting)
        with screen.live():
            for some in _waves(parts):
                states += _run_wave(platform, some, screen, is_waiting=is_waiting)
                if is_waiting and not all(state.is_whole for state in states):
                    break
    is_whole = not is_waiting or all(state.is_whole for state in states)
    if as_json:
        document = _as_json(parts, states, is_whole=is_whole, is_dry=is_dry)
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return is_whole


def plan_parts(
    platform: Platform, span: Span, assets: Sequence[str], *, is_missing_only: bool
) -> list[Part]:
    """The backfills that the selection means; those that would be empty are left out.

    Raises:
        InvalidInput: a name fits no asset.
    """
    partitions = platform.partitions
    keys = [
        key
        for key in chosen_assets(assets or DEFAULT_ASSETS, partitions)
        if key.path[0] != "raw_ticks" or key.path[-1] in span.report.data_types
    ]
    days = f"{span.report.start} to {span.report.end}"

    def wanted(some: Sequence[dg.AssetKey], *venues: str) -> dict[dg.AssetKey, tuple[str, ...]]:
        on = [venue for venue in span.report.venues if not venues or venue in venues]
        found = {key: cells_in(partitions[key], span, on) for key in some}
        if is_missing_only:
            found = {key: _missing(platform, key, span, cells) for key, cells in found.items()}
        return {key: tuple(cells) for key, cells in found.items() if cells}

    by_cell = [key for key in keys if is_by_cell(partitions[key])]
    by_day = [key for key in keys if is_by_day(partitions[key])]
    others = [key for key in keys if key not in {*by_cell, *by_day}]
    parts = [
        Part("listings of venues", 0, wanted(others)),
        *(
            Part(
                f"{venue}, {block.first} to {block.last}", 1 if block.is_fetched else 2, block.keys
            )
            for venue in span.report.venues
            for block in blocks_of(wanted(by_cell, venue))
        ),
        Part(f"tables, {days}", 3, wanted(by_day)),
    ]
    return [part for part in parts if part.keys]


def _missing(platform: Platform, key: dg.AssetKey, span: Span, cells: Sequence[str]) -> list[str]:
    statuses = partition_statuses(platform.instance, key, platform.partitions, span)
    return [cell for cell in cells if statuses[cell] in {"missing", "failed"}]


def _check(instance: dg.DagsterInstance, parts: Sequence[Part], *, is_waiting: bool) -> None:
    if len({part.wave for part in parts}) > 1 and not is_waiting:
        raise InvalidInput(
            "--assets",
            "some of them read what others make, by days of all venues or by venues alone",
            expected="assets of one kind of partitions, or --wait",
            remedy="Add --wait, or start them one after the other",
        )
    if not is_daemon_alive(instance):
        raise TransientError(
            "Dagster's daemon",
            "not running",
            expected="a daemon that takes up backfills",
            remedy="Start `dagster dev` or `dagster-daemon run`, or use the modes, which run here",
        )


def _waves(parts: Sequence[Part]) -> Iterator[list[Part]]:
    for wave in sorted({part.wave for part in parts}):
        yield [part for part in parts if part.wave == wave]


def _run_wave(
    platform: Platform, parts: Sequence[Part], screen: ModeScreen, *, is_waiting: bool
) -> list[BackfillState]:
    started = []
    for part in parts:
        name = start_partitions(
            platform.instance,
            part.keys,
            platform.partitions,
            tags=BACKFILL_TAGS,
            title=part.title,
            run_config=platform.asked_log_config,
        )
        screen.say(f"backfill {name}: {part.title}, /runs/b/{name}")
        started.append(name)
    if not is_waiting:
        return [state_of(platform.instance, name) for name in started]
    return _followed(platform.instance, started, screen)


def _followed(
    instance: dg.DagsterInstance, started: Sequence[str], screen: ModeScreen
) -> list[BackfillState]:
    """Ask until all are over; the daemon tells nobody. Those that are over are not asked again."""
    states: dict[str, BackfillState] = {}
    told: set[str] = set()
    while True:
        began = time.monotonic()
        for name in started:
            if name not in told:
                states[name] = state_of(instance, name)
        runs = sum(sum(state.runs.values()) for state in states.values())
        over = sum(state.runs.get(status, 0) for state in states.values() for status in _OVER)
        screen.on_progress(Progress("backfill", over, runs, "runs"))
        for state in states.values():
            if state.is_over and state.name not in told:
                told.add(state.name)
                counts = ", ".join(f"{count:,} {status}" for status, count in state.runs.items())
                word = "ok    " if state.is_whole else "failed"
                screen.say(f"{word} {state.title}: runs {counts or 'none'}")
        if len(told) == len(started):
            return list(states.values())
        # A hundred backfills take as long to ask as a run takes: the answer can wait, runs cannot.
        time.sleep(max(POLL_S, _REST_PER_LOOK * (time.monotonic() - began)))


def _show(screen: ModeScreen, parts: Sequence[Part]) -> None:
    if not parts:
        screen.say("Nothing to do: all of it is materialized.")
        return
    table = Table("backfill", "asset", "first", "last")
    table.add_column("partitions", justify="right")
    for part in parts:
        for key, cells in part.keys.items():
            table.add_row(part.title, key.to_user_string(), cells[0], cells[-1], f"{len(cells):,}")
    screen.console.print(table)
    total = sum(part.partitions for part in parts)
    screen.say(f"{total:,} partitions in {len(parts):,} backfills")


def _as_json(
    parts: Sequence[Part], states: Sequence[BackfillState], *, is_whole: bool, is_dry: bool
) -> dict[str, object]:
    return {
        "whole": is_whole,
        "dry_run": is_dry,
        "parts": [
            {
                "title": part.title,
                "assets": {key.to_user_string(): list(cells) for key, cells in part.keys.items()},
            }
            for part in parts
        ],
        "backfills": [
            {
                "id": state.name,
                "title": state.title,
                "over": state.is_over,
                "runs": dict(state.runs),
                "failed_runs": list(state.failed),
            }
            for state in states
        ],
    }
