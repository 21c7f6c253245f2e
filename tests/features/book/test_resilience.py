"""Recovery of the touch: known refill times, a slow reference, the end of what is known."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from tickhandler_dagster.market.bars.resilience import Resilience
from tickhandler_dagster.market.features.family import NO_ARRIVAL
from tickhandler_dagster.market.features.resilience import RESILIENCE
from tickhandler_dagster.market.timeframes import Timeframe

HORIZON = 5_000_000
AGE = 60_000_000
DAY = 86_400_000_000
BOOK = (100.0, 8.0, 101.0, 8.0)
THIN = (100.0, 2.0, 101.0, 8.0)


def is_normal(row):
    return row[2] is not None and row[3] is not None and row[2] < row[3]


def is_depletion(before, now, side):
    sign = 1 if side == 2 else -1
    if not (is_normal(before) and is_normal(now)) or now[6] or now[0] - before[0] > AGE:
        return False
    if sign * now[side] < sign * before[side]:
        return True
    return now[side] == before[side] and now[side + 2] <= before[side + 2] / 2


def refill_us(rows, number, side):
    """Time until the touch is as good as before; None where that takes longer than the horizon."""
    sign = 1 if side == 2 else -1
    price, size, moment = rows[number - 1][side], rows[number - 1][side + 2], rows[number][0]
    for row in rows[number + 1 :]:
        if row[0] - moment > HORIZON:
            return None
        is_as_good = is_normal(row) and sign * row[side] >= sign * price
        if is_as_good and row[side + 2] >= 0.9 * size:
            return row[0] - moment
    return None


def depletions(rows, start_us, known_until_us):
    """(moment, time or None) of every depletion that can be followed, and the others' moments."""
    followed, lost = [], []
    for number in range(1, len(rows)):
        moment = rows[number][0]
        if not start_us <= moment < start_us + DAY:
            continue
        for side in (2, 3):
            if is_depletion(rows[number - 1], rows[number], side):
                time = refill_us(rows, number, side)
                if time is None and moment + HORIZON > known_until_us:
                    lost.append(moment)
                else:
                    followed.append((moment, time))
    return followed, lost


def reference(rows, start_us, span, known_until_us):
    followed, lost = depletions(rows, start_us, known_until_us)
    times = [time for moment, time in followed if span[0] <= moment < span[1]]
    count, recovered = len(times), sum(time is not None for time in times)
    is_enough = count >= 3
    held = [HORIZON if time is None else time for time in times]
    return {
        "resilience_event_count": count,
        "resilience_recovered_count": recovered,
        "resilience_unresolved_count": sum(span[0] <= moment < span[1] for moment in lost),
        "resilience_recovered_share": recovered / count if is_enough else None,
        "resilience_median_ms": statistics.median(held) / 1_000 if is_enough else None,
    }


def run(feeds, ticks, *, terms=None, gaps=(), after=True):
    before, own, following = feeds.of_day(ticks)
    kernel = Resilience(feeds.grid(), terms or feeds.coins, gaps=gaps)
    kernel.prime(before)
    kernel.add(own)
    if after:
        kernel.add_after(following)
    return kernel.finish()


def assert_bars(feeds, ticks, timeframe, bars):
    before, own, following = feeds.of_day(ticks)
    rows = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own), *feeds.rows_of(following)]
    known = max(feeds.start_us + DAY, rows[-1][0])
    frame = feeds.frame(run(feeds, ticks), RESILIENCE, timeframe)
    for bar in bars:
        start = feeds.start_us + bar * timeframe.us
        expected = reference(rows, feeds.start_us, (start, start + timeframe.us), known)
        actual = frame.row(bar, named=True)
        for name, value in expected.items():
            assert feeds.same(actual[name], value), (bar, name, actual[name], value)


def test_the_reference_names_are_the_entries():
    assert set(reference([], 0, (0, 1), 0)) == {one.name for one in RESILIENCE}


