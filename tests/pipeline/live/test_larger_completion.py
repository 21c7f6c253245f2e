"""Complete larger bars from a spool are the batch's bars of the same ticks, wherever they start."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import os
import signal
import time
from types import SimpleNamespace

import polars as pl
import pytest

from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candle_state import read_candle_states
from tickhandler_dagster.streaming.completion import Completion
from tickhandler_dagster.streaming.completion_build import complete_bars
from tickhandler_dagster.streaming.completion_request import CompletionRequest, LargerWindow
from tickhandler_dagster.streaming.instruments import live_instruments, relations
from tickhandler_dagster.streaming.tick_blocks import SymbolRows
from tickhandler_dagster.streaming.windows import Stand, Window, build_window

BTC, ETH = "BINANCE-FUTURES:PERPETUAL:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
SPOT = "BINANCE:SPOT_PAIR:BTC-USDT"
EVERY = 2**60


class Completing:
    """Requests over what a live lab's feed has brought."""

    def __init__(self, live_lab, day):
        self.live_lab, self.lab, self.day = live_lab, live_lab.lab, day
        self.spool = live_lab.root / "spool"
        self.instruments = live_instruments(self.lab.universe, self.lab.venue, live_lab.types)
        self.relations = relations(self.instruments, day)
        self.start_us = int(self.lab.at(day, 0).timestamp()) * 1_000_000

    def request(self, timeframe, number, *, memory=None):
        """The bar of that number in the day, from the states at its start."""
        open_us = self.start_us + number * timeframe.us
        span = Span(open_us, open_us + timeframe.us)
        carries = self._carries(open_us, memory)
        windows = tuple(
            LargerWindow(
                instrument=instrument,
                facts=instrument.facts(span),
                carry=carries.get(instrument.key),
                memory=memory,
                firsts=self._firsts(instrument),
            )
            for instrument in self.instruments
        )
        return CompletionRequest(
            venue=self.lab.venue,
            timeframe=timeframe,
            span=span,
            windows=windows,
            relations=self.relations,
        )

    def built(self, timeframe, number, **changes):
        return complete_bars(self.request(timeframe, number, **changes), SpoolReader(self.spool))

    def batch(self, timeframe, number):
        """The batch's bars of that number."""
        self.lab.build(self.day, timeframes=(timeframe,))
        bars = [self.lab.bars(self.day, timeframe, key=one.key) for one in self.instruments]
        open_us = self.start_us + number * timeframe.us
        return pl.concat(bars).filter(pl.col("ts_open").to_physical() == open_us)

    def _rows(self, instrument):
        return {
            name: rows.filter(pl.col("symbol") == instrument.symbol)
            .drop("symbol")
            .with_columns(
                is_start=(pl.col("local_timestamp").dt.date()).is_first_distinct(),
            )
            for name, rows in self.live_lab.rows.items()
        }

    def _firsts(self, instrument):
        day = pl.col("local_timestamp").dt.date() == self.day
        firsts = {
            name: rows.filter(day)["local_timestamp"].to_physical().min()
            for name, rows in self._rows(instrument).items()
        }
        return {name: first for name, first in firsts.items() if first is not None}

    def _carries(self, moment_us, memory):
        """The states that windows from midnight up to the moment leave."""
        if moment_us == self.start_us:
            return {}
        carries = {}
        for instrument in self.instruments:
            rows = self._rows(instrument)
            window = Window(
                instrument=instrument,
                span=Span(self.start_us, moment_us),
                carry=None,
                memory=memory,
                rows={name: SymbolRows.of(frame) for name, frame in rows.items()},
                repeated=rows[DataType.TRADES].clear(),
                gaps=(),
                is_complete=True,
            )
            carries[instrument.key] = build_window(window, Stand(None, None)).carry
        return carries


@pytest.fixture
def traded(live_lab):
    """Two perpetuals that trade from 01:00 to 01:17, one measured against the other."""
    live_lab.trade(BTC, ETH, length=1_000)
    live_lab.append(0, EVERY)
    return Completing(live_lab, live_lab.lab.one)


