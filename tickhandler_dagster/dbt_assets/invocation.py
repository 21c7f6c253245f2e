"""One dbt process for one run of Dagster, whatever days and marts it is asked for.

What belongs here: dbt's arguments, its lock, its artefacts, and its events as Dagster's. What does
not: what the marts are (`marts.py`).

dagster-dbt's own resource is not used: it takes its environment from the process instead of the
settings, and before every call starts dbt once more to ask for its version and loads the adapter
here, which doubles the time of a run and leaves a database connection in Dagster's process.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliInvocation
from packaging.version import Version

from tickhandler_dagster.adapters.duckdb_warehouse import open_for_reading
from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.dbt_assets.lineage import is_view_id
from tickhandler_dagster.dbt_assets.marts import MartsTranslator, is_by_day, lineage_metadata
from tickhandler_dagster.dbt_assets.project import (
    DBT,
    DbtProject,
    dbt_environment,
    dbt_target,
)
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.settings import Settings

Event = (
    dg.Output[None]
    | dg.AssetMaterialization
    | dg.AssetObservation
    | dg.AssetCheckResult
    | dg.AssetCheckEvaluation
)

MARTS_LOCK = "marts.duckdb.lock"
LOCK_WAIT_S = 3_600.0
"""A run that waits here for another one holds its place; a backfill of years takes minutes."""
_END_S = 20.0


@dataclass(frozen=True)
class Marts:
    """What a run of marts needs.

    Attributes:
        settings: Which warehouse, and where.
        folder: The dbt project.
        project: As dbt understood it.
        translator: Its names in Dagster.
    """

    settings: Settings
    folder: Path
    project: DbtProject
    translator: MartsTranslator

    def build(self, context: dg.AssetExecutionContext) -> Iterator[Event]:
        """Make the selected marts, of the days of the run, and test them.

        Raises:
            MissingUpstream: a table that the marts are made of was never published.
            InvalidInput: marts of days are asked for without days.
            ConcurrentWrite: another run did not finish in time.
        """
        arguments = self._arguments(context)
        self._require_tables(self._chosen(context))
        artefacts = Path(tempfile.mkdtemp(prefix="tickhandler-dbt-"))
        with self._lock():
            invocation = DbtCliInvocation.run(
                args=[*DBT, *arguments],
                env={
                    **dbt_environment(self.settings, self.folder, artefacts),
                    "DBT_LOG_FORMAT": "json",
                },
                manifest=self.project.manifest,
                dagster_dbt_translator=self.translator,
                project_dir=self.folder,
                target_path=artefacts,
                raise_on_error=True,
                context=context,
                adapter=None,
                cli_version=Version(version("dbt-core")),
            )
            try:
                for event in invocation.stream():
                    yield from self._told(event)
            finally:
                # A step that is interrupted would let go of the lock while dbt still writes.
                _end(invocation.process)
        # Where dbt failed its log stays: the error names it.
        shutil.rmtree(artefacts, ignore_errors=True)

    def _arguments(self, context: dg.AssetExecutionContext) -> list[str]:
        chosen = self._chosen(context)
        if chosen:
            # What a mart computes from made-up rows says nothing of today's.
            verb = ["build", "--exclude-resource-type", "unit_test"]
            names = [*chosen, *(one for one in self._below(chosen) if not _is_source(one))]
        else:
            verb = ["test"]
            names = sorted(key.name for key in context.selected_asset_check_keys)
        return [
            *verb,
            *("--target", dbt_target(self.settings)),
            *("--select", *(name.rpartition(".")[2] for name in names)),
            # A test that needs a mart nobody asked for would fail where that is not made yet.
            *("--indirect-selection", "buildable"),
            *self._days(context, chosen),
        ]

    def _chosen(self, context: dg.AssetExecutionContext) -> list[str]:
        """The ids in dbt of the marts of the run."""
        nodes = self.project.manifest["nodes"]
        return [
            unique_id
            for unique_id in self.project.lineage
            if self.translator.get_asset_key(nodes[unique_id]) in context.selected_asset_keys
        ]

    def _below(self, chosen: Sequence[str]) -> list[str]:
        """Views that these marts select from, and the tables at the bottom."""
        manifest = self.project.manifest
        found: set[str] = set()
        waiting = list(chosen)
        while waiting:
            for parent in manifest["parent_map"].get(waiting.pop(), []):
                if parent not in found and (_is_source(parent) or is_view_id(parent, manifest)):
                    found.add(parent)
                    waiting.append(parent)
        return sorted(found)

    def _days(self, context: dg.AssetExecutionContext, chosen: Sequence[str]) -> Sequence[str]:
        nodes = self.project.manifest["nodes"]
        if context.has_partition_key or context.has_partition_key_range:
            span = context.partition_key_range
            days = {"start_date": span.start, "end_date": span.end}
            return ("--vars", json.dumps(days))
        by_day = [nodes[unique_id]["name"] for unique_id in chosen if is_by_day(nodes[unique_id])]
        if by_day:
            raise InvalidInput(
                ", ".join(by_day),
                "made a day at a time, and the run has no days",
                remedy="Choose a partition, or a range of them",
            )
        return ()

    def _require_tables(self, chosen: Sequence[str]) -> None:
        """Staging takes a table that is not there for an empty one; a green day would hide it."""
        if self.settings.warehouse is not WarehouseKind.DUCKDB:
            return
        wanted = {one.rpartition(".")[2] for one in self._below(chosen) if _is_source(one)}
        with open_for_reading(self.settings.warehouse_folder.absolute()) as warehouse:
            found = warehouse.execute("SELECT view_name FROM duckdb_views()").fetchall()
        missing = sorted(wanted - {name for (name,) in found})
        if missing:
            raise MissingUpstream(
                ", ".join(f"warehouse/{name}" for name in missing),
                "not published yet",
                remedy="Materialize them for these days, then the marts",
            )

    def _lock(self) -> AbstractContextManager[None]:
        """One writer of DuckDB's file, whoever started it; BigQuery keeps its own order."""
        if self.settings.warehouse is not WarehouseKind.DUCKDB:
            return contextlib.nullcontext()
        folder = self.settings.warehouse_folder.absolute()
        return exclusive_lock(folder / MARTS_LOCK, timeout_s=LOCK_WAIT_S)

    def _told(self, event: Event) -> Iterator[Event]:
        """The event, unless it is of a view; of a mart also where its columns come from."""
        if not isinstance(event, dg.Output):
            if not (isinstance(event, dg.AssetObservation) and event.asset_key in self._views):
                yield event
            return
        unique_id = self._ids.get(event.output_name)
        if unique_id is not None:
            project = self.project
            more = lineage_metadata(unique_id, project.lineage, project.manifest, self.translator)
            yield event.with_metadata({**event.metadata, **more})

    @cached_property
    def _ids(self) -> dict[str, str]:
        """The ids in dbt of the marts by the names of their outputs."""
        nodes = self.project.manifest["nodes"]
        return {
            self.translator.get_asset_key(nodes[unique_id]).to_python_identifier(): unique_id
            for unique_id in self.project.lineage
        }

    @cached_property
    def _views(self) -> Container[dg.AssetKey]:
        return self.translator.views(self.project.manifest)


def _is_source(unique_id: str) -> bool:
    return unique_id.startswith("source.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that is over; end one that is not."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
