"""State across midnight: what a day hands over, and what a change of it moves."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from tickhandler_dagster.adapters import parquet
from tickhandler_dagster.market.candle_state_table import CANDLE_STATE_TABLE, candle_states
from tickhandler_dagster.market.candle_table import PROVENANCE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleStateFile
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline import channel_reading
from tickhandler_dagster.pipeline.candle_state import read_candle_states, write_candle_states

TRADES, QUOTES, BOOK = DataType.TRADES, DataType.QUOTES, DataType.BOOK_SNAPSHOT_5
TICKER, LIQUIDATIONS = DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS
CARRIED = ("large_trade_threshold", "flow_toxicity_vpin_n50")
COARSE = (Timeframe.H1, Timeframe.H24)
FLOW = ("ofi", "update", "quotes_per_trade", "resilience")
NOT_CARRIED = {
    *("mid_return_pair_count", "mid_return_pair_sum", "clock_skew_ms"),
    *("bipower_variation", "jump_variation", "relative_jump"),
}


def known(bars, names):
    return {name: bars[name].count() > 0 for name in names}


@pytest.fixture
def market(lab):
    """Two days with enough trades that a day remembers something of the one before."""
    for day in (lab.one, lab.two):
        lab.put_market(day, trades=400)
    return lab


def test_a_day_alone_says_that_it_remembers_nothing(market):
    row = market.build(market.two).manifests[Timeframe.H24].row(0, named=True)
    bars = market.bars(market.two)
    assert bars["has_memory"].unique().to_list() == [False]
    assert known(bars, CARRIED) == dict.fromkeys(CARRIED, False)
    assert row["carried_sha256"] is None


def test_a_day_takes_over_what_the_day_before_remembers(market):
    market.build(market.one)
    row = market.build(market.two).manifests[Timeframe.H24].row(0, named=True)
    bars = market.bars(market.two)
    assert bars["has_memory"].unique().to_list() == [True]
    assert known(bars, CARRIED) == dict.fromkeys(CARRIED, True)
    assert row["carried_sha256"] == market.state(market.one)["state_sha256"].item()


def test_the_first_bar_carries_in_from_the_raw_files_of_the_day_before(lab):
    one, two = lab.one, lab.two
    lab.put(one, TRADES, lab.trades(one, (86_390, 100, 1), (86_398, 100.5, 1)))
    lab.put(two, TRADES, lab.trades(two, (4, 101, 1), (5, 102, 1), start=2_000))
    lab.put(one, QUOTES, lab.quotes(one, (86_395, 99, 101)))
    lab.put(two, QUOTES, lab.quotes(two, (6, 101, 105), (9, 101, 105, 3, 1)))
    lab.build(two)
    bar = lab.bars(two).row(0, named=True)
    assert bar["interarrival_sum_us"] == 7_000_000  # 23:59:58 to 4 s, and one second more
    assert bar["quote_covered_ms"] == 15_000
    assert bar["spread_tw_abs"] == pytest.approx((6 * 2 + 9 * 4) / 15)
    assert bar["mid_return_count"] == 15
    assert bar["ofi_event_count"] == 1  # the state at 6 s opens the file: no change of the book
    assert bar["ofi"] == pytest.approx(2)
    # the trades at 4 s and 5 s are matched with the mid of the day before where it is fresh
    assert bar["mid_matched_notional"] == 0
    lab.put(one, QUOTES, lab.quotes(one, (86_399.5, 99, 101)))
    lab.build(two)
    bar = lab.bars(two).row(0, named=True)
    assert bar["mid_matched_notional"] == 101
    assert bar["effective_spread_bps"] == pytest.approx(200)


def test_a_day_over_midnight_has_the_bars_of_the_same_hours_without_a_midnight(make_lab):
    """The law: two files and what is carried over between them are as good as one file."""
    split, whole = make_lab("split"), make_lab("whole")
    one, two = split.one, split.two
    half = 43_200
    frames = {day: split.market(day, trades=200, states=400) for day in (one, two)}
    for day, content in frames.items():
        split.put_market(day, trades=200, states=400)
        assert content[TRADES].height == 200
    clocks = pl.col("timestamp", "local_timestamp")
    for data_type in frames[one]:
        if data_type is LIQUIDATIONS:
            continue
        both = pl.concat([frames[one][data_type], frames[two][data_type]])
        shifted = both.with_columns(clocks + pl.duration(seconds=half)).filter(
            pl.col("local_timestamp").is_between(
                split.at(two, 0), split.at(two, 86_400), closed="left"
            )
        )
        if data_type is TICKER:
            shifted = shifted.with_columns(funding_timestamp=pl.lit(split.at(two, 86_400 + half)))
            for day, content in frames.items():
                constant = content[data_type].with_columns(
                    funding_timestamp=pl.lit(split.at(two, 86_400))
                )
                split.put(day, data_type, constant)
        whole.put(two, data_type, shifted)
    split.put(two, LIQUIDATIONS, frames[two][LIQUIDATIONS].clear())
    whole.put(two, LIQUIDATIONS, frames[two][LIQUIDATIONS].clear())
    for lab in (split, whole):
        lab.build(two, timeframes=(Timeframe.S15,))
    after_midnight, after_noon = split.bars(two), whole.bars(two).slice(half // 15)
    moments = [name for name, dtype in after_noon.schema.items() if dtype.is_temporal()]
    after_midnight = after_midnight.with_columns(pl.col(moments) + pl.duration(seconds=half))
    names = sorted(set(after_noon.columns) - {"is_final", "source_sha256"})
    first = {
        name for name in names if not after_midnight[name].head(4).equals(after_noon[name].head(4))
    }
    # The dictionary says of these that they begin anew; the flow does because a file's first state
    # tells what the book was, not that it changed.
    assert {name for name in first if not name.startswith(FLOW)} == NOT_CARRIED
    rest = [frame.slice(4, 60).select(names) for frame in (after_midnight, after_noon)]
    assert rest[0].equals(rest[1])
    assert after_midnight["mid_matched_notional"].sum() > 0
    assert after_midnight["trade_count"].sum() > 20


def test_days_built_in_whatever_order_end_alike(make_lab):
    forwards, backwards = make_lab("forwards"), make_lab("backwards")
    for lab in (forwards, backwards):
        for day in (lab.one, lab.two):
            lab.put_market(day)
    for day in (forwards.one, forwards.two):
        forwards.build(day)
    for day in (backwards.two, backwards.one, backwards.two):
        assert backwards.build(day).built == 1
    for day in (forwards.one, forwards.two):
        assert backwards.state(day).equals(forwards.state(day))
        for timeframe in (Timeframe.S15, Timeframe.H24):
            mine, theirs = (lab.bars(day, timeframe) for lab in (forwards, backwards))
            assert mine.drop("bar_version").equals(theirs.drop("bar_version"))
    # every bar says whether it had memory: the second day's were published twice
    assert backwards.bars(backwards.two)["bar_version"].unique().to_list() == [2]
    mine, theirs = forwards.written(), backwards.written()
    assert mine.keys() == theirs.keys()
    assert {path for path in mine if mine[path] != theirs[path]} == {
        path for path in mine if "day-2024-08-09" in path and path.startswith("processed")
    }


@pytest.fixture
def built(make_lab, built_days):
    """A copy of a lake with the bars of two days."""
    root, rows = built_days
    lab = make_lab("built")
    shutil.copytree(root, lab.lake.store.root)
    lab.take_over(rows)
    return lab


@pytest.fixture(scope="module")
def built_days(tmp_path_factory, new_lab):
    """The lake that tests of changes begin with, and its raw manifests."""
    lab = new_lab(tmp_path_factory.mktemp("days") / "lake")
    for day in (lab.one, lab.two):
        lab.put_market(day)
    both_days(lab)
    return lab.lake.store.root, lab.raw_rows


def both_days(market):
    for day in (market.one, market.two):
        market.build(day, timeframes=COARSE)
    return market.written()


def changed(frame, row, **values):
    """The frame with other values in one row."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


