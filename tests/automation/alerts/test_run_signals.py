"""A run that ended without what it was asked for is seen for each cell, and so is what heals it."""

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG

from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import CorruptData, NoEntitlement, QuotaExhausted

RUN, QUOTA = IncidentKind.FAILED_RUN, IncidentKind.EXHAUSTED_QUOTA
CELL, NEXT = "2024-08-08|binance", "2024-08-09|binance"
RAW_CELL, CANDLES_CELL = f"run of raw_ticks/trades {CELL}", f"run of candles/1m {CELL}"
RAW = dg.AssetKey(["raw_ticks", "trades"])
BROKEN = CorruptData("BTCUSDT", "cut in the middle", remedy="Fetch it again")
USED_UP = QuotaExhausted("tardis", "quota used up", remedy="Wait", retry_after_s=3_600.0)


def _raising(error, *days):
    def work(cell):
        if not days or cell.date.day in days:
            raise error

    return work


def _failing(bench, error, *days):
    def work(cell):
        _raising(error, *days)(cell)
        return bench.outcome()

    bench.work = work


def test_every_cell_a_failed_run_owes_is_told_with_the_reason_and_heals_one_by_one(sqlite_bench):
    bench = sqlite_bench
    _failing(bench, BROKEN)
    run = bench.run(CELL)
    bad = [one for one in bench.signals() if one.is_bad]
    assert {one.subject for one in bad} == {RAW_CELL, CANDLES_CELL}
    assert {one.kind for one in bad} == {RUN}
    assert {one.urgency for one in bad} == {Urgency.ERROR}
    assert {one.group for one in bad} == {"runs binance"}
    assert {one.link for one in bad} == {f"/runs/{run.run_id}"}
    assert all("BTCUSDT: cut in the middle. Fetch it again." in one.summary for one in bad)

    bench.work = lambda _: bench.outcome()
    bench.run(CELL)
    assert bench.seen(RUN) == [(RAW_CELL, False), (CANDLES_CELL, False)]


def test_of_a_range_only_cells_that_were_not_made_are_told(bench):
    _failing(bench, BROKEN, 9)
    bench.run(span=(CELL, "2024-08-10|binance"))
    told = {subject for subject, is_bad in bench.seen(RUN) if is_bad}
    days = (8, 9, 10)
    assert told == {f"run of raw_ticks/trades {NEXT}"} | {
        f"run of candles/1m 2024-08-{day:02d}|binance" for day in days
    }


def test_a_failed_step_that_made_its_cell_is_told_all_the_same(bench):
    bench.work = lambda _: bench.outcome(problem=BROKEN)
    bench.run(CELL, keys=[RAW])
    assert bench.seen(RUN) == [(RAW_CELL, False), (RAW_CELL, True)]


def test_a_run_that_died_before_its_first_step_is_told(sqlite_bench):
    run = sqlite_bench.planned_run(CELL)
    sqlite_bench.instance.report_run_failed(run, message="The process died.\nTraceback")
    signals = sqlite_bench.signals()
    assert {one.subject for one in signals} == {RAW_CELL, CANDLES_CELL}
    assert all(
        one.summary.endswith("the run ended without it: The process died.") for one in signals
    )


def test_a_run_found_dead_after_another_did_its_work_is_not_told(sqlite_bench):
    dead = sqlite_bench.planned_run(CELL)
    sqlite_bench.run(CELL)
    sqlite_bench.instance.report_run_failed(dead)
    assert not [one for one in sqlite_bench.signals() if one.is_bad]


def test_a_run_that_failed_for_a_blocking_check_alone_is_told_as_the_check(blocking_bench):
    blocking_bench.work = lambda _: blocking_bench.outcome(has_passed=False)
    assert not blocking_bench.run(CELL, keys=[RAW]).success
    bad = [one for one in blocking_bench.signals() if one.is_bad]
    assert [(one.kind, one.urgency) for one in bad] == [(IncidentKind.FAILED_CHECK, Urgency.ERROR)]


def test_a_cancelled_run_is_a_warning(bench):
    run = bench.planned_run(CELL)
    bench.instance.report_run_canceled(run)
    signals = bench.signals()
    assert {one.subject for one in signals} == {RAW_CELL, CANDLES_CELL}
    assert {one.urgency for one in signals} == {Urgency.WARNING}
    assert all("it was cancelled" in one.summary for one in signals)


def test_a_run_that_is_started_again_by_itself_is_not_told(bench):
    run = bench.planned_run(CELL)
    bench.instance.report_run_failed(run)
    bench.instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
    assert bench.signals() == []


@pytest.mark.parametrize("span", [None, (CELL, NEXT)])
def test_runs_without_quota_are_told_as_one_thing(bench, span):
    _failing(bench, USED_UP)
    bench.run(None if span else CELL, span=span)
    bench.run("2024-08-10|binance")
    signals = [one for one in bench.signals() if one.is_bad]
    assert [(one.kind, one.subject) for one in signals] == [(QUOTA, "tardis")] * 2
    assert "quota used up" in signals[0].summary


def test_a_range_with_another_failure_before_the_quota_ended_is_the_quota(bench):
    def work(cell):
        raise USED_UP if cell.date.day == 9 else NoEntitlement("key", "not covered", remedy="Buy")

    bench.work = work
    bench.run(span=(CELL, "2024-08-10|binance"))
    assert bench.seen(RUN, QUOTA) == [("tardis", True)]


def test_the_quota_is_back_when_a_run_that_began_later_fetched_something(bench):
    _failing(bench, USED_UP)
    bench.run(CELL)
    assert bench.seen(QUOTA) == [("tardis", True)]
    bench.work = lambda _: bench.outcome(fetched=0)
    bench.run(NEXT)
    assert bench.seen(QUOTA) == [], "what was there already says nothing of the vendor"
    bench.work = lambda _: bench.outcome(fetched=2)
    bench.run(NEXT)
    assert bench.seen(QUOTA) == [("tardis", False)]
    bench.run(NEXT)
    assert bench.seen(QUOTA) == []


def test_a_run_that_fetched_before_the_quota_ended_does_not_bring_it_back(bench):
    def work(cell):
        if cell.date.day == 8:
            bench.work = _raising(USED_UP)
            bench.run(NEXT)
        return bench.outcome()

    bench.work = work
    bench.run(CELL, keys=[RAW])
    assert bench.seen(QUOTA) == [("tardis", True)]


def test_a_job_without_cells_is_told_by_its_name_until_it_succeeds(bench):
    bench.run_job()
    bench.work = _raising(BROKEN)
    bench.run_job()
    assert bench.seen(RUN) == [("job sweeping", True)]
    bench.work = lambda _: None
    bench.run_job()
    assert bench.seen(RUN) == [("job sweeping", False)]
    bench.run_job()
    assert bench.seen(RUN) == []
