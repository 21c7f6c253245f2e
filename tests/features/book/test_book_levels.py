"""The book at the bar's end against a slow reference, and thin or broken books by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tickhandler_dagster.market.bars.book_levels import BookLevels
from tickhandler_dagster.market.bars.levels import LevelTicks
from tickhandler_dagster.market.features.book import LEVEL_BOOK
from tickhandler_dagster.market.features.family import NO_ARRIVAL
from tickhandler_dagster.market.timeframes import Timeframe

AGE = 60_000_000
NAMES = [one.name for one in LEVEL_BOOK]


def filled(prices, sizes):
    return [
        (price, size or 0.0) for price, size in zip(prices, sizes, strict=True) if price is not None
    ]


def touch(bids, asks):
    if not bids or not asks:
        return {}
    bid, ask = bids[0][0], asks[0][0]
    found = {
        "spread_abs": ask - bid,
        "spread_bps": (ask - bid) / ((ask + bid) / 2) * 10_000,
        "bid_ask_ratio": bid / ask,
    }
    return found | ({"mid_price": (bid + ask) / 2} if bid < ask else {})


def sums(bids, asks):
    found = {
        "bid_levels_filled": len(bids[:5]),
        "ask_levels_filled": len(asks[:5]),
        "book_imbalance": (len(bids[:5]) - len(asks[:5])) / 5,
    }
    if not bids and not asks:
        return found
    totals = {}
    for side, levels in (("bid", bids[:5]), ("ask", asks[:5])):
        total = totals[side] = sum(size for _, size in levels)
        found[f"total_{side}_volume"] = total
        if total > 0:
            found[f"{side}_vwap"] = sum(price * size for price, size in levels) / total
            for number, (_, size) in enumerate(levels, 1):
                found[f"{side}_volume_ratio_{number}"] = size / total
    if totals["bid"] + totals["ask"] > 0:
        both = totals["bid"] + totals["ask"]
        found["volume_imbalance"] = (totals["bid"] - totals["ask"]) / both
    if "bid_vwap" in found and "ask_vwap" in found:
        found["vwap_spread"] = found["ask_vwap"] - found["bid_vwap"]
    return found


def distances(bids, asks, mid):
    return {
        f"{side}_distance_{number}": (price - mid) / mid * 10_000
        for side, levels in (("bid", bids), ("ask", asks))
        for number, (price, _) in enumerate(levels[:5], 1)
    }


def depth(side, levels, mid, shown):
    found = {}
    away = [abs(price - mid) / mid * 10_000 for price, _ in levels]
    for reach in (5, 10, 25):
        if not (len(levels) == shown and away[-1] < reach):
            found[f"{side}_depth_{reach}bps"] = sum(
                price * size
                for (price, size), far in zip(levels, away, strict=True)
                if far <= reach
            )
    if len(levels) >= 3:
        up_to = [sum(price * size for price, size in levels[: n + 1]) for n in range(len(levels))]
        found[f"{side}_depth_slope"] = sum(x * y for x, y in zip(away, up_to, strict=True)) / sum(
            x * x for x in away
        )
    return found


def cost(levels, mid, notional):
    left, base = notional, 0.0
    for price, size in levels:
        part = min(left, price * size)
        base += part / price
        left -= part
        if left <= 0:
            return abs(notional / base / mid - 1) * 10_000
    return None


def pressure(bids, asks, mid, reach):
    total = difference = 0.0
    for sign, levels in ((1, bids), (-1, asks)):
        for price, size in levels:
            away = abs(price - levels[0][0]) / mid * 10_000
            weight = math.exp(-away / reach) if reach else 1.0
            total += weight * size
            difference += sign * weight * size
    return difference / total if total > 0 else None


def reference(states, end, shown=5):
    """Every column at the bar's end; a name that is absent is undefined."""
    before = [state for state in states if state[0] < end]
    if not before or end - before[-1][0] > AGE:
        return {}
    moment, _, bid_prices, ask_prices, bid_sizes, ask_sizes, _ = before[-1]
    found = {"book_time": moment, "book_levels_seen": shown}
    for side, prices, sizes in (
        ("bid", bid_prices, bid_sizes), ("ask", ask_prices, ask_sizes),
    ):  # fmt: skip
        for number in range(min(5, len(prices))):
            found[f"{side}_price_{number + 1}"] = prices[number]
            found[f"{side}_volume_{number + 1}"] = sizes[number]
    bids, asks = filled(bid_prices, bid_sizes), filled(ask_prices, ask_sizes)
    found |= touch(bids, asks) | (sums(bids, asks) if shown >= 5 else {})
    mid = found.get("mid_price")
    if mid is None:
        return found
    found |= distances(bids, asks, mid)
    for side, levels in (("bid", bids), ("ask", asks)):
        found |= depth(side, levels, mid, shown)
    for label, notional in (("10k", 10_000), ("100k", 100_000)):
        found[f"buy_cost_{label}_bps"] = cost(asks, mid, notional)
        found[f"sell_cost_{label}_bps"] = cost(bids, mid, notional)
    if shown >= 5:
        found["book_pressure"] = pressure(bids, asks, mid, None)
        found["book_pressure_weighted"] = pressure(bids, asks, mid, 5)
    return found