@pytest.mark.parametrize(
    ("data_type", "row", "values"),
    [
        (LIQUIDATIONS, 0, {"amount": 9.0}),
        (LIQUIDATIONS, 1, {"amount": 9.0}),  # the last second of the day: an event, not a state
        (TICKER, 100, {"mark_price": 90.0}),
        (QUOTES, 120, {"bid_price": 50.0}),
        (BOOK, 120, {"bid_price_5": 50.0}),
    ],
)
def test_a_change_that_the_day_after_cannot_see_leaves_it_alone(built, data_type, row, values):
    lab = built
    before = lab.written()
    frames = lab.market(lab.one)
    lab.put(lab.one, data_type, changed(frames[data_type], row, **values))
    assert lab.build(lab.one, timeframes=COARSE).built == 1
    assert lab.build(lab.two, timeframes=COARSE).is_no_op
    after = lab.written()
    moved = {path for path in before if before[path] != after[path]}
    assert moved
    assert all("day-2024-08-08" in path for path in moved)


def test_a_file_of_other_bytes_with_the_same_rows_leaves_the_day_after_alone(built, monkeypatch):
    lab = built
    before = lab.written()
    monkeypatch.setattr(parquet, "row_group_rows", lambda _: 7)
    first = lab.state(lab.one)["edges"].item()
    for data_type, frame in lab.market(lab.one).items():
        lab.put(lab.one, data_type, frame)
    monkeypatch.undo()
    assert lab.build(lab.one, timeframes=COARSE).built == 1
    assert lab.state(lab.one)["edges"].item() != first  # other files, the same last rows
    assert lab.build(lab.two, timeframes=COARSE).is_no_op
    bars = {path: data for path, data in lab.written().items() if "timeframe-" in path}
    assert {path for path in bars if bars[path] != before[path]} == {
        path for path in bars if "day-2024-08-08" in path and "_manifests" in path
    }


