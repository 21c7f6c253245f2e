"""The trades of a cell's instruments held against their best quotes, each pair of files once.

What belongs here: which files are read, what is taken over from the run before and what is stored.
What does not: the join and the bound (`market/audits/quotes.py`). Types of ticks come in by steps
of their own, in any order; so the asset `bar_audit` asks for this, when all of them are in.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.audits.quotes import (
    QUOTE_RULES,
    QuotesBeside,
    TopPrices,
    TradePrices,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import QuoteAuditFile, RawTickFile
from tickhandler_dagster.market.quality.broken_rows import moment
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.quote_audit_table import (
    QUOTE_AUDIT_TABLE,
    QuoteAudit,
    quote_audit_frame,
    quote_audits,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.candle_channels import SOURCES
from tickhandler_dagster.pipeline.channel_reading import as_top, open_channel, top_columns
from tickhandler_dagster.pipeline.tick_audit_files import write_if_changed

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.adapters.row_groups import RowGroup, TickFile
    from tickhandler_dagster.market.days import VenueDay

QUOTES_BESIDE_TRADES = "quotes_beside_trades"
"""Name of the findings table: its source is `trades`, whose own table their audit writes."""

_QUOTE_TYPES = (*SOURCES[Channel.TOP], *SOURCES[Channel.LEVELS])
_TRADE_COLUMNS = ("timestamp", "local_timestamp", "price")
_QUOTE_COLUMNS = ("timestamp", "local_timestamp", "bid_price", "ask_price")


class QuoteLook:
    """Looks at one instrument after another; `store` keeps what was seen.

    Only the day's own files are read. A trade of the first seconds whose quotes are in the file of
    the day before is not judged: five seconds of a day are not worth a third file.

    Args:
        lake: Where ticks are and audits are kept.
        cell: Day and venue.
    """

    def __init__(self, lake: Lake, cell: VenueDay) -> None:
        self._lake = lake
        self._cell = cell
        self.audits: list[QuoteAudit] = []
        self.files_read = 0

    def look_at(self, key: str) -> None:
        """Judge the trades of an instrument, where it has trades and quotes.

        Raises:
            CorruptData: a manifest or a file cannot be read.
        """
        audit = self._audit(key)
        if audit is not None:
            self.audits.append(audit)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The instruments with trades outside, in the order in which they were asked for."""
        return tuple(_finding(audit) for audit in self.audits if audit.outside_trades)

    @property
    def judged_trades(self) -> int:
        """Trades that had quotes to be held against."""
        return sum(audit.judged_trades for audit in self.audits)

    def store(self) -> None:
        """Keep what is known of the instruments that were asked for; nothing where nothing changed.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the lake may not be written.
        """
        write_if_changed(
            self._lake,
            QuoteAuditFile(self._cell.date, self._cell.venue),
            quote_audit_frame(self.audits),
            QUOTE_AUDIT_TABLE,
        )

    def _audit(self, key: str) -> QuoteAudit | None:
        trades, quotes = self._present(DataType.TRADES, key), self._quotes(key)
        if trades is None or quotes is None:
            return None
        known = self._known.get(key)
        if known is not None and _stands_for(known, trades, quotes):
            return known
        if not all(self._lake.exists(_item(row)) for row in (trades, quotes)):
            return None  # `completeness` says that it is gone; nothing can be judged
        self.files_read += 2
        return _looked_at(self._lake, trades, quotes)

    def _quotes(self, key: str) -> ManifestRow | None:
        """The file that bars take the best quotes from, as far as it has rows."""
        found = (self._present(data_type, key) for data_type in _QUOTE_TYPES)
        return next((row for row in found if row is not None), None)

    def _present(self, data_type: DataType, key: str) -> ManifestRow | None:
        return self._rows.get((data_type, key))

    @cached_property
    def _rows(self) -> dict[tuple[DataType, str], ManifestRow]:
        types = VENUES[self._cell.venue].data_types
        return {
            (data_type, row.instrument_key): row
            for data_type in (DataType.TRADES, *_QUOTE_TYPES)
            if data_type in types
            for row in read_raw_manifest(self._lake, self._cell, data_type) or ()
            if row.state is DataState.PRESENT
        }

    @cached_property
    def _known(self) -> dict[str, QuoteAudit]:
        """What earlier runs know, by instrument key; nothing where the table cannot be read."""
        try:
            frame = self._lake.read_table(QuoteAuditFile(self._cell.date, self._cell.venue))
        except CorruptData:
            return {}
        return {} if frame is None else {one.instrument_key: one for one in quote_audits(frame)}


