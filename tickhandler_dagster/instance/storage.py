"""SQLite storage of an instance, Dagster's own but for the status of partitioned checks.

What belongs here: the classes `dagster.yaml` names. `PlatformInstance` is the one a user writes
there, because it alone is told the folder of the instance: a storage named by itself has to be
given the folder as text, and `cp dagster.yaml "$DAGSTER_HOME"` would be an edit by hand.

Another storage, such as Postgres, is set by `storage:` beside it and is then Dagster's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from tickhandler_dagster.instance.check_states import LinearCheckState

_BASE_DIR = "base_dir"


class LinearCheckStates:
    """Mixed into an event log storage: the status of a check takes linear time.

    Dagster begins with what the storage remembers of a check, for which its own storages have
    nothing, and updates that: here with nothing as well, which updates itself in one pass.
    """

    def get_checkpointed_asset_check_state(
        self, keys: Sequence[dg.AssetCheckKey]
    ) -> Mapping[dg.AssetCheckKey, AssetCheckState]:
        """Nothing, for each check."""
        return {key: LinearCheckState.empty() for key in keys}


class PlatformEventLog(LinearCheckStates, SqliteEventLogStorage):
    """Dagster's event log on SQLite."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PlatformEventLog:
        """Dagster's own makes its own class whatever the class is."""
        return cls(inst_data=inst_data, **config_value)


class PlatformStorage(DagsterSqliteStorage):
    """Dagster's storage on SQLite, with the event log above, over the same files."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = PlatformEventLog(_event_log_folder(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> PlatformStorage:
        """Dagster's own makes its own class whatever the class is."""
        return cls.from_local(inst_data=inst_data, **config_value)


class PlatformInstance(dg.DagsterInstance):
    """Dagster's instance, whose storage where none is configured is the one above."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """Entries of `dagster.yaml` beside Dagster's own: none."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Dagster's own, but for the storage and for the event log where parts are configured."""

        def of(kind: type, folder: str) -> ConfigurableClassData:
            config = yaml.dump({_BASE_DIR: folder}, default_flow_style=False)
            return ConfigurableClassData(kind.__module__, kind.__name__, config)

        return {
            **InstanceRef.config_defaults(base_dir),
            "storage": of(PlatformStorage, base_dir),
            "event_log_storage": of(PlatformEventLog, _event_log_folder(base_dir)),
        }


def _event_log_folder(base_dir: str) -> str:
    return str(Path(base_dir, "history", "runs")) + os.sep
