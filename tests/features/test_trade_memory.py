"""What the days before leave behind: the threshold of large trades, daily volume, JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.trade_memory import (
    MEMORY_DAYS,
    TradeDay,
    TradeMemory,
    bucket_counts,
    lower_edge,
)
from tickhandler_dagster.market.days import US_PER_DAY

DAY = 19_943 * US_PER_DAY

_notionals = st.one_of(
    st.sampled_from([0.0, 100.0, 1e-9, 12_345.678]), st.floats(1e-12, 1e12, allow_nan=False)
)
_days = st.lists(st.lists(_notionals, max_size=60), min_size=1, max_size=9)


def remembered(days, first=DAY - 9 * US_PER_DAY):
    memory = TradeMemory()
    for number, notionals in enumerate(days):
        memory = memory.with_day(
            TradeDay(
                start_us=first + number * US_PER_DAY,
                trades=len(notionals),
                volume=math.fsum(notionals) / 2,
                notional=math.fsum(notionals),
                buckets=tuple(sorted(bucket_counts(np.array(notionals)).items())),
                last_arrival_us=first + number * US_PER_DAY + 5 if notionals else None,
            )
        )
    return memory


@given(_days)
@settings(max_examples=100)
def test_the_threshold_is_less_than_a_percent_below_the_quantile_of_the_trades(days):
    known = sorted(value for notionals in days[-MEMORY_DAYS:] for value in notionals)
    threshold = remembered(days).large_trade_threshold()
    if not known:
        assert threshold is None
        return
    quantile = known[math.floor((len(known) - 1) * 0.99)]
    assert threshold <= quantile <= threshold * (1 + 1 / 128)


@given(st.lists(_notionals, max_size=200))
@settings(max_examples=50)
def test_every_value_lies_in_one_bucket_less_than_a_percent_wide(values):
    counts = bucket_counts(np.array(values))
    assert sum(counts.values()) == len(values)
    for value in values:
        edges = [edge for edge in map(lower_edge, counts) if edge <= value]
        assert edges
        assert value <= max(edges) * (1 + 1 / 128)


@given(_days)
@settings(max_examples=40)
def test_the_memory_survives_json(days):
    memory = remembered(days)
    text = json.dumps(dataclasses.asdict(memory))
    assert TradeMemory.from_json(json.loads(text)) == memory


@given(_days)
@settings(max_examples=40)
def test_totals_are_those_of_the_last_seven_days(days):
    memory, kept = remembered(days), days[-MEMORY_DAYS:]
    assert len(memory.days) == len(kept)
    total = math.fsum(value for notionals in kept for value in notionals)
    assert memory.notional_total() == pytest.approx(total)
    assert memory.mean_daily_volume() == pytest.approx(total / 2 / len(kept))


def test_days_too_long_ago_and_days_to_come_are_not_of_the_memory():
    memory = remembered([[1.0]] * 3, first=DAY)
    assert [day.start_us for day in memory.before(DAY + 2 * US_PER_DAY).days] == [
        DAY, DAY + US_PER_DAY,
    ]  # fmt: skip
    assert memory.before(DAY + 8 * US_PER_DAY).days == memory.days[1:]
    assert memory.before(DAY).days == ()


def test_building_a_day_again_replaces_what_was_remembered_of_it():
    memory = remembered([[1.0], [2.0]], first=DAY)
    again = memory.with_day(dataclasses.replace(memory.days[-1], trades=7))
    assert [day.trades for day in again.days] == [1, 7]


def test_days_of_unknown_units_have_no_volume():
    day = TradeDay(DAY, 3, None, None, (), DAY)
    memory = TradeMemory().with_day(day)
    assert memory.mean_daily_volume() is None
    assert memory.notional_total() is None
    assert memory.large_trade_threshold() is None
    assert memory.last_arrival() == DAY
    assert TradeMemory().last_arrival() is None
