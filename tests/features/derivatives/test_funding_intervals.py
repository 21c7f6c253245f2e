"""What is learnt when a funding passes: its interval and the rate it was settled at."""

from __future__ import annotations

import math

import pytest

from tickhandler_dagster.market.bars.funding import FundingTracker, TickerMemory
from tickhandler_dagster.market.days import US_PER_DAY

START = 19_943 * US_PER_DAY
MINUTE, HOUR = 60 * 10**6, 3_600 * 10**6
UNKNOWN = math.nan


def learnt(ticker, *rows, memory=None):
    """Interval and settled rate after rows of (minutes when stamped, hours named, rate)."""
    tracker = FundingTracker(memory)
    for at, hours, rate in rows:
        stamp = START + round(at * MINUTE)
        due = None if hours is None else START + round(hours * HOUR)
        tracker.add(ticker.arrays([ticker.Row(stamp, stamp + 9, due, rate)]))
    together = FundingTracker(memory)
    stamps = [START + round(at * MINUTE) for at, _, _ in rows]
    together.add(
        ticker.arrays(
            [
                ticker.Row(
                    stamp, stamp + 9, None if hours is None else START + round(hours * HOUR), rate
                )
                for stamp, (_, hours, rate) in zip(stamps, rows, strict=True)
            ]
        )
    )
    assert together.memory() == tracker.memory()
    return tracker.known[:2]


CASES = {
    "two in a row": (((479, 8, 1e-4), (480.1, 16, 2e-4)), (8.0, 1e-4)),
    "an interval that changes": (
        ((479, 8, 1e-4), (480.1, 12, 2e-4), (719, 12, 3e-4), (720.1, 16, 4e-4)),
        (4.0, 3e-4),
    ),
    "a single name is no interval": (((479, 8, 1e-4), (479.5, 8, 2e-4)), (UNKNOWN, UNKNOWN)),
    # Down from 07:59 to 16:30: the step is two intervals and the rate of 16:00 was not seen.
    "a funding that passed unseen": (((479, 8, 1e-4), (990, 24, 2e-4)), (UNKNOWN, UNKNOWN)),
    "a funding unseen after one that was": (
        ((479, 8, 1e-4), (480.1, 16, 2e-4), (1_441, 32, 3e-4)),
        (8.0, UNKNOWN),
    ),
    "the new rate under the old name": (
        ((479, 8, 1e-4), (480.05, 8, 9e-4), (480.1, 16, 9e-4)),
        (8.0, 1e-4),
    ),
    "the old name after the new one": (
        ((10, 0.5, 1e-4), (20, 0.6, UNKNOWN), (28, 0.5, 9e-4), (36.1, 0.7, 2e-4)),
        (0.1, UNKNOWN),
    ),
    "a rate from long before the funding": (((465, 8, 1e-4), (480.1, 16, 2e-4)), (8.0, UNKNOWN)),
    "rows without a name": (
        ((479, 8, 1e-4), (479.9, None, 7e-4), (480.1, 16, 2e-4)),
        (8.0, 1e-4),
    ),
    "rows without a rate": (((479, 8, 1e-4), (479.9, 8, None), (480.1, 16, None)), (8.0, 1e-4)),
}


@pytest.mark.parametrize("case", CASES)
def test_interval_and_settled_rate_follow_the_names_of_the_rows(ticker, case):
    rows, expected = CASES[case]
    rows = [(at, hours, None if rate is UNKNOWN else rate) for at, hours, rate in rows]
    assert learnt(ticker, *rows) == pytest.approx(expected, nan_ok=True)


def test_a_funding_across_midnight_is_known_from_the_memory(ticker):
    tracker = FundingTracker(None)
    tracker.add(ticker.arrays([ticker.Row(START - MINUTE, START - MINUTE, START, 5e-4)]))
    memory = TickerMemory.from_json(tracker.memory().to_json())
    assert learnt(ticker, (1, 8, 6e-4), memory=memory) == (8.0, 5e-4)


def test_rows_that_the_memory_knows_change_nothing(ticker):
    rows = ticker.random_rows(3, 300)
    tracker = FundingTracker(None)
    tracker.add(ticker.arrays(rows))
    memory = tracker.memory()
    assert None not in (memory.interval_h, memory.next_us, memory.rate)
    for kept in (1, 10, 100):
        again = FundingTracker(memory)
        again.add(ticker.arrays(rows[-kept:]))
        assert again.memory() == memory


def test_a_ticker_without_rows_teaches_nothing(ticker):
    tracker = FundingTracker(None)
    assert len(tracker.add(ticker.arrays([])).position) == 0
    assert tracker.memory() == TickerMemory()
