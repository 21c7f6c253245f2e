"""What a session adds up of its day, over settling, restarts and midnights."""

from __future__ import annotations

import datetime as dt
import os
from types import SimpleNamespace

import numpy as np
import pytest

from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_tally import DayTally, memory_of, memory_over
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.flow_loading import LEVELS
from tickhandler_dagster.market.bars.flow_tally import FlowRows, FlowTally
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.trade_memory import TradeDay, TradeMemory
from tickhandler_dagster.market.bars.trade_tally import TradeTally
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.bar_records import WIDTH_US, BarRecord, InstrumentRecords
from tickhandler_dagster.streaming.checkpoint import CheckpointFiles
from tickhandler_dagster.streaming.day_memories import DayMemories
from tickhandler_dagster.streaming.day_tallies import GROUPS, DayTallies, group_of
from tickhandler_dagster.streaming.feed_gaps import is_seen
from tickhandler_dagster.streaming.tally_bytes import tallies_from_bytes, tallies_to_bytes

MIDNIGHT = 19_943 * US_PER_DAY
EVE, DATE = dt.date(2024, 8, 7), dt.date(2024, 8, 8)
KEYS = [f"BINANCE:SPOT_PAIR:C{number}-USDT" for number in range(4)]
STEP = 9 * WIDTH_US
"""Length of the windows that stand for bars: what is added up does not ask how long they are."""


@pytest.fixture(scope="module")
def carry():
    """The state at a window's end; of which window is of no account."""
    span = Span(MIDNIGHT - WIDTH_US, MIDNIGHT)
    facts = DayFacts(
        instrument_key=KEYS[0],
        venue=VenueId.BINANCE,
        day=span,
        listed=span,
        terms=ContractTerms(1.0),
        closing=Closing(span, has_previous=True, has_next=True),
    )
    return DayBars(facts).carry()


def tally(start_us, number, end_us=None, **changes):
    """A window in which something of every kind was counted."""
    flows = FlowRows(np.array([start_us]), np.arange(LEVELS + 2.0)[None] + number)
    nothing = FlowRows(np.empty(0, dtype=np.int64), np.empty((0, LEVELS + 2)))
    fields = {
        "start_us": start_us,
        "end_us": end_us or start_us + STEP,
        "trades": TradeTally(
            trades=number,
            volume=3 << (1_000 + number),
            notional=0,
            buckets=Counts.of({number: 1, 9_000: 2}),
            last_arrival_us=start_us + number,
        ),
        "moves": Counts.of({number % 5: number + 1, 77: -1}),
        "flows": FlowTally(flows, nothing),
    }
    return DayTally(**fields | changes)


def test_tallies_survive_their_bytes():
    named = [
        (KEYS[0], tally(MIDNIGHT, 3)),
        (KEYS[1], tally(MIDNIGHT, 4, moves=None, flows=None, is_seen=False)),
        (KEYS[0], tally(MIDNIGHT + STEP, 5, trades=None)),
        (KEYS[2], tally(MIDNIGHT, 6, trades=TradeTally.none(is_sized=False))),
    ]
    assert tallies_from_bytes(tallies_to_bytes(named)) == named
    assert tallies_from_bytes(tallies_to_bytes([])) == []


