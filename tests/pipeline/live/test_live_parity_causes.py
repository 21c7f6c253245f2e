"""A real engine's bars against the batch's: every cause is planted, nothing stays unexplained.

Ticks go to the lake as the vendor's files and to the engine as a feed that differs in one way. What
the engine published and received is stored as its sinks store it, and compared by the use case.
"""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_differences_table import LiveDifferenceCause
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES, live_ticks
from tickhandler_dagster.market.paths import LiveDifferencesFile, LiveTicksFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.live_candles import write_live_candles
from tickhandler_dagster.pipeline.live_parity import compare_live_day

TRADES, BOOK, QUOTES = DataType.TRADES, DataType.BOOK_SNAPSHOT_5, DataType.QUOTES
TYPES = (TRADES, BOOK, DataType.DERIVATIVE_TICKER)
CAUSE = LiveDifferenceCause
START, LENGTH = 3_600, 165
VICTIM = START + 68
"""A second well inside the stretch, in its fifth bar."""


def around(lab, seconds=0.0):
    return lab.at(lab.one, VICTIM + seconds)


def later(frame, delay_ms):
    """The rows with their arrival moved by milliseconds, in order of arrival."""
    moved = pl.col("local_timestamp") + pl.duration(milliseconds=delay_ms)
    return frame.with_columns(local_timestamp=moved).sort("local_timestamp", maintain_order=True)


def victims(lab):
    """Trades of a second."""
    return pl.col("timestamp").is_between(around(lab), around(lab, 1))


class Session:
    """One instrument, once in files and once live."""

    def __init__(self, live_lab, rows):
        self.live, self.lab = live_lab, live_lab.lab
        self.cell = VenueDay(self.lab.one, self.lab.venue)
        self.list_types(*TYPES)
        self.rows = {name: rows[name] for name in TYPES}
        for data_type, frame in self.rows.items():
            self.lab.put(self.lab.one, data_type, frame)

    def list_types(self, *types):
        self.lab.listed = [self.lab.instrument(data_types=[one.value for one in types])]

    def go_live(self, **changed):
        """Feed the rows, with other trades or another book where given, and store what comes."""
        names = {"trades": TRADES, "book": BOOK}
        feed = self.rows | {names[name]: frame for name, frame in changed.items()}
        for data_type, frame in feed.items():
            self.live.add(data_type, frame)
        self.live.play(self.live.engine(), step_us=3_000_000)
        write_live_candles(self.lab.lake, self.live.sink.bars(Timeframe.S15))
        trades = self.live.rows[TRADES]
        keys = {"BTCUSDT": self.lab.key}
        ticks = live_ticks(trades, self.lab.venue, TRADES, keys=keys, first_sequence=0)
        item = LiveTicksFile(self.lab.one, TRADES, self.lab.venue, "01", 0)
        self.lab.lake.write_table(item, ticks, LIVE_TICK_TABLES[TRADES])

    def compared(self):
        """The comparison in numbers, and its causes with their columns."""
        self.lab.build(timeframes=(Timeframe.S15,))
        parity = compare_live_day(self.cell, lake=self.lab.lake)
        table = self.lab.lake.read_table(LiveDifferencesFile(self.lab.one, self.lab.venue))
        assert parity.bars >= LENGTH // 15
        assert parity.by_cause[CAUSE.UNEXPLAINED] == 0, parity.sample.to_dicts()
        found = {}
        for cause, fields in table.select("cause", "fields").iter_rows():
            found.setdefault(CAUSE(cause), set()).update(fields)
        return parity, found


@pytest.fixture
def session(live_lab, market_rows):
    return Session(live_lab, market_rows(live_lab.lab, start=START, length=LENGTH))


def rules(parity):
    return {str(finding.rule) for finding in parity.findings}


def test_the_same_rows_differ_in_nothing(session):
    session.go_live()
    parity, found = session.compared()
    assert found == {}
    assert (parity.match_rate, parity.equal_rate) == (1.0, 1.0)
    assert parity.with_ticks == 1


def test_disorder_of_arrival_is_delay_and_never_unexplained(session):
    chance = random.Random(4)
    frames = {}
    for name, data_type in (("trades", TRADES), ("book", BOOK)):
        frame = session.rows[data_type]
        some = [chance.choice((0, 0, 3, 250, 900, 4_000)) for _ in range(frame.height)]
        is_first = pl.col("timestamp") < session.lab.at(session.lab.one, START + 5)
        delay_ms = pl.lit(pl.Series(some, dtype=pl.Int64))
        # Where the first row itself came late, the bar of the beginning would be cut off.
        frames[name] = later(frame, pl.when(is_first).then(0).otherwise(delay_ms))
    session.go_live(**frames)
    parity, found = session.compared()
    # The bar of the beginning is cut off at the first arrival, and bars after it look back at it.
    assert CAUSE.DELAY in found
    assert set(found) <= {CAUSE.DELAY, CAUSE.LOST}
    assert rules(parity) <= {"live_lost_rows"}


def test_trades_that_live_never_got_are_lost(session):
    session.go_live(trades=session.rows[TRADES].filter(~victims(session.lab)))
    parity, found = session.compared()
    assert "volume" in found[CAUSE.LOST]
    assert set(found) <= {CAUSE.LOST, CAUSE.DELAY}
    assert "live_lost_rows" in rules(parity)
    assert parity.sample.filter(pl.col("rows_of_trades") > 0).height > 0


def test_trades_that_came_after_the_last_amendment_are_late(session):
    late_ms = pl.when(victims(session.lab)).then(400_000).otherwise(0)
    session.go_live(trades=later(session.rows[TRADES], late_ms))
    parity, found = session.compared()
    assert "volume" in found[CAUSE.LATE]
    assert set(found) <= {CAUSE.LATE, CAUSE.DELAY}
    assert "live_late_rows" in rules(parity)


def test_trades_that_the_files_have_otherwise_are_revised(session):
    price = pl.when(victims(session.lab)).then(pl.col("price") * 2).otherwise("price")
    session.go_live(trades=session.rows[TRADES].with_columns(price.alias("price")))
    parity, found = session.compared()
    assert "high" in found[CAUSE.REVISED]
    assert set(found) <= {CAUSE.REVISED, CAUSE.DELAY}
    assert "live_rows_revised" in rules(parity)


def test_quotes_that_only_the_files_have_are_depth(session):
    session.go_live()
    quotes = session.lab.quotes(
        session.lab.one, *((START + t / 2, 99.9, 100.3, 2, 3) for t in range(2 * LENGTH))
    )
    session.lab.put(session.lab.one, QUOTES, quotes)
    session.list_types(*TYPES, QUOTES)
    parity, found = session.compared()
    assert {"quote_source", "spread_tw_bps"} <= found[CAUSE.DEPTH]
    assert parity.by_cause[CAUSE.DEPTH] == parity.bars
    assert parity.match_rate == 1.0


def test_a_day_before_that_only_the_batch_knows_is_memory(session):
    before = session.lab.one - dt.timedelta(days=1)
    session.lab.put_market(before, *TYPES)
    session.lab.build(before, timeframes=(Timeframe.S15,))
    session.go_live()
    parity, found = session.compared()
    assert "has_memory" in found[CAUSE.MEMORY]
    # The bar of the beginning is cut off, where the batch knows the state of the night.
    assert set(found) <= {CAUSE.MEMORY, CAUSE.LOST}
    assert parity.by_cause[CAUSE.MEMORY] == parity.bars