def test_everything_is_known_five_seconds_after_the_bar():
    assert {one.delay_us for one in RESILIENCE} == {HORIZON}


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1, Timeframe.M5, Timeframe.H24])
@pytest.mark.parametrize("seed", range(4))
def test_every_column_is_that_of_the_slow_reference(feeds, seed, timeframe):
    busy = {0, 1, 2, 6, 8, *range(20, 47), 239, 240, 5_758, 5_759}
    bars = sorted({bar * 15_000_000 // timeframe.us for bar in busy})
    assert_bars(feeds, feeds.random_levels(seed).top, timeframe, bars)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
def test_recorded_quotes_give_the_reference_s_numbers(feeds, recorded_books, timeframe):
    ticks = recorded_books.quotes(count=4_000)
    first = int(ticks.timestamp.min() - feeds.start_us) // timeframe.us
    assert_bars(feeds, ticks, timeframe, range(first, first + 2))


def test_a_book_that_refills_after_known_times_gives_them_back(feeds):
    """A depletion every 20 s, refilled after 0.1 s, 0.2 s, … of which those above 5 s are not."""
    delays = [0.1 * number for number in range(1, 91)]
    rows = []
    for number, delay in enumerate(delays):
        rows += [(20 * number, *BOOK), (20 * number + 1, *THIN), (20 * number + 1 + delay, *BOOK)]
    frame = feeds.frame(run(feeds, feeds.top(*rows)), RESILIENCE, Timeframe.H1)
    first = frame.row(0, named=True)
    assert first["resilience_event_count"] == 90
    assert first["resilience_recovered_share"] == 50 / 90
    assert first["resilience_median_ms"] == pytest.approx(4_550)
    minutes = feeds.frame(run(feeds, feeds.top(*rows)), RESILIENCE, Timeframe.M1)
    assert minutes["resilience_median_ms"][0] == 200
    assert minutes["resilience_recovered_share"].to_list()[15:18] == [1, 2 / 3, 0]


@pytest.mark.parametrize(
    ("after", "is_depleted"),
    [
        ((100, 4, 101, 8), True),  # exactly half is left
        ((100, 4.5, 101, 8), False),
        ((99, 50, 101, 8), True),  # the best price retreats, however much is there
        ((100.5, 1, 101, 8), False),  # a better price is no loss
        ((100, 8, 101, 3), True),  # the other side
        ((100, 2, 101, 3), True),  # both at once are two
        ((102, 1, 101, 8), False),  # a crossed state says nothing
    ],
)
def test_what_counts_as_a_depletion(feeds, after, is_depleted):
    day = run(feeds, feeds.top((1, *BOOK), (2, *after)))
    expected = 2 if after == (100, 2, 101, 3) else int(is_depleted)
    assert day.statistics["resilience_event_count"][0] == expected


@pytest.mark.parametrize(
    ("seconds", "back", "is_recovered"),
    [
        (5.0, (100, 7.2, 101, 8), True),  # 90 % at the horizon itself
        (5.001, (100, 8, 101, 8), False),
        (1.0, (100, 7.1, 101, 8), False),
        (1.0, (100.5, 7.5, 101, 8), True),  # inside the price before
        (1.0, (99.5, 50, 101, 8), False),  # behind it
        (1.0, (101.5, 50, 101, 8), False),  # crossed
    ],
)
def test_what_counts_as_recovered(feeds, seconds, back, is_recovered):
    day = run(feeds, feeds.top((1, *BOOK), (2, *THIN), (2 + seconds, *back)))
    assert day.statistics["resilience_recovered_count"][0] == int(is_recovered)


def test_a_file_s_first_state_and_a_hole_are_no_depletion(feeds):
    ticks = feeds.top((1, *BOOK), (2, *THIN), (3, *BOOK), (64, *THIN), starts=(1,))
    assert run(feeds, ticks).statistics["resilience_event_count"].sum() == 0


def test_a_quiet_book_before_midnight_is_known_not_to_have_refilled(feeds):
    """The day is over when it is finished: silence up to midnight is silence."""
    at = 86_394.5
    day = run(feeds, feeds.top((at - 1, *BOOK), (at, *THIN)), after=False)
    assert day.statistics["resilience_event_count"][-1] == 1
    assert day.statistics["resilience_unresolved_count"].sum() == 0


def late(feeds, **options):
    ticks = feeds.top((86_397, *BOOK), (86_398, *THIN), (86_401, *BOOK))
    day = run(feeds, ticks, **options)
    names = ("event", "recovered", "unresolved")
    return [day.statistics[f"resilience_{name}_count"][-1] for name in names]


def test_a_depletion_before_midnight_needs_the_next_day_s_first_seconds(feeds):
    assert late(feeds) == [1, 1, 0]
    assert late(feeds, after=False) == [0, 0, 1]


def test_silence_after_midnight_counts_where_the_feed_is_known(feeds):
    def count(until_s):
        kernel = Resilience(feeds.grid(), feeds.coins)
        kernel.add(feeds.top((86_397, *BOOK), (86_398, *THIN)))
        nothing = feeds.top((1, *BOOK)).take(np.empty(0, dtype=np.intp))
        kernel.add_after(nothing, known_until_us=feeds.start_us + until_s * 1_000_000)
        return kernel.finish().statistics["resilience_unresolved_count"][-1]

    assert [count(86_402), count(86_403)] == [1, 0]


def test_a_reported_gap_leaves_open_what_it_hides(feeds):
    ticks = feeds.top((1, *BOOK), (2, *THIN), (9, *BOOK), (10, *THIN), (11, *BOOK))
    gap = (feeds.start_us + 4_000_000, feeds.start_us + 5_000_000)
    found = run(feeds, ticks, gaps=[gap]).statistics
    assert found["resilience_unresolved_count"][0] == 1
    assert found["resilience_event_count"][0] == 1


def test_a_bar_is_known_with_the_rows_of_the_seconds_after_it(feeds):
    ticks = feeds.top((14, *BOOK), (14.5, *THIN), (19.9, *BOOK), (20, *BOOK), (40, *BOOK))
    known = run(feeds, ticks).last_arrival
    arrival = ticks.local_timestamp.tolist()
    assert known[:4].tolist() == [arrival[2], arrival[3], arrival[4], NO_ARRIVAL]


def test_without_contract_sizes_nothing_is_known(feeds):
    frame = feeds.frame(
        run(feeds, feeds.random_levels(1).top, terms=feeds.unknown), RESILIENCE, Timeframe.M1
    )
    assert [frame[one.name].count() for one in RESILIENCE] == [0] * len(RESILIENCE)


def test_two_depletions_have_no_median(feeds):
    ticks = feeds.top((1, *BOOK), (2, *THIN), (3, *BOOK), (4, *THIN), (5, *BOOK))
    day = run(feeds, ticks)
    assert math.isnan(day.exact[Timeframe.S15]["resilience_median_ms"][0])
    assert day.statistics["resilience_event_count"][0] == 2


def test_a_day_without_states_has_no_depletion_whatever_follows(feeds):
    day = run(feeds, feeds.top((86_401, *BOOK), (86_402, *THIN)))
    assert day.statistics["resilience_event_count"].sum() == 0
    assert day.statistics["resilience_unresolved_count"].sum() == 0


def test_rows_later_than_the_horizon_do_not_delay_the_bar(feeds):
    ticks = feeds.top((13, *BOOK), (14, *THIN), (25, *BOOK))
    known = run(feeds, ticks).last_arrival
    assert known[:2].tolist() == [ticks.local_timestamp[1], ticks.local_timestamp[2]]
