"""The stored bars of a cell held against each other, and against other prices of the same thing.

What belongs here: the use case of the asset `bar_audit`: which files are read and what is stored.
What does not: the comparisons (`market/audits`), whether each bar obeys its table
(`verification.py`), trades beside quotes (`quote_audit.py`) and prices of other sources (klines).

Instruments are read one after another: memory is that of two files of bars of one instrument, or of
two row groups of its ticks.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.market.audits.prices import Apart
from tickhandler_dagster.market.audits.roll_up import (
    COLUMNS,
    SAMPLES,
    RollUpDifference,
    roll_up_differences,
)
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.paths import CandleFile, CandleManifest
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.pipeline.findings_files import write_findings
from tickhandler_dagster.pipeline.price_audit import CandleKeys, PriceAudit
from tickhandler_dagster.pipeline.quote_audit import QUOTES_BESIDE_TRADES, QuoteLook

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.market.days import VenueDay

CANDLES = "candles"
PRICES = "prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarAudit:
    """What a look at the bars of a cell found.

    Attributes:
        cell: Day and venue.
        roll_up: Bars that are not what the 15 s bars add up to, one finding per instrument.
        prices: Spot, perpetual and index prices far from each other.
        quotes: Trades beyond the quotes they arrived after.
        instruments: Instruments with 15 s bars.
        bars: Larger bars held against 15 s bars.
        pairs: Spot and perpetual by the key of the cell's instrument.
        with_index: Instruments held against an index price.
        with_quotes: Instruments whose trades were held against quotes.
        judged_trades: Trades of them that had fresh quotes before them.
        data_version: Changes when and only when a finding does.
        is_simulated: A source came from the sandbox.
    """

    cell: VenueDay
    roll_up: tuple[Finding, ...]
    prices: tuple[Finding, ...]
    quotes: tuple[Finding, ...]
    instruments: int
    bars: int
    pairs: Mapping[str, str]
    with_index: int
    with_quotes: int
    judged_trades: int
    data_version: str
    is_simulated: bool


def audit_bars(cell: VenueDay, *, lake: Lake, on_progress: OnProgress | None = None) -> BarAudit:
    """Compare the bars of every instrument of the cell, and store what is not as it should be.

    Writes the findings tables `candles`, `prices` and `quotes_beside_trades`. Other venues' candles
    and quotes are read where they are in the lake; nothing is asked for.

    Args:
        cell: Day and venue.
        lake: Where everything is.
        on_progress: Called after each instrument.

    Raises:
        MissingUpstream: the 15 s bars of the cell were never built.
        CorruptData: a manifest or a file that it names cannot be read.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    stored = {timeframe: _keys(lake, cell, timeframe) for timeframe in Timeframe}
    base = _known(stored[BASE_TIMEFRAME], cell)
    look = PriceAudit(lake, cell, stored[Timeframe.M1] or CandleKeys({}, frozenset()))
    beside = QuoteLook(lake, cell)
    roll_up: list[Finding] = []
    prices: list[Finding] = []
    bars = 0
    for done, key in enumerate(base.traded, start=1):
        found, compared = _rolled_up(lake, cell, key, _larger(stored, key))
        bars += compared
        if found:
            roll_up.append(_roll_up_finding(cell, key, found, compared))
        prices += [_price_finding(cell, key, *one) for one in look.of(key)]
        beside.look_at(key)
        _tell(on_progress, cell, done, of=len(base.traded), bars=bars)
    found_in = ((CANDLES, roll_up), (PRICES, prices), (QUOTES_BESIDE_TRADES, beside.findings))
    digests = [write_findings(lake, cell, name, rows).sha256 for name, rows in found_in]
    beside.store()
    return BarAudit(
        cell=cell,
        roll_up=tuple(roll_up),
        prices=tuple(prices),
        quotes=beside.findings,
        instruments=len(base.traded),
        bars=bars,
        pairs=look.pairs,
        with_index=look.with_index,
        with_quotes=len(beside.audits),
        judged_trades=beside.judged_trades,
        data_version=hashlib.sha256("".join(digests).encode()).hexdigest(),
        is_simulated=bool(base.simulated),
    )


def _keys(lake: Lake, cell: VenueDay, timeframe: Timeframe) -> CandleKeys | None:
    return CandleKeys.read(lake, CandleManifest(cell.date, timeframe, cell.venue))


def _known(base: CandleKeys | None, cell: VenueDay) -> CandleKeys:
    if base is None:
        raise MissingUpstream(
            f"{BASE_TIMEFRAME} candles of {cell}",
            "not in the lake",
            remedy=f"Run: {materialize('group:candles', cell)}",
        )
    return base


def _larger(stored: Mapping[Timeframe, CandleKeys | None], key: str) -> list[Timeframe]:
    return [
        timeframe
        for timeframe, keys in stored.items()
        if timeframe is not BASE_TIMEFRAME and keys is not None and key in keys.traded
    ]


def _rolled_up(
    lake: Lake, cell: VenueDay, key: str, larger: Sequence[Timeframe]
) -> tuple[list[RollUpDifference], int]:
    """All differences of an instrument, and how many bars were compared."""
    if not larger:
        return [], 0
    base = _read(lake, CandleFile(cell.date, BASE_TIMEFRAME, key))
    found: list[RollUpDifference] = []
    compared = 0
    for timeframe in larger:
        bars = _read(lake, CandleFile(cell.date, timeframe, key))
        compared += bars.height
        found += roll_up_differences(base, bars, timeframe)
    return found, compared


def _read(lake: Lake, item: CandleFile) -> pl.DataFrame:
    frame = lake.read_table(item, columns=COLUMNS)
    if frame is None:
        raise CorruptData(
            item.path,
            "the manifest names an object that is not there",
            remedy=f"Materialize candles/{item.timeframe} of its day and venue again",
        )
    return frame


def _roll_up_finding(
    cell: VenueDay, key: str, found: Sequence[RollUpDifference], compared: int
) -> Finding:
    """One finding of all lengths: each bar once, the columns by how many bars they are wrong in."""
    bars = {(one.timeframe, opened) for one in found for opened in one.opens}
    columns = Counter(itertools.chain.from_iterable([one.column] * len(one.opens) for one in found))
    texts = "; ".join(one.sample for one in _worst(found))
    named = ", ".join(f"{name} ({count:,})" for name, count in columns.most_common(SAMPLES))
    return Finding(
        date=cell.date,
        venue=cell.venue,
        source=CANDLES,
        instrument_key=key,
        rule=RuleName.ROLL_UP_DIFFERS,
        rows=len(bars),
        of_rows=max(compared, len(bars)),
        first_at=min(opened for _, opened in bars),
        last_at=max(opened for _, opened in bars),
        sample=f"{texts}; {len(columns)} columns: {named}",
    )


def _worst(found: Sequence[RollUpDifference]) -> Iterator[RollUpDifference]:
    yield from sorted(found, key=lambda one: (-len(one.opens), one.timeframe.us))[:SAMPLES]


def _price_finding(cell: VenueDay, key: str, rule: RuleName, against: str, apart: Apart) -> Finding:
    return Finding(
        date=cell.date,
        venue=cell.venue,
        source=PRICES,
        instrument_key=key,
        rule=rule,
        rows=apart.bars,
        of_rows=apart.of_bars,
        first_at=apart.first_at,
        last_at=apart.last_at,
        sample=f"against {against}: {apart.text}",
    )


def _tell(listener: OnProgress | None, cell: VenueDay, done: int, *, of: int, bars: int) -> None:
    if listener is not None:
        listener(Progress(f"bar_audit {cell}", done, of, "instruments", rows=bars))
