"""The audit of a cell's stored bars: what is compared, what is found, and what is written."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    FindingsFile,
    QuoteAuditFile,
    RawManifest,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.bar_audit import audit_bars
from tickhandler_dagster.pipeline.tick_audits import read_findings

SPOT = "BINANCE:SPOT_PAIR:BTC-USDT"
MADE = (Timeframe.S15, Timeframe.M1, Timeframe.H1)


def path_of(*, wrong=range(0), factor=1.05):
    """Prices of every minute, some of them wrong."""
    walk = 60_000 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 5e-4, 240)))
    return [price * (factor if number in wrong else 1) for number, price in enumerate(walk)]


def minutes(prices):
    """One trade a minute, a second before its end."""
    return [(60 * number + 59, round(price, 1), 1) for number, price in enumerate(prices)]


def put_perpetual(lab, prices, *, index=None):
    lab.put(lab.one, DataType.TRADES, lab.trades(lab.one, *minutes(prices)))
    marks = [
        (60 * number + 58, price, {"index_price": price})
        for number, price in enumerate(index or path_of())
    ]
    lab.put(lab.one, DataType.DERIVATIVE_TICKER, lab.ticker(lab.one, *marks))
    lab.build(timeframes=MADE)


def put_spot(lab, prices, *, is_simulated=False):
    """A spot venue in the same lake."""
    spot = type(lab)(lab.lake.store.root, venue=VenueId.BINANCE)
    spot.lake = lab.lake
    spot.listed = [
        lab.instrument(
            instrument_key=SPOT,
            venue="binance",
            instrument_type="SPOT_PAIR",
            is_simulated=is_simulated,
        )
    ]
    rows = lab.trades(lab.one, *minutes(prices))
    spot.put(lab.one, DataType.TRADES, rows, key=SPOT, is_simulated=is_simulated)
    spot.build(timeframes=MADE)
    return spot


def audit(lab, venue=None):
    return audit_bars(VenueDay(lab.one, venue or lab.venue), lake=lab.lake)


def rewrite(lab, timeframe, change):
    """Change a stored candle file as a faulty program would: the manifest still names it."""
    item = CandleFile(lab.one, timeframe, lab.key)
    bars = lab.lake.read_table(item)
    lab.lake.write_table(item, change(bars), CANDLE_TABLE)


def test_a_day_as_it_should_be_is_looked_at_and_raises_nothing(lab):
    put_spot(lab, path_of())
    put_perpetual(lab, path_of())
    found = audit(lab)
    assert (found.roll_up, found.prices) == ((), ())
    assert (found.instruments, found.bars, found.with_index) == (1, 1_440 + 24, 1)
    assert found.pairs == {lab.key: SPOT}
    cell = VenueDay(lab.one, lab.venue)
    for source in ("candles", "prices"):
        assert lab.lake.exists(FindingsFile(lab.one, lab.venue, source))
        assert read_findings(lab.lake, cell, source) == []


def test_every_wrong_bar_of_an_instrument_is_in_one_finding(lab):
    put_perpetual(lab, path_of())
    is_third = pl.int_range(pl.len()) == 3
    for timeframe, name in ((Timeframe.M1, "volume"), (Timeframe.H1, "close")):
        rewrite(
            lab,
            timeframe,
            lambda bars, name=name: bars.with_columns(
                pl.when(is_third).then(pl.col(name) * 1.01).otherwise(pl.col(name)).alias(name)
            ),
        )
    (finding,) = audit(lab).roll_up
    assert (finding.rule, finding.source) == (RuleName.ROLL_UP_DIFFERS, "candles")
    assert (finding.instrument_key, finding.rows, finding.of_rows) == (lab.key, 2, 1_464)
    assert (finding.first_at, finding.last_at) == (lab.at(lab.one, 180), lab.at(lab.one, 10_800))
    assert "1m volume at 00:03:00 is 1.01, 15 s bars give 1.0" in finding.sample
    assert "1h close at 03:00:00 is " in finding.sample
    assert "2 columns: volume (1), close (1)" in finding.sample
    assert read_findings(lab.lake, VenueDay(lab.one, lab.venue), "candles") == [finding]


@pytest.mark.parametrize("factor", [0.9, 1.02])
def test_a_perpetual_that_leaves_spot_is_found_on_both_venues(lab, factor):
    wrong = path_of(wrong=range(100, 110), factor=factor)
    put_spot(lab, path_of())
    put_perpetual(lab, wrong, index=wrong)
    for venue, key, other in (
        (lab.venue, lab.key, SPOT),
        (VenueId.BINANCE, SPOT, lab.key),
    ):
        (finding,) = audit(lab, venue).prices
        assert (finding.rule, finding.instrument_key) == (RuleName.SPOT_PERPETUAL_APART, key)
        assert (finding.rows, finding.of_rows) == (10, 240)
        assert finding.first_at == lab.at(lab.one, 6_000)
        assert finding.last_at == lab.at(lab.one, 6_540)
        assert finding.sample.startswith(f"against {other}: ")


def test_a_close_away_from_its_index_is_found_without_any_other_venue(lab):
    put_perpetual(lab, path_of(wrong=range(7, 9)))
    (finding,) = audit(lab).prices
    assert finding.rule is RuleName.AWAY_FROM_INDEX
    assert (finding.rows, finding.of_rows) == (2, 240)
    assert "against its index: 5.00 % from the day's median of 0.00 % at" in finding.sample


def test_prices_of_different_moments_are_not_compared(lab):
    put_spot(lab, path_of())
    early = [(t - 40, price, size) for t, price, size in minutes(path_of(wrong=range(7, 9)))]
    lab.put(lab.one, DataType.TRADES, lab.trades(lab.one, *early))
    marks = [(float(t + 39), price) for t, price, _ in early]
    lab.put(lab.one, DataType.DERIVATIVE_TICKER, lab.ticker(lab.one, *marks))
    lab.build(timeframes=MADE)
    found = audit(lab)
    assert (found.prices, found.with_index) == ((), 0)


def test_a_simulated_price_is_not_held_against_a_market(lab):
    put_spot(lab, path_of(), is_simulated=True)
    wrong = path_of(wrong=range(100, 110))
    put_perpetual(lab, wrong, index=wrong)
    found = audit(lab)
    assert (found.prices, found.pairs) == ((), {})


def test_a_second_look_leaves_every_byte_and_a_healed_bar_is_forgotten(lab):
    put_perpetual(lab, path_of())
    clean = audit(lab)
    rewrite(lab, Timeframe.H1, lambda bars: bars.with_columns(pl.col("low") / 2))
    wrong = audit(lab)
    assert wrong.data_version != clean.data_version
    paths = list(lab.lake.store.list("findings/"))
    before = {path: lab.lake.store.read(path) for path in paths}
    assert audit(lab) == wrong
    assert {path: lab.lake.store.read(path) for path in paths} == before
    rewrite(lab, Timeframe.H1, lambda bars: bars.with_columns(pl.col("low") * 2))
    assert audit(lab) == clean


def test_bars_that_were_never_built_are_an_error_and_longer_ones_alone_are_not_compared(lab):
    with pytest.raises(
        MissingUpstream, match=r"15s candles of 2024-08-08\|binance-futures: not in"
    ):
        audit(lab)
    lab.put(lab.one, DataType.TRADES, lab.trades(lab.one, *minutes(path_of())))
    lab.build(timeframes=(Timeframe.S15,))
    found = audit(lab)
    assert (found.instruments, found.bars, found.with_index) == (1, 0, 0)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
def test_a_file_that_the_manifest_names_and_that_is_gone_is_said(lab, timeframe):
    put_perpetual(lab, path_of())
    lab.lake.delete(CandleFile(lab.one, timeframe, lab.key))
    with pytest.raises(CorruptData, match=f"Materialize candles/{timeframe} of its day and venue"):
        audit(lab)


def test_a_counterpart_whose_file_is_gone_is_said(lab):
    put_spot(lab, path_of())
    put_perpetual(lab, path_of())
    lab.lake.delete(CandleFile(lab.one, Timeframe.M1, SPOT))
    with pytest.raises(CorruptData, match=r"BINANCE:SPOT_PAIR:BTC-USDT\.parquet"):
        audit(lab)


def test_only_the_columns_that_are_compared_are_read(lab, monkeypatch):
    put_perpetual(lab, path_of())
    read = []
    kept = lab.lake.read_table

    def watched(item, *, columns=None):
        read.append((item, columns))
        return kept(item, columns=columns)

    monkeypatch.setattr(lab.lake, "read_table", watched)
    audit(lab)
    bars = [item for item, _ in read if isinstance(item, CandleFile | CandleManifest)]
    assert all(columns is not None for item, columns in read if item in bars)
    files = [item for item, _ in read if isinstance(item, CandleFile)]
    assert sorted(item.timeframe for item in files) == ["15s", "1h", "1m", "1m"]
    rest = {type(item) for item, _ in read if item not in bars}
    assert rest == {RawManifest, QuoteAuditFile}  # and no ticks, without quotes


def test_progress_is_told_after_every_instrument(lab):
    put_perpetual(lab, path_of())
    told = []
    audit_bars(VenueDay(lab.one, lab.venue), lake=lab.lake, on_progress=told.append)
    assert [dataclasses.astuple(one)[:4] for one in told] == [
        (f"bar_audit {lab.one}|{lab.venue}", 1, 1, "instruments")
    ]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_an_average_price_outside_low_and_high_breaks_a_rule_of_the_table(lab, factor):
    put_perpetual(lab, path_of())
    bars = lab.bars(lab.one, Timeframe.H1)
    assert SchemaCheck(CANDLE_TABLE).run([("1h", bars)]).has_passed
    wrong = bars.with_columns(pl.col("price_vwap") * factor)
    failures = SchemaCheck(CANDLE_TABLE).run([("1h", wrong)]).failures
    assert "the average price lies between low and high" in {one.rule for one in failures}
