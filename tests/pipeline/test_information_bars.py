"""From raw files and yesterday's candle to files of information-driven bars."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.catalog import ExchangeCatalog, Incident, midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.information_bar_manifest_table import INFORMATION_BAR_MANIFEST_TABLE
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import (
    CandleFile,
    InformationBarFile,
    InformationBarManifest,
    RawTickFile,
)
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_facts import facts_of
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import day_trades, information_bars
from tickhandler_dagster.pipeline.day_trades import DayTrades
from tickhandler_dagster.pipeline.information_bar_files import information_bar_sums
from tickhandler_dagster.pipeline.information_bars import build_information_bars
from tickhandler_dagster.pipeline.verification import verify_information_bars

TRADES = RAW_TABLES[DataType.TRADES].stored
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
BEFORE, DAY, NEXT = (dt.date(2024, 8, day) for day in (7, 8, 9))
CELL = VenueDay(DAY, VenueId.BINANCE)
FOREVER = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)


def catalog(*incidents):
    return ExchangeCatalog(
        venue=VenueId.BINANCE,
        name="Binance",
        available_since=FOREVER,
        exported_from=FOREVER,
        exported_until=midnight(dt.date(2025, 1, 1)),
        symbols=(),
        groups=(),
        incidents=incidents,
        is_simulated=False,
    )


def universe(**changes):
    schema = INSTRUMENTS_TABLE.polars_schema
    known = {
        "date": DAY,
        "instrument_key": KEY,
        "venue": "binance",
        "instrument_type": "SPOT_PAIR",
        "symbol": "BTC-USDT",
        "tardis_symbol": "BTCUSDT",
        "available_from": FOREVER,
        "data_types": ["trades"],
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "is_inverse": False,
        "is_quanto": False,
        "contract_size": 1.0,
        "is_simulated": False,
    }
    return pl.DataFrame([dict.fromkeys(schema.names()) | known | changes], schema=schema)


def at(day, seconds):
    return midnight(day) + dt.timedelta(seconds=seconds)


def trades(day, *rows):
    """Rows of (seconds after midnight of `day`, price, amount), arriving 10 ms later."""
    return pl.DataFrame(
        {
            "timestamp": [at(day, seconds) for seconds, _, _ in rows],
            "local_timestamp": [at(day, seconds + 0.01) for seconds, _, _ in rows],
            "id": [str(1_000 + number) for number in range(len(rows))],
            "side": ["buy"] * len(rows),
            "price": [float(price) for _, price, _ in rows],
            "amount": [float(amount) for _, _, amount in rows],
        },
        schema=TRADES.polars_schema,
    )


def raw_row(day, state=DataState.EMPTY, **changes):
    known = {
        "date": day,
        "venue": VenueId.BINANCE,
        "data_type": DataType.TRADES,
        "instrument_key": KEY,
        "tardis_symbol": "BTCUSDT",
        "source_symbol": "BTCUSDT",
        "state": state,
        "kernel_version": "1",
        "is_simulated": False,
    }
    return ManifestRow(**known | changes)


def ingest(lake, day, frame=None, **changes):
    """Store a day's raw file, or a manifest row of another state."""
    if frame is None:
        row = raw_row(day, **changes)
    else:
        stored = lake.write_table(RawTickFile(day, DataType.TRADES, KEY), frame, TRADES)
        row = raw_row(
            day,
            DataState.PRESENT,
            source_rows=frame.height,
            bytes=stored.bytes,
            content_sha256=stored.sha256,
            source_sha256=f"vendor {day}",
            **dataclasses.asdict(facts_of(frame, day)),
        )
    write_raw_manifest(lake, VenueDay(day, VenueId.BINANCE), DataType.TRADES, [row])
    return row


def yesterday(lake, *, trade_count=2 * BARS_PER_DAY, volume=5.0 * BARS_PER_DAY, **changes):
    """Store the 24 h candle of the day before: two trades and five coins a minute, at a price of
    100.
    """
    plain = {pl.String(): "text", pl.Boolean(): True, pl.Int32(): 1, pl.List(pl.String): []}
    known = {
        column.name: plain.get(column.dtype)
        for column in CANDLE_TABLE.columns
        if not column.is_nullable
    }
    known |= {column.name: midnight(DAY) for column in CANDLE_TABLE.columns if column.unit == "UTC"}
    known |= {
        "coverage": 1.0,
        "gap_ms": 0.0,
        "trade_count": trade_count,
        "volume": volume,
        "notional": None if volume is None else 100 * volume,
        "available_at": at(DAY, 0.2),
    }
    row = dict.fromkeys(CANDLE_TABLE.names) | known | changes
    candle = pl.DataFrame([row], schema=CANDLE_TABLE.polars_schema)
    lake.write_table(CandleFile(BEFORE, Timeframe.H24, KEY), candle, CANDLE_TABLE)


