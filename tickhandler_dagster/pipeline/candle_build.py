"""One instrument's bars: raw files go through the kernel in slices, every row accounted for.

What belongs here: which channel is read when, and what is made of it. What does not: what is read
(`candle_inputs.py`), how (`channel_rows.py`) and what becomes of the bars (`candle_files.py`).

Channels are read one after the other: memory is that of one slice of one channel.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.day import Channels, DayBars, Surroundings
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.levels import (
    level_columns,
    level_ticks,
    levels_concatenated,
)
from tickhandler_dagster.market.bars.quotes import top_concatenated
from tickhandler_dagster.market.bars.ticks import concatenated, trade_ticks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.candle_state_table import CandleState
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.liquidation_feeds import is_throttled
from tickhandler_dagster.market.paths import QuarantinedRows
from tickhandler_dagster.market.quality.row_rules import REASON
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.pipeline.candle_context import InstrumentContext
from tickhandler_dagster.pipeline.candle_edges import edges_of
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.channel_reading import SNAPSHOT_DEPTHS, trade_columns
from tickhandler_dagster.pipeline.channel_rows import DayRows
from tickhandler_dagster.pipeline.day_trades import DayTrades, previous_trade
from tickhandler_dagster.pipeline.quote_rows import (
    STATE_REACH_US,
    DayQuotes,
    mid_window,
    quote_files,
)
from tickhandler_dagster.pipeline.related_days import RelatedDays, read_ticker


@dataclass(frozen=True, slots=True)
class BuiltDay:
    """An instrument's bars and where their ticks came from.

    Attributes:
        frames: Bars by timeframe, of `CANDLE_TABLE`.
        previous_rows: Trades used of the file of the day before.
        own_rows: Trades used of the day's file.
        next_rows: Trades used of the file of the day after.
        channel_rows: Rows used of each other channel.
        state: What the next day needs of this one.
    """

    frames: Mapping[Timeframe, pl.DataFrame]
    previous_rows: int
    own_rows: int
    next_rows: int
    channel_rows: Mapping[Channel, int]
    state: CandleState

    @property
    def rows(self) -> int:
        """Trades used of all files."""
        return self.previous_rows + self.own_rows + self.next_rows


class InstrumentBuild:
    """Reads an instrument's channels into its bars.

    Args:
        inputs: The instrument's day and files.
        context: What else its bars stand on.
        lake: Where files are.
        related: Days of other instruments.
    """

    def __init__(
        self,
        inputs: InstrumentDay,
        context: InstrumentContext,
        *,
        lake: Lake,
        related: RelatedDays,
    ) -> None:
        self._inputs = inputs
        self._lake = lake
        self._trades = DayTrades(inputs, lake)
        before = self._trades.before
        self._quote_files = quote_files(inputs)
        self._rows: dict[Channel, int] = {}
        self._bars = DayBars(
            dataclasses.replace(inputs.facts, previous=previous_trade(before)),
            self._channels(),
            _surroundings(inputs, context, related),
        )
        if before is not None:
            self._bars.prime_trades(before)

    def run(self, timeframes: Sequence[Timeframe]) -> BuiltDay:
        """Read everything and finish.

        Raises:
            CorruptData: a raw file cannot be read, or rows and manifest or rows and bars do not add
                up.
            MissingUpstream: a raw file that a manifest names is not in the lake.
        """
        self._read_levels()
        self._read_quotes()
        self._read_trades()
        self._read_liquidations()
        if Channel.TICKER in self._inputs.channels:
            self._rows[Channel.TICKER] = read_ticker(
                self._inputs,
                self._lake,
                prime=self._bars.prime_ticker,
                add=self._bars.add_ticker,
            )
        frames = self._bars.finish(timeframes)
        rows = self._trades.rows
        _check_conservation(self._inputs, rows.total, frames)
        return BuiltDay(
            frames,
            previous_rows=rows.used_of(self._inputs.previous),
            own_rows=rows.used_of(self._inputs.own),
            next_rows=rows.used_of(self._inputs.following),
            channel_rows=self._rows,
            state=CandleState(self._bars.memory().to_json(), edges_of(self._inputs, self._lake)),
        )

    def _channels(self) -> Channels:
        channels = self._inputs.channels
        levels = channels.get(Channel.LEVELS)
        facts = self._inputs.facts
        day = dt.datetime.fromtimestamp(facts.day.start / 1_000_000, dt.UTC).date()
        return Channels(
            depth=None if levels is None else SNAPSHOT_DEPTHS[levels.data_type],
            has_quotes=self._quote_files is not None,
            is_quote_feed=Channel.TOP in channels,
            has_ticker=Channel.TICKER in channels,
            has_liquidations=Channel.LIQUIDATIONS in channels,
            is_throttled=is_throttled(facts.venue, day),
        )

    def _read_levels(self) -> None:
        """Snapshots; where no feed of quotes is there, their first level serves as quotes too."""
        files = self._inputs.channels.get(Channel.LEVELS)
        if files is None:
            return
        depth = SNAPSHOT_DEPTHS[files.data_type]
        facts = self._inputs.facts
        rows = DayRows(
            self._lake,
            files,
            level_columns(depth),
            day=facts.day,
            key=facts.instrument_key,
            marks_start=True,
        )
        are_quotes = Channel.TOP not in self._inputs.channels
        before = rows.before(reach_us=STATE_REACH_US)
        if before is not None:
            states = level_ticks(before, facts.terms, depth=depth)
            self._bars.prime_levels(states)
            if are_quotes:
                self._bars.prime_quotes(states.top)
        for parts in rows.slices():
            states = levels_concatenated(
                [level_ticks(part, facts.terms, depth=depth) for part in parts]
            )
            self._bars.add_levels(states)
            if are_quotes:
                self._bars.add_quotes(states.top)
        self._rows[Channel.LEVELS] = rows.total

    def _read_quotes(self) -> None:
        files = self._quote_files
        if files is None:
            return
        quotes = DayQuotes(self._inputs, files, self._lake)
        if Channel.TOP in self._inputs.channels:
            before = quotes.before
            if before is not None:
                self._bars.prime_quotes(before)
            for states in quotes.slices():
                self._bars.add_quotes(states)
            self._rows[Channel.TOP] = quotes.rows.total
        if files.following is not None:
            self._read_quotes_after(quotes)

    def _read_quotes_after(self, quotes: DayQuotes) -> None:
        """The next day's first states: what happens after the day's last events."""
        end = self._inputs.facts.day.end
        after = quotes.after(Span(end, end + BASE_TIMEFRAME.us))
        self._bars.add_quotes_after(top_concatenated(after), known_until_us=end + BASE_TIMEFRAME.us)

    def _read_trades(self) -> None:
        files = self._quote_files
        window = None if files is None else mid_window(self._inputs, files, self._lake)
        is_known = files is None or files.following is not None
        known_until = None if is_known else self._inputs.facts.day.end
        for ticks in self._trades.slices():
            mids = None if window is None else window.states(*TradeImpact.needed_arrivals(ticks))
            self._bars.add_trades(ticks, mids, known_until_us=known_until)
        self._read_duplicates()

    def _read_duplicates(self) -> None:
        """Trades that ingestion kept out because their id was there already."""
        for row in self._inputs.files:
            if not row.duplicate_rows:
                continue
            kept_out = self._lake.read_table(
                QuarantinedRows(row.date, DataType.TRADES, row.instrument_key),
                columns=[REASON, "timestamp", "local_timestamp"],
            )
            if kept_out is not None:
                times = kept_out.filter(pl.col(REASON) == RuleName.DUPLICATE_ID.value).select(
                    pl.col("timestamp", "local_timestamp").to_physical()
                )
                self._bars.add_duplicates(
                    times["timestamp"].to_numpy(), times["local_timestamp"].to_numpy()
                )

    def _read_liquidations(self) -> None:
        files = self._inputs.channels.get(Channel.LIQUIDATIONS)
        if files is None:
            return
        facts = self._inputs.facts
        rows = DayRows(
            self._lake,
            files,
            trade_columns(has_dense_ids=False),
            day=facts.day,
            key=facts.instrument_key,
        )
        for parts in rows.slices():
            self._bars.add_liquidations(
                concatenated([trade_ticks(part, has_dense_ids=False) for part in parts])
            )
        self._rows[Channel.LIQUIDATIONS] = rows.total


def build_instrument(
    inputs: InstrumentDay,
    context: InstrumentContext,
    *,
    lake: Lake,
    related: RelatedDays,
    timeframes: Sequence[Timeframe],
) -> BuiltDay:
    """The bars of an instrument's day.

    Raises:
        CorruptData: a raw file cannot be read, or rows and manifest or rows and bars do not add up.
        MissingUpstream: a raw file that a manifest names is not in the lake.
    """
    return InstrumentBuild(inputs, context, lake=lake, related=related).run(timeframes)


def _surroundings(
    inputs: InstrumentDay, context: InstrumentContext, related: RelatedDays
) -> Surroundings:
    asset = str(inputs.terms["base_asset"])
    return Surroundings(
        memory=None if context.state is None else DayMemory.from_json(context.state.memory),
        reference=related.reference(context.reference),
        near=related.near(context.near),
        surface=None if context.surface_sha256 is None else related.surface(asset),
    )


def _check_conservation(
    inputs: InstrumentDay, used: int, frames: Mapping[Timeframe, pl.DataFrame]
) -> None:
    """Every trade read is in one bar of each timeframe."""
    for timeframe, bars in frames.items():
        counted = int(bars["trade_count"].sum())
        if counted != used:
            raise CorruptData(
                f"{inputs.facts.instrument_key}: bars of {timeframe}",
                "trades in bars and rows read do not add up",
                was=counted,
                expected=str(used),
                remedy="Report it: the bar kernel lost or repeated a trade",
            )
