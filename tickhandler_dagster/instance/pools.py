"""Pools of the run queue, and their limits as they are before somebody sets others.

What belongs here: names and limits; `default_limit` of dagster.yaml knows one number for all. What
does not: which asset is in a pool (`assets/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster._core.storage.event_log import EventLogStorage as _Base
else:
    _Base = object  # what it is mixed into is a storage already

TARDIS = "tardis"
"""Runs that fetch with the vendor's key."""

WAREHOUSE_WRITER = "warehouse_writer"
"""Runs that publish: correct side by side, but a second one mostly waits for the first."""

INITIAL_LIMITS: Mapping[str, int] = MappingProxyType({TARDIS: 4, WAREHOUSE_WRITER: 1})
"""By pool how many runs go on at once until `dagster instance concurrency set` says otherwise.

Four runs of fifty downloads are more than the vendor serves to one key at full speed; a fifth only
shares. Memory is no reason for the number: every file is admitted by what it needs.
"""


class InitialPoolLimits(_Base):
    """Mixed into an event log storage: our pools have their limits from the first look on.

    Dagster's queue asks for the pools that have limits, then gives one to pools it has not met, and
    at this look holds no run back for them: all that wait in a new installation would begin.
    """

    def get_concurrency_keys(self) -> set[str]:
        """Names of the pools that have a limit, ours among them always."""
        known = super().get_concurrency_keys()  # type: ignore[safe-super]
        for pool in INITIAL_LIMITS.keys() - known:
            self.set_concurrency_slots(pool, INITIAL_LIMITS[pool])
        return known | INITIAL_LIMITS.keys()