def run(feeds, ticks, *, depth=5, terms=None, timeframe=Timeframe.S15):
    before, own, _ = feeds.of_day(ticks)
    kernel = BookLevels(feeds.grid(timeframe), terms or feeds.coins, depth=depth)
    kernel.prime(before)
    kernel.add(own)
    return kernel.finish()


def row_of(frame, bar):
    row = frame.row(bar, named=True)
    moment = row["book_time"]
    return row | {"book_time": None if moment is None else round(moment.timestamp() * 1_000_000)}


def assert_bars(feeds, frame, states, bars, shown=5):
    for bar in bars:
        end = round(frame["ts_close"][bar].timestamp() * 1_000_000)
        expected = reference(states, end, shown)
        actual = row_of(frame, bar)
        wrong = {
            name: (actual[name], expected.get(name))
            for name in NAMES
            if not feeds.same(actual[name], expected.get(name))
        }
        assert wrong == {}, bar
        assert set(expected) <= set(NAMES)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1, Timeframe.H24])
@pytest.mark.parametrize("seed", range(4))
def test_every_column_is_that_of_the_slow_reference(feeds, seed, timeframe):
    ticks = feeds.scaled(feeds.random_levels(seed), 1, 64 if seed % 2 else 1)
    before, own, _ = feeds.of_day(ticks)
    states = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)]
    frame = feeds.frame(run(feeds, ticks), LEVEL_BOOK, timeframe)
    busy = {0, 1, 2, 3, 5, 6, 8, 11, 13, *range(20, 47), 51, 239, 240, 245, 5_758, 5_759}
    bars = sorted({bar * 15_000_000 // timeframe.us for bar in busy})
    assert_bars(feeds, frame, states, bars)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_recorded_snapshots_give_the_reference_s_numbers(feeds, recorded_books, symbol, timeframe):
    ticks = recorded_books.snapshots(symbol=symbol)
    first = int(ticks.timestamp.min() - feeds.start_us) // timeframe.us
    frame = feeds.frame(run(feeds, ticks), LEVEL_BOOK, timeframe)
    bars = range(first, first + 3)
    assert_bars(feeds, frame, feeds.rows_of(ticks), bars)


@pytest.mark.parametrize("seed", range(2))
def test_twenty_five_levels_are_all_used(feeds, seed):
    rng = np.random.default_rng(seed)
    count, shown = 12, 25
    steps = np.cumsum(rng.integers(1, 4, (count, shown)), axis=1) * 0.05
    asks, bids = 100 + steps, 100 - steps
    sizes = rng.integers(1, 200, (2, count, shown)) / 4
    for number in range(count // 2):
        end = int(rng.integers(1, shown))
        for cells in (asks, sizes[1]) if number % 2 else (bids, sizes[0]):
            cells[number, end:] = np.nan
    timestamp = feeds.start_us + np.arange(count) * 15_000_000
    ticks = LevelTicks(timestamp, timestamp, bids, asks, *sizes, np.zeros(count, dtype=bool))
    frame = feeds.frame(run(feeds, ticks, depth=shown), LEVEL_BOOK, Timeframe.S15)
    assert frame["bid_depth_25bps"].count() > 3
    assert_bars(feeds, frame, feeds.rows_of(ticks), range(count), shown)


def test_quotes_give_the_first_level_and_nothing_of_the_unseen_ones(feeds):
    ticks = feeds.random_levels(3)
    one_level = dataclasses.replace(
        ticks,
        **{
            name: getattr(ticks, name)[:, :1] for name in ("bids", "asks", "bid_sizes", "ask_sizes")
        },
    )
    before, own, _ = feeds.of_day(one_level)
    states = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)]
    frame = feeds.frame(run(feeds, one_level, depth=1), LEVEL_BOOK, Timeframe.S15)
    assert_bars(feeds, frame, states, [0, 1, 2, 6, 8, *range(20, 47)], 1)
    for name in ("total_bid_volume", "bid_levels_filled", "book_imbalance", "bid_price_2"):
        assert frame[name].count() == 0
    padded = feeds.frame(run(feeds, ticks, depth=1), LEVEL_BOOK, Timeframe.S15)
    same_names = [one for one in NAMES if not one.endswith(("_2", "_3", "_4", "_5"))]
    assert padded.select(same_names).equals(frame.select(same_names))


def close(feeds, bids, asks, **options):
    frame = feeds.frame(
        run(feeds, feeds.levels((1, bids, asks)), **options), LEVEL_BOOK, Timeframe.S15
    )
    return row_of(frame, 0)


def test_missing_levels_do_not_poison_sums(feeds):
    row = close(feeds, [(100, 3), (99, 1)], [(101, 4)])
    assert row["total_bid_volume"] == 4
    assert row["bid_vwap"] == 99.75
    assert row["bid_volume_ratio_1"] == 0.75
    assert row["bid_volume_ratio_3"] is None
    assert (row["bid_levels_filled"], row["ask_levels_filled"]) == (2, 1)
    assert row["book_imbalance"] == 0.2


def test_a_crossed_book_is_stored_as_it_is_and_has_no_mid(feeds):
    row = close(feeds, [(102, 3)], [(100, 4)])
    assert (row["bid_price_1"], row["ask_price_1"]) == (102, 100)
    assert row["spread_abs"] == -2
    assert row["spread_bps"] == pytest.approx(-2 / 101 * 1e4)
    assert row["bid_ask_ratio"] == 1.02
    for name in ("mid_price", "bid_distance_1", "bid_depth_25bps", "buy_cost_10k_bps"):
        assert row[name] is None


def test_a_locked_book_has_a_spread_of_nothing_and_no_mid(feeds):
    row = close(feeds, [(100, 3)], [(100, 4)])
    assert (row["spread_abs"], row["spread_bps"], row["mid_price"]) == (0, 0, None)


def test_a_one_sided_book_has_sizes_but_no_prices_between(feeds):
    row = close(feeds, [(100, 3), (99, 1)], [])
    assert (row["total_bid_volume"], row["total_ask_volume"]) == (4, 0)
    assert row["volume_imbalance"] == 1
    for name in ("spread_abs", "mid_price", "ask_vwap", "vwap_spread", "ask_volume_ratio_1"):
        assert row[name] is None


def test_an_empty_book_is_a_state_without_levels(feeds):
    row = close(feeds, [], [])
    assert row["book_time"] is not None
    assert row["bid_levels_filled"] == row["book_imbalance"] == 0
    assert row["total_bid_volume"] is row["volume_imbalance"] is row["spread_bps"] is None


def test_depth_is_null_where_the_channel_ends_nearer_than_the_reach(feeds):
    near = [(100 - step * 0.01, 1) for step in range(1, 5)] + [(99.94, 1)]
    far = [(100 + step * 0.01, 1) for step in range(1, 5)] + [(100.11, 1)]
    row = close(feeds, near, far)
    assert row["bid_depth_5bps"] == sum(price for price, _ in near[:4])
    assert row["bid_depth_10bps"] is None
    assert row["ask_depth_5bps"] == sum(price for price, _ in far[:4])
    assert row["ask_depth_10bps"] == row["ask_depth_5bps"]
    assert row["ask_depth_25bps"] is None
    ends = close(feeds, near[:4], far)
    assert ends["bid_depth_25bps"] == sum(price for price, _ in near[:4])


def test_a_state_of_sixty_seconds_counts_and_an_older_one_does_not(feeds):
    frame = feeds.frame(
        run(feeds, feeds.levels((15, [(100, 3)], [(101, 4)]))), LEVEL_BOOK, Timeframe.S15
    )
    assert frame["mid_price"].is_not_null().to_list()[:6] == [False, True, True, True, True, False]
    assert frame["book_time"].count() == 4


def test_without_contract_sizes_only_prices_are_known(feeds):
    ticks = feeds.scaled(feeds.random_levels(2), 1, float("nan"))
    frame = feeds.frame(run(feeds, ticks, terms=feeds.unknown), LEVEL_BOOK, Timeframe.S15)
    known = {name for name in NAMES if frame[name].count()}
    priced = {
        *(f"{side}_{kind}_{level}" for side in ("bid", "ask") for kind in ("price", "distance")
          for level in range(1, 6)),
        "book_time", "book_levels_seen", "mid_price", "spread_abs", "spread_bps", "bid_ask_ratio",
        "bid_levels_filled", "ask_levels_filled", "book_imbalance",
    }  # fmt: skip
    assert known == priced


def test_a_bar_is_known_when_the_state_at_its_end_is(feeds):
    ticks = feeds.levels((1, [(100, 3)], [(101, 4)]), (20, [(100, 3)], [(101, 5)]))
    known = run(feeds, ticks).last_arrival
    assert (known[:5] - feeds.start_us).tolist() == [1_001_000, *([20_001_000] * 4)]
    assert set(known[5:].tolist()) == {NO_ARRIVAL}
