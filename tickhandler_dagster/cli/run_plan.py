"""`tickhandler run --plan`: exactly the partitions of a saved plan, and what they really took.

What belongs here: the refusal of a plan that no longer fits, the runs, estimate beside actual. What
does not: making plans (`plan.py`) and the order of stages (`automation/repair_runs.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.automation.repair_runs import asset_key, run_plan
from tickhandler_dagster.cli.plan import estimated, save_json
from tickhandler_dagster.cli.plan_screen import NOTHING_TO_DO, screen_for
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.cli.repair import HereStages
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.costs.amounts import Amount
from tickhandler_dagster.market.costs.plan import Plan, PlanLine, cells_of, check_unchanged
from tickhandler_dagster.market.costs.plan_json import amount_json, parse_plan
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.wording import byte_text, count_text, ranged, time_text
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.progress import Progress
from tickhandler_dagster.market.repair_plan import CellRange
from tickhandler_dagster.pipeline.plan_holdings import read_holdings
from tickhandler_dagster.resources.platform import ProgressListener

ACTUAL_VERSION = 1
_MEASURES = ("files", "download_bytes", "requests", "rows", "stored_bytes", "seconds")


@dataclass
class Meter:
    """What runs took, while they go on.

    Attributes:
        seconds: By asset.
        asked: By asset the files asked for, again where a run tried again.
        fetched_bytes: By asset.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    fetched_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _last: dict[str, Progress] = field(default_factory=dict)

    def on_progress(self, progress: Progress) -> None:
        """Take a step forward; only files come from the vendor."""
        if progress.unit != "files":
            return
        last = self._last.get(progress.task)
        is_new = last is None or progress.done < last.done
        done, size = (0, 0) if last is None or is_new else (last.done, last.bytes)
        asset = progress.task.partition(" ")[0]
        self.asked[asset] += progress.done - done
        self.fetched_bytes[asset] += progress.bytes - size
        self._last[progress.task] = progress

    def on_run(self, keys: Collection[dg.AssetKey], seconds: float) -> None:
        """Take the time of a run, shared by its assets."""
        for key in keys:
            self.seconds[key.to_user_string()] += seconds / len(keys)