CASES = [
    (Timeframe.M1, 63),
    (Timeframe.M5, 12),
    (Timeframe.M5, 14),
    (Timeframe.M15, 4),
    (Timeframe.M15, 5),
    (Timeframe.H1, 1),
    (Timeframe.H4, 0),
    (Timeframe.H24, 0),
]


@pytest.mark.parametrize(("timeframe", "number"), CASES, ids=str)
def test_a_window_of_the_spool_is_the_batch_s_bar(traded, differences, timeframe, number):
    found = traded.built(timeframe, number).bars
    assert found["trade_count"].to_list() != [0, 0]
    assert found["btc_return_count"].to_list()[1] > 0
    assert differences(found, traded.batch(timeframe, number)) == {}


def test_the_instruments_come_in_the_order_of_the_request(traded):
    request = traded.request(Timeframe.M5, 13)
    backwards = dataclasses.replace(request, windows=request.windows[::-1])
    found = complete_bars(backwards, SpoolReader(traded.spool)).bars
    assert found["instrument_key"].to_list() == [ETH, BTC]


def test_the_cut_of_the_instruments_into_groups_does_not_show(traded, monkeypatch):
    whole = traded.built(Timeframe.M5, 13).bars
    at_once = dict.fromkeys(Timeframe, 1)
    monkeypatch.setattr("tickhandler_dagster.streaming.completion_build.SYMBOLS_AT_ONCE", at_once)
    monkeypatch.setattr("tickhandler_dagster.streaming.spooled_slices.SLICE_US", 15_000_000)
    assert traded.built(Timeframe.M5, 13).bars.equals(whole)


def test_a_contract_that_another_is_measured_against_is_built_before_it(traded):
    """A perpetual has no expiry, and so no part in the other's bars but its place."""
    request = traded.request(Timeframe.M5, 13)
    related = dataclasses.replace(request.relations, reference=None, near={BTC: ETH})
    found = complete_bars(
        dataclasses.replace(request, relations=related), SpoolReader(traded.spool)
    ).bars
    assert found["instrument_key"].to_list() == [BTC, ETH]
    assert found["btc_return_count"].to_list() == [0, 0]


def recorded_rows(folder, venue, data_type, day):
    path = folder / f"{venue}/{data_type}/{day:%Y/%m/%d}/BTCUSDT.csv.gz"
    lines = gzip.decompress(path.read_bytes()).partition(b"\n")[2]
    table = RAW_TABLES[data_type]
    return TickCsv(table=table, venue=venue, symbol="BTCUSDT", subject=str(path)).parse(lines)


@pytest.fixture
def spot(lab, live_lab, recorded):
    """Recorded minutes around a midnight."""
    lab.listed = [
        lab.instrument(
            data_types=["trades", "book_snapshot_5"],
            instrument_key=SPOT,
            venue="binance",
            instrument_type="SPOT_PAIR",
            tick_size=0.01,
            settle_asset="USDT",
        )
    ]
    for data_type in (DataType.TRADES, DataType.BOOK_SNAPSHOT_5):
        for day in (lab.one, lab.two):
            rows = recorded_rows(recorded, lab.venue, data_type, day)
            lab.put(day, data_type, rows, key=SPOT)
            live_lab.add(data_type, rows)
    live_lab.append(0, EVERY)
    return SimpleNamespace(
        first=Completing(live_lab, lab.one), second=Completing(live_lab, lab.two)
    )


@pytest.mark.parametrize("lab", [VenueId.BINANCE], indirect=True)
@pytest.mark.parametrize("timeframe", [one for one in Timeframe if one is not Timeframe.S15])
def test_recorded_ticks_give_the_batch_s_last_bar_of_the_day(spot, differences, timeframe):
    last = timeframe.bars_per_day - 1
    found = spot.first.built(timeframe, last).bars
    assert found["trade_count"][0] > 0
    assert differences(found, spot.first.batch(timeframe, last)) == {}


