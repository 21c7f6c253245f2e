"""Which vendor files a raw partition needs, and what is already decided without asking.

What belongs here: the choice between a grouped file and one file per instrument, and the states
that follow from the catalogue and from the manifest of an earlier run. What does not: asking the
vendor (`pipeline/raw_ticks.py`) and checking that kept objects are still there (the same).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.restriction import Restriction
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_csv import CONVERSION_VERSION

OPTION = "OPTION"
TAKE_ALL = Restriction()
_SHOWN = 5
"""Names in an error's text."""

GROUPING: Mapping[DataType, Mapping[str, GroupSymbol]] = MappingProxyType(
    {
        DataType.TRADES: {OPTION: GroupSymbol.OPTIONS},
        DataType.INCREMENTAL_BOOK_L2: {},
        DataType.QUOTES: {OPTION: GroupSymbol.OPTIONS},
        DataType.BOOK_SNAPSHOT_5: {},
        DataType.BOOK_SNAPSHOT_25: {},
        DataType.DERIVATIVE_TICKER: {
            "PERPETUAL": GroupSymbol.PERPETUALS,
            "FUTURE": GroupSymbol.FUTURES,
        },
        DataType.LIQUIDATIONS: {
            "PERPETUAL": GroupSymbol.PERPETUALS,
            "FUTURE": GroupSymbol.FUTURES,
            OPTION: GroupSymbol.OPTIONS,
        },
        DataType.OPTIONS_CHAIN: {OPTION: GroupSymbol.OPTIONS},
        DataType.BOOK_TICKER: {},
    }
)
"""By instrument type the group whose file is taken where the vendor offers it.

Grouped where instruments are many and quiet: an option venue lists a thousand options a day, most
without one trade. Trades of perpetuals are not grouped: one file of all of them would have to be
read whole to repair a single instrument.
"""

_ONLY_GROUPED = frozenset({DataType.OPTIONS_CHAIN})
"""Types the vendor has no file per instrument of, so that no instrument lists them either."""


@dataclass(frozen=True, slots=True)
class ExpectedInstrument:
    """An instrument a raw partition has a manifest row for."""

    instrument_key: str
    tardis_symbol: str
    instrument_type: str
    is_simulated: bool


@dataclass(frozen=True, slots=True)
class FileJob:
    """One vendor file to fetch.

    Attributes:
        source_symbol: As in the file's address: an instrument's symbol, or a group.
        instruments: Whose rows it may hold.
        is_grouped: It holds many instruments' rows.
    """

    source_symbol: str
    instruments: tuple[ExpectedInstrument, ...]
    is_grouped: bool

    def is_of(self, keys: Collection[str]) -> bool:
        """Whether its file can hold rows of one of these instrument keys."""
        return any(item.instrument_key in keys for item in self.instruments)


@dataclass(frozen=True, slots=True)
class RawPlan:
    """What there is to do for a raw partition.

    Attributes:
        jobs: Files to fetch, the ones expected to be large first.
        decided: Manifest rows that need no request; with the jobs' instruments they are all.
        kept: How many of them stand for objects of an earlier run.
    """

    jobs: tuple[FileJob, ...]
    decided: tuple[ManifestRow, ...]
    kept: int


def plan_raw_files(
    cell: VenueDay,
    data_type: DataType,
    *,
    universe: pl.DataFrame,
    catalog: ExchangeCatalog,
    manifest: Sequence[ManifestRow] = (),
    force: bool = False,
    again: Collection[str] = (),
    restriction: Restriction = TAKE_ALL,
) -> RawPlan:
    """Decide what to fetch.

    Args:
        cell: Day and venue.
        data_type: Which type.
        universe: The day's rows of `INSTRUMENTS_TABLE`.
        catalog: What the vendor exports.
        manifest: Rows of an earlier run that still hold.
        force: Fetch all files again, also those of settled rows.
        again: Instrument keys whose files are fetched again, also where settled.
        restriction: Which instruments are taken; what else is not settled is `not_ingested`, or
            what an earlier run found of it.

    Raises:
        InvalidInput: a key to fetch again is not expected in the partition.
    """
    expected = expected_instruments(universe, data_type)
    _check_expected(again, expected, f"raw_ticks/{data_type} {cell}")
    known = {row.instrument_key: row for row in manifest}
    settled = {key: row for key, row in known.items() if row.state.is_settled}
    if not catalog.is_exported(cell.date):
        undecided = [item for item in expected if item.instrument_key not in settled]
        return _plan((), [*_held(expected, settled), *_not_exported(cell, data_type, undecided)])
    jobs, unlisted = _split(cell, data_type, expected, catalog)
    open_jobs = [job for job in jobs if force or job.is_of(again) or not _is_settled(job, settled)]
    taken = {*again, *(item.instrument_key for item in restriction.chosen(expected))}
    wanted = [job for job in open_jobs if job.is_of(taken)]
    left_out = [item for job in open_jobs if not job.is_of(taken) for item in job.instruments]
    fetched = {item.instrument_key for job in wanted for item in job.instruments}
    others = [item for item in expected if item.instrument_key not in fetched]
    missing = [item for item in unlisted if item.instrument_key not in settled]
    return _plan(
        tuple(sorted(wanted, key=lambda job: _size_rank(job, known))),
        [
            *_held(others, settled),
            *_not_listed(cell, data_type, missing),
            *_left_out(cell, data_type, left_out, known, restriction),
        ],
    )


