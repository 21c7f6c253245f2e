"""From yesterday's totals to today's threshold, and the reasons why there is none."""

import math

import pytest

from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind, parse_bar_kind
from tickhandler_dagster.market.bars.thresholds import (
    THRESHOLD_MEANINGS,
    DayTotals,
    ThresholdState,
    threshold_of,
)
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.information_bar_table import SHARED_COLUMNS


def yesterday(trades=14_401, volume=288.0, notional=1.44e7, **changes):
    totals = {BarKind.TICK: trades, BarKind.VOLUME: volume, BarKind.DOLLAR: notional}
    known = {"coverage": 1.0, "totals": totals, "is_final": True, "available_us": 5}
    return DayTotals(**(known | changes))


def test_a_day_like_yesterday_has_as_many_bars_as_minutes():
    values = {kind: threshold_of(kind, yesterday()).value for kind in BarKind}
    assert values == {BarKind.TICK: 11.0, BarKind.VOLUME: 0.2, BarKind.DOLLAR: 10_000.0}
    assert BARS_PER_DAY == 1_440


def test_the_threshold_knows_when_it_was_known_and_whether_it_can_change():
    found = threshold_of(BarKind.DOLLAR, yesterday(is_final=False))
    assert (found.is_final, found.available_us) == (False, 5)


@pytest.mark.parametrize("kind", BarKind)
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_what_was_observed_of_yesterday_stands_for_all_of_it(kind, coverage):
    part = threshold_of(kind, yesterday(coverage=coverage)).value
    whole = threshold_of(kind, yesterday()).value
    assert whole / coverage - (0 if kind.has_size else 1) <= part * (1 + 1e-12)
    assert part <= (whole if kind.has_size else math.ceil(whole)) / coverage * (1 + 1e-12) + (
        0 if kind.has_size else 1
    )


@pytest.mark.parametrize(
    ("kind", "before", "has_known_units", "state"),
    [
        (BarKind.TICK, None, True, "no_candle"),
        (BarKind.TICK, yesterday(coverage=0.49), True, "not_observed"),
        (BarKind.TICK, yesterday(trades=None, coverage=0.0), True, "not_observed"),
        (BarKind.TICK, yesterday(trades=0), True, "nothing_traded"),
        (BarKind.DOLLAR, yesterday(trades=0, volume=0.0, notional=0.0), True, "nothing_traded"),
        (BarKind.VOLUME, yesterday(volume=0.0), True, "nothing_traded"),
        (BarKind.VOLUME, yesterday(volume=None), True, "unknown_units"),
        (BarKind.DOLLAR, yesterday(), False, "unknown_units"),
        (BarKind.TICK, yesterday(volume=None), False, "fixed"),
    ],
)
def test_no_threshold_is_ever_a_guess(kind, before, has_known_units, state):
    found = threshold_of(kind, before, has_known_units=has_known_units)
    assert found.state == state
    assert (found.value is None) == (state != "fixed")


def test_every_state_has_a_meaning():
    assert set(THRESHOLD_MEANINGS) == set(ThresholdState)


def test_a_kind_is_measured_by_a_column_of_its_bars():
    assert {kind.measure for kind in BarKind} < set(SHARED_COLUMNS)


def test_a_kind_that_is_none_is_refused_with_the_list():
    with pytest.raises(InvalidInput, match="one of tick, volume, dollar"):
        parse_bar_kind("range")
