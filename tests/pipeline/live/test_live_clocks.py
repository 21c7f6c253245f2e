"""Clocks that are set, first rows that are read in another order, and work done ahead of time."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.watermark import Watermark
from tickhandler_dagster.streaming.preparation import Preparation
from tickhandler_dagster.streaming.venue import VenueOptions

TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
KEYS = ("BINANCE-FUTURES:PERPETUAL:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:ETH-USDT")
SECOND = 1_000_000
GRACE_US = SECOND
MINUTE, BAR = 60 * SECOND, 15 * SECOND
BASE_ONLY = VenueOptions(timeframes=())


class SetClock:
    """A host whose wall clock is set while its monotonic one goes on."""

    def __init__(self):
        self.us, self.set_by_us = 0, 0

    def now_us(self):
        return self.us + self.set_by_us

    def elapsed_us(self):
        return self.us


def arrivals(rows):
    return rows.get_column("local_timestamp").to_physical()


def bounds(rows):
    ends = [(arrivals(one).min(), arrivals(one).max()) for one in rows.values()]
    return min(first for first, _ in ends), max(last for _, last in ends)


def play_with_a_clock_set(feed, clock, *, by_us, after_us):
    """Play the feed; from a moment on the host's clock says something else, to rows and engine."""
    engine = feed.engine(venue=BASE_ONLY)
    first, end = bounds(feed.rows)
    now, early = first - 1, []
    while now < end + 50 * SECOND:
        later = now + SECOND // 2
        clock.set_by_us = by_us if now >= first + after_us else 0
        for data_type, rows in feed.rows.items():
            part = rows.filter((arrivals(rows) > now) & (arrivals(rows) <= later))
            if part.height:
                moved = pl.col("local_timestamp") + pl.duration(microseconds=clock.set_by_us)
                feed.writer.append(feed.lab.venue, data_type, part.with_columns(moved))
        now = clock.us = later
        told = len(feed.sink.batches)
        status = engine.step()
        for batch in feed.sink.batches[told:]:
            closes = batch.bars.get_column("ts_close").to_physical()
            early += [close for close in closes if close + GRACE_US > now]
    return status, early


@pytest.mark.parametrize("by_us", [-MINUTE, MINUTE])
def test_a_clock_that_is_set_by_a_minute_neither_stops_bars_nor_repeats_them(live_lab, by_us):
    live_lab.trade(KEYS[0], length=75)
    live_lab.clock = clock = SetClock()
    status, early = play_with_a_clock_set(live_lab, clock, by_us=by_us, after_us=33 * SECOND)
    bars = live_lab.sink.bars()
    assert early == []
    assert not bars.select("instrument_key", "ts_open", "revision").is_duplicated().any()
    first = bars.filter(pl.col("revision") == 1).sort("ts_open")
    opens = first.get_column("ts_open").to_physical()
    assert set(opens.diff().drop_nulls()) == {BAR}
    assert clock.us - GRACE_US - first.get_column("ts_close").to_physical().max() < BAR
    assert bars.filter(pl.col("stage") == "provisional").height == first.height
    [feed] = status.feeds
    assert abs(feed.skew_us - by_us) < SECOND
    assert feed.lag_us >= 0


# ---- where a session begins ---------------------------------------------------------------------


def first_bar(feed):
    [bar] = feed.sink.bars().sort("ts_open", "revision").head(1).rows(named=True)
    return {key: bar[key] for key in ("ts_open", "gap_ms", "coverage", "trade_count")}


@pytest.fixture
def begun(live_lab):
    """A feed whose first row is a trade and comes in the middle of a bar."""
    live_lab.trade(KEYS[0], start=3_607, length=30)
    return live_lab


def spooled_whole(feed):
    first, end = bounds(feed.rows)
    feed.append(first - 1, end)
    feed.clock.us = end + 2 * SECOND
    feed.engine(venue=BASE_ONLY).step()


def read_row_by_row(feed):
    """Each type's rows come in of their own, the later ones first."""
    first, end = bounds(feed.rows)
    engine = feed.engine(venue=BASE_ONLY)
    for data_type in sorted(feed.rows, key=lambda one: arrivals(feed.rows[one])[0], reverse=True):
        rows = feed.rows[data_type]
        part = rows.filter(arrivals(rows) <= first + 3 * SECOND)
        if part.height:
            feed.writer.append(feed.lab.venue, data_type, part)
            feed.clock.us = first + 3 * SECOND
            engine.step()
    feed.append(first + 3 * SECOND, end)
    feed.clock.us = end + 2 * SECOND
    engine.step()


def restarted_before_its_first_bar(feed):
    first, end = bounds(feed.rows)
    feed.append(first - 1, first + 2 * SECOND)
    feed.clock.us = first + 2 * SECOND
    feed.engine(venue=BASE_ONLY).step()
    feed.append(first + 2 * SECOND, end)
    feed.clock.us = end + 2 * SECOND
    feed.engine(venue=BASE_ONLY).step()


def test_the_first_bar_is_a_function_of_the_ticks(begun, make_live_lab):
    found = []
    for play in (spooled_whole, read_row_by_row, restarted_before_its_first_bar):
        feed = make_live_lab(play.__name__)
        feed.rows = begun.rows
        play(feed)
        found.append(first_bar(feed))
    assert found == [found[0]] * 3
    first, _ = bounds(begun.rows)
    open_us = first // BAR * BAR
    assert found[0]["gap_ms"] == pytest.approx((first - open_us) / 1_000)
    assert found[0]["coverage"] < 1