def _check_expected(
    again: Collection[str], expected: Iterable[ExpectedInstrument], subject: str
) -> None:
    """Refuse a name that nothing has: the run would fetch nothing and look like a success."""
    unknown = sorted(set(again) - {item.instrument_key for item in expected})
    if unknown:
        raise InvalidInput(
            subject,
            "instruments to fetch again that are not expected there",
            was=", ".join(unknown[:_SHOWN]),
            expected="canonical keys of the universe, as in the table instruments",
            remedy="Take them from the manifest or from `tickhandler recheck`",
        )


def expected_instruments(universe: pl.DataFrame, data_type: DataType) -> list[ExpectedInstrument]:
    """The instruments of the universe that have data of that type, in the order of their keys."""
    lists_it = pl.col("data_types").list.contains(data_type.value)
    if data_type in _ONLY_GROUPED:
        lists_it = pl.col("instrument_type").is_in(list(GROUPING[data_type]))
    found = universe.filter(lists_it).sort("instrument_key")
    columns = ("instrument_key", "tardis_symbol", "instrument_type", "is_simulated")
    return [ExpectedInstrument(*record) for record in found.select(columns).iter_rows()]


def unfetched_row(
    cell: VenueDay,
    data_type: DataType,
    item: ExpectedInstrument,
    *,
    source_symbol: str,
    state: DataState,
    reason: str,
) -> ManifestRow:
    """The manifest row of an instrument without a file."""
    return ManifestRow(
        date=cell.date,
        venue=cell.venue,
        data_type=data_type,
        instrument_key=item.instrument_key,
        tardis_symbol=item.tardis_symbol,
        source_symbol=source_symbol,
        state=state,
        reason=reason,
        is_simulated=item.is_simulated,
        kernel_version=CONVERSION_VERSION,
    )


def _plan(jobs: tuple[FileJob, ...], decided: list[ManifestRow]) -> RawPlan:
    kept = sum(row.state in {DataState.PRESENT, DataState.EMPTY} for row in decided)
    return RawPlan(jobs=jobs, decided=tuple(decided), kept=kept)


def _split(
    cell: VenueDay,
    data_type: DataType,
    expected: Iterable[ExpectedInstrument],
    catalog: ExchangeCatalog,
) -> tuple[list[FileJob], list[ExpectedInstrument]]:
    """The files the instruments come in, and the instruments no file is listed for."""
    offered = set(catalog.groups_with(data_type, cell.date))
    grouped: dict[GroupSymbol, list[ExpectedInstrument]] = {}
    single: list[FileJob] = []
    unlisted: list[ExpectedInstrument] = []
    for item in expected:
        group = GROUPING[data_type].get(item.instrument_type)
        if group in offered and group is not None:
            grouped.setdefault(group, []).append(item)
        elif data_type in _ONLY_GROUPED:
            unlisted.append(item)
        else:
            single.append(FileJob(item.tardis_symbol, (item,), is_grouped=False))
    groups = [FileJob(group, tuple(items), is_grouped=True) for group, items in grouped.items()]
    return groups + single, unlisted


def _is_settled(job: FileJob, settled: Mapping[str, ManifestRow]) -> bool:
    return all(item.instrument_key in settled for item in job.instruments)


def _size_rank(job: FileJob, known: Mapping[str, ManifestRow]) -> tuple[bool, int, str]:
    """Groups first, then by the size of an earlier run, so that no large file comes last."""
    rows = [known[item.instrument_key] for item in job.instruments if item.instrument_key in known]
    size = max((row.source_bytes for row in rows), default=0)
    return (not job.is_grouped, -size, job.source_symbol)


def _held(
    items: Iterable[ExpectedInstrument], settled: Mapping[str, ManifestRow]
) -> list[ManifestRow]:
    return [settled[item.instrument_key] for item in items if item.instrument_key in settled]


def _left_out(
    cell: VenueDay,
    data_type: DataType,
    items: Iterable[ExpectedInstrument],
    known: Mapping[str, ManifestRow],
    restriction: Restriction,
) -> Iterator[ManifestRow]:
    """Rows that keep a restricted run from looking whole; what an earlier one found stands."""
    for item in items:
        row = known.get(item.instrument_key)
        if row is not None and row.state.is_settled:
            continue  # held already
        if row is not None and row.state is not DataState.NOT_INGESTED:
            yield row
        else:
            yield unfetched_row(
                cell,
                data_type,
                item,
                source_symbol=item.tardis_symbol,
                state=DataState.NOT_INGESTED,
                reason=restriction.reason,
            )


def _not_exported(
    cell: VenueDay, data_type: DataType, items: Iterable[ExpectedInstrument]
) -> list[ManifestRow]:
    reason = "the vendor has not exported the day yet"
    return [
        unfetched_row(
            cell,
            data_type,
            item,
            source_symbol=item.tardis_symbol,
            state=DataState.NOT_EXPORTED_YET,
            reason=reason,
        )
        for item in items
    ]


def _not_listed(
    cell: VenueDay, data_type: DataType, items: Iterable[ExpectedInstrument]
) -> list[ManifestRow]:
    return [
        unfetched_row(
            cell,
            data_type,
            item,
            source_symbol=GROUPING[data_type][item.instrument_type],
            state=DataState.NOT_LISTED,
            reason=f"the vendor lists no grouped file with {data_type} on the day",
        )
        for item in items
    ]
