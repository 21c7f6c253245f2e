"""When objects were last written, as the device or the bucket says.

What belongs here: the question. The answer is no part of what is stored, which has no clock in it;
a copy of a lake can say later than it was, and never earlier, unless somebody sets the times back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import of_each
from tickhandler_dagster.market.paths import LakeObject


@runtime_checkable
class DatedStore(Protocol):
    """A store that knows when its objects were written."""

    def written_at(self, path: str) -> dt.datetime | None:
        """When the present object was written; None where there is none."""
        ...


def written_after(lake: Lake, items: Sequence[LakeObject], moment: dt.datetime) -> list[bool]:
    """Whether each of the objects was written after the moment; true where nobody knows."""
    store = lake.store
    if not isinstance(store, DatedStore):
        return [True] * len(items)
    times = of_each(lake.store, store.written_at, [item.path for item in items])
    return [time is None or time > moment for time in times]
