"""`MarketData`: candles, ticks, books, features, surfaces, instruments and what is missing of them.

What belongs here: the questions and their arguments. What does not: how each is answered
(`bars.py`, `ticks.py`, `tables.py`, `contracts.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import ObjectStore
from tickhandler_dagster.client.arguments import asked_spans, bar_rules, deferred, tick_rules
from tickhandler_dagster.client.bars import BarQuestion
from tickhandler_dagster.client.beside import TimeframeBeside
from tickhandler_dagster.client.choice import InstrumentChoice, parse_choice
from tickhandler_dagster.client.contracts import instruments_frame, known_universe
from tickhandler_dagster.client.listing import DayListing
from tickhandler_dagster.client.rows import ReadPlan, Rows
from tickhandler_dagster.client.rules import BarRules, OnGap, parsed_choice
from tickhandler_dagster.client.sources import (
    BarSource,
    candle_source,
    mft_source,
    set_source,
)
from tickhandler_dagster.client.spans import (
    Moment,
    days_of,
    moment_us,
    utc_span,
)
from tickhandler_dagster.client.tables import SurfaceQuestion, completeness_rows, plan_of
from tickhandler_dagster.client.ticks import TickQuestion, TickRules
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.timeframes import parse_timeframe
from tickhandler_dagster.market.venues import parse_venue

Instruments = str | Sequence[str] | None
"""A canonical key, a pattern of keys, several of either, or None where attributes say which."""

_BOOKS = {5: DataType.BOOK_SNAPSHOT_5, 25: DataType.BOOK_SNAPSHOT_25}


class MarketData:
    """Reads a lake. Nothing is cached between questions: each sees the lake as it is.

    Spans are half-open, `[start, end)`, in UTC; a date is a UTC day's first moment; a time without
    an offset is refused. What is missing is an error that names the cells and the command that
    makes them. Attributes of instruments are those of `parse_choice`.

    Args:
        store: Where the lake is; `open_market_data` finds it by name.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from tickhandler_dagster.adapters.object_store import LocalObjectStore
        >>> data = MarketData(LocalObjectStore(Path(tempfile.mkdtemp())))
        >>> data.candles("BINANCE:SPOT_PAIR:BTC-USDT", "1m", dt.date(2024, 8, 8),
        ...              dt.date(2024, 8, 9)).collect()
        Traceback (most recent call last):
        ...
        tickhandler_dagster.market.errors.MissingUpstream: candles/1m: not in the lake: \
