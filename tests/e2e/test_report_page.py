"""The page of a report as a reader has it: a real browser opens the file and works with it."""

import datetime as dt
from collections import defaultdict

import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE, completeness_frame
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.paths import CompletenessFile, FindingsFile, TickGapsFile
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
from tickhandler_dagster.pipeline.completeness_report import build_report
from tickhandler_dagster.reporting.completeness_page.page import render_page
from tickhandler_dagster.reporting.completeness_page.payload import BADNESS

DAY = dt.date(2024, 8, 8)
NOON = dt.datetime(2024, 8, 8, 12, tzinfo=dt.UTC)
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
DAYS = 40
LEFT, TOP, ROW = 250, 30, 17  # the map's edges in heatmap.js


def _day(offset):
    return DAY + dt.timedelta(days=offset)


def _rows(make):
    hole = {
        "gaps": 1,
        "gap_us": 600_000_000,
        "lost_trades": 12,
        "longest_gap_start": NOON,
        "longest_gap_end": NOON + dt.timedelta(minutes=10),
    }
    yield make("ETH-USDT", "partial", reason="1 hole of 10 min", **hole)
    yield make("ADA-USDT", "failed", reason=HOSTILE)
    yield make(f"EVIL{HOSTILE.replace('/', '')}-USDT", "quarantined")
    for offset in range(DAYS - 1):  # the last day was never materialized
        yield make("BTC-USDT", day=_day(offset), rows=1000, bytes=10_000)
        yield make("XRP-USDT", "failed", day=_day(offset), reason="503 from the vendor")
        for data_type in ("quotes", "book_snapshot_5"):
            yield make("BTC-USDT", day=_day(offset), data_type=data_type)


def _store_evidence(lake):
    key = "BINANCE:SPOT_PAIR:ETH-USDT"
    gap = Gap(
        date=DAY,
        venue=VenueId.BINANCE,
        data_type=DataType.TRADES,
        instrument_key=key,
        kind=GapKind.LOST_IDS,
        gap_start=NOON,
        gap_end=NOON + dt.timedelta(minutes=10),
        evidence=f"ids 5 to 16 are missing {HOSTILE}",
        lost_trades=12,
    )
    item = TickGapsFile(DAY, DataType.TRADES, VenueId.BINANCE)
    lake.write_table(item, gaps_frame([gap]), GAPS_TABLE)
    finding = Finding(
        date=DAY,
        venue=VenueId.BINANCE,
        source="trades",
        instrument_key=key,
        rule=RuleName.LOST_TRADE_IDS,
        rows=1,
        of_rows=100,
        sample=HOSTILE,
    )
    item = FindingsFile(DAY, VenueId.BINANCE, "trades")
    lake.write_table(item, findings_frame([finding]), FINDINGS_TABLE)


@pytest.fixture(scope="module")
def report(completeness_row, tmp_path_factory):
    lake = Lake(LocalObjectStore(tmp_path_factory.mktemp("lake")))
    cells = defaultdict(list)
    for row in _rows(completeness_row):
        cells[row.date].append(row)
    for day, rows in cells.items():
        item = CompletenessFile(day, VenueId.BINANCE)
        lake.write_table(item, completeness_frame(rows), COMPLETENESS_TABLE)
    _store_evidence(lake)
    span = ReportSpan(
        start=DAY,
        end=_day(DAYS - 1),
        venues=(VenueId.BINANCE, VenueId.UPBIT),
        data_types=(DataType.TRADES, DataType.QUOTES, DataType.BOOK_SNAPSHOT_5),
    )
    return build_report(
        span,
        lake=lake,
        policy=QualityPolicy(),
        on_rows=lambda _: None,
        on_progress=lambda _: None,
    )


