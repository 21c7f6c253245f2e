"""Bars beside other instruments: the reference, the near contract and the option surface."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.options.surface import SURFACE_VERSION
from tickhandler_dagster.market.options_surface_manifest_table import OptionsSurfaceManifestRow
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.paths import OptionsSurfaceFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import candle_context, related_days
from tickhandler_dagster.pipeline.candle_build import build_instrument
from tickhandler_dagster.pipeline.candle_inputs import instrument_days
from tickhandler_dagster.pipeline.options_surface import surface_digest
from tickhandler_dagster.pipeline.surface_files import write_surface_manifest

TRADES, QUOTES, BOOK = DataType.TRADES, DataType.QUOTES, DataType.BOOK_SNAPSHOT_5
TICKER = DataType.DERIVATIVE_TICKER
ETH = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
SOL = "BINANCE-FUTURES:PERPETUAL:SOL-USDT"
CORRELATION = "realized_correlation_btc"
COARSE = (Timeframe.H1, Timeframe.H24)


def perpetual(lab, key):
    asset = key.rpartition(":")[2].partition("-")[0]
    return lab.instrument(instrument_key=key, tardis_symbol=f"{asset}USDT", base_asset=asset)


@pytest.fixture
def three(lab):
    """Bitcoin and two others that move with it: every second a new mid, for a minute."""
    lab.listed = [perpetual(lab, key) for key in (ETH, lab.key, SOL)]
    for key, weight in ((lab.key, 1.0), (ETH, 1.0), (SOL, -1.0)):
        steps = [(t, 100 + weight * ((t * 7) % 5)) for t in range(5, 65)]
        quotes = lab.quotes(lab.one, *((t, mid - 1, mid + 1) for t, mid in steps))
        lab.put(lab.one, QUOTES, quotes, key=key)
        lab.put(lab.one, TRADES, lab.trades(lab.one, (10, 100, 1)), key=key)
    return lab


def test_others_correlate_with_the_reference_and_the_reference_with_nothing(three):
    three.build(timeframes=COARSE)
    correlations = {key: three.day_bar(key=key)[CORRELATION] for key in (three.key, ETH, SOL)}
    assert correlations[three.key] is None
    assert correlations[ETH] == pytest.approx(1)
    assert correlations[SOL] == pytest.approx(-1, abs=1e-2)
    assert three.day_bar(key=ETH)["btc_return_count"] == 124 - 6  # the last mid holds a minute
    assert three.day_bar()["btc_return_count"] == 0


def test_the_reference_is_read_once_for_all_the_others(three, monkeypatch):
    built = []
    second_day = related_days.RelatedDays._second_day

    def counted(self, inputs):
        built.append(inputs.facts.instrument_key)
        return second_day(self, inputs)

    monkeypatch.setattr(related_days.RelatedDays, "_second_day", counted)
    three.build(timeframes=COARSE)
    assert built == [three.key]


def test_without_bitcoin_there_is_no_correlation(three):
    three.build(timeframes=COARSE, universe=three.universe.filter(pl.col("base_asset") != "BTC"))
    assert three.day_bar(key=ETH)[CORRELATION] is None
    assert three.bars(timeframe=Timeframe.H24) is None


def test_a_reference_without_quotes_correlates_with_nothing(three):
    three.put(three.one, QUOTES, DataState.FAILED)
    three.build(timeframes=COARSE)
    assert three.day_bar(key=ETH)[CORRELATION] is None


def test_only_the_quotes_of_the_reference_move_the_others(three):
    three.build(timeframes=COARSE)
    three.put(three.one, TRADES, three.trades(three.one, (10, 100, 2)))
    three.put(three.one, BOOK, three.book(three.one, (10, 100)))  # beside quotes it is not read
    assert three.build(timeframes=COARSE).built == 1
    three.put(three.one, QUOTES, three.quotes(three.one, (10, 99, 101)))
    assert three.build(timeframes=COARSE).built == 3
    assert three.build(timeframes=COARSE).is_no_op


def test_the_reference_brings_its_arrivals_into_what_could_be_known(three):
    three.build(timeframes=(Timeframe.S15,))
    before = three.bars(key=ETH)["available_at"][0]
    late = three.quotes(three.one, (5, 99, 101), (14, 101, 103, 1, 1, 40))
    three.put(three.one, QUOTES, late)
    three.build(timeframes=(Timeframe.S15,))
    assert before == three.at(three.one, 15.2)
    assert three.bars(key=ETH)["available_at"][0] == three.at(three.one, 40.2)


NEAR, FAR = (f"BINANCE-FUTURES:FUTURE:BTC-USDT-2024-{month}" for month in ("08-16", "12-27"))


def future(lab, key, days, **more):
    return lab.instrument(
        instrument_key=key,
        instrument_type="FUTURE",
        tardis_symbol=key,
        expiry=lab.at(lab.two, 0) + dt.timedelta(days=days),
        **more,
    )


@pytest.fixture
def curve(lab):
    """A near future marked at 100 and a far one at 102."""
    lab.listed = [future(lab, NEAR, 7), future(lab, FAR, 107)]
    for key, mark in ((NEAR, 100), (FAR, 102)):
        lab.put(lab.one, TRADES, lab.trades(lab.one, (10, mark, 1)), key=key)
        marks = ((float(t), mark) for t in range(5, 86_400, 300))
        lab.put(lab.one, TICKER, lab.ticker(lab.one, *marks), key=key)
    return lab


def test_the_calendar_spread_is_the_far_mark_over_the_near_one(curve):
    curve.build(timeframes=COARSE)
    far, near = (curve.day_bar(key=key) for key in (FAR, NEAR))
    assert far["calendar_spread"] == pytest.approx(0.02)
    assert far["roll_yield_per_day"] == pytest.approx(0.02 / 100)
    assert (near["calendar_spread"], near["roll_yield_per_day"]) == (None, None)


def test_on_the_day_a_future_expires_the_next_one_is_near(curve):
    curve.listed[0] = future(curve, NEAR, -0.5)
    curve.build(timeframes=COARSE)
    assert curve.day_bar(key=FAR)["calendar_spread"] is None
    assert curve.day_bar(key=NEAR)["calendar_spread"] is None


def test_a_near_contract_without_a_ticker_leaves_the_spread_unknown(curve):
    curve.put(curve.one, TICKER, DataState.FAILED, key=NEAR)
    curve.build(timeframes=COARSE)
    assert curve.day_bar(key=FAR)["calendar_spread"] is None


def test_news_of_the_near_contract_reach_the_far_one(curve):
    curve.build(timeframes=COARSE)
    curve.put(curve.one, TRADES, curve.trades(curve.one, (11, 100, 1)), key=NEAR)
    assert curve.build(timeframes=COARSE).built == 1
    curve.put(curve.one, TICKER, curve.ticker(curve.one, (86_000.0, 51)), key=NEAR)
    assert curve.build(timeframes=COARSE).built == 2
    assert curve.day_bar(key=FAR)["calendar_spread"] == pytest.approx(1)
    curve.listed[0] = future(curve, NEAR, 57)
    assert curve.build(timeframes=COARSE).built == 2
    assert curve.day_bar(key=FAR)["roll_yield_per_day"] == pytest.approx(1 / 50)


def put_surface(lab, venue, iv, *, underlying="BTC-USD"):
    """An option surface of one volatility, at every timeframe."""
    rows, table = [], OPTIONS_SURFACE_TABLE
    cell = VenueDay(lab.one, venue)
    for timeframe in Timeframe:
        step = dt.timedelta(microseconds=timeframe.us)
        opens = [lab.at(lab.one, 0) + step * bar for bar in range(timeframe.bars_per_day)]
        known = {
            "ts_open": opens,
            "ts_close": [moment + step for moment in opens],
            "available_at": [moment + step for moment in opens],
            "atm_iv_30d": [iv + bar / 1e5 for bar in range(len(opens))],
        }
        frame = pl.DataFrame(
            {name: known.get(name, [None] * len(opens)) for name in table.names},
            schema=table.polars_schema,
        ).with_columns(
            pl.lit(0).cast(dtype).alias(name)
            if dtype.is_numeric()
            else pl.lit("x").cast(dtype).alias(name)
            for name, dtype in table.polars_schema.items()
            if name not in known and not table.column(name).is_nullable and not dtype.is_temporal()
        )
        item = OptionsSurfaceFile(lab.one, timeframe, venue, underlying)
        stored = lab.lake.write_table(item, frame, table)
        counts = dict.fromkeys(
            ("options", "present_options", "missing_options", "expiries", "raw_rows", "rows"), 1
        )
        rows.append(
            OptionsSurfaceManifestRow(
                date=lab.one,
                venue=venue,
                timeframe=timeframe,
                underlying=underlying,
                base_asset=underlying.partition("-")[0],
                **counts,
                rows_with_front=0,
                rows_with_30d=frame.height,
                rows_with_model_free=0,
                bytes=stored.bytes,
                content_sha256=stored.sha256,
                inputs_sha256="",
                is_simulated=False,
                kernel_version=SURFACE_VERSION,
            )
        )
    write_surface_manifest(lab.lake, cell, rows)


def test_a_surface_that_comes_later_gives_new_versions_of_the_bars_of_its_asset(lab):
    lab.listed = [perpetual(lab, key) for key in (ETH, lab.key)]
    for key in (ETH, lab.key):
        lab.put(lab.one, TRADES, lab.trades(lab.one, (10, 100, 1)), key=key)
    names = lab.columns_of(Channel.OPTIONS)
    lab.build()
    bars = lab.bars()
    assert bars.select(names).null_count().row(0) == (bars.height,) * len(names)
    put_surface(lab, VenueId.DERIBIT, 0.5)
    result = lab.build()
    assert (result.built, result.changes.changed) == (1, 5_761)  # not the bars of ether
    bars = lab.bars()
    assert bars["bar_version"].unique().to_list() == [2]
    assert bars["surface_venue"].unique().to_list() == ["deribit"]
    assert bars["atm_iv_30d"][:2].to_list() == [0.5, 0.50001]
    assert lab.bars(timeframe=Timeframe.H24)["atm_iv_30d"].to_list() == [0.5]
    assert lab.day_bar(key=ETH)["surface_venue"] is None
    row = result.manifests[Timeframe.H24].filter(pl.col("instrument_key") == lab.key)
    assert row["surface_sha256"].item() == surface_digest(lab.lake, lab.one, "BTC", lab.venue)
    assert lab.build().is_no_op


def test_deribit_goes_before_another_venue_and_the_own_venue_before_deribit(make_lab):
    lab = make_lab()
    lab.put(lab.one, TRADES, lab.trades(lab.one, (10, 100, 1)))
    put_surface(lab, VenueId.OKEX_OPTIONS, 0.7)
    lab.build(timeframes=COARSE)
    assert lab.day_bar()["surface_venue"] == "okex-options"
    put_surface(lab, VenueId.DERIBIT, 0.5)
    assert lab.build(timeframes=COARSE).built == 1
    assert lab.day_bar()["surface_venue"] == "deribit"
    own = make_lab()  # the same lake, seen from the venue of the options
    own.venue = VenueId.OKEX_OPTIONS
    key = "OKX-OPTIONS:OPTION:BTC-USD-240927-60000-CALL"
    option = own.instrument(instrument_key=key, venue="okex-options", instrument_type="OPTION")
    own.listed = [option | {"expiry": own.at(own.two, 0), "strike": 6e4, "option_type": "CALL"}]
    own.put(own.one, TRADES, own.trades(own.one, (10, 0.1, 1)), key=key)
    own.build(timeframes=COARSE)
    assert own.day_bar(key=key)["surface_venue"] == "okex-options"
    assert own.day_bar(key=key)["atm_iv_30d"] == 0.7


def test_an_instrument_can_be_built_without_the_rest_of_its_cell(three):
    """What the context names is all that a build looks at."""
    three.build(timeframes=COARSE)
    expected = three.bars(timeframe=Timeframe.H24, key=ETH)
    cell = VenueDay(three.one, three.venue)
    days = instrument_days(cell, lake=three.lake, catalog=three.catalog, universe=three.universe)
    context = candle_context.CellContext(three.lake, cell, days)
    inputs = next(day for day in days if day.facts.instrument_key == ETH)
    built = build_instrument(
        inputs,
        context.of(inputs),
        lake=three.lake,
        related=related_days.RelatedDays(three.lake, cell),
        timeframes=(Timeframe.H24,),
    )
    assert built.frames[Timeframe.H24].equals(expected)
