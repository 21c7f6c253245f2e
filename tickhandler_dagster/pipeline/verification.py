"""Reading back what a partition stored and holding it against its table.

What belongs here: which objects are read; raw ticks, which are read once in their life, are the
work of `tick_audits.py`. The rules are the tables' (`market`), what a failure means is `checks/`.
Files are read in batches: a check of a day with forty million rows needs the memory of one batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.table_batches import read_batches
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.information_bar_manifest_table import (
    INFORMATION_BAR_MANIFEST_TABLE,
)
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft_manifest_table import MFT_MANIFEST_TABLE
from tickhandler_dagster.market.paths import (
    CandleFile,
    InformationBarFile,
    InstrumentsFile,
    LakeObject,
    MftFile,
)
from tickhandler_dagster.market.schema_check import SchemaCheck, SchemaFailure, SchemaReport
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe


def verify_stored(
    lake: Lake, table: Table, items: Iterable[tuple[str, LakeObject]]
) -> SchemaReport:
    """All broken rules over the stored objects.

    Args:
        lake: Where they are.
        table: What each should be.
        items: (subject, object) pairs; the subject names the rows in the report.

    Raises:
        CorruptData: an object is not readable at all.
    """
    check = SchemaCheck(table)
    return check.run(
        (subject, batch) for subject, item in items for batch in read_batches(lake, item)
    )


def verify_instruments(lake: Lake, cell: VenueDay) -> SchemaReport:
    """All broken rules of the cell's universe."""
    item = InstrumentsFile(cell.date, cell.venue)
    return verify_stored(lake, INSTRUMENTS_TABLE, [(str(cell), item)])


Part = TypeVar("Part", Timeframe, BarKind)

_BETWEEN = "\t"  # in no name of a timeframe, a kind or an instrument


@dataclass(frozen=True, slots=True)
class BarsVerdict:
    """What reading back the bars of a partition found.

    Attributes:
        schema: Broken rules of the bars.
        conservation: Broken sums: rows read, rows used, trades in bars.
        trades: Trades in the stored bars.
    """

    schema: SchemaReport
    conservation: SchemaReport
    trades: int


def verify_candles(
    lake: Lake, cell: VenueDay, manifests: Mapping[Timeframe, pl.DataFrame]
) -> dict[Timeframe, BarsVerdict]:
    """Hold the stored bars against their table and their counts against the manifests.

    Args:
        lake: Where they are.
        cell: Day and venue of the bars.
        manifests: The partitions' rows of `CANDLE_MANIFEST_TABLE`, by timeframe.

    Raises:
        CorruptData: an object is not readable at all.
    """
    return _verify_bars(
        lake,
        (CANDLE_TABLE, CANDLE_MANIFEST_TABLE),
        manifests,
        lambda timeframe, key: CandleFile(cell.date, timeframe, key),
    )


def verify_information_bars(
    lake: Lake, cell: VenueDay, manifests: Mapping[BarKind, pl.DataFrame]
) -> dict[BarKind, BarsVerdict]:
    """Hold the stored bars against their table and their counts against the manifests.

    Args:
        lake: Where they are.
        cell: Day and venue of the bars.
        manifests: The partitions' rows of `INFORMATION_BAR_MANIFEST_TABLE`, by kind.

    Raises:
        CorruptData: an object is not readable at all.
    """
    return _verify_bars(
        lake,
        (INFORMATION_BAR_TABLE, INFORMATION_BAR_MANIFEST_TABLE),
        manifests,
        lambda kind, key: InformationBarFile(cell.date, kind, key),
    )


def verify_mft_features(
    lake: Lake, cell: VenueDay, manifests: Mapping[Timeframe, pl.DataFrame], *, table: Table
) -> dict[Timeframe, SchemaReport]:
    """Hold the stored features against their table, and the manifests against theirs.

    Args:
        lake: Where they are.
        cell: Day and venue of the rows.
        manifests: The partitions' rows of `MFT_MANIFEST_TABLE`, by timeframe.
        table: What the rows should be.

    Raises:
        CorruptData: an object is not readable at all.
    """
    rows: Counter[Timeframe] = Counter()

    def batches() -> Iterator[tuple[str, pl.DataFrame]]:
        for timeframe, manifest in manifests.items():
            for key in manifest["instrument_key"]:
                for batch in read_batches(lake, MftFile(cell.date, timeframe, key)):
                    rows[timeframe] += batch.height
                    yield f"{timeframe}{_BETWEEN}{key}", batch

    wrong = _by_part(SchemaCheck(table).run(batches()).failures)
    named = [(f"{part}{_BETWEEN}manifest", manifest) for part, manifest in manifests.items()]
    wrong_manifests = _by_part(SchemaCheck(MFT_MANIFEST_TABLE).run(named).failures)
    return {
        part: SchemaReport(rows[part], [*wrong.get(part, []), *wrong_manifests.get(part, [])])
        for part in manifests
    }


def _verify_bars(
    lake: Lake,
    tables: tuple[Table, Table],
    manifests: Mapping[Part, pl.DataFrame],
    item_of: Callable[[Part, str], LakeObject],
) -> dict[Part, BarsVerdict]:
    """The verdict of every part, from one check over all of them: a check has a fixed price."""
    counted: dict[str, int] = {}
    rows: Counter[str] = Counter()

    def batches() -> Iterator[tuple[str, pl.DataFrame]]:
        for part, manifest in manifests.items():
            for key in manifest["instrument_key"]:
                subject = f"{part}{_BETWEEN}{key}"
                counted[subject] = 0
                for batch in read_batches(lake, item_of(part, key)):
                    counted[subject] += int(batch["trade_count"].sum())
                    rows[part] += batch.height
                    yield subject, batch

    schema: dict[str, list[SchemaFailure]] = _by_part(
        SchemaCheck(tables[0]).run(batches()).failures
    )
    named = [(f"{part}{_BETWEEN}manifest", manifest) for part, manifest in manifests.items()]
    conservation: dict[str, list[SchemaFailure]] = _by_part(
        SchemaCheck(tables[1]).run(named).failures
    )

    def verdict(name: Part, stored: pl.DataFrame) -> BarsVerdict:
        wrong = [*conservation.get(name, []), *_wrong_sums(name, stored, counted)]
        return BarsVerdict(
            SchemaReport(rows[name], schema.get(name, [])),
            SchemaReport(stored.height, wrong),
            sum(counted[f"{name}{_BETWEEN}{key}"] for key in stored["instrument_key"]),
        )

    return {name: verdict(name, stored) for name, stored in manifests.items()}


def _by_part(failures: Iterable[SchemaFailure]) -> dict[str, list[SchemaFailure]]:
    found: dict[str, list[SchemaFailure]] = {}
    for failure in failures:
        part, _, subject = failure.subject.partition(_BETWEEN)
        found.setdefault(part, []).append(replace(failure, subject=subject))
    return found


def _wrong_sums(
    part: str, manifest: pl.DataFrame, counted: Mapping[str, int]
) -> Iterator[SchemaFailure]:
    for key, said in manifest.select("instrument_key", "trades").iter_rows():
        found = counted[f"{part}{_BETWEEN}{key}"]
        if found != said:
            yield SchemaFailure(key, "trade_count", f"sums to {said}", said, (str(found),))
