"""What becomes of larger bars whose completion was given up, or whose beginning changed."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.completion_process import FailedRequest
from tickhandler_dagster.streaming.day_memories import DayMemories
from tickhandler_dagster.streaming.day_tallies import DayTallies
from tickhandler_dagster.streaming.larger_records import LargerRecord
from tickhandler_dagster.streaming.larger_rounds import LargerRounds
from tickhandler_dagster.streaming.rounds import VenueBars

OPEN_US = int(dt.datetime(2024, 8, 8, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
PLACE = (Timeframe.M5, OPEN_US)


class NamedCarry:
    """Stands for a state of which only equality counts."""

    def __init__(self, text):
        self.text = text

    def to_json(self):
        return self.text


@pytest.fixture
def rounds():
    tallies = DayTallies({})
    memories = DayMemories(lambda _date, _key: None, tallies.memory)
    bars = VenueBars([], memories, {}, tallies, 256)
    made = LargerRounds(VenueId.BINANCE_FUTURES, bars, list(Timeframe), {})
    made.records[PLACE] = LargerRecord({"a": 1, "b": 1}, awaited={"a", "b"}, is_asked=True)
    return made


def given_up(*keys):
    windows = [SimpleNamespace(instrument=SimpleNamespace(key=key)) for key in keys]
    request = SimpleNamespace(
        venue=VenueId.BINANCE_FUTURES,
        timeframe=Timeframe.M5,
        span=Span(OPEN_US, OPEN_US + Timeframe.M5.us),
        windows=windows,
    )
    return FailedRequest(request, "the process that builds it died 2 times")


def test_bars_that_were_given_up_are_waited_for_no_more_and_that_is_said(rounds, caplog):
    rounds.give_up([given_up("a")])
    assert rounds.records[PLACE].awaited == {"b"}
    assert "stay provisional: the process that builds it died 2 times" in caplog.text
    rounds.give_up([given_up("b")])
    rounds.forget_before(OPEN_US + Timeframe.H1.us)
    assert rounds.records == {}


def test_a_failure_of_a_bar_long_forgotten_is_only_said(rounds, caplog):
    rounds.records.clear()
    rounds.give_up([given_up("a")])
    assert rounds.records == {}
    assert "stay provisional" in caplog.text


def test_another_state_at_its_beginning_has_a_bar_built_again():
    record = LargerRecord(is_asked=True)
    record.start_from("a", NamedCarry("1"))
    record.start_from("a", NamedCarry("1"))
    assert record.wanted == set()
    record.start_from("a", NamedCarry("2"))
    assert record.wanted == {"a"}