class Session:
    """Bars of some instruments, made and settled round by round."""

    def __init__(self, folder, carry):
        self.files = CheckpointFiles(folder, VenueId.BINANCE)
        self.carry, self.round = carry, 0
        self.records = {key: InstrumentRecords() for key in KEYS}
        self.tallies = DayTallies(self.records)
        self.state = None

    def make(self, open_us, length_us, **changes):
        for number, key in enumerate(KEYS):
            made = tally(open_us, number, open_us + length_us, **changes)
            self.records[key].bars[open_us] = BarRecord(1, 0, 0, self.carry, made)
        self.tallies.changed(open_us)

    def settle(self, before_us):
        self.round += 1
        self.tallies.store(self.files, self.round, settled_us=before_us)
        bars = {
            key: [[at, 1, 0, 0, {}] for at in sorted(records.bars)]
            for key, records in self.records.items()
        }
        self.state = self.tallies.as_json(), bars
        self.files.drop_parts(but=self.round, kept=self.tallies.parts)

    def restart(self, monkeypatch):
        """Another process, which knows what was stored and nothing else."""
        carry = self.carry
        monkeypatch.setattr(
            InstrumentRecords,
            "of_json",
            lambda found, tallies: InstrumentRecords(
                {at: BarRecord(1, 0, 0, carry, tallies[at]) for at, *_ in found}
            ),
        )
        self.records = {key: InstrumentRecords() for key in KEYS}
        self.tallies = DayTallies(self.records)
        found, bars = self.state
        self.records |= self.tallies.restore(self.files, found, bars)


