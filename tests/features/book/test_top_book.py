"""The best quotes over the bar against a slow reference, and odd books by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tickhandler_dagster.market.bars.top_book import TopBook
from tickhandler_dagster.market.features.book_flow import QUOTE_FLOW
from tickhandler_dagster.market.features.book_top import TOP_BOOK
from tickhandler_dagster.market.timeframes import Timeframe

FEATURES = (*TOP_BOOK, *QUOTE_FLOW)
AGE = 60_000_000


def kind(bid, ask):
    if bid is None and ask is None:
        return "empty"
    if bid is None or ask is None:
        return "one_sided"
    return "normal" if bid < ask else "locked" if bid == ask else "crossed"


def held(states, number, start, end):
    since = states[number][0]
    until = states[number + 1][0] if number + 1 < len(states) else end
    return max(0, min(until, since + AGE, end) - max(since, start))


def flow(before, now):
    """The event's flow by the four indicator terms."""
    far = float("inf")
    old_bid, new_bid = (-far if row[2] is None else row[2] for row in (before, now))
    old_ask, new_ask = (far if row[3] is None else row[3] for row in (before, now))
    total = 0.0
    if new_bid >= old_bid:
        total += now[4] or 0.0
    if new_bid <= old_bid:
        total -= before[4] or 0.0
    if new_ask <= old_ask:
        total -= now[5] or 0.0
    if new_ask >= old_ask:
        total += before[5] or 0.0
    return total


def means(states, start, end):
    sums = dict.fromkeys(("spread_bps_us", "spread_abs_us", "quote_normal_us"), 0.0)
    sums |= {"queue_imbalance_us": 0.0, "queue_normal_us": 0.0, "quote_covered_ms": 0.0}
    odd = dict.fromkeys(("crossed", "locked", "one_sided", "empty"), 0.0)
    for number, (_, _, bid, ask, bid_size, ask_size, _) in enumerate(states):
        time = held(states, number, start, end)
        sums["quote_covered_ms"] += time / 1_000
        if kind(bid, ask) != "normal":
            odd[kind(bid, ask)] += time / 1_000
            continue
        sums["quote_normal_us"] += time
        sums["spread_abs_us"] += (ask - bid) * time
        sums["spread_bps_us"] += 1e4 * (ask - bid) / ((ask + bid) / 2) * time
        if bid_size is not None and bid_size + ask_size > 0:
            sums["queue_normal_us"] += time
            sums["queue_imbalance_us"] += (bid_size - ask_size) / (bid_size + ask_size) * time
    return sums | {f"{name}_ms": time for name, time in odd.items()}


def of_means(sums, length):
    found = {}
    for name, integral, covered in (
        ("spread_tw_bps", "spread_bps_us", "quote_normal_us"),
        ("spread_tw_abs", "spread_abs_us", "quote_normal_us"),
        ("queue_imbalance_tw", "queue_imbalance_us", "queue_normal_us"),
    ):
        is_enough = sums[covered] >= length / 2
        found[name] = sums[integral] / sums[covered] if is_enough else None
    return found


def ages(states, start, end):
    """The age just before each new state and at the end."""
    found = []
    for number, state in enumerate(states):
        until = min(states[number + 1][0] if number + 1 < len(states) else end, end)
        if until > start or (until == start and state[0] < start and until > state[0]):
            found.append(until - state[0])
    return max(found) / 1_000 if found else None


def flows(states, start, end):
    total = depth = 0.0
    events = updates = 0
    for number, state in enumerate(states):
        if not start <= state[0] < end:
            continue
        updates += not state[6]
        if number == 0 or state[6] or state[0] - states[number - 1][0] > AGE:
            continue
        events += 1
        total += flow(states[number - 1], state)
        depth += ((state[4] or 0.0) + (state[5] or 0.0)) / 2
    seconds = (end - start) / 1e6
    return {
        "ofi": total, "ofi_event_count": events, "ofi_depth_sum": depth,
        "ofi_normalised": total / (depth / events) if events and depth > 0 else None,
        "update_count": updates, "updates_per_s": updates / seconds,
    }  # fmt: skip


