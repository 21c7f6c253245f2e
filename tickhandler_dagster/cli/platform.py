"""The platform as a command uses it: settings, definitions, an instance, runs in this process.

What belongs here: building it once and running a range of partitions. What does not: what a command
runs and prints.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.automation.repair_job import RepairScope
from tickhandler_dagster.cli.options import chosen_settings
from tickhandler_dagster.definitions import build_definitions, repair_scope
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.progress import OnProgress
from tickhandler_dagster.market.repair_plan import CellRange
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.platform import ProgressListener
from tickhandler_dagster.settings import Settings

_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True)
class Platform:
    """What a command needs of the platform.

    Attributes:
        settings: As they were read.
        lake: The lake.
        instance: Dagster's instance, the one of the page.
        repository: Every asset and job.
        is_verbose: Runs show their log.
        log_level: Runs show their log from this level on; none where empty.
        tags: What every run of the command is tagged with.
    """

    settings: Settings
    lake: Lake
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    is_verbose: bool
    log_level: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def scope(self) -> RepairScope:
        """The grid and what is made of what."""
        return repair_scope(self.settings)

    @property
    def partitions(self) -> Mapping[dg.AssetKey, dg.PartitionsDefinition]:
        """The partitions definition of every asset that a run can make."""
        return partitions_of(self.repository.assets_defs_by_key.values())

    def run_assets(
        self,
        keys: Collection[dg.AssetKey],
        cells: CellRange,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run of some assets over days of a venue in a row; `config` is of each of them."""
        ops = {} if config is None else _ops(keys, config)
        return self._run(self._job(keys), _cell_ends(cells), list(keys), ops=ops)

    def run_venue(self, key: dg.AssetKey, venue: VenueId) -> dg.ExecuteInProcessResult:
        """One run of an asset that has venues alone for partitions."""
        return self._run(self._job([key]), (str(venue), str(venue)), [key], ops={})

    def run_days(
        self, keys: Collection[dg.AssetKey], first: dt.date, last: dt.date
    ) -> dg.ExecuteInProcessResult:
        """One run of assets that have days alone for partitions."""
        return self._run(self._job(keys), (str(first), str(last)), list(keys), ops={})

    def run_job(self, name: str, cells: CellRange) -> dg.ExecuteInProcessResult:
        """One run of an asset job over days of a venue in a row."""
        return self._run(self.repository.get_job(name), _cell_ends(cells), None, ops={})

    def _job(self, keys: Collection[dg.AssetKey]) -> dg.JobDefinition:
        job = self.repository.get_implicit_job_def_for_assets(list(keys))
        if job is None:
            raise InvalidInput(
                ", ".join(key.to_user_string() for key in keys),
                "assets of several grids",
                remedy="Report this: the plan is wrong",
            )
        return job

    def _run(
        self,
        job: dg.JobDefinition,
        ends: tuple[str, str],
        keys: list[dg.AssetKey] | None,
        *,
        ops: Mapping[str, Any],
    ) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=self.instance,
            tags={**self.tags, **dict(zip(_RANGE_TAGS, ends, strict=True))},
            asset_selection=keys,
            run_config={**self.log_config(), "ops": ops},
            raise_on_error=False,
        )

    @property
    def asked_log_config(self) -> dict[str, Any]:
        """The same for runs in other processes: nothing where the terminal did not ask."""
        return self.log_config() if self.log_level or self.is_verbose else {}

    def log_config(self, *, quiet_level: str = "CRITICAL") -> dict[str, Any]:
        """Run config under which the terminal shows our text and not Dagster's, unless asked."""
        level = self.log_level or ("DEBUG" if self.is_verbose else quiet_level)
        return {"loggers": {"console": {"config": {"log_level": level}}}}


def _cell_ends(cells: CellRange) -> tuple[str, str]:
    return f"{cells.first}|{cells.venue}", f"{cells.last}|{cells.venue}"


def _ops(keys: Collection[dg.AssetKey], config: Mapping[str, Any]) -> dict[str, Any]:
    return {key.to_python_identifier(): {"config": dict(config)} for key in keys}


@contextlib.contextmanager
def open_platform(
    env_file: Path | None,
    config_file: Path | None,
    *,
    is_verbose: bool,
    log_level: str | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Platform]:
    """The platform over the instance of `DAGSTER_HOME`.

    Args:
        env_file: Read instead of `.env`.
        config_file: YAML file of settings.
        is_verbose: Runs show their log.
        log_level: In place of `LOG_LEVEL`; runs show their log from it on.
        on_progress: Told of steps forward inside runs.

    Raises:
        InvalidSetting: a setting is wrong, or `DAGSTER_HOME` is not set or no folder.
    """
    settings = chosen_settings(env_file, config_file, log_level)
    home = settings.dagster_home
    if home is None or not home.is_dir():
        raise InvalidSetting(
            "DAGSTER_HOME",
            "not set" if home is None else "no such folder",
            was=home,
            expected="the folder of the instance that the page shows",
            remedy="Make the folder, copy dagster.yaml into it, and set the variable",
        )
    resources = {} if on_progress is None else {"progress": ProgressListener(on_progress)}
    with dg.DagsterInstance.from_config(str(home.absolute())) as instance:
        yield Platform(
            settings=settings,
            lake=build_lake(settings),
            instance=instance,
            repository=build_definitions(settings, resources=resources).get_repository_def(),
            is_verbose=is_verbose,
            log_level=str(log_level or ""),  # a plain text: Dagster stores no other enum
        )
