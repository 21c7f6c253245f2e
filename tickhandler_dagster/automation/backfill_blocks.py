"""How a long backfill of a venue is cut: into blocks of days, side by side and resumed alone.

What belongs here: the cut. What does not: which cells (`cli/selection.py`), asking the daemon
(`backfills.py`).

Dagster makes one run of all days of a venue, since assets have `single_run` policies, which the
command line's ranges need. A run of a year is lost as a whole when its process dies, and keeps
other cores idle. What is fetched is cut; what is computed is not: a day of bars takes over the
state of the day before, and reads the ticks of the day after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.automation.daily_jobs import STAGE_OF
from tickhandler_dagster.market.daily import DailyStage

DAYS_PER_RUN = 30
"""Starting a run takes seven seconds of processor time, which thirty days share; more days share
little more, and are lost together."""

_FETCHED = (DailyStage.LISTING, DailyStage.TICKS, DailyStage.SURFACE)

Keys = Mapping[dg.AssetKey, tuple[str, ...]]


@dataclass(frozen=True)
class Block:
    """Cells that are one backfill.

    Attributes:
        is_fetched: They come from the vendor; blocks of these do not wait for each other, and all
            others wait for them.
        keys: Partition keys by asset.
        first: First day.
        last: Last day.
    """

    is_fetched: bool
    keys: Keys
    first: str
    last: str


def blocks_of(keys: Keys, days_per_run: int = DAYS_PER_RUN) -> Iterator[Block]:
    """The cells of a venue, cut where they are many days.

    Args:
        keys: Partition keys by asset, all of one venue.
        days_per_run: Days of a block at most.
    """
    days = sorted({_day(key) for some in keys.values() for key in some})
    if not days:
        return
    if len(days) <= days_per_run:
        yield Block(is_fetched=False, keys=keys, first=days[0], last=days[-1])
        return
    fetched = {key: some for key, some in keys.items() if STAGE_OF.get(key.path[0]) in _FETCHED}
    for start in range(0, len(days), days_per_run):
        block = days[start : start + days_per_run]
        part = _within(fetched, block[0], block[-1])
        if part:
            yield Block(is_fetched=True, keys=part, first=block[0], last=block[-1])
    others = {key: some for key, some in keys.items() if key not in fetched}
    if others:
        yield Block(is_fetched=False, keys=others, first=days[0], last=days[-1])


def _within(keys: Keys, first: str, last: str) -> Keys:
    found = {
        key: tuple(one for one in some if first <= _day(one) <= last) for key, some in keys.items()
    }
    return {key: some for key, some in found.items() if some}


def _day(key: str) -> str:
    return key.partition("|")[0]
