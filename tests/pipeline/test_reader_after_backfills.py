"""What the reader said was known stays, or is refused, whatever the pipeline builds afterwards."""

from __future__ import annotations

import datetime as dt

import pytest
from polars.testing import assert_frame_equal

from tickhandler_dagster.client import MarketData
from tickhandler_dagster.market.errors import NotAvailable

COLUMNS = ["close", "volume", "trade_count", "spread_tw_bps", "price_impact_30s_bps"]


def put_and_build(lab, day, **market):
    lab.put_market(day, **market)
    lab.build(day)


def later_day(lab):
    put_and_build(lab, lab.two)
    lab.build(lab.one)  # closes the day: its last bars are final now


def earlier_day(lab):
    put_and_build(lab, lab.one - dt.timedelta(days=1))
    lab.build(lab.one)  # what remembers days before has values now


def revision(lab):
    put_and_build(lab, lab.one, seed=2)


def unchanged(lab):
    put_and_build(lab, lab.one)


def asked(lab, hour, *, first=0, **options):
    start, end = lab.at(lab.one, first * 3_600 + 600), lab.at(lab.one, 20 * 3_600)
    return MarketData(lab.lake.store).candles(
        lab.key,
        "15s",
        start,
        end,
        columns=COLUMNS,
        as_of=lab.at(lab.one, hour * 3_600),
        on_gap="keep",
        **options,
    )


@pytest.mark.parametrize(
    ("steps", "is_known"),
    [
        ([unchanged], True),
        ([later_day], True),
        ([later_day, earlier_day], None),
        ([revision], False),
    ],
    ids=lambda steps: "+".join(step.__name__ for step in steps) if isinstance(steps, list) else "",
)
def test_a_backfill_after_the_moment_leaves_the_answer_or_refuses_it(lab, steps, is_known):
    put_and_build(lab, lab.one)
    hours = (1, 6, 12, 18)
    before = {hour: asked(lab, hour).collect() for hour in hours}
    assert all(before[hour].height for hour in hours)
    assert all(
        before[hour]["available_at"].max() <= lab.at(lab.one, hour * 3_600) for hour in hours
    )
    for step in steps:
        step(lab)
    answers = []
    for hour in hours:
        try:
            assert_frame_equal(asked(lab, hour).collect(), before[hour])
            answers.append(True)
        except NotAvailable:
            answers.append(False)
    if is_known is not None:
        assert answers[-1] is is_known
    if is_known:
        assert all(answers)


def test_without_the_rule_the_answer_would_have_changed(lab):
    put_and_build(lab, lab.one)
    before = asked(lab, 12).collect()
    revision(lab)
    after = asked(lab, 12, on_revised="keep").collect()
    assert not after.equals(before)
