"""The plan of a selection: what would be done, what it takes, and what is there already.

What belongs here: the value, its sums and how two of them differ. What does not: its text form
(`plan_json.py`), making one (`pipeline/plan.py`) and running it (`cli/run_plan.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tickhandler_dagster.market.costs.quantities import Quantities, total_of
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.repair_plan import PlannedAsset, RepairPlan
from tickhandler_dagster.market.venues import VENUES, VenueId

RAW_TICKS = "raw_ticks"


class PlanPart(StrEnum):
    """What a selection can name."""

    RAW_TICKS = "raw_ticks"
    CANDLES = "candles"
    MFT_FEATURES = "mft_features"
    WAREHOUSE = "warehouse"


def parse_part(text: str) -> PlanPart:
    """The part of that name.

    Raises:
        InvalidInput: no such part; the message lists them all.

    Example:
        >>> parse_part("candles")
        <PlanPart.CANDLES: 'candles'>
    """
    if text not in set(PlanPart):
        raise InvalidInput(
            f"'{text}'",
            "not something a plan can be made for",
            expected=f"one of {', '.join(PlanPart)}",
            remedy="Use a name from the list",
        )
    return PlanPart(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a plan is asked for; both days included.

    Attributes:
        start: First UTC day.
        end: Last UTC day.
        venues: Venues, in the grid's order.
        data_types: Raw types to fetch.
        parts: Which assets.
        is_forced: Also what is there already is done again.
        max_files: No more than so many files of a raw partition, the largest; 0 for all.
    """

    start: dt.date
    end: dt.date
    venues: tuple[VenueId, ...]
    data_types: tuple[DataType, ...]
    parts: tuple[PlanPart, ...] = tuple(PlanPart)
    is_forced: bool = False
    max_files: int = 0

    def __post_init__(self) -> None:
        """Refuse a span that ends before it starts, and a negative number of files.

        Raises:
            InvalidInput: it is so.
        """
        if self.end < self.start:
            raise InvalidInput(
                "the last day",
                "before the first day",
                was=self.end,
                expected=f"{self.start} or later",
                remedy="Swap the two",
            )
        if self.max_files < 0:
            raise InvalidInput(
                "the number of instruments",
                "negative",
                was=self.max_files,
                expected="1 or more, or 0 for all",
                remedy="Leave it out for all",
            )

    @property
    def days(self) -> tuple[dt.date, ...]:
        """All days, earliest first."""
        count = (self.end - self.start).days + 1
        return tuple(self.start + dt.timedelta(days=number) for number in range(count))

    def cells(self, data_type: DataType | None = None) -> Iterator[VenueDay]:
        """The cells in order of venue and day, of the venues that can have the type."""
        for venue in self.venues:
            if data_type is None or data_type in VENUES[venue].data_types:
                for day in self.days:
                    yield VenueDay(day, venue)


@dataclass(frozen=True, slots=True)
class PlanLine:
    """An asset's part of a plan.

    Attributes:
        asset: Its name, its key's parts joined by `/`.
        cells: Partitions to make.
        cells_there: Partitions that are there and stay as they are.
        files: Vendor files to fetch.
        files_there: Vendor files that were fetched and stay as they are.
        quantities: What it takes.
    """

    asset: str
    cells: int
    cells_there: int
    files: int
    files_there: int
    quantities: Quantities


@dataclass(frozen=True, slots=True)
class CellFiles:
    """A raw partition's part of a plan.

    Attributes:
        files: Vendor files to fetch.
        kept_rows: Rows of the partition that stay.
        kept_bytes: Bytes of the partition that stay.
    """

    files: int
    kept_rows: int = 0
    kept_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a selection takes.

    Attributes:
        selection: What was asked for.
        place: Which lake it was planned for.
        lines: By asset, in the order of doing; also of assets with nothing to do.
        work: Partitions to make, in order.
        files: The vendor files of each raw partition, by asset and cell.
        warehouse: Days to publish, by table.
        notes: What the reader should know of how the estimate came to be.
    """

    selection: Selection
    place: str
    lines: tuple[PlanLine, ...]
    work: tuple[PlannedAsset, ...]
    files: Mapping[str, Mapping[VenueDay, CellFiles]] = field(hash=False)
    warehouse: Mapping[str, tuple[dt.date, ...]] = field(hash=False)
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Quantities:
        """All lines together."""
        return total_of(line.quantities for line in self.lines)

    @property
    def files_to_fetch(self) -> int:
        """Vendor files of all lines."""
        return sum(line.files for line in self.lines)

    @property
    def is_empty(self) -> bool:
        """There is nothing to do."""
        return not self.work and not any(self.warehouse.values())

    @property
    def runs(self) -> RepairPlan:
        """The work in the form in which ranges of partitions are run."""
        return RepairPlan(self.work)


def differences(planned: Plan, now: Plan) -> list[str]:
    """What is to be done by one plan and not by the other, as sentences; prices do not matter."""
    found = []
    before, after = _cells(planned), _cells(now)
    for key in sorted(before.keys() | after.keys()):
        was, is_now = before.get(key), after.get(key)
        if was != is_now:
            asset, cell = key
            found.append(f"{asset} {cell}: planned {_told(was)}, now {_told(is_now)}")
    return found


def _cells(plan: Plan) -> dict[tuple[str, str], int | None]:
    """Every partition to make; with the number of its files where it has files."""
    cells: dict[tuple[str, str], int | None] = {}
    for item in plan.work:
        files = plan.files.get(item.asset, {})
        for cell in item.cells:
            cells[item.asset, str(cell)] = files[cell].files if cell in files else -1
    for table, days in plan.warehouse.items():
        for day in days:
            cells[f"warehouse/{table}", str(day)] = -1
    return cells


def _told(files: int | None) -> str:
    if files is None:
        return "nothing"
    return "to make" if files < 0 else f"{files:,} files"


def check_unchanged(planned: Plan, now: Plan, *, shown: int = 5) -> None:
    """Refuse to run a plan that is not what would be planned now.

    Raises:
        InvalidInput: it is for another lake, or the lake changed in what there is to do.
    """
    if planned.place != now.place:
        raise InvalidInput(
            "the plan",
            "made for another lake",
            was=planned.place,
            expected=now.place,
            remedy="Plan again here, or set the lake of the plan",
        )
    changed = differences(planned, now)
    if changed:
        more = f" and {len(changed) - shown:,} more" if len(changed) > shown else ""
        raise InvalidInput(
            "the plan",
            f"the lake changed since, in {len(changed):,} partitions",
            was="; ".join(changed[:shown]) + more,
            remedy="Plan again: `tickhandler plan … --save FILE`",
        )


def cells_of(work: Sequence[PlannedAsset]) -> int:
    """Number of partitions of all assets."""
    return sum(len(item.cells) for item in work)
