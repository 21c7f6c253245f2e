"""What a repair is asked for, and which raw partitions its answer names.

What belongs here: the request, the remedy of every state, and the choice of partitions from the
completeness table. What does not: what changes downstream of them (`repair_plan.py`), reading the
table (`pipeline/repair.py`) and starting runs (`automation/`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES, VenueId

MISSING = "missing"
"""The name that stands for every state of data that should be there and is not."""


class Remedy(StrEnum):
    """What can be done about a state."""

    ASK_AGAIN = "ask again"
    WAIT = "wait for the vendor"
    BUY = "extend the subscription"
    RECHECK = "compare with the vendor's file"
    NOTHING = "nothing to do"


REMEDIES: Mapping[DataState, Remedy] = MappingProxyType(
    {
        DataState.PRESENT: Remedy.NOTHING,
        DataState.EMPTY: Remedy.NOTHING,
        DataState.NOT_LISTED: Remedy.NOTHING,
        DataState.NOT_EXPORTED_YET: Remedy.WAIT,
        DataState.NO_ENTITLEMENT: Remedy.BUY,
        DataState.INCIDENT: Remedy.WAIT,
        DataState.FAILED: Remedy.ASK_AGAIN,
        DataState.QUARANTINED: Remedy.ASK_AGAIN,
        DataState.PARTIAL: Remedy.RECHECK,
        DataState.NOT_INGESTED: Remedy.ASK_AGAIN,
    }
)

ASKED_AGAIN: tuple[DataState, ...] = tuple(
    state for state in DataState if REMEDIES[state] is Remedy.ASK_AGAIN
)
"""States that a repair takes where none is named: another request can change them today."""

_FETCHABLE = tuple(state for state in DataState if not state.is_settled)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequest:
    """What somebody wants repaired; empty tuples of the optional fields stand for everything.

    Attributes:
        venues: Venues; none of them is an empty request.
        since: First UTC day.
        until: Last UTC day, included.
        data_types: Data types.
        states: States that are taken.
        verdicts: How the policy takes the state.
        instruments: Instrument keys or patterns with `*` and `?`.
    """

    venues: tuple[VenueId, ...]
    since: dt.date
    until: dt.date
    data_types: tuple[DataType, ...] = ()
    states: tuple[DataState, ...] = ASKED_AGAIN
    verdicts: tuple[Verdict, ...] = ()
    instruments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a span that ends before it starts.

        Raises:
            InvalidInput: it does.
        """
        if self.until < self.since:
            raise InvalidInput(
                "the last day",
                "before the first day",
                was=self.until,
                expected=f"{self.since} or later",
                remedy="Swap the two",
            )

    def types_of(
        self, venue: VenueId, downloads: Mapping[VenueId, Collection[DataType]]
    ) -> tuple[DataType, ...]:
        """The types that the venue can have and that are named, or downloaded where none is."""
        wanted = self.data_types or downloads.get(venue, ())
        return tuple(one for one in DataType if one in wanted and one in VENUES[venue].data_types)


@dataclass(frozen=True, slots=True)
class BrokenPartition:
    """A raw partition that a repair asks for again.

    Attributes:
        data_type: Its type.
        cell: Its day and venue.
        files: Number of its files by state; 0 files where the day was never looked at.
    """

    data_type: DataType
    cell: VenueDay
    files: Mapping[DataState, int] = field(hash=False)


def parse_states(names: Sequence[str]) -> tuple[DataState, ...]:
    """The states of these names, in the enum's order; `missing` stands for all that are missing.

    Raises:
        InvalidInput: a name is no state, or one that a request to the vendor cannot change.

    Example:
        >>> [state.value for state in parse_states(["quarantined", "failed"])]
        ['failed', 'quarantined']
    """
    chosen: set[DataState] = set()
    for name in names:
        text = name.strip().lower()
        if text == MISSING:
            chosen |= {state for state in DataState if state.is_missing}
        elif text in _FETCHABLE:
            chosen.add(DataState(text))
        else:
            raise InvalidInput(
                f"'{name}'",
                "not a state that a repair can change",
                expected=f"{MISSING} or one of {', '.join(_FETCHABLE)}",
                remedy="Use a name from the list; holes in a file that is there need a recheck",
            )
    return tuple(state for state in DataState if state in chosen) or ASKED_AGAIN


def broken_partitions(frame: pl.DataFrame, request: RepairRequest) -> list[BrokenPartition]:
    """The raw partitions that have at least one row as requested, ordered by type, day and venue.

    Args:
        frame: Rows of `COMPLETENESS_TABLE`, of any number of days and venues.
        request: Which rows are meant.
    """
    chosen = frame.filter(*_conditions(request))
    counts = chosen.group_by("data_type", "date", "venue", "state").agg(pl.len().alias("files"))
    found: dict[tuple[DataType, VenueDay], dict[DataState, int]] = {}
    for data_type, date, venue, state, files in counts.iter_rows():
        key = (DataType(data_type), VenueDay(date, VenueId(venue)))
        found.setdefault(key, {})[DataState(state)] = files
    return [
        BrokenPartition(
            data_type,
            cell,
            MappingProxyType({state: files[state] for state in DataState if state in files}),
        )
        for (data_type, cell), files in sorted(found.items(), key=_order)
    ]


def never_looked_at(
    cells: Iterable[VenueDay],
    request: RepairRequest,
    downloads: Mapping[VenueId, Collection[DataType]],
) -> list[BrokenPartition]:
    """The partitions of days without a completeness table: nothing says that they are there.

    Fetching again what is there all the same costs a look at its manifest, no download.
    """
    if DataState.NOT_INGESTED not in request.states:
        return []
    unknown = MappingProxyType({DataState.NOT_INGESTED: 0})
    inside = sorted(
        cell
        for cell in set(cells)
        if cell.venue in request.venues and request.since <= cell.date <= request.until
    )
    found = [
        BrokenPartition(data_type, cell, unknown)
        for cell in inside
        for data_type in request.types_of(cell.venue, downloads)
    ]
    return sorted(found, key=lambda item: _order(((item.data_type, item.cell), item.files)))


def _order(
    item: tuple[tuple[DataType, VenueDay], Mapping[DataState, int]],
) -> tuple[int, VenueDay]:
    (data_type, cell), _ = item
    return tuple(DataType).index(data_type), cell


def _conditions(request: RepairRequest) -> list[pl.Expr]:
    conditions = [
        pl.col("date").is_between(request.since, request.until),
        pl.col("venue").is_in([str(venue) for venue in request.venues]),
        pl.col("state").is_in([str(state) for state in request.states]),
    ]
    if request.data_types:
        conditions.append(pl.col("data_type").is_in([str(one) for one in request.data_types]))
    if request.verdicts:
        conditions.append(pl.col("verdict").is_in([str(one) for one in request.verdicts]))
    if request.instruments:
        pattern = "|".join(map(_regex, request.instruments))
        conditions.append(pl.col("instrument_key").str.contains(f"^(?:{pattern})$"))
    return conditions


def _regex(pattern: str) -> str:
    """A shell pattern in the dialect of polars, which lacks the end mark of Python's own."""
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