def build(lake, **changes):
    arguments = {"catalog": catalog(), "universe": universe()} | changes
    return build_information_bars(CELL, lake=lake, **arguments)


def bars(lake, kind):
    return lake.read_table(InformationBarFile(DAY, kind, KEY))


def manifest(lake, kind=BarKind.TICK):
    return lake.read_table(InformationBarManifest(DAY, kind, CELL.venue)).row(0, named=True)


def snapshot(lake):
    return {path: lake.store.read(path) for path in lake.store.list("processed_bars")}


FIVE = trades(DAY, (1, 100, 1), (30, 101, 2), (31, 102, 3), (40_000, 90, 1), (86_399.5, 99, 4))


def test_a_day_becomes_a_file_and_a_manifest_of_each_kind_that_keep_their_rules(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    seen = []
    result = build(lake, on_progress=seen.append)
    assert (result.built, result.files_written, result.is_no_op) == (1, 3, False)
    assert (seen[-1].rows, seen[-1].unit, seen[-1].is_finished) == (3 + 2 + 2, "instruments", True)
    assert bars(lake, BarKind.TICK)["trade_count"].to_list() == [2, 2, 1]
    assert bars(lake, BarKind.VOLUME)["volume"].to_list() == [6.0, 5.0]
    assert bars(lake, BarKind.DOLLAR)["notional"].to_list() == [608.0, 486.0]
    assert bars(lake, BarKind.DOLLAR)["is_complete"].to_list() == [True, False]


def test_stored_bars_and_manifests_pass_their_checks(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    result = build(lake)
    for kind in BarKind:
        stored = lake.read_table(InformationBarManifest(DAY, kind, CELL.venue))
        assert stored.equals(result.manifests[kind])
        verdict = verify_information_bars(lake, CELL, {kind: stored})[kind]
        assert not verdict.schema.failures
        assert not verdict.conservation.failures
        sums = information_bar_sums(stored)
        assert (verdict.trades, sums.trades, sums.rows_due) == (5, 5, 5)
        assert sums.by_threshold == {"fixed": 1}
        short = stored.with_columns(trades=pl.col("trades") - 1)
        report = verify_information_bars(lake, CELL, {kind: short})[kind].conservation
        assert {failure.rule for failure in report.failures} >= {"sums to 4"}


def test_a_second_run_reads_no_tick_and_leaves_every_byte(lake, monkeypatch):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    first = build(lake)
    before = snapshot(lake)
    monkeypatch.delattr(information_bars, "DayTrades")
    second = build(lake)
    assert (second.is_no_op, second.files_written) == (True, 0)
    assert second.manifests[BarKind.TICK].equals(first.manifests[BarKind.TICK])
    assert snapshot(lake) == before


def test_one_kind_alone_gives_the_file_that_all_of_them_give(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake, kinds=(BarKind.VOLUME,))
    alone = snapshot(lake)
    assert len(alone) == 2
    build(lake)
    assert alone.items() <= snapshot(lake).items()


@pytest.mark.parametrize("lost", ["file", "manifest", "both"])
def test_what_a_killed_run_left_is_finished_to_the_same_bytes(lake, lost):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake)
    before = snapshot(lake)
    if lost != "manifest":
        lake.delete(InformationBarFile(DAY, BarKind.VOLUME, KEY))
    if lost != "file":
        lake.delete(InformationBarManifest(DAY, BarKind.VOLUME, CELL.venue))
    build(lake)
    assert snapshot(lake) == before


def test_a_run_killed_before_the_manifest_of_changed_bars_is_finished_by_the_next(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake)
    item = InformationBarManifest(DAY, BarKind.TICK, CELL.venue)
    stale = lake.store.read(item.path)
    ingest(lake, DAY, FIVE.head(4))
    build(lake)
    finished = snapshot(lake)
    lake.store.write(item.path, stale)
    assert build(lake).built == 1
    assert snapshot(lake) == finished
    assert build(lake).is_no_op


@pytest.mark.parametrize(
    ("candle", "state", "reason"),
    [
        (None, "no_candle", "no 24h candle of the day before is in the lake (2024-08-07); run: "),
        ({"coverage": 0.2}, "not_observed", "less than half of the day before was observed (2024-"),
        ({"trade_count": 0, "volume": 0.0}, "nothing_traded", "nothing was traded the day before "),
    ],
)
def test_without_a_total_of_yesterday_there_are_no_bars_and_the_manifest_says_why(
    lake, candle, state, reason
):
    if candle is not None:
        yesterday(lake, **candle)
    ingest(lake, DAY, FIVE)
    result = build(lake)
    assert not [path for path in snapshot(lake) if "_manifests" not in path]
    for kind in BarKind:
        row = manifest(lake, kind)
        assert (row["threshold_state"], row["threshold"]) == (state, None)
        assert row["reason"].startswith(reason)
        assert (row["bars"], row["trades"], row["day_rows"], row["bytes"]) == (0, 0, 5, 0)
        verdict = verify_information_bars(lake, CELL, {kind: result.manifests[kind]})[kind]
        assert verdict.conservation.has_passed
        assert information_bar_sums(result.manifests[kind]).rows_due == 0
    before = snapshot(lake)
    assert build(lake).is_no_op
    assert snapshot(lake) == before


def test_a_candle_that_comes_later_gives_the_bars_and_one_that_goes_takes_them(lake):
    ingest(lake, DAY, FIVE)
    build(lake)
    nothing = snapshot(lake)
    yesterday(lake)
    assert build(lake).changes.new == 3 + 2 + 2
    lake.delete(CandleFile(BEFORE, Timeframe.H24, KEY))
    build(lake)
    assert snapshot(lake) == nothing


@pytest.mark.parametrize(
    ("candle_volume", "terms"),
    [(None, {}), (7_200.0, {"contract_size": None}), (7_200.0, {"is_quanto": True})],
)
def test_without_known_units_there_are_tick_bars_alone(lake, candle_volume, terms):
    yesterday(lake, volume=candle_volume)
    ingest(lake, DAY, FIVE)
    build(lake, universe=universe(**terms))
    states = {kind: manifest(lake, kind)["threshold_state"] for kind in BarKind}
    assert states == {"tick": "fixed", "volume": "unknown_units", "dollar": "unknown_units"}
    tick = bars(lake, BarKind.TICK)
    assert tick["trade_count"].to_list() == [2, 2, 1]
    assert tick["volume"].null_count() == (3 if terms else 0)


def test_a_threshold_that_changes_gives_new_versions_of_the_bars_it_changes(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake)
    yesterday(lake, trade_count=3 * BARS_PER_DAY)
    result = build(lake)
    assert (result.changes.changed, result.changes.new) == (2, 0)
    assert bars(lake, BarKind.TICK).select("trade_count", "bar_version").rows() == [(3, 2), (2, 2)]
    assert bars(lake, BarKind.VOLUME)["bar_version"].to_list() == [1, 1]


def test_the_next_day_s_file_brings_its_late_trade_and_closes_the_bars(lake):
    yesterday(lake)
    ingest(lake, BEFORE)
    ingest(lake, DAY, FIVE)
    build(lake)
    first = bars(lake, BarKind.TICK)
    assert first["is_final"].to_list() == [True, True, False]
    late = trades(NEXT, (-0.2, 103, 4), (5, 104, 1)).with_columns(
        local_timestamp=pl.Series([at(NEXT, 0.3), at(NEXT, 5.1)])
    )
    ingest(lake, NEXT, late)
    result = build(lake)
    second = bars(lake, BarKind.TICK)
    assert second["trade_count"].to_list() == [2, 2, 2]
    assert second["is_final"].to_list() == [True, True, True]
    assert second["bar_version"].to_list() == [1, 1, 2]
    assert second["available_at"][-1] == at(NEXT, 0.5)
    assert second["source_sha256"].to_list() == [
        ["vendor 2024-08-08"],
        ["vendor 2024-08-08"],
        ["vendor 2024-08-08", "vendor 2024-08-09"],
    ]
    assert result.manifests[BarKind.TICK]["day_rows"].to_list() == [6]


def test_without_the_day_before_or_with_a_provisional_candle_no_bar_is_final(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    ingest(lake, NEXT)
    build(lake)
    assert bars(lake, BarKind.TICK)["is_final"].to_list() == [False] * 3
    ingest(lake, BEFORE)
    yesterday(lake, is_final=False)
    build(lake)
    assert bars(lake, BarKind.TICK)["is_final"].to_list() == [False] * 3
    yesterday(lake)
    build(lake)
    assert bars(lake, BarKind.TICK)["is_final"].to_list() == [True] * 3


def test_a_trade_of_yesterday_s_file_stamped_today_fills_today_s_first_bar(lake):
    yesterday(lake)
    ahead = trades(BEFORE, (86_399, 90, 1), (86_400.5, 95, 1)).with_columns(
        local_timestamp=pl.Series([at(BEFORE, 86_398), at(BEFORE, 86_399.9)])
    )
    ingest(lake, BEFORE, ahead)
    ingest(lake, DAY, FIVE)
    build(lake)
    first = bars(lake, BarKind.TICK).row(0, named=True)
    assert (first["open"], first["close"], first["trade_count"]) == (95.0, 100.0, 2)
    assert first["interarrival_sum_us"] == 2_000_000  # 1.5 s over midnight and half a second


@pytest.mark.parametrize("state", [DataState.FAILED, DataState.EMPTY, DataState.QUARANTINED])
def test_a_day_without_trades_has_no_bars_and_keeps_its_state(lake, state):
    yesterday(lake)
    ingest(lake, DAY, state=state)
    result = build(lake)
    row = manifest(lake)
    assert (row["trades_state"], row["threshold_state"], row["bars"]) == (state, "fixed", 0)
    report = SchemaCheck(INFORMATION_BAR_MANIFEST_TABLE).run([("", result.manifests[BarKind.TICK])])
    assert not report.failures


def test_an_incident_is_in_the_bars_it_lies_in(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake, catalog=catalog(Incident(at(DAY, 20), at(DAY, 50), "resolved", "")))
    assert bars(lake, BarKind.TICK)["gap_ms"].to_list() == [10_000.0, 20_000.0, 0.0]


def test_without_the_raw_partition_the_error_says_what_to_run(lake):
    with pytest.raises(MissingUpstream, match="--select raw_ticks/trades --partition '2024-08-08"):
        build(lake)


def test_a_raw_file_that_is_gone_names_the_partition_to_run(lake):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    lake.delete(RawTickFile(DAY, DataType.TRADES, KEY))
    with pytest.raises(MissingUpstream, match=r"--partition '2024-08-08\|binance'"):
        build(lake)


def test_rows_that_do_not_add_up_with_the_manifest_stop_the_build(lake):
    yesterday(lake)
    row = ingest(lake, DAY, FIVE)
    write_raw_manifest(lake, CELL, DataType.TRADES, [dataclasses.replace(row, rows=6)])
    with pytest.raises(CorruptData, match=r"do not add up \(was 5; expected 6\)"):
        build(lake)


def test_bars_that_lose_a_trade_stop_the_build(lake, monkeypatch):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    whole = day_trades.concatenated
    monkeypatch.setattr(day_trades, "concatenated", lambda parts: whole(parts).take(slice(1, None)))
    with pytest.raises(CorruptData, match=r"tick bars: trades in bars .* \(was 4; expected 5\)"):
        build(lake)


def test_slices_of_a_row_each_give_the_bytes_of_one_slice(lake, monkeypatch):
    yesterday(lake)
    ingest(lake, DAY, FIVE)
    build(lake)
    before = snapshot(lake)
    whole = DayTrades.slices

    def row_by_row(day):
        for ticks in whole(day):
            yield from (ticks.take(slice(place, place + 1)) for place in range(len(ticks)))

    monkeypatch.setattr(DayTrades, "slices", row_by_row)
    for kind in BarKind:
        lake.delete(InformationBarFile(DAY, kind, KEY))
    assert build(lake).files_written == 3
    assert snapshot(lake) == before


def test_every_kind_is_built_unless_others_are_asked_for():
    assert set(information_bars.ALL_KINDS) == set(BarKind)
    assert INFORMATION_BAR_TABLE.key[-2:] == ("date", "bar_number")
