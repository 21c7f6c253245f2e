"""The live page as a trader has it: a real browser, a real server, bars of a simulated day."""

import datetime as dt
import time

import polars as pl
import pytest
from doubles.live_bars import COINS, as_live, batch, key_of, simulated_candles

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import BarBatch, FeedStatus, LiveStatus
from tickhandler_dagster.streaming.serving.broadcast import Broadcast
from tickhandler_dagster.streaming.serving.server import serve
from tickhandler_dagster.streaming.serving.status_board import StatusBoard
from tickhandler_dagster.streaming.serving.streams import StreamLimits

S15 = Timeframe.S15
OFTEN = StreamLimits(status_s=0.2)
FIRST = 2_700  # of the day's bars, so that both traded and empty ones are shown
SHOWN = 120
NOTHING = "\N{EN DASH}"
PRICES = ("open", "high", "low", "close", "volume", "trade_count", "spread_tw_bps")


@pytest.fixture(scope="module")
def candles(tmp_path_factory):
    return simulated_candles(tmp_path_factory.mktemp("simulated"))


class Engine:
    """Publishes the day's bars and says how it is doing."""

    def __init__(self, candles):
        self.candles = candles
        self.broadcast = Broadcast()
        self.board = StatusBoard()
        self.bars = 1_000

    def start_day(self):
        for (_, timeframe), frame in self.candles.items():
            if timeframe is not S15:
                self.broadcast.publish([batch(frame.head(100), timeframe)])
        for coin in COINS:
            rows = self.candles[coin, S15].slice(FIRST, SHOWN)
            self.broadcast.publish([batch(with_gap(rows))])
        self.tell()

    def publish(self, place, stage="provisional", coin="ETH", **more):
        self.broadcast.publish(
            [batch(self.candles[coin, S15].slice(place, 1), stage=stage, **more)]
        )
        self.bars += 1

    def tell(self, *feeds):
        now_us = time.time_ns() // 1_000
        status = LiveStatus(
            at=dt.datetime.now(dt.UTC),
            feeds=feeds or (self.feed(VenueId.BINANCE_FUTURES),),
            bars={S15: self.bars},
            newest_close_us={S15: now_us},
            amended=1,
            late_rows=4,
            publish_delay_us=38_000,
            spool_bytes=123_456_789,
            memory_bytes=412_000_000,
        )
        self.board.report(status)

    @staticmethod
    def feed(venue, **changes):
        now_us = time.time_ns() // 1_000
        fields = {
            "is_connected": True,
            "last_arrival_us": now_us,
            "lag_us": 42_000,
            "skew_us": -3_100,
            "watermark_us": now_us - 1_100_000,
            "rows": {"trades": 1_234_567, "book_snapshot_5": 7},
        }
        return FeedStatus(venue=venue, **(fields | changes))


def with_gap(rows):
    is_lost = pl.int_range(pl.len()).is_between(60, 65)
    return rows.with_columns(
        pl.when(is_lost).then(pl.lit("vendor_gap")).otherwise("status").alias("status"),
        pl.when(is_lost).then(0.0).otherwise("coverage").alias("coverage"),
        *(pl.when(is_lost).then(None).otherwise(name).alias(name) for name in PRICES),
    )


@pytest.fixture
def engine(candles):
    made = Engine(candles)
    made.start_day()
    return made


@pytest.fixture
def server(engine):
    with serve(engine.broadcast, engine.board, limits=OFTEN) as running:
        yield running


@pytest.fixture(scope="module")
def context(browser):
    with browser(viewport={"width": 1360, "height": 1000}) as context:
        yield context


@pytest.fixture
def page(context, server):
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.goto(f"{server.url}/#instrument={key_of('ETH')}&timeframe=15s")
    wait_until(page, "element('state').textContent === 'live' && shown.bars.size > 100")
    yield page
    page.close()
    assert not [text for text in faults if "ERR_CONNECTION_REFUSED" not in text]