class _QuoteBlocks:
    """The row groups of a quotes file in turn; those that no trade can ask for are never read."""

    def __init__(self, file: TickFile, data_type: DataType) -> None:
        self._file = file
        self._type = data_type
        self._waiting: deque[RowGroup] = deque(file.groups)

    def __call__(self, since_us: int) -> TopPrices | None:
        while self._waiting and self._waiting[0].arrivals.end <= since_us:
            self._waiting.popleft()
        if not self._waiting:
            return None
        frame = as_top(self._file.read(self._waiting.popleft()), self._type)
        return TopPrices(
            frame["local_timestamp"].to_physical().to_numpy(),
            frame["bid_price"].to_numpy(),
            frame["ask_price"].to_numpy(),
        )


def _looked_at(lake: Lake, trades: ManifestRow, quotes: ManifestRow) -> QuoteAudit:
    columns = top_columns(quotes.data_type)[: len(_QUOTE_COLUMNS)]
    (quote_file,) = open_channel(lake, [quotes], columns).files
    (trade_file,) = open_channel(lake, [trades], _TRADE_COLUMNS).files
    beside = QuotesBeside(_QuoteBlocks(quote_file, quotes.data_type))
    for group in trade_file.groups:
        beside.add(_trade_prices(trade_file.read(group)))
    found = beside.finish()
    return QuoteAudit(
        date=trades.date,
        venue=trades.venue,
        instrument_key=trades.instrument_key,
        quotes_type=quotes.data_type,
        trades_sha256=trades.content_sha256 or "",
        quotes_sha256=quotes.content_sha256 or "",
        audit_version=QUOTE_RULES,
        trades=found.trades,
        judged_trades=found.judged,
        outside_trades=found.outside,
        first_at=None if found.first is None else moment(found.first),
        last_at=None if found.last is None else moment(found.last),
        sample="; ".join(one.text for one in found.farthest) or None,
    )


def _trade_prices(frame: pl.DataFrame) -> TradePrices:
    return TradePrices(
        frame["local_timestamp"].to_physical().to_numpy(),
        frame["timestamp"].to_physical().to_numpy(),
        frame["price"].to_numpy(),
    )


def _stands_for(audit: QuoteAudit, trades: ManifestRow, quotes: ManifestRow) -> bool:
    """The audit is that of these bytes and rules."""
    return (audit.trades_sha256, audit.quotes_sha256, audit.quotes_type, audit.audit_version) == (
        trades.content_sha256,
        quotes.content_sha256,
        quotes.data_type,
        QUOTE_RULES,
    )


def _item(row: ManifestRow) -> RawTickFile:
    return RawTickFile(row.date, row.data_type, row.instrument_key)


def _finding(audit: QuoteAudit) -> Finding:
    return Finding(
        date=audit.date,
        venue=audit.venue,
        source=DataType.TRADES.value,
        instrument_key=audit.instrument_key,
        rule=RuleName.TRADE_OUTSIDE_QUOTES,
        rows=audit.outside_trades,
        of_rows=audit.judged_trades,
        first_at=audit.first_at,
        last_at=audit.last_at,
        sample=f"{audit.quotes_type}: {audit.sample}",
    )
