"""How live bars of a day agree with the batch's bars of it, once the day's files are there.

What belongs here: the use case from cell to stored differences and findings. What does not: the
comparison (`market/live/parity.py`) and how live bars are stored (`live_candles.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import ParquetTableWriter
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.live.live_differences_table import (
    LIVE_DIFFERENCES_TABLE,
    LiveDifferenceCause,
)
from tickhandler_dagster.market.live.live_files import LiveDifferencesFile
from tickhandler_dagster.market.live.parity import (
    BATCH_COLUMNS,
    LIVE_COLUMNS,
    LiveComparison,
    compare_live,
)
from tickhandler_dagster.market.live.parity_findings import SOURCE, live_findings
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.findings_files import write_findings
from tickhandler_dagster.pipeline.live_day import LiveDay, opened_live_day
from tickhandler_dagster.pipeline.live_evidence import LiveTrades, opened_live_trades
from tickhandler_dagster.pipeline.live_past import LivePasts

SAMPLE_ROWS = 20
_ORDER = ("instrument_key", "timeframe", "ts_open", "cause")


@dataclass(frozen=True, slots=True)
class InstrumentParity:
    """An instrument's day in numbers, over all its live timeframes.

    Attributes:
        instrument_key: Canonical key.
        bars: Bars compared.
        equal: Of these, equal in every column.
        agreeing: Of these, equal but for what differs by nature.
    """

    instrument_key: str
    bars: int
    equal: int
    agreeing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveParity:
    """What a comparison of a cell found.

    Attributes:
        cell: The day and venue.
        instruments: By key.
        by_cause: Bars with columns that the cause explains.
        by_timeframe: Bars compared and bars that agree, by timeframe.
        provisional: Live bars that were never completed.
        outside: Bars of the batch before the first or after the last live bar of their instrument.
        without_batch: Instruments with live bars of which the batch has none.
        with_ticks: Instruments whose live trades were kept and are the evidence.
        findings: Broken rules.
        sample: Rows of `LIVE_DIFFERENCES_TABLE`, unexplained ones first.
        content_sha256: Hash of the stored differences; empty where there is nothing to compare.
    """

    cell: VenueDay
    instruments: tuple[InstrumentParity, ...] = ()
    by_cause: Mapping[LiveDifferenceCause, int] = field(default_factory=dict)
    by_timeframe: Mapping[Timeframe, tuple[int, int]] = field(default_factory=dict)
    provisional: int = 0
    outside: int = 0
    without_batch: tuple[str, ...] = ()
    with_ticks: int = 0
    findings: tuple[Finding, ...] = ()
    sample: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=LIVE_DIFFERENCES_TABLE.polars_schema)
    )
    content_sha256: str = ""

    @property
    def bars(self) -> int:
        """Bars compared."""
        return sum(one.bars for one in self.instruments)

    @property
    def equal_rate(self) -> float | None:
        """The share of bars equal in every column; None where nothing was compared."""
        return self._share(sum(one.equal for one in self.instruments))

    @property
    def match_rate(self) -> float | None:
        """The share of bars equal but for what differs by nature; None without any bars."""
        return self._share(sum(one.agreeing for one in self.instruments))

    @property
    def has_live_bars(self) -> bool:
        """Something was live on that day."""
        return bool(self.instruments or self.without_batch)

    def _share(self, bars: int) -> float | None:
        return bars / self.bars if self.bars else None


def compare_live_day(
    cell: VenueDay, *, lake: Lake, on_progress: OnProgress | None = None
) -> LiveParity:
    """Compare every live bar of a cell with the batch's and store what differs.

    A few instruments are in memory at a time, and an hour of live bars. The same bars give the
    same bytes. Of a day without live bars nothing is stored.

    Args:
        cell: The UTC day and venue.
        lake: Where bars are read and differences are written.
        on_progress: Called after each instrument.

    Raises:
        MissingUpstream: there are live bars and the batch's of the day are not in the lake.
        CorruptData: a stored object is not readable.
    """
    with opened_live_day(lake, cell, LIVE_COLUMNS) as live:
        if not live.keys:
            return LiveParity(cell=cell)
        with opened_live_trades(lake, cell) as trades:
            sides = _Sides(lake, cell, trades, LivePasts(lake, cell))
            tally, content_sha256 = _stored_differences(sides, live, on_progress)
    write_findings(lake, cell, SOURCE, tally.findings)
    return tally.parity(cell, with_ticks=trades.kept, content_sha256=content_sha256)


def _stored_differences(
    sides: _Sides, live: LiveDay, on_progress: OnProgress | None
) -> tuple[_Tally, str]:
    """All differences in the lake, instrument by instrument: in numbers, and their hash."""
    lake, cell, tally = sides.lake, sides.cell, _Tally()
    with lake.store.scratch() as folder:
        local = folder / "differences.parquet"
        with ParquetTableWriter(local, LIVE_DIFFERENCES_TABLE, sorted_by=_ORDER) as writer:
            for number, (key, bars) in enumerate(live.instruments(), start=1):
                compared = list(sides.compared(key, bars))
                if len(compared) < len(bars):
                    tally.without_batch.append(key)
                if compared:
                    # By the text of the timeframe, as the table is sorted.
                    differences = pl.concat([one.differences for one in compared]).sort(_ORDER)
                    writer.write(differences)
                    tally.add(cell, compared, differences)
                if on_progress is not None:
                    step = Progress(f"live_parity {cell}", number, len(live.keys), "instruments")
                    on_progress(step)
            _require_batch(cell, tally)
            stored = writer.finish()
        lake.publish(local, LiveDifferencesFile(cell.date, cell.venue))
    return tally, stored.sha256


@dataclass(frozen=True, slots=True)
class _Sides:
    """What live bars are held against."""

    lake: Lake
    cell: VenueDay
    trades: LiveTrades
    pasts: LivePasts

    def compared(
        self, key: str, bars: Mapping[Timeframe, pl.DataFrame]
    ) -> Iterator[LiveComparison]:
        """The instrument's timeframes of which the batch has bars too."""
        for timeframe, live in bars.items():
            file = CandleFile(self.cell.date, timeframe, key)
            batch = self.lake.read_table(file, columns=BATCH_COLUMNS)
            if batch is not None:
                yield compare_live(
                    live,
                    batch,
                    self.cell,
                    evidence=self.trades.evidence(key, timeframe),
                    past=self.pasts.of(key, timeframe),
                )


