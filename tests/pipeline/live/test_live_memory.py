"""A session that goes on over midnight remembers the day that it has seen, as the batch does."""

from __future__ import annotations

import datetime as dt
import shutil
from itertools import count, pairwise
from types import SimpleNamespace

import polars as pl
import pytest

from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.live.parity_columns import BY_DAYS_BEFORE
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.live_universe import memory_reader
from tickhandler_dagster.streaming.bar_records import BarRecord
from tickhandler_dagster.streaming.checkpoint import CheckpointFiles
from tickhandler_dagster.streaming.neighbours import Stand
from tickhandler_dagster.streaming.tick_blocks import SymbolRows
from tickhandler_dagster.streaming.venue import VenueOptions
from tickhandler_dagster.streaming.windows import Window, build_window

TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
TICKER = DataType.DERIVATIVE_TICKER
DAY = 86_400
BAR_US = Timeframe.S15.us
SMALL = VenueOptions(timeframes=(Timeframe.S15,))
FIRST = 100
"""Seconds of the day that the session sees bar by bar."""
THREE = dt.date(2024, 8, 10)
PIECE = 3 * 60
"""Seconds of both days around midnight that are traded."""
FROM = DAY - PIECE
"""Second of the day at which the session has come to, when tests take it over."""


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the engine may catch it."""


def moments(start, length, step):
    return [round(start + number * step, 3) for number in range(int(length / step))]


def market(lab, day, times, late=()):
    """A few rows of each type; in the middle of the day enough of them to fit on."""
    fills = [
        (t, 100 + n * 7 % 11 / 10, 1 + t % 3, "sell" if n % 3 else "buy")
        for n, t in enumerate(times)
    ]
    fills += [(t, 101.5, 40, {"side": "sell", "arrival": at}) for t, at in late]
    states = [(t + 0.2, 100 + n * 7 % 11 / 10) for n, t in enumerate(times)]
    marks = [
        (float(t), 100 + t % 5) for t in (*range(7, DAY - PIECE, 600), *range(DAY - PIECE, DAY, 20))
    ]
    return {
        TRADES: lab.trades(day, *fills, start=day.toordinal() * 1_000_000),
        BOOK: lab.book(day, *states),
        TICKER: lab.ticker(day, *(mark for mark in marks if mark[0] <= times[-1] or not late)),
    }


def days_of(lab):
    """Rows of three days: the end of the first, a thin second, the beginning of the third."""
    middle = [*moments(5, 60, 3.1), *moments(7_200, 90 * 60, 29), *moments(50_000, 30, 0.7)]
    ends = moments(DAY - PIECE, PIECE, 0.9)
    return {
        lab.one: market(lab, lab.one, [*moments(40_000, 9_000, 61), *moments(DAY - 12, 12, 0.8)]),
        lab.two: market(lab, lab.two, [*middle, *ends]),
        THREE: market(lab, THREE, moments(1, PIECE, 0.9)),
    }


def us(lab, day, seconds):
    return round(lab.at(day, seconds).timestamp() * 1_000_000)


def feed(live, frames):
    """What is live: the rows from just before the second day's midnight on."""
    for day, content in frames.items():
        for data_type, frame in content.items():
            seen = pl.col("timestamp") >= live.lab.at(live.lab.one, DAY - 12)
            live.add(data_type, frame.filter(seen) if day == live.lab.one else frame)


def memory_of_one_day(lab, asked):
    """The lake's memory for the second day; of the day after it the lake knows nothing yet."""
    found = memory_reader(lab.lake)

    def memory(date, key):
        asked.append(date)
        return found(date, key) if date == lab.two else None

    return memory


def jump(live, engine, rows):
    """Let the session have come to `FROM`: the bars between are one window, which is their sum."""
    (venue,) = engine._venues
    bars, edges = venue._bars, venue._rows.edges
    (instrument,) = bars.instruments
    records = bars.records[instrument.key]
    date, goal_us = live.lab.two, us(live.lab, live.lab.two, FROM)
    cuts = [edges.provisional_us, goal_us - BAR_US, goal_us]
    for start_us, end_us in pairwise(cuts):
        window = Window(
            instrument=instrument,
            span=Span(start_us, end_us),
            carry=records.bars[max(records.bars)].carry,
            memory=bars.memories.of(date, instrument.key),
            rows=rows,
            repeated=live.rows[TRADES].clear(),
            gaps=(),
            is_complete=True,
        )
        built = build_window(window, Stand(None, None))
        records.bars[start_us] = BarRecord(0, 0, 0, built.carry, built.tally)
        bars.tallies.changed(start_us)
    edges.provisional_us = edges.complete_us = goal_us


@pytest.fixture(scope="module")
def long_day(tmp_path_factory, new_lab, live_lab_of):
    """A session that began before a day's midnight and has come close to the next one."""
    root = tmp_path_factory.mktemp("long_day")
    lab = new_lab(root / "lake")
    lab.listed = [lab.instrument(data_types=[name.value for name in (TRADES, BOOK, TICKER)])]
    frames = days_of(lab)
    for day, content in frames.items():
        for data_type, frame in content.items():
            lab.put(day, data_type, frame)
    lab.build(lab.one, timeframes=(Timeframe.S15,))
    live = live_lab_of(lab, root / "live")
    for data_type, frame in frames[lab.one].items():
        live.add(data_type, frame.filter(pl.col("timestamp") >= lab.at(lab.one, DAY - 12)))
    first = pl.col("timestamp") < lab.at(lab.two, FIRST)
    for data_type, frame in frames[lab.two].items():
        live.add(data_type, frame.filter(first))
    engine = live.engine(memory=memory_of_one_day(lab, []), venue=SMALL)
    live.play(engine, until_us=us(lab, lab.two, FIRST))
    rows = {
        name: SymbolRows.of(frame.with_columns(is_start=pl.lit(value=False)))
        for name, frame in frames[lab.two].items()
    }
    jump(live, engine, rows)
    live.rows = {}
    for day in (lab.two, THREE):
        for data_type, frame in frames[day].items():
            live.add(data_type, frame.filter(pl.col("timestamp") >= lab.at(lab.two, FROM)))
    live.play(engine, since_us=us(lab, lab.two, FROM), until_us=us(lab, lab.two, FROM + 60))
    live.writer.close()
    return SimpleNamespace(root=root, lab=lab, live=live, frames=frames)


