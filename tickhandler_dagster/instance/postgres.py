"""The event log on Postgres, Dagster's own but for the status of partitions and their checks.

What belongs here: what needs `dagster_postgres`, which is installed with the extra `deploy`. What
does not: the instance (`storage.py`), which loads this where Postgres is configured.
"""

from __future__ import annotations

from dagster._core.storage.event_log import EventLogStorage
from dagster_postgres.event_log import PostgresEventLogStorage

from tickhandler_dagster.instance.check_states import LinearCheckStates
from tickhandler_dagster.instance.grid_states import LinearGridStates
from tickhandler_dagster.instance.pools import InitialPoolLimits


class LinearPostgresEventLog(
    LinearCheckStates, LinearGridStates, InitialPoolLimits, PostgresEventLogStorage
):
    """Dagster's event log on Postgres; the status of a check takes linear time."""


def linear_event_log(configured: EventLogStorage) -> EventLogStorage:
    """The same database with linear statuses; another class is given back as it is."""
    if type(configured) is not PostgresEventLogStorage:
        return configured
    return LinearPostgresEventLog(
        configured.postgres_url,
        configured.should_autocreate_tables,
        configured.inst_data,
        # The password of a cloud's identity is made anew for each connection; without the provider
        # this log alone could not connect.
        token_provider=configured._token_provider,  # noqa: SLF001  (see above)
    )