def closing(states, end):
    before = [state for state in states if state[0] < end]
    nothing = {"queue_imbalance": None, "weighted_mid": None}
    if not before or end - before[-1][0] > AGE:
        return nothing
    _, _, bid, ask, bid_size, ask_size, _ = before[-1]
    if kind(bid, ask) != "normal" or bid_size + ask_size == 0:
        return nothing
    depth = bid_size + ask_size
    return {
        "queue_imbalance": (bid_size - ask_size) / depth,
        "weighted_mid": (bid * ask_size + ask * bid_size) / depth,
    }


def reference(states, start, end, trades):
    states = [state for state in states if state[0] < end]
    sums = means(states, start, end)
    found = sums | of_means(sums, end - start) | flows(states, start, end) | closing(states, end)
    found["quote_age_max_ms"] = ages(states, start, end)
    return found | {"quotes_per_trade": found["update_count"] / trades}


def run(feeds, ticks, *, is_quote_feed=True, terms=None, timeframe=Timeframe.S15):
    before, own, _ = feeds.of_day(ticks)
    kernel = TopBook(feeds.grid(timeframe), terms or feeds.coins, is_quote_feed=is_quote_feed)
    kernel.prime(before)
    kernel.add(own)
    return kernel.finish()


def assert_bars(feeds, ticks, timeframe, bars):
    before, own, _ = feeds.of_day(ticks)
    states = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)]
    frame = feeds.frame(run(feeds, ticks), FEATURES, timeframe)
    for bar in bars:
        start = feeds.start_us + bar * timeframe.us
        expected = reference(states, start, start + timeframe.us, feeds.trades)
        actual = frame.row(bar, named=True)
        wrong = {
            name: (actual[name], value)
            for name, value in expected.items()
            if not feeds.same(actual[name], value)
        }
        assert wrong == {}, bar


def test_the_reference_names_are_the_entries(feeds):
    assert set(reference([], 0, 15_000_000, 1)) == {one.name for one in FEATURES}


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1, Timeframe.H24])
@pytest.mark.parametrize("seed", range(4))
def test_every_column_is_that_of_the_slow_reference(feeds, seed, timeframe):
    ticks = feeds.random_levels(seed).top
    busy = {0, 1, 2, 3, 4, 6, 8, 9, 12, 20, 25, 46, 47, 51, 239, 240, 241, 5_758, 5_759}
    bars = sorted({bar * 15_000_000 // timeframe.us for bar in busy})
    assert_bars(feeds, ticks, timeframe, bars)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
@pytest.mark.parametrize("venue", ["binance", "binance-futures"])
def test_recorded_quotes_give_the_reference_s_numbers(feeds, recorded_books, venue, timeframe):
    ticks = recorded_books.quotes(venue, count=9_000)
    first = int(ticks.timestamp.min() - feeds.start_us) // timeframe.us
    assert_bars(feeds, ticks, timeframe, range(first, first + 3))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((100, 5, 101, 4), (100, 8, 101, 4), 3.0),  # three join the bid
        ((100, 5, 101, 4), (100.5, 2, 101, 4), 2.0),  # a better bid of two
        ((100, 5, 101, 4), (100, 5, 102, 9), 4.0),  # the ask of four is lifted
        ((100, 5, 101, 4), (100, 5, 101, 3), 1.0),  # one leaves the ask
    ],
)
def test_golden_vectors_of_order_flow(feeds, before, now, expected):
    day = run(feeds, feeds.top((1, *before), (2, *now)))
    assert day.statistics["ofi"][0] == expected
    assert day.statistics["ofi_event_count"][0] == 1


def test_a_side_that_vanishes_and_comes_back_is_flow_both_times(feeds):
    nan = float("nan")
    gone = (2, nan, nan, 101, 4)
    day = run(feeds, feeds.top((1, 100, 5, 101, 4), gone, (16, 100, 3, 101, 4)))
    assert day.statistics["ofi"][:2].tolist() == [-5.0, 3.0]


def test_a_state_that_opens_a_file_is_neither_update_nor_flow(feeds):
    rows = ((1, 100, 5, 101, 4), (2, 100, 9, 101, 4), (3, 100, 10, 101, 4))
    day = run(feeds, feeds.top(*rows, starts=(1,)))
    assert day.statistics["update_count"][0] == 2
    assert day.statistics["ofi"][0] == 1.0