def wait_until(page, condition, timeout_s=10):
    """Until the expression is true; the page's own policy forbids it to evaluate texts itself."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def readout(page):
    names = page.locator("#readout dt").all_text_contents()
    return dict(zip(names, page.locator("#readout dd").all_text_contents(), strict=True))


def colours(page):
    """How many pixels of the chart have each colour of the palette."""
    return page.evaluate(
        """() => {
          const paint = colours();
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          const hex = (name) => [1, 3, 5].map((at) => parseInt(paint[name].slice(at, at + 2), 16));
          const wanted = ['up', 'down', 'amended', 'gap', 'line'].map((name) => [name, hex(name)]);
          const found = Object.fromEntries(wanted.map(([name]) => [name, 0]));
          for (let at = 0; at < data.length; at += 4)
            for (const [name, rgb] of wanted)
              if (rgb.every((one, place) => Math.abs(data[at + place] - one) < 3)
                  && data[at + 3] > 100) found[name] += 1;
          return found;
        }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_starts_with_history_and_goes_on_live(page, engine, tmp_path, scheme):
    page.emulate_media(color_scheme=scheme)
    newest = engine.candles["ETH", S15].row(FIRST + SHOWN - 1, named=True)
    assert readout(page)["bar opens, UTC"] == f"{newest['ts_open']:%m-%d %H:%M:%S}"
    engine.publish(FIRST + SHOWN)
    opened = engine.candles["ETH", S15]["ts_open"][FIRST + SHOWN]
    wait_until(page, f"Math.max(...shown.bars.keys()) === {opened.timestamp() * 1000:.0f}")
    told = readout(page)
    assert told["stage"] == "provisional"
    assert told["published"] == "1.0 s after its end"
    engine.publish(FIRST + SHOWN, "complete", delay_s=31.5)
    wait_until(page, "element('readout').textContent.includes('complete, revision 2')")
    file = tmp_path / "live-page.png"
    page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 20_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_candles_gaps_and_amendments_are_seen(page, engine, scheme):
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(300)  # it draws anew when the scheme changes
    before = colours(page)
    assert before["up"] > 200
    assert before["down"] > 200
    assert before["gap"] > 200
    assert before["line"] > 200
    assert before["amended"] == 0
    traded = engine.candles["ETH", S15].slice(FIRST, SHOWN)["status"].to_list().index("traded", 70)
    engine.publish(FIRST + traded, "amended", rows_after_first=3)
    wait_until(page, "[...shown.bars.values()].some((bar) => bar.stage === 'amended')")
    assert colours(page)["amended"] > 20


def test_a_provisional_bar_looks_other_than_a_complete_one(page, engine):
    def looks():
        return page.evaluate("canvas.toDataURL()")

    place = FIRST + engine.candles["ETH", S15].slice(FIRST, 600)["status"].to_list().index(
        "traded", SHOWN
    )
    engine.publish(place)
    wait_until(page, "[...shown.bars.values()].some((bar) => bar.stage === 'provisional')")
    hollow = looks()
    engine.publish(place, "complete")
    wait_until(page, "[...shown.bars.values()].every((bar) => bar.stage === 'complete')")
    assert looks() != hollow


def test_keys_move_over_the_bars_and_are_spoken(page, engine):
    rows = engine.candles["ETH", S15].slice(FIRST, SHOWN)
    page.locator("#chart").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert readout(page)["bar opens, UTC"] == f"{rows['ts_open'][SHOWN - 2]:%m-%d %H:%M:%S}"
    page.keyboard.press("Home")
    first = rows.row(0, named=True)
    told = readout(page)
    assert told["bar opens, UTC"] == f"{first['ts_open']:%m-%d %H:%M:%S}"
    assert told["volume"].endswith(" base asset")
    assert told["spread"].endswith(" bp")
    assert page.locator("#said").text_content().startswith("bar opens, UTC")
    page.keyboard.press("End")
    assert readout(page)["bar opens, UTC"] == f"{rows['ts_open'][SHOWN - 1]:%m-%d %H:%M:%S}"
    page.keyboard.press("Escape")
    assert page.evaluate("shown.pointedAt") is None


def test_pointing_shows_the_bar_under_the_pointer(page, engine):
    box = page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + 4 + (box["width"] - 78) * (30.5 / SHOWN), box["y"] + 100)
    opened = engine.candles["ETH", S15]["ts_open"][FIRST + 30]
    assert readout(page)["bar opens, UTC"] == f"{opened:%m-%d %H:%M:%S}"
    page.mouse.move(0, 0)
    assert page.evaluate("shown.pointedAt") is None


def test_a_gap_is_told_as_such(page):
    page.evaluate("point([...shown.bars.keys()].sort((a, b) => a - b)[62], false)")
    told = readout(page)
    assert (told["content"], told["observed"], told["close"]) == ("vendor gap", "0.0 %", NOTHING)


def test_instrument_and_timeframe_are_chosen_and_kept_in_the_address(page, engine):
    page.locator("#instrument").select_option(key_of("BTC"))
    page.get_by_text("5m", exact=True).click()
    wait_until(page, "shown.bars.size === 100")
    close = engine.candles["BTC", Timeframe.M5]["close"][99]
    assert page.locator("#last-close").text_content() == f"{close:,.8g}".rstrip("0").rstrip(".")
    page.reload()
    wait_until(page, "shown.bars.size === 100")
    assert page.evaluate("[shown.instrument, shown.timeframe]") == [key_of("BTC"), "5m"]