# ---- ahead of time ------------------------------------------------------------------------------


def provisional(feed):
    bars = feed.sink.bars().filter(pl.col("revision") == 1).drop("published_at")
    return bars.sort("ts_open", "instrument_key")


def test_bars_that_were_prepared_are_those_that_were_not(live_lab, make_live_lab):
    live_lab.trade(*KEYS, length=50)
    other = make_live_lab("unprepared")
    other.rows = live_lab.rows
    since_us = bounds(live_lab.rows)[0] // BAR * BAR + SECOND
    for feed, step_us in ((live_lab, 100_000), (other, BAR)):
        engine = feed.engine(venue=BASE_ONLY)
        feed.play(engine, step_us=step_us, since_us=since_us, tail_us=3 * SECOND)
    ours, theirs = provisional(live_lab), provisional(other)
    assert ours.height >= 4
    assert ours.equals(theirs, null_equal=True)


def test_only_those_are_built_again_of_whom_rows_came(live_lab, monkeypatch):
    live_lab.trade(*KEYS, length=40)
    held = []
    rows = Preparation.rows

    def noted(self, built):
        held.append((self.is_over, {one.instrument.key for one in built}))
        return rows(self, built)

    monkeypatch.setattr(Preparation, "rows", noted)
    late = live_lab.rows[TRADES].filter(pl.col("symbol") == "ETHUSDT")
    first, _ = bounds(live_lab.rows)
    end = (first // (BAR) + 2) * BAR
    times = late.get_column("timestamp").to_physical()
    row = (
        late.filter(times < end)
        .tail(1)
        .with_columns(
            pl.from_epoch(pl.lit(end + 600_000), "us")
            .dt.replace_time_zone("UTC")
            .alias("local_timestamp"),
            id=pl.lit("late"),
        )
    )
    live_lab.rows[TRADES] = pl.concat([live_lab.rows[TRADES], row]).sort(
        "local_timestamp", maintain_order=True
    )
    live_lab.play(live_lab.engine(venue=BASE_ONLY), step_us=100_000, tail_us=2 * SECOND)
    assert all(is_over for is_over, _ in held)
    assert {KEYS[0]} in [keys for _, keys in held]
    assert [keys for _, keys in held].count(set(KEYS)) >= 1


class SlowClock(SetClock):
    """A host on which whatever is done takes a third of a second."""

    def elapsed_us(self):
        self.us += 300_000
        return self.us - 300_000


def test_what_was_not_prepared_in_time_is_not_prepared_afterwards(live_lab):
    live_lab.trade(KEYS[0], length=20)
    live_lab.clock = clock = SlowClock()
    engine = live_lab.engine(venue=BASE_ONLY)
    first, _ = bounds(live_lab.rows)
    end = (first // BAR + 1) * BAR
    for since, until in ((first - 1, end + 150_000), (end + 150_000, end + 2_400_000)):
        assert live_lab.sink.bars() is None
        live_lab.append(since, until)
        clock.us = until
        engine.step()
    assert live_lab.sink.bars().height == 1
    assert engine.pause_us(clock.us) > 0


# ---- a host that is slow, and a venue's clock that is set ---------------------------------------


class SlowSpool:
    """Until a moment each reading takes a while, in which rows arrive that are read as well."""

    def __init__(self, feed, takes_us, until_us):
        self._feed, self._takes_us, self._until_us = feed, takes_us, until_us

    def __getattr__(self, name):
        return getattr(self._feed.reader, name)

    def tail(self, *place):
        if self._feed.clock.us < self._until_us:
            pass_time(self._feed, self._takes_us)
        return self._feed.reader.tail(*place)


def pass_time(feed, us):
    feed.append(feed.clock.us, feed.clock.us + us)
    feed.clock.us += us


def test_rows_that_came_while_others_were_read_do_not_close_bars_early(live_lab):
    live_lab.trade(KEYS[0], length=90)
    live_lab.clock = clock = SetClock()
    first, end = bounds(live_lab.rows)
    clock.us, early = first - 1, []
    spool = SlowSpool(live_lab, 700_000, first + 5 * SECOND)
    engine = live_lab.engine(venue=BASE_ONLY, spool=spool)
    while clock.us < end:
        told = len(live_lab.sink.batches)
        pass_time(live_lab, 200_000)
        engine.step()
        for batch in live_lab.sink.batches[told:]:
            closes = batch.bars.get_column("ts_close").to_physical()
            early += [close for close in closes if close + GRACE_US > clock.us]
    assert live_lab.sink.bars().height >= 5
    assert early == []


def test_a_venue_s_clock_that_is_set_back_closes_bars_early_for_ten_minutes_at_most():
    watermark = Watermark(300 * SECOND)
    for second in range(2_000):
        set_back = 3 * SECOND if second >= 500 else 0
        now = second * SECOND
        watermark.observe(now - set_back, elapsed_us=now)
        ahead = watermark.at(now) - (now - set_back)
        assert ahead == 0 or 500 <= second <= 1_100


def test_a_watermark_without_an_end_of_its_memory_never_goes_back():
    watermark = Watermark()
    for second in range(2_000):
        watermark.observe((second - 3 * (second >= 500)) * SECOND, elapsed_us=second * SECOND)
    assert watermark.at(2_000 * SECOND) == 2_000 * SECOND
