"""A day begins live as it begins in the batch, from what was there before midnight."""

from __future__ import annotations

import time

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.paths import TickGapsFile
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.completion import Completion

BTC = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
THIN = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
TICKER, LIQUIDATIONS = DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS
DAY = 86_400
LAST_BARS, LAST_ROWS = DAY - 18 * 60, DAY - 4 * 60


def dense(lab, day, start, length):
    times = [start + number * 0.7 for number in range(int(length / 0.7))]
    prices = [100 + number * 7 % 11 / 10 for number in range(len(times))]
    return {
        TRADES: lab.trades(
            day,
            *(
                (t, price, 1 + t % 3, "sell" if t % 2 > 1 else "buy")
                for t, price in zip(times, prices, strict=True)
            ),
            start=day.toordinal() * 1_000_000,
        ),
        BOOK: lab.book(day, *((t + 0.2, price) for t, price in zip(times, prices, strict=True))),
        TICKER: lab.ticker(day, *((t, 100 + t % 5) for t in times[::20])),
    }


def thin(lab, day, *moments):
    """A few rows of each type; at one moment there are two trades."""
    number = day.toordinal() * 1_000_000
    fills = [(t, 50 + t % 3, 2.0, side) for t in moments for side in ("buy", "sell")]
    return {
        TRADES: lab.trades(day, *fills, start=number),
        BOOK: lab.book(day, *((t + 0.4, 50 + t % 4) for t in moments)),
        TICKER: lab.ticker(day, *((t + 0.1, 50 + t % 2) for t in moments)),
    }


@pytest.fixture
def over_midnight(live_lab):
    """Two instruments from before midnight until after it; one is silent for a quarter hour."""
    lab = live_lab.lab
    types = [name.value for name in (TRADES, BOOK, TICKER)]
    lab.listed = [
        lab.instrument(
            instrument_key=key, tardis_symbol=f"{asset}USDT", base_asset=asset, data_types=types
        )
        for key, asset in ((BTC, "BTC"), (THIN, "ETH"))
    ]
    days = {
        BTC: (
            (lab.one, dense(lab, lab.one, LAST_ROWS, DAY - LAST_ROWS)),
            (lab.two, dense(lab, lab.two, 0, 120)),
        ),
        THIN: (
            (lab.one, thin(lab, lab.one, LAST_BARS + 5, LAST_BARS + 130)),
            (lab.two, thin(lab, lab.two, 20, 34, 35, 110)),
        ),
    }
    for key, asset in ((BTC, "BTC"), (THIN, "ETH")):
        for day, frames in days[key]:
            for data_type, frame in frames.items():
                lab.put(day, data_type, frame, key=key)
                live_lab.add(data_type, frame, symbol=f"{asset}USDT")
    return live_lab


def us(lab, day, seconds):
    return round(lab.at(day, seconds).timestamp() * 1_000_000)


def batch(lab, timeframe):
    """The batch's bars of a day whose day before was never built: it has no memory either."""
    lab.build(lab.two, timeframes=(timeframe,))
    return pl.concat([lab.bars(lab.two, timeframe, key=key) for key in (BTC, THIN)])


@pytest.mark.parametrize("restarts", [(), (-600, -20, 10, 50)], ids=["whole", "restarted"])
def test_the_first_bars_of_a_day_know_the_latest_row_before_it(
    over_midnight, differences, restarts
):
    live, lab = over_midnight, over_midnight.lab
    since = None
    for restart in restarts:
        until = us(lab, lab.two, restart)
        live.play(live.engine(), step_us=15_000_000, since_us=since, until_us=until)
        since = until
    live.play(live.engine(), step_us=15_000_000, since_us=since, tail_us=100_000_000)
    midnight = lab.at(lab.two, 0)
    found = live.sink.latest().filter(pl.col("ts_open") >= midnight)
    complete = found.filter(pl.col("stage") != "provisional")
    assert complete.height >= 2 * 8
    bars = batch(lab, Timeframe.S15)
    assert not complete["has_memory"].any()
    assert differences(complete, bars) == {}


def hide_before_the_feed(live):
    """What lay before the first row came was not seen live: a hole in the day's files too."""
    lab = live.lab
    seen = pl.max_horizontal("timestamp", "local_timestamp")
    began = min(rows.select(seen.min()).item() for rows in live.rows.values())
    for data_type in (TRADES, BOOK):
        gaps = [
            Gap(
                date=lab.one,
                venue=lab.venue,
                data_type=data_type,
                instrument_key=key,
                kind=GapKind.SILENCE,
                gap_start=lab.at(lab.one, 0),
                gap_end=began,
                evidence="the feed began here",
            )
            for key in (BTC, THIN)
        ]
        item = TickGapsFile(lab.one, data_type, lab.venue)
        lab.lake.write_table(item, gaps_frame(gaps), GAPS_TABLE)


def wait_for(completion, engine):
    """Take what other processes build until all of it is there."""
    end = time.monotonic() + 120
    while completion.pending and time.monotonic() < end:
        time.sleep(0.05)
        engine.step()
    engine.step()


LARGER = [one for one in Timeframe if one is not Timeframe.S15]


@pytest.mark.parametrize("restarts", [(), (-600, 8)], ids=["whole", "restarted"])
def test_bars_up_to_a_day_end_as_the_batch_s(over_midnight, differences, restarts):
    live, lab = over_midnight, over_midnight.lab
    since = None
    for until in [*(us(lab, lab.two, one) for one in restarts), None]:
        completion = Completion(live.root / "spool")
        engine = live.engine(completer=completion)
        live.play(engine, step_us=15_000_000, since_us=since, until_us=until, tail_us=100_000_000)
        if until is None:
            wait_for(completion, engine)
        completion.close()
        since = until
    hide_before_the_feed(live)
    for day, timeframes in ((lab.two, [Timeframe.M1]), (lab.one, LARGER)):
        lab.build(day, timeframes=timeframes)
        for timeframe in timeframes:
            found = live.sink.latest(timeframe)
            bars = pl.concat([lab.bars(day, timeframe, key=key) for key in (BTC, THIN)])
            bars = bars.filter(pl.col("ts_open").is_in(found["ts_open"].implode()))
            found = found.filter(
                pl.col("ts_open").is_in(bars["ts_open"].implode())
                & (pl.col("ts_close") <= lab.at(lab.two, 120))
            )
            assert set(found["stage"]) == {LiveStage.COMPLETE}, timeframe
            assert found.height >= 2
            assert differences(found, bars) == {}, timeframe
