"""Limits of the run queue's pools as they are before somebody sets others.

What belongs here: which pools have another limit than `default_limit` of dagster.yaml, which knows
one number for all. What does not: which asset is in a pool (`assets/`).
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

INITIAL_LIMITS: Mapping[str, int] = MappingProxyType({TARDIS: 4})
"""By pool how many runs go on at once until `dagster instance concurrency set` says otherwise.

Four runs of fifty downloads are more than the vendor serves to one key at full speed; a fifth only
shares. Memory is no reason for the number: every file is admitted by what it needs.
"""


class InitialPoolLimits(_Base):
    """Mixed into an event log storage: some pools begin with a limit of their own."""

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Called by the queue for a pool that has no limit yet."""
        limit = INITIAL_LIMITS.get(concurrency_key)
        if limit is None:
            return super().initialize_concurrency_limit_to_default(  # type: ignore[safe-super]
                concurrency_key
            )
        self.set_concurrency_slots(concurrency_key, limit)
        return True
