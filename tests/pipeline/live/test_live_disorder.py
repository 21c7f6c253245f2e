"""Whatever order rows come in, repeated, late, with holes: the bars are the batch's in the end."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.paths import QuarantinedRows, TickGapsFile
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.quality.row_rules import quarantine_table
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.completion import Completion
from tickhandler_dagster.streaming.venue import VenueOptions

TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
START, LENGTH = 3_600, 75
PLACES = st.integers(0, 10_000)
NUMBERS = itertools.count()


def delayed(frame, delays):
    """Some rows arrive so many milliseconds later; not the first, with which a session begins."""
    late = {place % (frame.height - 1) + 1: ms for place, ms in delays}
    extra = pl.Series([late.get(row, 0) for row in range(frame.height)], dtype=pl.Int64)
    moved = pl.col("local_timestamp") + pl.duration(milliseconds=extra)
    return frame.with_columns(moved.alias("local_timestamp")).sort(
        "local_timestamp", maintain_order=True
    )


def repeated(frame, copies):
    """Some rows come again so many milliseconds later."""
    rows = frame[[place % frame.height for place, _ in copies]].with_columns(
        pl.col("local_timestamp")
        + pl.duration(milliseconds=pl.Series([ms for _, ms in copies], dtype=pl.Int64))
    )
    return rows.unique(["id"], maintain_order=True)


def without(frame, start, end):
    return frame.filter(~pl.col("local_timestamp").is_between(start, end, closed="none"))


class Feed:
    """The same rows as the files of a day and as a feed."""

    def __init__(self, live_lab):
        self.live, self.lab = live_lab, live_lab.lab
        self.lab.listed = [
            self.lab.instrument(data_types=["trades", "book_snapshot_5", "derivative_ticker"])
        ]

    def put(self, frames, copies=None):
        for data_type, frame in frames.items():
            changes = {}
            if data_type is TRADES and copies is not None and copies.height:
                changes = {"duplicate_rows": copies.height}
                table = quarantine_table(RAW_TABLES[TRADES])
                kept_out = copies.with_columns(
                    reason=pl.lit("duplicate_id"), symbol=pl.lit("BTCUSDT")
                )
                item = QuarantinedRows(self.lab.one, TRADES, self.lab.key)
                self.lab.lake.write_table(item, kept_out.select(table.names), table)
                self.live.add(TRADES, copies)
            self.lab.put(self.lab.one, data_type, frame, **changes)
            self.live.add(data_type, frame)

    def interrupt(self, start, end):
        """The connection was lost."""
        us = [int(one.timestamp() * 1_000_000) for one in (start, end)]
        common = {"venue": self.lab.venue, "connection": "a"}
        kinds = FeedEventKind
        self.live.events = [
            FeedEvent(kind=kinds.DISCONNECTED, at_us=us[0] + 1, last_arrival_us=us[0], **common),
            FeedEvent(kind=kinds.CONNECTED, at_us=us[1], **common),
        ]
        for data_type in (TRADES, BOOK):
            gap = Gap(
                date=self.lab.one,
                venue=self.lab.venue,
                data_type=data_type,
                instrument_key=self.lab.key,
                kind=GapKind.SILENCE,
                gap_start=start,
                gap_end=end,
                evidence="the connection was lost",
            )
            item = TickGapsFile(self.lab.one, data_type, self.lab.venue)
            self.lab.lake.write_table(item, gaps_frame([gap]), GAPS_TABLE)

    def bars(self, timeframes=(Timeframe.S15,), **play):
        """The last word on every bar of the stretch, by timeframe where there are several."""
        completion = Completion(self.live.root / "spool")
        options = VenueOptions(timeframes=timeframes)
        self.live.play(self.live.engine(venue=options, completer=completion), **play)
        completion.close()
        end = self.lab.at(self.lab.one, START + LENGTH)
        found = {
            one: self.live.sink.latest(one).filter(pl.col("ts_open") <= end) for one in timeframes
        }
        for bars in found.values():
            assert set(bars["stage"]) <= {LiveStage.COMPLETE, LiveStage.AMENDED}
        return found if len(timeframes) > 1 else found[timeframes[0]]


@pytest.fixture
def new_feed(new_lab, new_live_lab, tmp_path):
    def make():
        root = tmp_path / str(next(NUMBERS))
        return Feed(new_live_lab(new_lab(root / "lake"), root / "live"))

    return make


def three(frames):
    return {name: frame for name, frame in frames.items() if name is not DataType.LIQUIDATIONS}


class Disorder:
    """The same rows as they would come on a bad line.

    Args:
        frames: Rows of all channels.
        delays: Places of rows and how many milliseconds later they come.
        amending: The same, so late that bars are published by then.
        copies: Places of trades and how much later each comes once more.
        hole: Moments between which nothing comes.
    """

    def __init__(self, frames, *, delays, amending, copies, hole):
        again = repeated(frames[TRADES], copies)
        trades = delayed(frames[TRADES], [*delays, *amending])
        book = delayed(frames[BOOK], [*delays, *((one * 7, ms) for one, ms in amending)])
        whole = frames | {TRADES: trades, BOOK: book}
        self.frames = {name: without(frame, *hole) for name, frame in whole.items()}
        first = self.frames[TRADES].select("id", first="local_timestamp")
        # a copy comes after its trade, and one whose trade never came is none
        after = pl.max_horizontal("local_timestamp", pl.col("first") + pl.duration(seconds=1))
        moved = again.join(first, on="id").with_columns(local_timestamp=after).drop("first")
        self.copies = without(moved.sort("local_timestamp"), *hole)
        self.lost = sum(one.height for one in whole.values()) - self.rows

    @property
    def rows(self):
        return sum(one.height for one in self.frames.values())

    @property
    def amending(self):
        """Trades that come when their bars are published whole."""
        way = pl.col("local_timestamp") - pl.col("timestamp")
        return self.frames[TRADES].filter(way > dt.timedelta(seconds=55)).height

    @property
    def out_of_order(self):
        """Trades that come after one that happened later."""
        times = self.frames[TRADES]["timestamp"]
        return (times < times.cum_max()).sum()


EARLY = st.integers(0, LENGTH)
"""Places in the first half of the trades: something comes after them."""
MS = st.integers(1, 900)
FEW = {"min_size": 1, "max_size": 4}


@settings(
    max_examples=2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 1_000),
    jitter=st.lists(st.tuples(PLACES, MS), min_size=20, max_size=40),
    late=st.lists(st.tuples(EARLY, st.integers(1_000, 28_000)), **FEW),
    amending=st.lists(st.tuples(EARLY, st.integers(60_000, 150_000)), min_size=1, max_size=2),
    copies=st.lists(st.tuples(PLACES, st.integers(0, 25_000)), **FEW),
    hole=st.tuples(st.integers(5_000, 60_000), st.integers(2_000, 12_000)),
    step_ms=st.integers(300, 9_000),
)
@example(
    seed=116,
    jitter=[(29, 340), *((place, 500) for place in range(3_000, 3_020))],
    late=[(62, 5_325)],
    amending=[(44, 100_283)],
    copies=[(855, 2_000)],
    hole=(36_170, 7_448),
    step_ms=574,
).via("a minute that starts from a state that only a bar of the minute before shows")
def test_disorder_repeats_lost_connections_and_late_rows_end_in_the_batch_s_bars(
    new_feed, market_rows, differences, *, seed, jitter, late, amending, copies, hole, step_ms
):
    feed = new_feed()
    lost_ms, for_ms = hole
    hole = [feed.lab.at(feed.lab.one, START + ms / 1_000) for ms in (lost_ms, lost_ms + for_ms)]
    disorder = Disorder(
        three(market_rows(feed.lab, start=START, length=LENGTH, seed=seed)),
        delays=[*jitter, *late],
        amending=amending,
        copies=copies,
        hole=hole,
    )
    assert disorder.out_of_order > 0
    assert disorder.lost > 0
    feed.put(disorder.frames, disorder.copies)
    feed.interrupt(*hole)
    both = (Timeframe.S15, Timeframe.M1)
    found = feed.bars(both, step_us=step_ms * 1_000, seed=seed, tail_us=140_000_000)
    feed.lab.build(timeframes=both)
    for timeframe, live in found.items():
        assert live.height >= LENGTH * 1_000_000 // timeframe.us
        assert differences(live, feed.lab.bars(timeframe=timeframe)) == {}, timeframe
    live = found[Timeframe.S15]
    assert live["duplicate_id_count"].sum() == disorder.copies.height
    assert live["gap_ms"].sum() == pytest.approx(for_ms)
    assert LiveStage.AMENDED in set(live["stage"]) or not disorder.amending


@pytest.mark.parametrize(("start", "length"), [(20.2, 3.0), (31.0, 25.5), (44.9, 0.3)])
def test_a_lost_connection_is_the_same_hole_as_the_batch_s(
    new_feed, market_rows, differences, start, length
):
    feed = new_feed()
    frames = three(market_rows(feed.lab, start=START, length=LENGTH))
    first, end = (feed.lab.at(feed.lab.one, START + t) for t in (start, start + length))
    feed.put({name: without(frame, first, end) for name, frame in frames.items()})
    feed.interrupt(first, end)
    live = feed.bars(step_us=2_000_000)
    feed.lab.build(timeframes=(Timeframe.S15,))
    assert live["gap_ms"].sum() == pytest.approx(length * 1_000)
    assert differences(live, feed.lab.bars()) == {}


def test_rows_too_late_for_an_amendment_are_counted_and_left_to_the_batch(new_feed, market_rows):
    feed = new_feed()
    frames = three(market_rows(feed.lab, start=START, length=LENGTH))
    frames[TRADES] = delayed(frames[TRADES], [(3, 500_000)])
    feed.put(frames)
    engine = feed.live.engine()
    feed.live.play(engine, step_us=10_000_000)
    assert engine.status().late_rows == 1
    assert engine.status().amended == 0


def test_the_first_bar_never_looks_whole(new_feed, market_rows):
    feed = new_feed()
    frames = three(market_rows(feed.lab, start=START + 4, length=40))
    feed.put(frames)
    feed.live.play(feed.live.engine(), step_us=2_000_000)
    first = feed.live.sink.latest().row(0, named=True)
    assert first["ts_open"] == feed.lab.at(feed.lab.one, START)
    assert first["gap_ms"] == pytest.approx(4_000)
    assert first["coverage"] == pytest.approx(11 / 15)
    assert dt.timedelta(0) < feed.live.sink.latest()["published_at"][0] - first["ts_close"]


def test_a_loss_that_is_noticed_late_amends_the_bars_it_touched(new_feed, market_rows, differences):
    feed = new_feed()
    frames = three(market_rows(feed.lab, start=START, length=170))
    first, end = (feed.lab.at(feed.lab.one, START + t) for t in (20.2, 121.7))
    feed.put({name: without(frame, first, end) for name, frame in frames.items()})
    feed.interrupt(first, end)
    lost, back = feed.live.events
    feed.live.events = [dataclasses.replace(lost, at_us=back.at_us - 1), back]
    live = feed.bars(step_us=2_000_000)
    assert LiveStage.AMENDED in set(live["stage"])
    assert live["gap_ms"].sum() == pytest.approx(69_800)  # of the bars up to START + 90
    feed.lab.build(timeframes=(Timeframe.S15,))
    assert differences(live, feed.lab.bars()) == {}


def test_rows_that_were_given_up_are_a_hole(new_feed, market_rows, differences):
    feed = new_feed()
    frames = three(market_rows(feed.lab, start=START, length=LENGTH))
    first, end = (feed.lab.at(feed.lab.one, START + t) for t in (20.2, 23.2))
    feed.put({name: without(frame, first, end) for name, frame in frames.items()})
    feed.interrupt(first, end)
    lost, back = feed.live.events
    overflow = dataclasses.replace(
        lost, kind=FeedEventKind.OVERFLOW, at_us=back.at_us, rows=7, connection=""
    )
    feed.live.events = [overflow]
    live = feed.bars(step_us=2_000_000)
    assert live["gap_ms"].sum() == pytest.approx(3_000)
    feed.lab.build(timeframes=(Timeframe.S15,))
    assert differences(live, feed.lab.bars()) == {}
