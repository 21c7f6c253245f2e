"""The bar audit as a user runs it: from simulated files to candles to its two checks."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import polars as pl
import pytest

from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import CandleFile, FindingsFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.tick_audits import read_findings
from tickhandler_dagster.sandbox.simulator import Simulator

CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
DAYS = ("2024-08-08", "2024-08-09")
FUTURES = "binance-futures"
KEY = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
SPOT = "BINANCE:SPOT_PAIR:BTC-USDT"
ROLLS_UP, AGREE = ("bar_audit", "rolls_up"), ("bar_audit", "prices_agree")


def cell(venue=FUTURES, day=DAYS[0]):
    return f"{day}|{venue}"


def date(day):
    return dt.date.fromisoformat(day)


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    """Two days of futures and one of their spot market, candles of all lengths."""
    root = tmp_path_factory.mktemp("bar_audit")
    venues = ["binance", FUTURES]
    with open_platform(root, Simulator(1, scale=0.2), venues, start=DAYS[0]) as (platform, _):
        for venue in venues:
            span = (cell(venue, DAYS[0]), cell(venue, DAYS[0] if venue == "binance" else DAYS[1]))
            assert platform.run("exchange_catalog", partition=venue).success
            result = platform.run("instruments", "raw_ticks/trades", *CANDLES, span=span)
            assert result.success, platform.failures(result)
        yield platform


@pytest.fixture
def changed(platform):
    """Change a stored candle file for the test: `changed(timeframe, change)`."""
    kept = {}

    def change(timeframe, how, day=DAYS[0]):
        item = CandleFile(date(day), timeframe, KEY)
        kept.setdefault(item, platform.lake.store.read(item.path))
        platform.lake.write_table(item, how(platform.lake.read_table(item)), CANDLE_TABLE)

    yield change
    for item, data in kept.items():
        platform.lake.store.write(item.path, data)


def checks_of(result):
    return {(one.asset_key.to_user_string(), one.check_name): one for one in result}


def test_a_clean_day_passes_both_checks_and_says_what_it_compared(platform):
    result = platform.run("bar_audit", partition=cell())
    assert result.success, platform.failures(result)
    assert platform.checks(result) == {ROLLS_UP: True, AGREE: True}
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["bars held against 15 s bars"].value > 10_000
    assert f"| {KEY} | {SPOT} |" in metadata["spot and perpetual"].value
    assert metadata["dagster/partition_row_count"].value == 0
    assert "Simulated data" in metadata["source"].value


def test_wrong_bars_are_an_error_and_prices_that_part_a_warning(platform, changed):
    prices = ("open", "high", "low", "close")
    for timeframe in Timeframe:
        changed(timeframe, lambda bars: bars.with_columns(pl.col(prices) * 1.3))
    changed(Timeframe.H4, lambda bars: bars.with_columns(pl.col("volume") + 1.0))
    result = platform.run("bar_audit", partition=cell())
    assert result.success, platform.failures(result)
    found = checks_of(result.get_asset_check_evaluations())
    check = found[ROLLS_UP]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["bars that differ"].value == 6
    assert "4h volume at 00:00:00 is " in check.metadata["instruments"].value
    assert check.partition == cell()
    check = found[AGREE]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"against {SPOT}: the day's median distance is" in check.metadata["instruments"].value
    (finding,) = read_findings(platform.lake, VenueDay.parse(cell()), "candles")
    assert finding.instrument_key == KEY


def test_trades_outside_quotes_are_counted_and_ignored_and_a_second_run_reads_nothing(
    platform, monkeypatch
):
    assert platform.run("raw_ticks/quotes", partition=cell()).success
    result = platform.run("bar_audit", partition=cell())
    assert platform.checks(result) == {ROLLS_UP: True, AGREE: True}
    found = checks_of(result.get_asset_check_evaluations())[AGREE].metadata
    judged, outside = (found[f"trades {name} quotes"].value for name in ("held against", "outside"))
    assert 0 < outside < judged / 10  # prices of simulated trades and quotes move apart a little
    findings = read_findings(platform.lake, VenueDay.parse(cell()), "quotes_beside_trades")
    assert sum(finding.rows for finding in findings) == outside
    read = []
    monkeypatch.setattr(TickFile, "read", lambda *_: read.append(1))
    again = platform.run("bar_audit", partition=cell())
    assert checks_of(again.get_asset_check_evaluations())[AGREE].metadata == found
    assert read == []


def test_the_check_passes_again_when_the_bars_are_right(platform):
    result = platform.run("bar_audit", partition=cell())
    assert platform.checks(result) == {ROLLS_UP: True, AGREE: True}
    assert read_findings(platform.lake, VenueDay.parse(cell()), "candles") == []


def test_a_range_has_findings_and_checks_of_every_cell(platform, changed):
    changed(Timeframe.H24, lambda bars: bars.with_columns(pl.col("trade_count") + 1), day=DAYS[1])
    result = platform.run("bar_audit", span=(cell(), cell(day=DAYS[1])))
    assert result.success, platform.failures(result)
    for day in DAYS:
        assert platform.lake.exists(FindingsFile(date(day), VenueId(FUTURES), "prices"))
    records = platform.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("bar_audit"), "rolls_up"), limit=20
    )
    passed = {
        record.event.asset_check_evaluation.partition: record.event.asset_check_evaluation.passed
        for record in reversed(records)
        if record.event is not None
    }
    assert (passed[cell()], passed[cell(day=DAYS[1])]) == (True, False)


def test_candles_and_their_audit_are_one_run(platform):
    result = platform.run(*CANDLES, "bar_audit", partition=cell("binance"))
    assert result.success, platform.failures(result)
    assert platform.checks(result)[ROLLS_UP]


def test_a_backfill_asks_for_the_chosen_day_and_no_other(platform):
    graph = platform._repository.asset_graph
    key = dg.AssetKey("bar_audit")
    parents = graph.get(key).parent_keys
    assert {parent.to_user_string() for parent in parents} == set(CANDLES)
    for parent in parents:
        below = graph.get_child_partition_keys_of_parent(cell(), parent, key)
        assert list(below) == [cell()]