2024-08-08|binance (not materialized). Run: tickhandler backfill --start-date 2024-08-08 \
--end-date 2024-08-08 --venues binance --assets candles/1m.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._lake = Lake(store)

    @property
    def lake(self) -> Lake:
        """The lake that is read; writing to it is the platform's."""
        return self._lake

    # ---- bars ------------------------------------------------------------------------------

    def candles(
        self,
        instruments: Instruments,
        timeframe: str,
        start: Moment,
        end: Moment,
        *,
        columns: Sequence[str] | None = None,
        with_timeframes: Mapping[str, Sequence[str]] | None = None,
        on_gap: str = "raise",
        fill: str = "null",
        include_provisional: bool = False,
        as_of: Moment | None = None,
        on_revised: str = "raise",
        **attributes: object,
    ) -> Rows:
        """Bars that open in `[start, end)`, by instrument and time.

        Args:
            instruments: Keys or patterns; None where attributes say which.
            timeframe: 15s, 1m, 5m, 15m, 1h, 4h or 24h.
            start: First moment.
            end: First moment after.
            columns: Beside the key and times these columns of `candles`, features among them; None
                for prices, volume and state.
            with_timeframes: Columns of candles of other timeframes, each the latest that was known
                when the bar was (`close_1h`).
            on_gap: Bars with holes in their data are refused (`raise`), lose their values (`mask`)
                or are given as they are (`keep`).
            fill: Bars in which nobody traded keep null prices (`null`), take the last close
                (`ffill`, never over a hole and from the span's first trade on) or are left out
                (`drop`).
            include_provisional: Also bars that a file still to come can change.
            as_of: Only what was known at that moment.
            on_revised: With `as_of`, bars whose values were changed by a later run are refused
                (`raise`), lose their values (`mask`) or are given as they are today (`keep`).
            attributes: See `parse_choice`.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        rules = bar_rules(on_gap, fill, as_of, on_revised, include_provisional=include_provisional)
        choice = parse_choice(instruments, attributes)
        span = utc_span(start, end)
        rows = self._bars(candle_source(parse_timeframe(timeframe)), choice, span, columns, rules)
        for other, names in (with_timeframes or {}).items():
            beside = TimeframeBeside(self._lake, choice, span, parse_timeframe(other), rules)
            rows = beside.joined(rows, names)
        return rows

    def features(
        self,
        instruments: Instruments,
        timeframe: str,
        start: Moment,
        end: Moment,
        *,
        names: Sequence[str] | None = None,
        source: str = "candles",
        on_gap: str = "raise",
        include_provisional: bool = False,
        as_of: Moment | None = None,
        on_revised: str = "raise",
        **attributes: object,
    ) -> Rows:
        """Features of the bars that open in `[start, end)`, by instrument and time.

        Args:
            instruments: Keys or patterns; None where attributes say which.
            timeframe: 15s to 24h, for mid-frequency features from 1m on.
            start: First moment.
            end: First moment after.
            names: Features; None for all.
            source: `candles` (microstructure), `mft` (mid-frequency) or the name of a set.
            on_gap: As for `candles`.
            include_provisional: As for `candles`.
            as_of: As for `candles`.
            on_revised: As for `candles`.
            attributes: See `parse_choice`.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        rules = bar_rules(
            on_gap, "null", as_of, on_revised, include_provisional=include_provisional
        )
        length = parse_timeframe(timeframe)
        if source == "candles":
            kind, names = candle_source(length), list(FEATURES) if names is None else names
        else:
            kind = mft_source(length) if source == "mft" else set_source(source, length)
        choice = parse_choice(instruments, attributes)
        return self._bars(kind, choice, utc_span(start, end), names, rules)

    def _bars(
        self,
        source: BarSource,
        choice: InstrumentChoice,
        span: Span,
        columns: Sequence[str] | None,
        rules: BarRules,
    ) -> Rows:
        def question() -> BarQuestion:
            files = DayListing(self._lake, choice, days_of(span)).files(source)
            ordered = sorted(files, key=lambda file: (file.key, file.cell.date))
            return BarQuestion(self._lake, source, ordered, span, columns, rules)

        return deferred(lambda: question().rows())

    # ---- ticks -----------------------------------------------------------------------------

    def ticks(
        self,
        instruments: Instruments,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        data_type: str = "trades",
        around: Sequence[Moment] | None = None,
        before: dt.timedelta = dt.timedelta(seconds=1),
        after: dt.timedelta = dt.timedelta(seconds=1),
        columns: Sequence[str] | None = None,
        clock: str = "exchange",
        on_gap: str = "raise",
        include_provisional: bool = False,
        as_of: Moment | None = None,
        on_revised: str = "raise",
        **attributes: object,
    ) -> Rows:
        """Ticks of a span, or around given moments, by instrument in the order of arrival.

        Args:
            instruments: Keys or patterns; None where attributes say which.
            start: First moment; with `end`.
            end: First moment after.
            data_type: The vendor's data type.
            around: Instead of a span: within `[t - before, t + after)` of any of these moments.
            before: How long before each.
            after: How long after each.
            columns: Beside the key and the two times; None for all.
            clock: Spans are of `exchange` time or of `local` time (arrival).
            on_gap: Known holes in the span are refused (`raise`) or passed over (`keep`).
            include_provisional: Near midnight do without files of the day beside that are missing.
            as_of: Only what had arrived then.
            on_revised: With `as_of`, files written after it are refused (`raise`), for they have no
                versions, or taken (`keep`).
            attributes: See `parse_choice`.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        return self.tick_question(
            instruments,
            attributes,
            data_type=data_type,
            spans=asked_spans(start, end, around, before, after),
            columns=columns,
            rules=tick_rules(
                on_gap, clock, as_of, on_revised, include_provisional=include_provisional
            ),
        ).rows()

    def tick_question(
        self,
        instruments: Instruments,
        attributes: Mapping[str, Any],
        *,
        data_type: str,
        spans: Sequence[Span],
        columns: Sequence[str] | None,
        rules: TickRules,
    ) -> TickQuestion:
        """A question about ticks, which counts what it reads; `ticks` gives its answer."""
        choice = parse_choice(instruments, attributes)
        return TickQuestion(
            self._lake,
            parse_data_type(data_type),
            lambda days: DayListing(self._lake, choice, days),
            spans,
            columns,
            rules,
        )

    def book(
        self,
        instruments: Instruments,
        start: Moment,
        end: Moment,
        *,
        depth: int = 5,
        **options: Any,  # noqa: ANN401  (those of `ticks`)
    ) -> Rows:
        """Book snapshots of 5 or 25 levels in `[start, end)`; options are those of `ticks`.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        if depth not in _BOOKS:
            raise InvalidInput(
                "depth", "no such book", was=depth, expected="5 or 25", remedy="Use 5 or 25"
            )
        return self.ticks(instruments, start, end, data_type=_BOOKS[depth].value, **options)

    # ---- contracts and state -----------------------------------------------------------------

    def instruments(
        self, start: Moment, end: Moment, instruments: Instruments = None, **attributes: object
    ) -> Rows:
        """The universe of every day of `[start, end)`: one row per day and instrument.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        return self._universe(utc_span(start, end), instruments, attributes, instruments_frame)

    def universe(
        self, as_of: Moment, instruments: Instruments = None, **attributes: object
    ) -> Rows:
        """What was listed at a moment, as it was known then.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        now = moment_us(as_of, "as_of")
        return self._universe(
            Span(now, now + 1), instruments, attributes, lambda found: known_universe(found, now)
        )

    def _universe(
        self,
        span: Span,
        instruments: Instruments,
        attributes: Mapping[str, object],
        form: Callable[[list[pl.DataFrame]], pl.DataFrame],
    ) -> Rows:
        is_chosen = instruments or attributes
        choice = parse_choice(instruments, attributes) if is_chosen else InstrumentChoice()
        listing = DayListing(self._lake, choice, days_of(span))

        def frame() -> pl.DataFrame:
            return form(listing.universes())

        def plan() -> ReadPlan:
            cells = listing.cells()
            return plan_of(self._lake, [InstrumentsFile(cell.date, cell.venue) for cell in cells])

        return Rows(lambda: frame().lazy(), plan, collect=frame)

    def completeness(self, start: Moment, end: Moment, *, venue: str) -> Rows:
        """The state of everything a venue should have on the days of `[start, end)`.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        choice = InstrumentChoice(attributes={"venue": venue})
        listing = DayListing(self._lake, choice, days_of(utc_span(start, end)))
        return completeness_rows(self._lake, listing.cells())

    def option_surface(
        self,
        underlying: str,
        timeframe: str,
        start: Moment,
        end: Moment,
        *,
        venue: str = "deribit",
        as_of: Moment | None = None,
        on_revised: str = "raise",
    ) -> Rows:
        """Volatility, skew and term structure of an underlying, bars that open in `[start, end)`.

        Args:
            underlying: BASE-QUOTE, or BASE for all quotes.
            timeframe: 15s to 24h.
            start: First moment.
            end: First moment after.
            venue: Of the option chain.
            as_of: Only what was known then.
            on_revised: As for `ticks`: surfaces have no versions.

        Raises:
            InvalidInput: an argument breaks its rule.
        """
        span = utc_span(start, end)
        return SurfaceQuestion(
            self._lake,
            parse_venue(venue),
            underlying.upper(),
            parse_timeframe(timeframe),
            days_of(span),
            span,
            None if as_of is None else moment_us(as_of, "as_of"),
            parsed_choice(OnGap, on_revised, "on_revised") is not OnGap.RAISE,
        ).rows()
