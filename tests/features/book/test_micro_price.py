"""The micro-price: chains whose shift is known, symmetry, and the value at a bar's end."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from tickhandler_dagster.market.bars.micro_price import MicroPrice
from tickhandler_dagster.market.bars.micro_price_fit import (
    IMBALANCES,
    STATES,
    MicroPriceMemory,
    Moves,
    fitted_table,
)
from tickhandler_dagster.market.features.book_flow import MICRO_PRICE
from tickhandler_dagster.market.timeframes import Timeframe

HALF = IMBALANCES // 2
LEAN = [(bucket - HALF) / HALF for bucket in range(IMBALANCES)]
TABLE = tuple(tuple(round(lean * 0.3 * (width + 1), 3) for lean in LEAN) for width in range(4))
MEMORY = MicroPriceMemory(19_942 * 86_400_000_000, 9_000, 900, TABLE)


def run(feeds, ticks, *, tick_size=0.25, memory=MEMORY):
    before, own, _ = feeds.of_day(ticks)
    kernel = MicroPrice(feeds.grid(), tick_size, memory=memory)
    kernel.prime(before)
    kernel.add(own)
    return kernel


def counts(step):
    """Counts of moves from expected ones, `step(from) -> {(to, half ticks): weight}`, spread 1."""
    still, moving = np.zeros((2, STATES, STATES), dtype=np.int64)
    half_ticks = np.zeros(STATES, dtype=np.int64)
    for origin in range(IMBALANCES):
        for (target, move), weight in step(origin).items():
            (moving if move else still)[origin, target] += weight
            half_ticks[origin] += move * weight
    return Moves(still, moving, half_ticks)


def test_a_mid_that_forgets_its_lean_moves_by_the_first_step_alone():
    """Up by a tick with chance (1+x)/2, down else, then any imbalance: the shift is x ticks."""

    def step(origin):
        up = 2 * origin
        return {
            (target, move): weight
            for target in range(IMBALANCES)
            for move, weight in ((2, up), (-2, 2 * IMBALANCES - 2 - up))
        }

    table = fitted_table(counts(step), 0).shifts_ticks
    assert table[0] == pytest.approx(LEAN, abs=1e-12)
    assert set(table[1]) == {None}


def test_a_lean_that_persists_adds_up_to_a_geometric_series():
    """With chance ½ the same imbalance stays after a move, else it is redrawn: x / (1 - ½)."""

    def step(origin):
        found = {}
        for target in range(IMBALANCES):
            weight = 1 + (IMBALANCES if target == origin else 0)
            found[target, 2] = weight * (HALF + (origin - HALF))
            found[target, -2] = weight * (HALF - (origin - HALF))
        return found

    table = fitted_table(counts(step), 0).shifts_ticks
    assert table[0] == pytest.approx([2 * lean for lean in LEAN], abs=1e-9)


def test_waiting_without_a_move_changes_nothing():
    """Steps that leave state and mid as they are only pass time."""

    def step(origin):
        return {(0, 2): 3 + origin, (10, -2): 13 - origin, (5, 1): 2}

    def waiting(origin):
        return step(origin) | {(origin, 0): 1_000 * (1 + origin)}

    plain, slow = (fitted_table(counts(one), 0).shifts_ticks for one in (step, waiting))
    assert slow[0] == pytest.approx(plain[0], abs=1e-9)


def test_a_still_step_hands_over_to_the_state_it_leads_to():
    """Only the far states move; a neutral one that leads to all bid is worth what that is worth."""

    def step(origin):
        if origin in {0, 10}:
            return {(5, 2 if origin == 10 else -2): 100}
        return {(10 if origin > 5 else 0, 0): 50} if origin != 5 else {(0, 0): 50, (10, 0): 50}

    table = fitted_table(counts(step), 0).shifts_ticks[0]
    assert table[10] == pytest.approx(1)
    assert table[7] == pytest.approx(1)
    assert table[5] == pytest.approx(0, abs=1e-12)
    assert table[2] == pytest.approx(-1)


def test_the_table_is_odd_in_the_imbalance():
    rng = np.random.default_rng(3)
    moves = Moves(
        rng.integers(0, 9, (STATES, STATES)),
        rng.integers(0, 9, (STATES, STATES)),
        rng.integers(-50, 60, STATES),
    )
    for row in fitted_table(moves, 0).shifts_ticks:
        assert row[HALF] == 0
        for far in range(HALF):
            assert row[far] == -row[IMBALANCES - 1 - far]


def test_a_state_left_too_rarely_has_no_shift_and_its_image_neither():
    def step(origin):
        weight = 5 if origin in {2, 8} else 50
        return {(5, 2): weight, (4, -2): weight}

    table = fitted_table(counts(step), 0).shifts_ticks[0]
    assert [place for place, shift in enumerate(table) if shift is None] == []
    thin = counts(lambda origin: step(origin) if origin != 8 else {})
    table = fitted_table(thin, 0).shifts_ticks[0]
    assert [place for place, shift in enumerate(table) if shift is None] == [2, 8]


def test_leans_that_never_meet_have_no_limit():
    def step(origin):
        return {(10 if origin > 5 else 0, 2 if origin > 5 else -2): 100} if origin != 5 else {}

    assert fitted_table(counts(step), 0) is None


def test_a_simulated_market_gives_back_its_parameters(feeds):
    """A feed drawn from the chain that forgets: the fitted shift is the lean within 0.03 ticks."""
    rng = np.random.default_rng(11)
    count = 60_000
    lean = rng.integers(-HALF, HALF + 1, count)
    moves = np.where(rng.random(count) < (1 + lean / HALF) / 2, 1, -1)
    bid = 4_000 + np.concatenate(([0], np.cumsum(moves)[:-1]))
    ticks = feeds.top(
        *zip(np.arange(count) * 1.4, bid * 0.25, HALF + lean, bid * 0.25 + 0.25, HALF - lean,
             strict=True)
    )  # fmt: skip
    kernel = run(feeds, ticks, memory=None)
    fit = fitted_table(Moves.of(kernel.tally()), feeds.start_us)
    assert fit.steps == fit.moves == count - 1
    assert fit.shifts_ticks[0] == pytest.approx(LEAN, abs=0.03)


def code(row, tick_size):
    """Spread and imbalance bucket of a state, None where it has none."""
    _, _, bid, ask, bid_size, ask_size, _ = row
    if bid is None or ask is None or bid >= ask or bid_size + ask_size == 0:
        return None
    lean = round((bid_size - ask_size) / (bid_size + ask_size) * HALF)
    return min(max(round((ask - bid) / tick_size), 1), 4) - 1, lean + HALF


def slow_counts(rows, tick_size):
    still, moving, total = {}, {}, {}
    for before, now in pairwise(rows):
        old, new = code(before, tick_size), code(now, tick_size)
        if old is None or new is None or now[6] or now[0] - before[0] > 60_000_000:
            continue
        move = round((now[2] + now[3]) / tick_size) - round((before[2] + before[3]) / tick_size)
        table = moving if move else still
        table[old, new] = table.get((old, new), 0) + 1
        total[old] = total.get(old, 0) + move
    return still, moving, total


def assert_counts(kernel, rows, tick_size):
    still, moving, total = slow_counts(rows, tick_size)
    found = kernel._moves
    for table, slow in ((found.still, still), (found.moving, moving)):
        assert table.sum() == sum(slow.values())
        for (old, new), count in slow.items():
            places = [spread * IMBALANCES + lean for spread, lean in (old, new)]
            assert table[tuple(places)] == count
    for (spread, lean), move in total.items():
        assert found.half_ticks[spread * IMBALANCES + lean] == move


@pytest.mark.parametrize("seed", range(3))
def test_steps_are_counted_as_the_slow_reference_counts_them(feeds, seed):
    ticks = feeds.random_levels(seed).top
    before, own, _ = feeds.of_day(ticks)
    assert_counts(run(feeds, ticks), [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)], feeds.tick)


def test_steps_of_recorded_quotes_are_those_of_the_slow_reference(feeds, recorded_books):
    ticks = recorded_books.quotes(count=9_000)
    assert_counts(run(feeds, ticks, tick_size=0.1), feeds.rows_of(ticks), 0.1)


@pytest.mark.parametrize("seed", range(3))
def test_a_bar_ends_with_the_mid_plus_the_table_s_shift(feeds, seed):
    ticks = feeds.random_levels(seed).top
    before, own, _ = feeds.of_day(ticks)
    rows = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)]
    frame = feeds.frame(run(feeds, ticks).finish(), MICRO_PRICE, Timeframe.S15)
    for bar in (0, 1, 2, 6, 8, 9, *range(20, 51), 239, 240, 5_758, 5_759):
        end = feeds.start_us + (bar + 1) * 15_000_000
        last = [row for row in rows if row[0] < end][-1]
        state = code(last, feeds.tick) if end - last[0] <= 60_000_000 else None
        price = gap = None
        if state is not None:
            mid = (last[2] + last[3]) / 2
            price = mid + TABLE[state[0]][state[1]] * feeds.tick
            gap = (price - mid) / mid * 10_000
        actual = frame.row(bar, named=True)
        assert feeds.same(actual["micro_price"], price), bar
        assert feeds.same(actual["micro_price_gap_bps"], gap), bar
        assert round(actual["micro_price_fit_day"].timestamp() * 1e6) == MEMORY.day_us


def test_a_state_the_fit_hardly_left_has_no_price(feeds):
    hollow = replace(MEMORY, shifts_ticks=((None,) * IMBALANCES, *TABLE[1:]))
    ticks = feeds.top((1, 100, 5, 100.25, 4), (16, 100, 5, 100.5, 4))
    price = run(feeds, ticks, memory=hollow).finish().statistics["micro_price"][:2].tolist()
    assert math.isnan(price[0])
    assert price[1] == 100.25 + TABLE[1][6] * 0.25


@pytest.mark.parametrize("options", [{"memory": None}, {"tick_size": None}])
def test_without_an_earlier_fit_or_a_price_step_nothing_is_told(feeds, options):
    kernel = run(feeds, feeds.random_levels(1).top, **options)
    frame = feeds.frame(kernel.finish(), MICRO_PRICE, Timeframe.S15)
    assert [frame[one.name].count() for one in MICRO_PRICE] == [0, 0, 0]


def test_a_day_of_few_moves_has_no_fit(feeds):
    kernel = run(feeds, feeds.top((1, 100, 5, 101, 4), (2, 100.25, 5, 101, 4)))
    assert fitted_table(Moves.of(kernel.tally()), feeds.start_us) is None


def test_the_memory_survives_its_json_to_the_last_bit(feeds):
    kernel = run(feeds, feeds.random_levels(2, rows=3_000).top)
    fit = fitted_table(Moves.of(kernel.tally()), feeds.start_us)
    assert fit.day_us == feeds.start_us
    assert MicroPriceMemory.from_json(json.loads(json.dumps(asdict(fit)))) == fit