def test_a_day_adds_up_over_restarts(tmp_path, carry, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # a thousand of them are not the point
    session, kept = Session(tmp_path, carry), 6 * STEP
    edges = [*range(MIDNIGHT - 3 * STEP, MIDNIGHT + US_PER_DAY, STEP)]
    parts = [(one, STEP) for one in edges]
    last, _ = parts.pop()
    parts += [(last, STEP - WIDTH_US), (last + STEP - WIDTH_US, WIDTH_US)]
    for number, (open_us, length_us) in enumerate(parts):
        session.make(open_us, length_us)
        session.settle(open_us - kept)
        if number % 37 == 0:
            session.restart(monkeypatch)
    before = DayMemory(trades=TradeMemory((TradeDay(MIDNIGHT - US_PER_DAY, 1, 2.0, 3.0, (), 5),)))
    for number, key in enumerate(KEYS):
        whole = DayTally.total([tally(at, number, at + length) for at, length in parts[3:]])
        found = session.tallies.memory(key, MIDNIGHT + US_PER_DAY, before)
        assert found == memory_of(whole, before, carry)
        assert found.trades.days[-1].trades == number * len(parts[3:])
    assert len(list(tmp_path.glob("*.part"))) < GROUPS + 3 + kept // STEP + GROUPS


@pytest.mark.parametrize(
    ("first", "lost", "is_known"), [(0, None, True), (1, None, False), (0, 5, False)]
)
def test_a_day_that_was_not_seen_whole_leaves_no_memory(tmp_path, carry, first, lost, is_known):
    session = Session(tmp_path, carry)
    opens = [*range(MIDNIGHT, MIDNIGHT + US_PER_DAY, STEP)][first:]
    for number, open_us in enumerate(opens[:-1]):
        session.make(open_us, STEP, is_seen=number != lost)
        session.settle(open_us - 6 * STEP)
    session.make(opens[-1], STEP - WIDTH_US)
    session.make(MIDNIGHT + US_PER_DAY - WIDTH_US, WIDTH_US)
    found = session.tallies.memory(KEYS[0], MIDNIGHT + US_PER_DAY, None)
    assert (found is not None) == is_known


def test_a_day_that_is_not_over_leaves_no_memory(tmp_path, carry):
    session = Session(tmp_path, carry)
    session.make(MIDNIGHT, STEP)
    assert session.tallies.memory(KEYS[0], MIDNIGHT + US_PER_DAY, None) is None


def test_a_file_that_is_missing_is_said(tmp_path, carry, monkeypatch):
    session = Session(tmp_path, carry)
    session.make(MIDNIGHT, STEP)
    session.settle(MIDNIGHT)
    for path in tmp_path.glob("*.part"):
        path.unlink()
    with pytest.raises(CorruptData, match="missing beside its state"):
        session.restart(monkeypatch)


def test_an_instrument_is_in_the_same_group_whichever_others_there_are():
    assert all(0 <= group_of(key) < GROUPS for key in KEYS)
    assert len({group_of(key) for key in KEYS}) > 1


# ---- which memory a day stands on ----------------------------------------------------------


def known(day, trades=1):
    start_us = (day.toordinal() - dt.date(1970, 1, 1).toordinal()) * US_PER_DAY
    return DayMemory(trades=TradeMemory((TradeDay(start_us, trades, 2.0, 3.0, (), 5),)))


OLD = known(EVE - dt.timedelta(days=7))


@pytest.mark.parametrize(
    ("own", "lake", "before", "expected"),
    [
        (known(EVE, 9), known(EVE), None, known(EVE, 9)),
        (None, known(EVE), known(EVE), known(EVE)),
        (None, None, known(EVE - dt.timedelta(days=1)), known(EVE - dt.timedelta(days=1))),
        (None, None, OLD, DayMemory(trades=TradeMemory())),
        (None, None, None, None),
    ],
    ids=["own", "lake", "of the day before", "too old", "nothing"],
)
def test_where_a_memory_comes_from(own, lake, before, expected):
    memories = DayMemories(
        lambda date, _key: lake if date == DATE else before,
        lambda _key, midnight_us, _before: own if midnight_us == MIDNIGHT else None,
    )
    memories.of(EVE, "a")
    assert memories.of(DATE, "a") == expected


def test_what_a_session_does_not_remember_is_what_was_known_before_it():
    assert memory_over(MIDNIGHT, None) is None
    assert memory_over(MIDNIGHT, DayMemory()) == DayMemory()


def test_the_lake_is_asked_once_and_a_session_s_own_memory_is_renewed(tmp_path):
    files = CheckpointFiles(tmp_path, VenueId.BINANCE)
    asked, own = [], {"b": known(EVE)}

    def lake(date, key):
        asked.append((date, key))
        return known(EVE, len(asked))

    memories = DayMemories(lake, lambda key, _midnight_us, _before: own.get(key))
    assert not memories.renew(DATE, "a")
    first = {key: memories.of(DATE, key) for key in "ab"}
    assert not memories.renew(DATE, "a")
    assert not memories.renew(DATE, "b")
    assert {key: memories.of(DATE, key) for key in "ab"} == first
    memories.store(files, 1)
    memories.store(files, 2)
    own["b"] = known(EVE, 7)
    assert memories.renew(DATE, "b")
    assert memories.of(DATE, "b") == known(EVE, 7)
    assert asked == [(DATE, "a")]
    again = DayMemories(lake, lambda _key, _midnight_us, _before: None)
    memories.store(files, 3)
    assert memories.parts == {("memories", 1), ("memories", 3)}
    again.restore(files, [3, 1])
    assert again.parts == memories.parts
    assert [again.of(DATE, key) for key in "ab"] == [memories.of(DATE, key) for key in "ab"]
    assert not again.renew(DATE, "a")
    assert again.renew(DATE, "b")  # rows of the day before were given up after all
    assert asked == [(DATE, "a"), (DATE, "b")]


# ---- what a session has seen ---------------------------------------------------------------


LISTED = SimpleNamespace(symbol="BTCUSDT", channels={Channel.TOP: DataType.QUOTES})


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (FeedGap(None, 100), True),
        (FeedGap(None, 101), False),
        (FeedGap(None, None), False),
        (FeedGap(None, 101, (DataType.LIQUIDATIONS,)), True),
        (FeedGap(90, 150), True),
        (FeedGap(90, 101, is_overflow=True), False),
        (FeedGap(199, 300, is_overflow=True), False),
        (FeedGap(200, 300, is_overflow=True), True),
        (FeedGap(90, 150, symbols=("ETHUSDT",), is_overflow=True), True),
    ],
)
def test_a_window_is_seen_where_the_feed_had_begun_and_gave_nothing_up(gap, expected):
    assert is_seen([gap], LISTED, Span(100, 200)) == expected
