"""Runs of a mode, one after another: what each made of each partition, and how long it took.

What belongs here: running and reading the events of a run. What does not: which runs there are
(`modes.py`) and how it looks (`mode_screen.py`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import dagster as dg

from tickhandler_dagster.cli.gaps import evaluations, run_failures
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.market.repair_plan import CellRange
from tickhandler_dagster.market.venues import VenueId

ROWS = "dagster/partition_row_count"


class Made(StrEnum):
    """What a run made of a partition."""

    MADE = "made"
    NOTHING = "nothing"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class PartitionResult:
    """One asset's partition after a run.

    Attributes:
        asset: The asset.
        partition: The partition.
        state: What became of it: `nothing` had no data, `skipped` was not reached.
        rows: Rows it holds, where the asset counts them.
        seconds: The time of its step, shared by the step's partitions.
        errors: Checks that failed as errors.
        warnings: Checks that failed as warnings.
        run_id: The run.
    """

    asset: str
    partition: str
    state: Made
    rows: int | None
    seconds: float
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    run_id: str

    @property
    def is_well(self) -> bool:
        """Nothing failed and no check says that it is an error."""
        return self.state in {Made.MADE, Made.NOTHING} and not self.errors

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "asset": self.asset,
            "partition": self.partition,
            "state": str(self.state),
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "failed_checks": list(self.errors),
            "warnings": list(self.warnings),
            "run_id": self.run_id,
        }


class RunScreen(Protocol):
    """Who is told of runs."""

    def started(self, title: str) -> None:
        """A run starts."""
        ...

    def ended(self, title: str, *, seconds: float, failures: Sequence[str]) -> None:
        """A run is over."""
        ...


@dataclass
class ModeRuns:
    """Runs assets here and keeps what became of every partition.

    Attributes:
        platform: Where.
        screen: Told of every run.
        results: Partitions in the order in which they were run.
        failures: Why runs failed, each as text.
    """

    platform: Platform
    screen: RunScreen
    results: list[PartitionResult] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Every run succeeded, and no check is an error."""
        return not self.failures and all(result.is_well for result in self.results)

    def cells(
        self,
        keys: Sequence[dg.AssetKey],
        parts: Iterable[CellRange],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """A run of these assets for every range of days of a venue."""
        for part in parts:
            days = ((part.first + dt.timedelta(days=day)) for day in range(part.days))
            wanted = [f"{day}|{part.venue}" for day in days]
            started = self._start(keys, _span_text(wanted))
            result = self.platform.run_assets(keys, part, config)
            self._end(started, keys, wanted, result)

    def venues(self, key: dg.AssetKey, venues: Iterable[VenueId]) -> None:
        """A run of an asset without days for every venue."""
        for venue in venues:
            started = self._start([key], str(venue))
            self._end(started, [key], [str(venue)], self.platform.run_venue(key, venue))

    def days(self, keys: Sequence[dg.AssetKey], days: Sequence[dt.date]) -> None:
        """One run of assets without venues over days in a row."""
        wanted = [str(day) for day in days]
        started = self._start(keys, _span_text(wanted))
        self._end(started, keys, wanted, self.platform.run_days(keys, days[0], days[-1]))

    def _start(self, keys: Sequence[dg.AssetKey], span: str) -> tuple[str, float]:
        title = f"{_asset_text(keys)} {span}"
        self.screen.started(title)
        return title, time.monotonic()

    def _end(
        self,
        started: tuple[str, float],
        keys: Sequence[dg.AssetKey],
        wanted: Sequence[str],
        result: dg.ExecuteInProcessResult,
    ) -> None:
        title, since = started
        found = _Events(result)
        failures = run_failures(title, result)
        self.failures += failures
        for key in keys:
            step = self.platform.repository.assets_defs_by_key[key].node_def.name
            self.results += (found.result(key, one, step) for one in wanted)
        self.screen.ended(title, seconds=time.monotonic() - since, failures=failures)


class _Events:
    """What the events of a run say of its partitions."""

    def __init__(self, result: dg.ExecuteInProcessResult) -> None:
        self._run_id = result.run_id
        self._rows: dict[tuple[dg.AssetKey, str], int | None] = {}
        self._seconds: dict[str, float] = {}
        self._made_by_step: Counter[str] = Counter()
        self._reached: set[str] = set()
        self._failed: set[str] = set()
        for event in result.all_events:
            self._take(event)
        self._checks: dict[tuple[dg.AssetKey, str | None], list[dg.AssetCheckEvaluation]] = (
            defaultdict(list)
        )
        for check in evaluations(result):
            if not check.passed:
                self._checks[check.asset_key, check.partition].append(check)

    def _take(self, event: dg.DagsterEvent) -> None:
        step = str(event.step_key)
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            rows = made.metadata.get(ROWS)
            number = rows.value if isinstance(rows, dg.IntMetadataValue) else None
            self._rows[made.asset_key, str(made.partition)] = number
            self._made_by_step[step] += 1
        elif event.is_step_start:
            self._reached.add(step)
        elif event.is_step_success:
            self._seconds[step] = event.step_success_data.duration_ms / 1000
        elif event.is_step_failure:
            self._failed.add(step)

    def result(self, key: dg.AssetKey, partition: str, step: str) -> PartitionResult:
        """What became of a partition that a step was to make."""
        checks = (*self._checks[key, partition], *self._checks[key, None])
        is_error = dg.AssetCheckSeverity.ERROR
        made = (key, partition) in self._rows
        return PartitionResult(
            asset=key.to_user_string(),
            partition=partition,
            state=Made.MADE if made else self._unmade(step),
            rows=self._rows.get((key, partition)),
            seconds=self._seconds.get(step, 0.0) / max(self._made_by_step[step], 1),
            errors=tuple(one.check_name for one in checks if one.severity is is_error),
            warnings=tuple(one.check_name for one in checks if one.severity is not is_error),
            run_id=self._run_id,
        )

    def _unmade(self, step: str) -> Made:
        if step in self._failed:
            return Made.FAILED
        return Made.NOTHING if step in self._reached else Made.SKIPPED


def _asset_text(keys: Collection[dg.AssetKey]) -> str:
    """The assets in few words: members of a family together.

    Example:
        >>> _asset_text([dg.AssetKey(["candles", "1m"]), dg.AssetKey(["candles", "1h"])])
        'candles (2)'
    """
    families = Counter(key.path[0] for key in keys)
    if len(keys) == 1:
        return next(iter(keys)).to_user_string()
    return " ".join(name if count == 1 else f"{name} ({count})" for name, count in families.items())


def _span_text(partitions: Sequence[str]) -> str:
    one = len(partitions) == 1
    return partitions[0] if one else f"{partitions[0]}...{partitions[-1]}"