@pytest.mark.parametrize(
    ("data_type", "row", "values"),
    [
        (TRADES, 100, {"amount": 50.0}),  # in the memory: the day's volume
        (QUOTES, -1, {"bid_price": 50.0}),
        (BOOK, -1, {"bid_price_5": 50.0}),
        (TICKER, -1, {"mark_price": 90.0}),
    ],
)
def test_a_change_of_the_state_at_midnight_recomputes_the_day_after(built, data_type, row, values):
    lab = built
    frame = lab.market(lab.one)[data_type]
    lab.put(lab.one, data_type, changed(frame, row % frame.height, **values))
    assert lab.build(lab.one, timeframes=COARSE).built == 1
    assert lab.build(lab.two, timeframes=COARSE).built == 1
    assert lab.build(lab.two, timeframes=COARSE).is_no_op


def test_a_day_whose_raw_files_moved_ahead_of_its_bars_is_read_itself(built):
    lab = built
    frame = lab.market(lab.one)[QUOTES]
    lab.put(lab.one, QUOTES, changed(frame, frame.height - 1, bid_price=50.0))
    # the first day is not built again: its state does not vouch for the new file
    assert lab.build(lab.two, timeframes=COARSE).built == 1


def test_a_trade_that_came_long_before_its_day_ties_it_to_the_quotes_of_then(lab):
    """Ten minutes early, further back than the ends of files that the state vouches for."""
    one, two = lab.one, lab.two
    early = (86_400.5, 102, 1, {"arrival": 85_800})
    lab.put(one, TRADES, lab.trades(one, (80_000, 100, 1), early))
    lab.put(two, TRADES, lab.trades(two, (50, 103, 1), start=2_000))
    lab.put(two, QUOTES, lab.quotes(two, (40, 102, 104)))
    for ask in (101, 103):
        lab.put(one, QUOTES, lab.quotes(one, (85_799, 99, ask), (86_399, 99, 101)))
        lab.build(one, timeframes=(Timeframe.S15,))
        assert lab.build(two, timeframes=(Timeframe.S15,)).built == 1
        bar = lab.bars(two).row(0, named=True)
        mid = (99 + ask) / 2
        assert bar["effective_spread_bps"] == pytest.approx(2e4 * (102 - mid) / mid)