@pytest.fixture(scope="module")
def page_file(report, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "completeness.html"
    file.write_text(render_page(report, lake="a lake & <b>more</b>"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def context(browser):
    with browser(viewport={"width": 1360, "height": 900}) as context:
        yield context


@pytest.fixture
def page(context, page_file):
    """The page, open; what it asked for and complained about is kept."""
    page = context.new_page()
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    yield page
    page.close()


def _click_cell(page, *, stream, day, shown=DAYS, count=1):
    width = page.evaluate("document.getElementById('heatmap').clientWidth") - LEFT
    place = {"x": LEFT + (day + 0.5) * min(width / shown, 48), "y": TOP + (stream + 0.5) * ROW}
    page.locator("#heatmap").click(position=place, click_count=count)


def _drilled(page):
    page.wait_for_selector("#drill:not([hidden])")
    return page.locator("#drill-table tbody").inner_text()


def test_a_click_on_a_cell_shows_its_instruments_reasons_and_holes(page, tmp_path):
    _click_cell(page, stream=0, day=0)
    text = _drilled(page)
    assert page.inner_text("#drill-title") == "binance · trades · 2024-08-08"
    assert "10 min 0 s from 2024-08-08 12:00:00.000 to 12:10:00.000" in text
    assert "lost_ids: ids 5 to 16 are missing" in text
    assert "12 trades lost" in text
    assert "2024-08-08 \u2013 2024-09-15\n39 days in a row" in text  # one line, not 39
    assert "BTC-USDT" not in text
    assert "20.00 % complete" in page.inner_text("#drill-counts")
    page.screenshot(path=tmp_path / "drill-down.png")
    assert (tmp_path / "drill-down.png").stat().st_size > 10_000


def test_a_cell_without_a_table_says_so(page):
    _click_cell(page, stream=0, day=DAYS - 1)
    assert "all instruments\tnot ingested\tcompleteness was never materialized" in _drilled(page)
    assert "no table" in page.inner_text("#drill-counts")


def test_the_map_and_the_drill_down_work_by_keyboard(page):
    page.focus("#heatmap")
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    said = page.inner_text("#said")
    assert said.startswith("binance trades, 2024-08-08: 20.00 % complete, failed: 2, ")
    page.keyboard.press("Enter")
    assert "503 from the vendor" in _drilled(page)
    page.keyboard.press("Escape")
    assert page.locator("#drill").is_hidden()
    assert page.evaluate("document.activeElement.id") == "heatmap"
    page.keyboard.press("End")
    page.keyboard.press("+")
    assert page.inner_text("#said").endswith("0.00 % complete, not ingested: no table")
    assert page.evaluate("document.getElementById('earlier').disabled") is False


def test_the_period_is_chosen_and_moved(page):
    page.select_option("#period", "2024-09")
    assert page.is_disabled("#later")
    _click_cell(page, stream=0, day=2, shown=16)
    assert "503 from the vendor" in _drilled(page)
    assert page.inner_text("#drill-title").endswith("2024-09-03")
    page.click("#drill-close")
    page.click("#earlier")
    assert page.is_enabled("#later")
    page.click("#earlier")
    assert page.is_disabled("#earlier")


def test_a_double_click_zooms_and_opens_nothing(page):
    assert page.is_disabled("#later")
    _click_cell(page, stream=0, day=0, count=2)
    assert page.is_enabled("#later")
    page.wait_for_timeout(400)
    assert page.locator("#drill").is_hidden()


def test_the_pointer_shows_counts(page):
    page.locator("#heatmap").hover(position={"x": LEFT + 5, "y": TOP + 5})
    text = page.inner_text("#tip")
    assert "binance · trades" in text
    assert "2024-08-08 · 20.00 % complete" in text
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_the_worst_instruments_are_sorted_searched_and_opened(page):
    body = page.locator("#worst-table tbody")
    assert "XRP-USDT" not in body.locator("tr").first.inner_text()  # upbit has nothing at all
    page.click("#worst-table th[data-sort=lost] button")
    assert "ETH-USDT" in body.locator("tr").first.inner_text()
    assert page.get_attribute("#worst-table th[data-sort=lost]", "aria-sort") == "descending"
    page.click("#worst-table th[data-sort=lost] button")
    assert "ETH-USDT" in body.locator("tr").last.inner_text()
    page.fill("#worst-search", "trades xrp")
    assert page.inner_text("#worst-shown") == "1 line"
    body.locator("button").click()
    assert "503 from the vendor" in _drilled(page)
    page.fill("#drill-filter", "nothing like it")
    assert page.inner_text("#drill-shown") == "no line has these words"


def test_the_page_asks_for_nothing_and_complains_of_nothing(page, page_file):
    _click_cell(page, stream=0, day=0)
    _drilled(page)
    page.select_option("#colour", "share")
    page.focus("#heatmap")
    for key in ("+", "-", "-"):
        page.keyboard.press(key)
    assert page.requested == [page_file.as_uri()]
    assert page.complaints == []


def test_texts_of_the_lake_stay_texts(page, page_file):
    _click_cell(page, stream=0, day=0)
    assert "window.broken" in _drilled(page)  # the hostile reason is shown as it is
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    assert page_file.read_text(encoding="utf-8").count("<script") == 3
    assert "<b>more</b>" in page.inner_text("header code")


def test_without_scripts_the_numbers_are_there(browser, page_file):
    with browser(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        text = page.inner_text("body")
        assert "Scripts are off" in text
        assert "XRP-USDT" in page.inner_text("#worst-table")
        assert "lost_trade_ids" in text
        assert page.locator("#heatmap").is_hidden()
        for state in DataState:
            assert state.value.replace("_", " ") in page.inner_text(".legend")


def test_light_and_dark_follow_the_reader(page, tmp_path):
    papers = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    assert papers == {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 27)"}
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#map-bar").is_hidden()


def test_a_browser_that_cannot_unpack_shows_the_tables_and_says_so(browser, page_file):
    with browser() as context:
        context.add_init_script("delete window.DecompressionStream")
        page = context.new_page()
        page.goto(page_file.as_uri())
        page.wait_for_selector("#trouble:not([hidden])")
        assert "the tables below are whole" in page.inner_text("#trouble")


def test_the_same_report_is_the_same_page(report):
    assert render_page(report, lake="lake") == render_page(report, lake="lake")


def test_every_state_has_a_rank_on_the_map():
    assert set(BADNESS) == set(DataState)
    assert len(BADNESS) == len(DataState)


def test_the_page_is_marked_as_simulated(page_file):
    assert "<strong>Simulated data</strong>" in page_file.read_text(encoding="utf-8")