def test_feeds_are_told_with_units(page, engine):
    cut = engine.feed(VenueId.DERIBIT, is_connected=False, skew_us=None, gaps=2, overflows=3)
    engine.tell(engine.feed(VenueId.BINANCE_FUTURES), cut)
    wait_until(page, "element('feeds').textContent.includes('deribit')")
    rows = [
        row.locator("th, td").all_text_contents() for row in page.locator("#feeds tbody tr").all()
    ]
    assert rows[0][:2] == ["binance-futures", "● connected"]
    assert rows[0][2].endswith((" ms", " s"))
    assert rows[0][3] == "-3.1 ms"
    assert rows[0][5] == "1,234,574"
    assert rows[1][1] == "○ cut off"
    assert (rows[1][3], rows[1][7], rows[1][8]) == (NOTHING, "2", "3")
    assert "deribit: not connected." in page.locator("#trouble").text_content()
    totals = page.locator("#engine").text_content()
    assert "123.5 MB" in totals
    assert "38 ms" in totals


def test_bars_per_second_are_the_rise_of_the_count(page, engine):
    for _ in range(3):
        engine.bars += 1_000
        engine.tell()
        page.wait_for_timeout(1_000)
    rate = page.locator("#engine dd").first.text_content()
    assert 500 < float(rate.removesuffix(" bars/s").replace(",", "")) < 1_500


def test_it_comes_back_by_itself_and_says_that_it_was_away(context, engine, candles):
    first = serve(engine.broadcast, engine.board)
    first.start()
    page = context.new_page()
    page.goto(f"{first.url}/#instrument={key_of('ETH')}&timeframe=15s")
    wait_until(page, "element('state').textContent === 'live' && shown.bars.size > 100")
    first.stop()
    wait_until(page, "element('state').textContent.startsWith('reconnecting')")
    engine.publish(FIRST + SHOWN, "complete")  # while it is away
    with serve(engine.broadcast, engine.board, port=first.port, limits=OFTEN):
        wait_until(page, "element('state').textContent === 'live'", timeout_s=15)
        opened = candles["ETH", S15]["ts_open"][FIRST + SHOWN].timestamp() * 1000
        wait_until(page, f"shown.bars.has({opened:.0f})")
    page.close()


def test_silence_of_the_engine_and_old_bars_are_said(page, engine):
    page.evaluate("link.barAt -= 60_000")
    wait_until(page, "element('trouble').textContent.includes('what is shown is old')")
    engine.tell(engine.feed(VenueId.BINANCE_FUTURES, lag_us=90_000_000))
    wait_until(page, "element('state').textContent === 'the engine is not well'")
    assert "no row for 9" in page.locator("#trouble").text_content()


def test_a_server_that_is_silent_makes_the_page_stale(page):
    page.evaluate("link.events.onerror = null, link.events.close(), link.heardAt -= 20_000")
    wait_until(page, "element('state').textContent.startsWith('stale: no word for')")


def test_a_wrong_token_is_said_and_the_right_one_works(context, engine):
    with serve(engine.broadcast, engine.board, token="right") as server:
        page = context.new_page()
        answer = page.goto(f"{server.url}/?token=wrong")
        assert answer.status == 401
        page.goto(f"{server.url}/?token=right")
        wait_until(page, "element('state').textContent === 'live' && shown.bars.size > 100")
        page.close()


def test_before_the_first_bar_it_says_that_it_waits(context, candles):
    engine = Engine(candles)
    with serve(engine.broadcast, engine.board, limits=OFTEN) as server:
        page = context.new_page()
        page.goto(server.url)
        wait_until(page, "element('state').textContent === 'the engine is not well'")
        assert page.locator("#nothing").is_visible()
        engine.start_day()
        wait_until(page, "shown.bars.size > 0", timeout_s=20)
        assert not page.locator("#nothing").is_visible()
        page.close()


def test_no_outside_address_is_asked_and_a_hostile_name_stays_a_text(context, candles):
    hostile = "<img src=x onerror='window.broken = 1'>"
    engine = Engine(candles)
    rows = as_live(candles["ETH", S15].head(3)).with_columns(instrument_key=pl.lit(hostile))
    engine.broadcast.publish([BarBatch(S15, rows)])
    engine.tell()
    asked = []
    with serve(engine.broadcast, engine.board, limits=OFTEN) as server:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        wait_until(page, "shown.bars.size === 3")
        assert page.evaluate("window.broken") is None
        page.close()
        assert all(url.startswith((server.url, "data:")) for url in asked)


def test_a_narrow_screen_needs_no_sideways_scrolling(context, server):
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{server.url}/#instrument={key_of('ETH')}&timeframe=15s")
    wait_until(page, "shown.bars.size > 100")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