@dataclass(frozen=True, kw_only=True)
class MeteredPlatform(Platform):
    """A platform whose runs are measured; raw ticks are fetched again where the plan says so.

    Attributes:
        meter: What measures.
        is_forced: Fetch what is there already.
    """

    meter: Meter
    is_forced: bool

    def run_assets(
        self,
        keys: Collection[dg.AssetKey],
        cells: CellRange,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run, as the platform does it."""
        is_raw = all(key.path[0] == "raw_ticks" for key in keys)
        started = time.monotonic()
        forced = {"force": True} if self.is_forced and is_raw else None
        result = super().run_assets(keys, cells, {**(config or {}), **forced} if forced else config)
        self.meter.on_run(keys, time.monotonic() - started)
        return result


@dataclass(frozen=True)
class LineResult:
    """What a line of the plan took.

    Attributes:
        line: As it was planned.
        actual: By measure; those that are not measured of the asset are left out.
    """

    line: PlanLine
    actual: Mapping[str, float]

    def estimate(self, measure: str) -> Amount:
        """What was planned of a measure."""
        if measure == "files":
            return Amount.exact(self.line.files)
        found: Amount = getattr(self.line.quantities, measure)
        return found

    def as_json(self) -> dict[str, Any]:
        """Estimate and actual, side by side."""
        return {
            "asset": self.line.asset,
            **{
                measure: {
                    "estimate": amount_json(self.estimate(measure)),
                    "actual": value,
                    "in_range": self.is_in_range(measure),
                }
                for measure, value in self.actual.items()
            },
        }

    def is_in_range(self, measure: str) -> bool:
        """The actual number lies in the range that was printed."""
        expected = self.estimate(measure)
        return expected.low <= self.actual[measure] <= expected.high


def run_saved_plan(
    platform: Platform, file: Path, *, is_dry: bool, prices: Prices | None = None
) -> bool:
    """Run a saved plan and print what it took.

    Returns:
        Whether there was nothing to do or every run succeeded.

    Raises:
        InvalidInput: the file is no plan, or the lake changed in what there is to do.
    """
    planned = _read_plan(file)
    screen = screen_for(is_error=False)
    now = estimated(platform, planned.selection, prices or Prices()).plan
    check_unchanged(planned, now)
    if planned.is_empty:
        screen.print(NOTHING_TO_DO)
        return True
    days = sum(map(len, planned.warehouse.values()))
    screen.print(
        f"{cells_of(planned.work):,} partitions of {len(planned.work)} assets, "
        f"{days:,} days of tables, {planned.files_to_fetch:,} files from the vendor",
        highlight=False,
    )
    if is_dry:
        return True
    meter = Meter()
    is_whole = _run(_metered(platform, planned, meter), planned, screen)
    results = _results(platform, planned, meter)
    _show(screen, results)
    report = file.with_suffix(".actual.json")
    save_json(
        report,
        {
            "version": ACTUAL_VERSION,
            "whole": is_whole,
            "lines": [result.as_json() for result in results],
        },
    )
    screen.print(f"Estimate and actual: {report}", highlight=False, markup=False)
    return is_whole


def _read_plan(file: Path) -> Plan:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            str(file),
            "not a saved plan",
            was=type(error).__name__,
            expected="a file that `tickhandler plan … --save FILE` wrote",
            remedy="Make it, or correct the path",
        ) from error
    return parse_plan(document, str(file))


def _metered(platform: Platform, plan: Plan, meter: Meter) -> MeteredPlatform:
    resources = {"progress": ProgressListener(meter.on_progress)}
    repository = build_definitions(platform.settings, resources=resources).get_repository_def()
    same = {item.name: getattr(platform, item.name) for item in dataclasses.fields(Platform)}
    return MeteredPlatform(
        **(same | {"repository": repository}),
        meter=meter,
        is_forced=plan.selection.is_forced,
    )


def _run(platform: MeteredPlatform, plan: Plan, screen: Console) -> bool:
    """Stage after stage, then the tables: they take what the lake has by then."""
    repaired = run_plan(plan.runs, platform.partitions, HereStages(platform, screen))
    published = [_publish(platform, table, days, screen) for table, days in plan.warehouse.items()]
    return repaired.is_whole and all(published)


def _publish(
    platform: MeteredPlatform, table: str, days: Iterable[dt.date], screen: Console
) -> bool:
    key = asset_key(f"warehouse/{table}")
    if key not in platform.repository.assets_defs_by_key:
        screen.print(f"left out: {key.to_user_string()} is not in this installation")
        return True
    job = platform.repository.get_implicit_job_def_for_assets([key])
    is_whole = job is not None
    for first, last in _day_ranges(days):
        if job is None:
            break
        started = time.monotonic()
        result = job.execute_in_process(
            instance=platform.instance,
            tags={
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(last),
            },
            asset_selection=[key],
            run_config=platform.log_config(),
            raise_on_error=False,
        )
        platform.meter.on_run([key], time.monotonic() - started)
        told = "ok    " if result.success else "failed"
        screen.print(f"{told} {key.to_user_string()} {first}...{last}", highlight=False)
        is_whole = is_whole and result.success
    return is_whole


def _day_ranges(days: Iterable[dt.date]) -> Iterator[tuple[dt.date, dt.date]]:
    numbered = enumerate(sorted(days))
    for _, group in groupby(numbered, key=lambda pair: pair[1].toordinal() - pair[0]):
        members = [day for _, day in group]
        yield members[0], members[-1]


def _results(platform: Platform, plan: Plan, meter: Meter) -> list[LineResult]:
    """What every line took; rows and bytes as the manifests have them now."""
    holdings = read_holdings(platform.lake, plan.selection)
    cells = {item.asset: item.cells for item in plan.work}
    results = []
    for line in plan.lines:
        if not line.cells:
            continue
        actual: dict[str, float] = {"seconds": meter.seconds.get(line.asset, 0.0)}
        if line.asset in plan.files:
            actual["files"] = actual["requests"] = meter.asked.get(line.asset, 0)
            actual["download_bytes"] = meter.fetched_bytes.get(line.asset, 0)
        held = [holdings.of(line.asset, cell) for cell in cells.get(line.asset, ())]
        if any(held):
            kept = plan.files.get(line.asset, {}).values()
            actual["rows"] = sum(item.rows for item in held if item) - sum(
                item.kept_rows for item in kept
            )
            actual["stored_bytes"] = sum(item.bytes for item in held if item) - sum(
                item.kept_bytes for item in kept
            )
        results.append(LineResult(line, actual))
    return results


def _show(screen: Console, results: Iterable[LineResult]) -> None:
    texts = {
        "files": count_text,
        "download_bytes": byte_text,
        "requests": count_text,
        "rows": count_text,
        "stored_bytes": byte_text,
        "seconds": time_text,
    }
    table = Table("asset", *(measure.replace("_", " ") for measure in _MEASURES))
    table.columns[0].no_wrap = True
    for result in results:
        table.add_row(
            result.line.asset,
            *(
                f"{texts[one](result.actual[one])} of {ranged(result.estimate(one), texts[one])}"
                if one in result.actual
                else ""
                for one in _MEASURES
            ),
        )
    screen.print("What it took, of what was estimated:")
    screen.print(table)