def _require_batch(cell: VenueDay, tally: _Tally) -> None:
    if not tally.instruments:
        raise MissingUpstream(
            f"candles of {cell}",
            "live bars are in the lake and the batch's are not",
            remedy=f"Run: {materialize('group:candles', cell)}",
        )


@dataclass(slots=True)
class _Tally:
    """What was found so far, in numbers."""

    instruments: list[InstrumentParity] = field(default_factory=list)
    by_cause: Counter[str] = field(default_factory=Counter)
    bars: Counter[Timeframe] = field(default_factory=Counter)
    agreeing: Counter[Timeframe] = field(default_factory=Counter)
    provisional: int = 0
    outside: int = 0
    without_batch: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sample: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=LIVE_DIFFERENCES_TABLE.polars_schema)
    )

    def add(
        self, cell: VenueDay, compared: Sequence[LiveComparison], differences: pl.DataFrame
    ) -> None:
        """Count an instrument."""
        self.instruments.append(_in_numbers(compared[0].instrument_key, compared))
        self.findings += live_findings(compared, cell)
        self.by_cause.update(dict(differences["cause"].value_counts().iter_rows()))
        self.sample = _sample(pl.concat([self.sample, differences]))
        for one in compared:
            self.bars[one.timeframe] += one.bars
            self.agreeing[one.timeframe] += one.agreeing
            self.provisional += one.provisional
            self.outside += one.outside

    def parity(self, cell: VenueDay, *, with_ticks: int, content_sha256: str) -> LiveParity:
        """All of it as the result."""
        return LiveParity(
            cell=cell,
            instruments=tuple(self.instruments),
            by_cause={cause: self.by_cause[cause.value] for cause in LiveDifferenceCause},
            by_timeframe={
                timeframe: (self.bars[timeframe], self.agreeing[timeframe])
                for timeframe in Timeframe
                if timeframe in self.bars
            },
            provisional=self.provisional,
            outside=self.outside,
            without_batch=tuple(self.without_batch),
            with_ticks=with_ticks,
            findings=tuple(self.findings),
            sample=self.sample,
            content_sha256=content_sha256,
        )


def _in_numbers(key: str, comparisons: Sequence[LiveComparison]) -> InstrumentParity:
    return InstrumentParity(
        key,
        bars=sum(one.bars for one in comparisons),
        equal=sum(one.equal for one in comparisons),
        agreeing=sum(one.agreeing for one in comparisons),
    )


def _sample(differences: pl.DataFrame) -> pl.DataFrame:
    """A few rows, the worst causes first."""
    rank = {cause.value: place for place, cause in enumerate(reversed(LiveDifferenceCause))}
    order = pl.col("cause").replace_strict(rank, return_dtype=pl.Int8)
    return differences.sort(order, "ts_open", "instrument_key", "timeframe").head(SAMPLE_ROWS)
