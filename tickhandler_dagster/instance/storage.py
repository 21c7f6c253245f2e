"""Storage of an instance, Dagster's own but for the status of partitions and their checks.

What belongs here: the classes `dagster.yaml` names. `PlatformInstance` is the one a user writes
there, because it alone is told the folder of the instance: a storage named by itself has to be
given the folder as text, and `cp dagster.yaml "$DAGSTER_HOME"` would be an edit by hand.

Postgres is set by `storage: {postgres: ...}` beside it, or in parts as the Helm chart does: only
the event log is then exchanged, for one over the same database (`postgres.py`). Any other storage
is used as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from tickhandler_dagster.instance.check_states import LinearCheckStates
from tickhandler_dagster.instance.grid_states import LinearGridStates
from tickhandler_dagster.instance.pools import InitialPoolLimits

_BASE_DIR = "base_dir"
_KEPT_ENGINES = 32
_POSTGRES = "dagster_postgres"


@lru_cache(maxsize=_KEPT_ENGINES)
def _engine(conn_string: str) -> Engine:
    """What talks to a file: it keeps the texts of statements, and no connection.

    A connection kept open would put off writing the file itself, which the page of a run watches.
    """
    return create_engine(
        conn_string,
        poolclass=NullPool,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )


class PlatformEventLog(
    LinearCheckStates, LinearGridStates, InitialPoolLimits, SqliteEventLogStorage
):
    """Dagster's event log on SQLite.

    Args:
        base_dir: Folder of its files.
        inst_data: What it was configured by.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    def has_table(self, table_name: str) -> bool:
        """Dagster asks for every check that it stores; a table that is there stays there."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Dagster's own, whose engine is new each time and composes each statement anew.

        That was a third of what an event takes to store.
        """
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

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
    """Dagster's instance, whose storage where none is configured is the one above.

    Args:
        event_storage: That of the configuration.
        parts: Everything else that Dagster makes an instance of.
    """

    def __init__(self, *, event_storage: EventLogStorage, **parts: Any) -> None:  # noqa: ANN401  (Dagster's)
        if type(event_storage).__module__.split(".")[0] == _POSTGRES:
            # Here alone: on SQLite the driver of Postgres is not loaded, nor has to be there.
            from tickhandler_dagster.instance.postgres import (  # noqa: PLC0415  (see above)
                linear_event_log,
            )

            event_storage = linear_event_log(event_storage)
        super().__init__(event_storage=event_storage, **parts)

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