def test_a_change_over_a_hole_or_a_gap_is_no_flow(feeds):
    ticks = feeds.top((1, 100, 5, 101, 4), (62, 100, 7, 101, 4), (64, 100, 8, 101, 4))
    assert run(feeds, ticks).statistics["ofi"].sum() == 1.0
    gap = (feeds.start_us + 63_000_000, feeds.start_us + 63_500_000)
    kernel = TopBook(feeds.grid(), feeds.coins, is_quote_feed=True, gaps=[gap])
    kernel.add(ticks)
    assert kernel.finish().statistics["ofi"].sum() == 0.0


def test_snapshots_are_no_quote_feed_and_have_no_event_flow(feeds):
    frame = feeds.frame(
        run(feeds, feeds.random_levels(1).top, is_quote_feed=False), FEATURES, Timeframe.S15
    )
    for one in QUOTE_FLOW:
        assert frame[one.name].null_count() == frame.height
    assert frame["spread_tw_bps"].count() > 0


def test_without_contract_sizes_only_prices_and_times_are_known(feeds):
    ticks = feeds.scaled(feeds.random_levels(1).top, 1, float("nan"))
    frame = feeds.frame(run(feeds, ticks, terms=feeds.unknown), FEATURES, Timeframe.M1)
    sized = {
        "queue_imbalance_us", "queue_normal_us", "queue_imbalance_tw", "queue_imbalance",
        "weighted_mid", "ofi", "ofi_depth_sum", "ofi_normalised",
    }  # fmt: skip
    for one in FEATURES:
        assert (frame[one.name].count() == 0) is (one.name in sized), one.name


def test_a_day_without_states_counts_nothing_and_knows_no_mean(feeds):
    frame = feeds.frame(
        TopBook(feeds.grid(), feeds.coins, is_quote_feed=True).finish(), FEATURES, Timeframe.S15
    )
    assert frame["update_count"].sum() == 0
    assert frame["spread_tw_bps"].count() == frame["quote_age_max_ms"].count() == 0


def test_the_state_before_midnight_holds_into_the_day(feeds):
    day = run(feeds, feeds.top((-10, 100, 5, 101, 4), (20, 100, 6, 101, 4)))
    assert day.statistics["quote_covered_ms"][:2].tolist() == [15_000, 15_000]
    assert day.statistics["quote_age_max_ms"][:2].tolist() == [25_000, 30_000]
    assert day.statistics["ofi"][:2].tolist() == [0.0, 1.0]


def test_a_bar_is_known_with_its_own_rows_and_the_state_it_took_over(feeds):
    ticks = feeds.top((1, 100, 5, 101, 4), (40, 100, 6, 101, 4))
    arrival = (ticks.local_timestamp - feeds.start_us).tolist()
    day = run(feeds, ticks)
    known = (day.last_arrival[:3] - feeds.start_us).tolist()
    assert known == [arrival[0], arrival[0], arrival[1]]


def test_a_state_exactly_a_minute_later_is_a_change_and_a_later_one_is_not(feeds):
    ticks = feeds.top((1, 100, 5, 101, 4), (61, 100, 7, 101, 4), (121.000001, 100, 8, 101, 4))
    assert run(feeds, ticks).statistics["ofi"].sum() == 2.0


@pytest.mark.parametrize(("start_s", "end_s", "total"), [(63, 66, 0), (61, 62, 2), (66, 67, 2)])
def test_a_gap_hides_the_changes_from_before_it_to_after_it(feeds, start_s, end_s, total):
    """States at 62.5, 64 and 65 s: one inside the gap hides no less than one after it."""
    ticks = feeds.top((62.5, 100, 5, 101, 4), (64, 100, 6, 101, 4), (65, 100, 7, 101, 4))
    gap = tuple(feeds.start_us + second * 1_000_000 for second in (start_s, end_s))
    kernel = TopBook(feeds.grid(), feeds.coins, is_quote_feed=True, gaps=[gap])
    kernel.add(ticks)
    assert kernel.finish().statistics["ofi"].sum() == total


def test_a_state_taken_over_that_came_late_delays_the_bar(feeds):
    ticks = feeds.top((14, 100, 5, 101, 4), (16, 100, 6, 101, 4))
    late = dataclasses.replace(
        ticks, local_timestamp=ticks.local_timestamp + np.array([9_000_000, 0])
    )
    known = run(feeds, late).last_arrival[:2]
    assert known.tolist() == [late.local_timestamp[0]] * 2