@pytest.fixture
def go_on(long_day, live_lab_of, new_lab, tmp_path):
    """Take the session over from where it is, with late trades if any: `go_on(late)`."""
    made = []

    def take(late=()):
        shutil.copytree(long_day.root / "live", tmp_path / "live")
        lab, rows = long_day.lab, dict(long_day.live.rows)
        if late:
            shutil.copytree(long_day.root / "lake", tmp_path / "lake")
            lab = new_lab(tmp_path / "lake")
            lab.take_over(long_day.lab.raw_rows)
            lab.listed = long_day.lab.listed
            new = market(lab, THREE, moments(1, PIECE, 0.9), late)[TRADES]
            lab.put(THREE, TRADES, new)
            rows[TRADES] = rows[TRADES].filter(pl.col("timestamp") < lab.at(THREE, 0))
        live = live_lab_of(lab, tmp_path / "live")
        live.writer = SpoolWriter(tmp_path / "live" / "spool", writer="more", is_resumed=True)
        live.rows, live.clock.us = rows, us(lab, lab.two, FROM + 60)
        if late:
            live.add(TRADES, new)
        made.append(live)
        return live

    yield take
    for one in made:
        one.writer.close()


def play(live, restarts=()):
    """Go on over midnight; gives the days of which the lake was asked.

    Args:
        live: The feed.
        restarts: Seconds after midnight at which the engine is dropped and another one takes over.
    """
    lab, asked = live.lab, []
    since = us(lab, lab.two, FROM + 60)
    for restart in [*restarts, PIECE + 90]:
        until = us(lab, THREE, restart)
        engine = live.engine(memory=memory_of_one_day(lab, asked), venue=SMALL)
        live.play(engine, since_us=since, until_us=until, step_us=2_500_000)
        since = until
    return asked


def batch(lab):
    for day in (lab.two, THREE):
        lab.build(day, timeframes=(Timeframe.S15,))
    return pl.concat([lab.bars(lab.two), lab.bars(THREE)])


def last_words(live):
    """The bars from a minute before midnight on, as they were said last."""
    found = live.sink.latest()
    # the batch has no file of the day after, so that the feed's end cannot look ahead
    end = live.lab.at(THREE, PIECE - 60)
    return found.filter(
        (pl.col("ts_open") >= live.lab.at(live.lab.two, DAY - 60)) & (pl.col("ts_close") <= end)
    )


LATE = ((-30.5, 20.0), (-1.5, 20.3), (-20.0, 120.0), (3.0, 120.5))
"""Trades of the last minute before midnight and of the first one after it, and their arrivals."""


def test_the_bars_after_midnight_stand_on_the_day_that_was_seen(go_on, differences):
    live = go_on()
    asked = play(live)
    found = last_words(live)
    assert found.height == (PIECE - 60 + 60) // 15
    assert set(found["stage"]) == {LiveStage.COMPLETE}
    assert differences(found, batch(live.lab)) == {}
    new = found.filter(pl.col("ts_open") >= live.lab.at(THREE, 0))
    assert new["has_memory"].all()
    assert {name for name in BY_DAYS_BEFORE if not new[name].count()} == set()
    for name in ("micro_price_fit_day", "ofi_snap_fit_day"):
        assert new[name].unique().to_list() == [live.lab.at(live.lab.two, 0)]
    assert asked == []


@pytest.mark.parametrize(
    "restarts",
    [(), (-40, -1, 2, 16, 18, 50, 125, 150)],
    ids=["whole", "restarted"],
)
def test_late_trades_of_the_day_before_change_what_the_day_stands_on(go_on, differences, restarts):
    live = go_on(LATE)
    play(live, restarts)
    found = last_words(live)
    assert found.filter(pl.col("stage") == LiveStage.AMENDED).height > 8
    assert differences(found, batch(live.lab)) == {}


def test_a_session_that_is_killed_while_it_writes_remembers_the_same(
    go_on, differences, monkeypatch
):
    live = go_on(LATE)
    lab, write, calls = live.lab, CheckpointFiles.write_state, count(1)

    def write_or_die(files, text):
        if next(calls) % 3 == 0:
            raise Killed
        write(files, text)

    monkeypatch.setattr(CheckpointFiles, "write_state", write_or_die)
    memory, now, lives = memory_of_one_day(lab, []), us(lab, lab.two, FROM + 60), 1
    engine = live.engine(memory=memory, venue=SMALL)
    while now < us(lab, THREE, PIECE + 90):
        live.append(now, now + 2_500_000)
        now = live.clock.us = now + 2_500_000
        try:
            engine.step()
        except Killed:
            engine, lives = live.engine(memory=memory, venue=SMALL), lives + 1
    assert lives > 8
    assert differences(last_words(live), batch(lab)) == {}
