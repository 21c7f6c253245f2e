"""The platform as a command uses it: settings, definitions, an instance, runs in this process.

What belongs here: building it once and running a range of cells. What does not: what a command runs
and prints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.automation.repair_job import RepairScope
from tickhandler_dagster.definitions import build_definitions, repair_scope
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.repair_plan import CellRange
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.settings import Settings, load_settings

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
    """

    settings: Settings
    lake: Lake
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    is_verbose: bool

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
        job = self.repository.get_implicit_job_def_for_assets(list(keys))
        if job is None:
            raise InvalidInput(
                ", ".join(key.to_user_string() for key in keys),
                "assets of several grids",
                remedy="Report this: the plan is wrong",
            )
        return self._run(job, cells, list(keys), ops={} if config is None else _ops(keys, config))

    def run_job(self, name: str, cells: CellRange) -> dg.ExecuteInProcessResult:
        """One run of an asset job over days of a venue in a row."""
        return self._run(self.repository.get_job(name), cells, None, ops={})

    def _run(
        self,
        job: dg.JobDefinition,
        cells: CellRange,
        keys: list[dg.AssetKey] | None,
        *,
        ops: Mapping[str, Any],
    ) -> dg.ExecuteInProcessResult:
        ends = (f"{day}|{cells.venue}" for day in (cells.first, cells.last))
        return job.execute_in_process(
            instance=self.instance,
            tags=dict(zip(_RANGE_TAGS, ends, strict=True)),
            asset_selection=keys,
            run_config={**self.log_config(), "ops": ops},
            raise_on_error=False,
        )

    def log_config(self, *, quiet_level: str = "CRITICAL") -> dict[str, Any]:
        """Run config under which the terminal shows our text and not Dagster's, unless asked."""
        level = "DEBUG" if self.is_verbose else quiet_level
        return {"loggers": {"console": {"config": {"log_level": level}}}}


def _ops(keys: Collection[dg.AssetKey], config: Mapping[str, Any]) -> dict[str, Any]:
    return {key.to_python_identifier(): {"config": dict(config)} for key in keys}


@contextlib.contextmanager
def open_platform(
    env_file: Path | None, config_file: Path | None, *, is_verbose: bool
) -> Iterator[Platform]:
    """The platform over the instance of `DAGSTER_HOME`.

    Raises:
        InvalidSetting: a setting is wrong, or `DAGSTER_HOME` is not set or no folder.
    """
    settings = load_settings(env_file, config_file)
    home = settings.dagster_home
    if home is None or not home.is_dir():
        raise InvalidSetting(
            "DAGSTER_HOME",
            "not set" if home is None else "no such folder",
            was=home,
            expected="the folder of the instance that the page shows",
            remedy="Make the folder, copy dagster.yaml into it, and set the variable",
        )
    with dg.DagsterInstance.from_config(str(home.absolute())) as instance:
        yield Platform(
            settings=settings,
            lake=build_lake(settings),
            instance=instance,
            repository=build_definitions(settings).get_repository_def(),
            is_verbose=is_verbose,
        )