@pytest.mark.parametrize("lab", [VenueId.BINANCE], indirect=True)
def test_a_bar_stands_on_the_memory_of_the_day_before(spot, lab, differences):
    lab.build(lab.one)
    state = read_candle_states(lab.lake, VenueDay(lab.one, lab.venue))[SPOT]
    memory = DayMemory.from_json(state.memory)
    minute = spot.second.built(Timeframe.M1, 1, memory=memory).bars
    assert minute["has_memory"].all()
    assert differences(minute, spot.second.batch(Timeframe.M1, 1)) == {}


# ---- the process ---------------------------------------------------------------------------


@pytest.fixture
def completion(traded):
    made = Completion(traded.spool, waiting=3)
    yield made
    made.close()


def answers(completion, count, *, seconds=60):
    """What comes back, until so many have."""
    found, failed, end = [], [], time.monotonic() + seconds
    while len(found) + len(failed) < count:
        assert time.monotonic() < end
        found += completion.results()
        failed += completion.take_failed()
        time.sleep(0.02)
    return found, failed


def test_what_one_venue_asks_for_is_kept_while_another_takes_its_own(traded, completion):
    request = traded.request(Timeframe.M1, 63)
    assert completion.submit(request)
    while completion.pending:
        assert completion.results(VenueId.DERIBIT) == []
    (found,) = completion.results(VenueId.BINANCE_FUTURES)
    assert found.bars.equals(complete_bars(request, SpoolReader(traded.spool)).bars)
    assert completion.results() == []


def test_bars_come_from_other_processes_as_they_would_from_this_one(traded, completion):
    asked = [traded.request(*case) for case in ((Timeframe.M5, 12), (Timeframe.H24, 0))]
    assert all(completion.submit(request) for request in asked)
    assert completion.pending == 2
    found_by = {found.timeframe: found for found in answers(completion, 2)[0]}
    for request in asked:
        found = found_by[request.timeframe]
        here = complete_bars(request, SpoolReader(traded.spool))
        assert found.bars.equals(here.bars)
    assert completion.pending == 0


def test_more_than_the_allowed_requests_are_refused(traded, completion):
    request = traded.request(Timeframe.M15, 4)
    assert [completion.submit(request) for _ in range(4)] == [True, True, True, False]
    assert completion.pending == 3


def test_a_process_that_dies_is_replaced_and_asked_again(traded, completion):
    request = traded.request(Timeframe.M5, 12)
    completion.submit(request)
    os.kill(completion.short.process_id, signal.SIGKILL)
    (found,), _ = answers(completion, 1)
    assert completion.short.restarts == 1
    assert found.bars.equals(complete_bars(request, SpoolReader(traded.spool)).bars)


def test_a_request_that_kills_every_process_is_given_up(traded, completion):
    broken = dataclasses.replace(traded.request(Timeframe.M5, 12), relations=None)
    completion.submit(broken)
    completion.submit(traded.request(Timeframe.M5, 13))
    (found,), (failed,) = answers(completion, 2)
    assert found.span == traded.request(Timeframe.M5, 13).span
    assert failed.request.span == broken.span
    assert failed.reason == "the process that builds it died 2 times"


def test_a_spool_that_cannot_be_read_is_a_sentence(traded, completion):
    folder = traded.spool / traded.lab.venue / DataType.TRADES
    for segment in folder.glob("*.csv"):
        segment.unlink()
        segment.mkdir()
    completion.submit(traded.request(Timeframe.M5, 12))
    found, (failed,) = answers(completion, 1)
    assert found == []
    assert str(folder) in failed.reason


def test_bars_of_which_the_spool_has_forgotten_rows_are_given_up(traded, completion):
    request = traded.request(Timeframe.M5, 12)
    (traded.spool / traded.lab.venue / DataType.TRADES / "swept").write_text(
        str(request.span.start + 1)
    )
    completion.submit(request)
    found, (failed,) = answers(completion, 1)
    assert found == []
    assert "forgotten" in failed.reason


def test_closing_forgets_what_waits(traded, completion):
    completion.submit(traded.request(Timeframe.M5, 12))
    completion.close()
    assert (completion.pending, completion.short.process_id) == (0, None)
    assert completion.results() == []
    assert isinstance(traded.day, dt.date)
