"""The page's text without a browser: what is packed is what was counted, whatever a span holds."""

import base64
import dataclasses
import datetime as dt
import gzip
import html
import json
import re

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
from tickhandler_dagster.pipeline.completeness_report import LeftOut, build_report
from tickhandler_dagster.reporting.completeness_page.figures import stream_rows, trend
from tickhandler_dagster.reporting.completeness_page.page import render_page
from tickhandler_dagster.reporting.completeness_page.payload import BADNESS, head_json, packed

DAY = dt.date(2024, 8, 8)


@pytest.fixture
def report_of(completeness_tables):
    """The report of ten days of binance trades, of which these rows are stored."""

    def build(*rows, days=10):
        completeness_tables.write(*rows)
        span = ReportSpan(
            start=DAY,
            end=DAY + dt.timedelta(days=days - 1),
            venues=(VenueId.BINANCE,),
            data_types=(DataType.TRADES,),
        )
        return build_report(
            span,
            lake=completeness_tables.lake,
            policy=QualityPolicy(),
            on_rows=lambda _: None,
            on_progress=lambda _: None,
        )

    return build


def _unpacked(report):
    return json.loads(gzip.decompress(base64.b64decode(packed(report))))


def test_what_is_packed_is_what_was_counted(report_of, completeness_row):
    states = ["present", "partial", "failed", "empty", "not_listed"]
    rows = [
        completeness_row(f"{symbol}-USDT", state, day=DAY + dt.timedelta(days=day))
        for day in range(0, 10, 2)
        for symbol, state in zip("ABCDE", states[day % 5 :] + states[: day % 5], strict=True)
    ]
    report = report_of(*rows)
    sums = dict.fromkeys(DataState, 0)
    for _, state, is_whole, runs in _unpacked(report)["counts"]:
        assert sum(runs[1::2]) == 10
        if not is_whole:
            sums[BADNESS[state]] += sum(
                count * days for count, days in zip(runs[::2], runs[1::2], strict=True)
            )
    assert sums == report.by_state()


def test_many_days_of_one_fault_are_one_line(report_of, completeness_row):
    rows = [
        completeness_row("A-USDT", "failed", day=DAY + dt.timedelta(days=day)) for day in range(10)
    ]
    runs = _unpacked(report_of(*rows))["runs"]
    assert (runs["first"], runs["last"], runs["days"]) == ([0], [9], [10])


def test_a_span_without_fault_says_so(report_of, completeness_row):
    page = render_page(report_of(completeness_row("A-USDT"), days=1), lake="lake")
    assert "No instrument lost anything." in page
    assert "No finding is stored for the span." in page
    assert "had no room" not in page


def test_a_span_in_which_nothing_is_expected_has_no_trend(report_of, completeness_row):
    report = report_of(completeness_row("A-USDT", "not_listed"), days=1)
    assert trend(report).points == ()
    assert stream_rows(report)[0].share is None
    assert "No cell of the span should have data." in render_page(report, lake="lake")


def test_what_had_no_room_is_said(report_of):
    left_out = LeftOut(runs=1234, hole_cells=2345, findings_objects=3456)
    report = dataclasses.replace(report_of(), left_out=left_out)
    page = render_page(report, lake="lake")
    assert "1,234 runs of days had no room on this page" in page
    assert "Holes of the 2,345 cells" in page


def test_data_that_is_not_simulated_is_not_called_so(report_of, completeness_row):
    report = report_of(completeness_row("A-USDT", is_simulated=False), days=1)
    assert "Simulated data" not in render_page(report, lake="lake")


def test_no_text_of_the_head_can_end_its_element(report_of):
    head = head_json(report_of())
    assert "<" not in head
    assert json.loads(head)["start"] == "2024-08-08"


def test_the_policy_of_the_page_admits_its_own_script_and_nothing_else(report_of):
    page = render_page(report_of(), lake="lake")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    directives = dict(part.split(" ", 1) for part in html.unescape(policy).split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", directives["script-src"])
    assert not re.search(r'(src|href)="(?!#)', page)


def test_the_trend_stays_inside_its_picture(report_of, completeness_row):
    rows = [
        completeness_row(
            "A-USDT", "failed" if day % 2 else "present", day=DAY + dt.timedelta(days=day)
        )
        for day in range(60)
    ]
    line = trend(report_of(*rows, days=60))
    assert all(0 <= x <= 1000 and 0 <= y <= 180 for x, y, _ in line.points)
    assert len(line.points) == 9
