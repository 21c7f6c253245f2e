"""Every evaluation of a check is seen once: alone, in a range, of a run that still goes on."""

import time

import dagster as dg

from tickhandler_dagster.automation import event_pages
from tickhandler_dagster.automation.alert_watch import Watch, look
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import CorruptData

CHECK = IncidentKind.FAILED_CHECK
CELL = "2024-08-08|binance"


def test_a_check_that_fails_is_bad_and_one_that_passes_is_good(bench):
    listing = "| instrument | state |\n| BTC | failed |"
    metadata = {
        "expected": dg.MetadataValue.int(1_200),
        "missing": dg.MetadataValue.int(1),
        "missing instruments": dg.MetadataValue.md(listing),
        "picture": dg.MetadataValue.md("![states](data:image/png;base64,AAAA)"),
    }
    bench.work = lambda _: bench.outcome(has_passed=False, metadata=metadata)
    run = bench.run(CELL)
    signal = next(one for one in bench.signals() if one.kind is CHECK)
    assert (signal.subject, signal.is_bad) == (f"raw_ticks/trades complete {CELL}", True)
    assert signal.urgency is Urgency.WARNING
    assert signal.group == "raw_ticks/trades complete binance"
    assert "expected 1,200, missing 1" in signal.summary
    assert signal.details == {"run": run.run_id, "missing instruments": listing}
    assert signal.link == "/assets/raw_ticks/trades?view=checks&checkDetail=complete"

    bench.work = lambda _: bench.outcome()
    bench.run(CELL)
    assert bench.seen(CHECK) == [(signal.subject, False)]


def test_cells_of_a_range_are_seen_one_by_one_and_their_summary_is_not(sqlite_bench):
    sqlite_bench.work = lambda cell: sqlite_bench.outcome(has_passed=cell.date.day != 9)
    sqlite_bench.run(span=(CELL, "2024-08-10|binance"))
    assert sqlite_bench.seen(CHECK) == [
        (f"raw_ticks/trades complete 2024-08-{day:02d}|binance", day == 9) for day in (8, 9, 10)
    ]


def test_a_range_that_ends_early_still_tells_of_its_cells(bench):
    def work(cell):
        if cell.date.day == 9:
            raise CorruptData("file", "broken", remedy="Fetch it again")
        return bench.outcome(has_passed=False)

    bench.work = work
    bench.run(span=(CELL, "2024-08-09|binance"))
    assert bench.seen(CHECK) == [(f"raw_ticks/trades complete {CELL}", True)]


def test_a_run_need_not_be_over(sqlite_bench):
    sqlite_bench.evaluate((CELL, False))
    assert sqlite_bench.seen(CHECK) == [(f"raw_ticks/trades complete {CELL}", True)]
    assert sqlite_bench.seen(CHECK) == []


def test_ten_thousand_events_are_read_in_pages_each_once_and_in_order(bench, record_property):
    began = time.perf_counter()
    bench.evaluate(*((f"cell {number}", number % 3 == 0) for number in range(10_000)))
    stored = time.perf_counter()
    watch, pages, seen = Watch(cursor=-1), 0, []
    while True:
        step = look(bench.instance, watch, now_us=time.time_ns() // 1_000 + 60_000_000)
        watch, pages = Watch.of(step.watch.record), pages + 1
        assert step.events <= event_pages.PAGE_SIZE
        seen += [(one.subject.rpartition(" ")[2], one.is_bad) for one in step.signals]
        if step.is_last:
            break
    read = time.perf_counter()
    assert seen == [(str(number), number % 3 != 0) for number in range(10_000)]
    assert pages == 10_000 // event_pages.PAGE_SIZE + 1
    idle = look(bench.instance, watch, now_us=time.time_ns() // 1_000)
    record_property("10,000 events stored in s", stored - began)
    record_property("10,000 events read in s", read - stored)
    record_property("a look at nothing new in s", time.perf_counter() - read)
    assert not idle.events


def test_an_event_of_this_moment_waits_until_others_that_began_earlier_are_in_sight(bench):
    bench.evaluate(("settled", False), at_us=1_000_000_000_000_000)
    bench.evaluate(("fresh", False), at_us=2_000_000_000_000_000)
    bench.evaluate(("behind", False), at_us=1_000_000_000_000_001)
    at = 2_000_000_000_000_000
    first = look(bench.instance, Watch(cursor=-1), now_us=at + event_pages.SETTLING_US - 1)
    assert [one.subject.split()[-1] for one in first.signals] == ["settled"]
    again = look(bench.instance, first.watch, now_us=at + event_pages.SETTLING_US - 1)
    assert (again.signals, again.watch, again.is_last) == ((), first.watch, True)
    rest = look(bench.instance, first.watch, now_us=at + event_pages.SETTLING_US)
    assert [one.subject.split()[-1] for one in rest.signals] == ["fresh", "behind"]


def test_a_clock_behind_that_of_the_runs_does_not_stop_the_reading(bench):
    bench.evaluate(("ahead", False), at_us=3_000_000_000_000_000)
    assert look(bench.instance, Watch(cursor=-1), now_us=2_000_000_000_000_000).signals


def test_kinds_move_on_together(bench, monkeypatch):
    """Of three materializations and then a failure, a page of two holds no failure yet."""
    for day in (8, 9, 10):
        bench.run(f"2024-08-{day:02d}|binance")
    monkeypatch.setattr(event_pages, "PAGE_SIZE", 2)
    ids, cursor = [], -1
    while True:
        page = event_pages.read_page(bench.instance, cursor, now_us=10**16, size=2)
        ids += [item.at_us for item in page.items]
        cursor = page.cursor
        if page.is_last:
            break
    whole = event_pages.read_page(bench.instance, -1, now_us=10**16, size=1_000)
    assert ids == [item.at_us for item in whole.items]
    assert len(ids) == 3 * (2 + 1 + 1)
