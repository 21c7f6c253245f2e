"""Jobs of the clock: which assets a piece of a day's work makes, and its runs.

What belongs here: from stages to jobs, from work to run requests. What does not: what is due
(`market/daily.py`) and what was already started (`daily_look.py`).

A job holds assets of one partitions definition, so that a stage has a job for each of them: types
that only some venues have, tables that have days alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from tickhandler_dagster.assets.raw_ticks import FAMILY
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.market.daily import DailyStage, Start, Work
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import VENUE

PRIORITY_TAG = "dagster/priority"
DAY_TAG = "tickhandler/daily"
WORK_TAG = "tickhandler/daily-work"
ATTEMPT_TAG = "tickhandler/daily-attempt"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
PARTITION_TAG = "dagster/partition"

STAGE_OF = {
    "instruments": DailyStage.LISTING,
    FAMILY: DailyStage.TICKS,
    "options_surface": DailyStage.SURFACE,
    "completeness": DailyStage.RECORD,
    "candles": DailyStage.CANDLES,
    "bars": DailyStage.FEATURES,
    "mft_features": DailyStage.FEATURES,
    "mft_sets": DailyStage.FEATURES,
    "bar_audit": DailyStage.FEATURES,
    "kline_conformance": DailyStage.FEATURES,
    "warehouse": DailyStage.TABLES,
}
"""The stage of every family of assets that a day consists of."""

OPT_IN = "opt_in"
"""Group of assets that the settings have not switched on."""

LEFT_OUT = frozenset({"exchange_catalog", "revisions", "candle_history", "live_parity", "live"})
"""Families that are not a day's work: refreshed by the sensor itself, asked for, or observed."""

_CLOSING = frozenset({DailyStage.CANDLES, DailyStage.FEATURES, DailyStage.TABLES})
"""Stages that also make the day before again: with this day's ticks its last bars are final."""


@dataclass(frozen=True)
class DailyJob:
    """A job of the clock.

    Attributes:
        name: Its name.
        stage: What it is a part of.
        keys: Its assets.
        partitions: Their partitions.
    """

    name: str
    stage: DailyStage
    keys: tuple[dg.AssetKey, ...]
    partitions: dg.PartitionsDefinition

    def has(self, venue: VenueId | None) -> bool:
        """The venue has these assets; all venues together have tables."""
        if not isinstance(self.partitions, dg.MultiPartitionsDefinition):
            return venue is None
        days = self.partitions.get_partitions_def_for_dimension(VENUE)
        return venue is not None and days.has_partition_key(str(venue))

    @cached_property
    def definition(self) -> UnresolvedAssetJobDefinition:
        """The job as Dagster has it: one object, for Dagster takes two for two jobs."""
        return dg.define_asset_job(
            self.name,
            selection=dg.AssetSelection.assets(*self.keys),
            description=(
                f"The {self.stage.name.lower()} of a day, as the clock asks for them; also by hand."
            ),
        )


def daily_jobs(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], data_types: Sequence[DataType]
) -> tuple[DailyJob, ...]:
    """Every job of the clock.

    Args:
        assets: What the code location has.
        data_types: What is downloaded; other types are left out.
    """
    parts: dict[tuple[DailyStage, int], list[dg.AssetKey]] = {}
    seen: list[dg.PartitionsDefinition] = []
    some = [asset for asset in assets if not _is_opt_in(asset)]
    for key, partitions in partitions_of(some).items():
        stage = STAGE_OF.get(key.path[0])
        if stage is None or (key.path[0] == FAMILY and DataType(key.path[1]) not in data_types):
            continue
        if partitions not in seen:
            seen.append(partitions)
        parts.setdefault((stage, seen.index(partitions)), []).append(key)
    found: list[DailyJob] = []
    for (stage, place), keys in sorted(parts.items()):
        is_first = all(job.stage is not stage for job in found)
        suffix = "" if is_first else f"_{keys[0].path[-1]}"
        name = f"daily_{stage.name.lower()}{suffix}"
        found.append(DailyJob(name, stage, tuple(keys), seen[place]))
    return tuple(found)


def _is_opt_in(asset: dg.AssetsDefinition | dg.AssetSpec) -> bool:
    """Nothing is set up for it: its runs fail and say what to set."""
    groups = asset.group_names_by_key if isinstance(asset, dg.AssetsDefinition) else {}
    return OPT_IN in groups.values()


def jobs_of(jobs: Sequence[DailyJob], work: Work) -> list[DailyJob]:
    """The jobs that do a piece of work."""
    return [job for job in jobs if job.stage is work.stage and job.has(work.venue)]


def run_requests(
    start: Start, jobs: Iterable[DailyJob], closes: Mapping[str, bool]
) -> Iterator[dg.RunRequest]:
    """One run for each of the jobs.

    Args:
        start: What to start.
        jobs: Jobs of the work that are to run.
        closes: By job whether the day before was made, which is then made again to close it.
    """
    work = start.work
    for job in jobs:
        first, last = _keys(work, is_closing=work.stage in _CLOSING and closes[job.name])
        yield dg.RunRequest(
            run_key=f"{job.name} {work_text(work)} {start.attempt}",
            job_name=job.name,
            partition_key=last if first == last else None,
            tags={
                DAY_TAG: work.day.isoformat(),
                WORK_TAG: work_text(work),
                ATTEMPT_TAG: str(start.attempt),
                PRIORITY_TAG: str(start.priority),
                **({} if first == last else dict(zip(RANGE_TAGS, (first, last), strict=True))),
            },
        )


def day_before(work: Work) -> str:
    """The partition key that the work closes."""
    return _key(work.day - dt.timedelta(days=1), work.venue)


def partition_of(work: Work) -> str:
    """The partition key of the work's own day."""
    return _key(work.day, work.venue)


def _keys(work: Work, *, is_closing: bool) -> tuple[str, str]:
    own = partition_of(work)
    return (day_before(work) if is_closing else own, own)


def _key(day: dt.date, venue: VenueId | None) -> str:
    return day.isoformat() if venue is None else str(VenueDay(day, venue))


def work_text(work: Work) -> str:
    """The work as a tag has it.

    Example:
        >>> work_text(Work(DailyStage.TICKS, dt.date(2024, 8, 8), VenueId.BINANCE))
        'ticks 2024-08-08 binance 0'
    """
    return f"{work.stage.name.lower()} {work.day} {work.venue or 'all'} {work.venues}"


def parse_work(text: str) -> Work:
    """The inverse of `work_text`."""
    stage, day, venue, venues = text.split()
    return Work(
        DailyStage[stage.upper()],
        dt.date.fromisoformat(day),
        None if venue == "all" else VenueId(venue),
        int(venues),
    )