def test_the_ticker_of_the_next_day_is_no_news(built):
    frame = built.market(built.two)[TICKER]
    before = built.written()
    later = built.two + (built.two - built.one)
    built.put(later, TICKER, frame.with_columns(pl.col("^.*timestamp$").dt.offset_by("1d")))
    assert built.build(built.two, timeframes=COARSE).is_no_op
    assert built.written() == before


def test_a_run_without_news_reads_no_tick_and_changes_no_byte(built, monkeypatch):
    lab = built
    before = lab.written()
    monkeypatch.delattr(channel_reading, "TickFile")
    for day in (lab.one, lab.two):
        assert lab.build(day, timeframes=COARSE).is_no_op
    assert lab.written() == before


def test_a_lost_state_is_made_again_and_the_day_after_is_left_alone(built):
    lab = built
    before = lab.written()
    lab.lake.delete(CandleStateFile(lab.one, lab.venue))
    assert lab.build(lab.one, timeframes=COARSE).files_written == 0
    assert lab.written() == before
    assert lab.build(lab.two, timeframes=COARSE).is_no_op


def test_a_state_of_another_version_is_made_again_before_anything_stands_on_it(built):
    lab = built
    before = lab.written()
    item = CandleStateFile(lab.one, lab.venue)
    other = lab.state(lab.one).with_columns(kernel_version=pl.lit("1"), memory=pl.lit("?"))
    lab.lake.write_table(item, other, CANDLE_STATE_TABLE)
    assert lab.build(lab.two, timeframes=COARSE).built == 1
    assert lab.day_bar(lab.two)["has_memory"] is False
    for day in (lab.one, lab.two):
        assert lab.build(day, timeframes=COARSE).built == 1
    assert lab.day_bar(lab.two)["has_memory"] is True
    assert {path for path, data in lab.written().items() if data != before[path]} == {
        path for path in before if "day-2024-08-09" in path and path.startswith("processed")
    }


def test_states_come_back_from_the_lake_as_they_were_and_keep_their_rules(lab):
    lab.put_market(lab.one)
    lab.build(lab.one, timeframes=COARSE)
    cell = VenueDay(lab.one, lab.venue)
    frame = lab.state(lab.one)
    assert not SchemaCheck(CANDLE_STATE_TABLE).run([("state", frame)]).failures
    states = read_candle_states(lab.lake, cell)
    assert states == candle_states(frame)
    assert set(states[lab.key].edges) == {TRADES, QUOTES, BOOK, TICKER}
    bytes_before = lab.written()
    lab.lake.delete(CandleStateFile(lab.one, lab.venue))
    write_candle_states(lab.lake, cell, states, stored={})
    assert lab.written() == bytes_before
    assert read_candle_states(lab.lake, VenueDay(lab.two, lab.venue)) == {}


def test_provenance_alone_makes_no_new_version(lab):
    assert {"bar_version", "is_final", "kernel_version", "source_sha256"} == set(PROVENANCE)
    lab.put_market(lab.one)
    lab.build()
    lab.put(lab.two, LIQUIDATIONS, lab.liquidations(lab.two, (5, 100, 1)))
    assert lab.build().changes.changed == 0
    assert lab.bars()["bar_version"].unique().to_list() == [1]
    assert lab.build().is_no_op
