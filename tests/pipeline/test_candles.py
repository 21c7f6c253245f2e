"""From raw files to candle files: two-phase close, versions, no-ops, states, conservation."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.bars.day import ALL_TIMEFRAMES
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.catalog import ExchangeCatalog, Incident, midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    InstrumentsFile,
    RawTickFile,
)
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_facts import facts_of
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import candle_build, day_trades
from tickhandler_dagster.pipeline.candles import build_candles

TRADES = RAW_TABLES[DataType.TRADES].stored
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
DAY = dt.date(2024, 8, 8)
NEXT = dt.date(2024, 8, 9)
BEFORE = dt.date(2024, 8, 7)
CELL = VenueDay(DAY, VenueId.BINANCE)
FOREVER = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def lake(tmp_path):
    return Lake(LocalObjectStore(tmp_path / "lake"))


def catalog(*, incidents=(), first_day=FOREVER):
    return ExchangeCatalog(
        venue=VenueId.BINANCE,
        name="Binance",
        available_since=first_day,
        exported_from=first_day,
        exported_until=midnight(dt.date(2025, 1, 1)),
        symbols=(),
        groups=(),
        incidents=tuple(incidents),
        is_simulated=False,
    )


def instrument(**changes):
    return {
        "date": DAY,
        "instrument_key": KEY,
        "venue": "binance",
        "instrument_type": "SPOT_PAIR",
        "symbol": "BTC-USDT",
        "tardis_symbol": "BTCUSDT",
        "exchange_raw_symbol": "btcusdt",
        "available_from": FOREVER,
        "available_to": None,
        "data_types": ["trades", "quotes"],
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "settle_asset": "USDT",
        "is_inverse": False,
        "is_quanto": False,
        "amount_unit": "base",
        "contract_size": 1.0,
        "terms_source": "venue_rule",
        "is_simulated": False,
    } | changes


def universe(*rows):
    schema = INSTRUMENTS_TABLE.polars_schema
    records = [dict.fromkeys(schema.names()) | row for row in rows or (instrument(),)]
    return pl.DataFrame(records, schema=schema)


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


def store_trades(lake, day, frame, *, key=KEY):
    """Store a raw file and give its manifest row."""
    stored = lake.write_table(RawTickFile(day, DataType.TRADES, key), frame, TRADES)
    facts = dataclasses.asdict(facts_of(frame, day))
    return raw_row(
        day,
        DataState.PRESENT,
        key=key,
        source_rows=frame.height,
        bytes=stored.bytes,
        content_sha256=stored.sha256,
        source_sha256=f"vendor {stored.sha256[:8]}",
        **facts,
    )


def raw_row(day, state, *, key=KEY, **changes):
    return ManifestRow(
        date=day,
        venue=VenueId.BINANCE,
        data_type=DataType.TRADES,
        instrument_key=key,
        tardis_symbol="BTCUSDT",
        source_symbol="BTCUSDT",
        state=state,
        kernel_version="1",
        is_simulated=False,
        **changes,
    )


def ingest(lake, day, *rows):
    write_raw_manifest(lake, VenueDay(day, VenueId.BINANCE), DataType.TRADES, rows)


def build(lake, day=DAY, **changes):
    arguments = {"catalog": catalog(), "universe": universe()} | changes
    return build_candles(VenueDay(day, VenueId.BINANCE), lake=lake, **arguments)


def bars(lake, timeframe, day=DAY, key=KEY):
    return lake.read_table(CandleFile(day, timeframe, key))


def snapshot(lake):
    return {path: lake.store.read(path) for path in lake.store.list("processed_candles")}


THREE = ((30, 100, 1), (31, 101, 2), (86_399.5, 102, 3))


def test_a_day_becomes_seven_files_and_manifests_that_keep_their_rules(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    seen = []
    result = build(lake, on_progress=seen.append)
    assert (result.instruments, result.built, result.files_written, result.trades) == (1, 1, 7, 3)
    assert (result.changes.new, result.changes.changed) == (7_615, 0)
    assert (seen[-1].is_finished, seen[-1].rows, seen[-1].unit) == (True, 7_615, "instruments")
    frames = [(str(frame), bars(lake, frame)) for frame in ALL_TIMEFRAMES]
    assert not SchemaCheck(CANDLE_TABLE).run(frames).failures
    stored = [
        (str(frame), lake.read_table(CandleManifest(DAY, frame, VenueId.BINANCE)))
        for frame in ALL_TIMEFRAMES
    ]
    assert not SchemaCheck(CANDLE_MANIFEST_TABLE).run(stored).failures
    assert all(manifest.equals(result.manifests[Timeframe(name)]) for name, manifest in stored)
    assert result.manifests[Timeframe.M1].select("bars", "traded", "no_trade").row(0) == (
        1_440,
        2,
        1_438,
    )


def test_a_second_run_reads_no_tick_and_leaves_every_byte(lake, monkeypatch):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    first = build(lake)
    before = snapshot(lake)
    monkeypatch.delattr(candle_build, "DayTrades")
    second = build(lake)
    assert (second.is_no_op, second.files_written, second.trades) == (True, 0, 3)
    assert second.manifests[Timeframe.H1].equals(first.manifests[Timeframe.H1])
    assert snapshot(lake) == before


def test_a_lost_candle_file_heals_to_the_same_bytes(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake)
    before = snapshot(lake)
    lake.delete(CandleFile(DAY, Timeframe.M5, KEY))
    assert build(lake).files_written == 1
    assert snapshot(lake) == before


def test_a_run_killed_before_its_manifest_is_finished_by_the_next(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake)
    before = snapshot(lake)
    for timeframe in ALL_TIMEFRAMES:
        lake.delete(CandleManifest(DAY, timeframe, VenueId.BINANCE))
    lake.delete(CandleFile(DAY, Timeframe.H4, KEY))
    build(lake)
    assert snapshot(lake) == before


def test_one_timeframe_alone_gives_the_file_that_all_of_them_give(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake, timeframes=(Timeframe.H1,))
    alone = snapshot(lake)
    assert len(alone) == 2
    build(lake)
    assert alone.items() <= snapshot(lake).items()


def test_the_next_day_s_file_closes_the_day_and_brings_its_late_trade(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake)
    last = bars(lake, Timeframe.M1).row(-1, named=True)
    assert (last["is_final"], last["close"], last["bar_version"]) == (False, 102.0, 1)
    late = trades(NEXT, (-0.2, 103, 4), (5, 104, 1)).with_columns(
        local_timestamp=pl.Series([at(NEXT, 0.3), at(NEXT, 5.1)])
    )
    ingest(lake, NEXT, store_trades(lake, NEXT, late))
    closed = build(lake)
    last = bars(lake, Timeframe.M1).row(-1, named=True)
    assert (last["is_final"], last["close"], last["bar_version"]) == (True, 103.0, 2)
    assert (last["late_count"], len(last["source_sha256"])) == (1, 2)
    assert last["available_at"] == at(NEXT, 0.5)
    assert closed.changes.changed == len(ALL_TIMEFRAMES)  # the last bar of each
    row = closed.manifests[Timeframe.M1].row(0, named=True)
    assert (row["trades"], row["own_rows_used"], row["next_rows_used"]) == (4, 3, 1)
    ingest(lake, NEXT, store_trades(lake, NEXT, late))
    assert build(lake).is_no_op


def test_a_trade_stamped_tomorrow_is_in_tomorrow_s_bars_and_carries_the_time_over_midnight(lake):
    early = trades(DAY, (86_399, 100, 1), (86_400.7, 101, 2)).with_columns(
        local_timestamp=pl.Series([at(DAY, 86_398), at(DAY, 86_399.9)])
    )
    ingest(lake, DAY, store_trades(lake, DAY, early))
    ingest(lake, NEXT, store_trades(lake, NEXT, trades(NEXT, (3, 102, 1))))
    build(lake)
    after = build(lake, NEXT)
    assert bars(lake, Timeframe.H24)["trade_count"].to_list() == [1]
    first = bars(lake, Timeframe.S15, NEXT).row(0, named=True)
    assert (first["open"], first["trade_count"]) == (101.0, 2)
    assert first["interarrival_sum_us"] == 4_000_000  # 1.7 s over midnight and 2.3 s
    assert after.manifests[Timeframe.H24]["previous_rows_used"].to_list() == [1]


def test_without_the_day_before_the_first_bars_are_provisional_and_the_first_gap_unknown(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    ingest(lake, NEXT, raw_row(NEXT, DataState.EMPTY))
    build(lake)
    first, last = (bars(lake, Timeframe.S15).row(row, named=True) for row in (0, -1))
    assert (first["is_final"], last["is_final"]) == (False, True)
    assert first["time_since_last_trade_ms"] is None
    assert bars(lake, Timeframe.H24)["interarrival_count"].to_list() == [2]


def test_a_file_whose_rows_all_belong_to_its_neighbours_leaves_the_day_empty(lake):
    frame = trades(DAY, (-0.5, 100, 1), (86_400.5, 101, 1))
    ingest(lake, DAY, store_trades(lake, DAY, frame))
    row = build(lake).manifests[Timeframe.H24].row(0, named=True)
    assert (row["trades"], row["own_rows_other_days"], row["no_trade"]) == (0, 2, 1)
    # the last trade before the day is in the day's own file, half a second before midnight
    assert bars(lake, Timeframe.S15)["time_since_last_trade_ms"][0] == 15_500.0


@pytest.mark.parametrize(
    ("listing", "first_day", "is_final"),
    [
        ({"available_from": midnight(DAY)}, FOREVER, (True, False)),
        ({}, midnight(DAY), (True, False)),
        ({"available_to": midnight(NEXT)}, FOREVER, (False, True)),
        ({"expiry": at(DAY, 86_399.9)}, FOREVER, (False, True)),
        ({}, FOREVER, (False, False)),
    ],
)
def test_a_day_at_the_end_of_a_listing_waits_for_no_file(lake, listing, first_day, is_final):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake, catalog=catalog(first_day=first_day), universe=universe(instrument(**listing)))
    frame = bars(lake, Timeframe.M1)
    assert (frame["is_final"][0], frame["is_final"][-1]) == is_final


def test_a_neighbouring_day_that_failed_leaves_the_bars_provisional(lake):
    ingest(lake, BEFORE, raw_row(BEFORE, DataState.FAILED))
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    ingest(lake, NEXT)  # the instrument was not expected any more
    build(lake)
    frame = bars(lake, Timeframe.M1)
    assert (frame["is_final"][0], frame["is_final"][-1]) == (False, True)


@pytest.mark.parametrize(
    "state",
    [
        DataState.FAILED,
        DataState.QUARANTINED,
        DataState.NO_ENTITLEMENT,
        DataState.INCIDENT,
        DataState.NOT_EXPORTED_YET,
    ],
)
def test_data_that_is_missing_gives_bars_that_say_so(lake, state):
    ingest(lake, DAY, raw_row(DAY, state))
    result = build(lake)
    assert result.manifests[Timeframe.H1].select("trades_state", "not_ingested").row(0) == (
        state,
        24,
    )
    assert bars(lake, Timeframe.H1)["status"].unique().to_list() == ["not_ingested"]


def test_missing_data_that_comes_later_replaces_the_bars(lake):
    ingest(lake, DAY, raw_row(DAY, DataState.FAILED))
    build(lake)
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    result = build(lake)
    assert (result.trades, result.changes.changed) == (3, 7_615)
    assert bars(lake, Timeframe.H24)["bar_version"].to_list() == [2]


def test_an_instrument_the_raw_manifest_does_not_know_is_not_ingested(lake):
    ingest(lake, DAY)
    build(lake)
    assert bars(lake, Timeframe.H24)["status"].to_list() == ["not_ingested"]


def test_an_empty_file_gives_observed_bars_without_trades(lake):
    ingest(lake, DAY, raw_row(DAY, DataState.EMPTY, source_sha256="empty"))
    build(lake)
    frame = bars(lake, Timeframe.H1)
    assert frame.select("status", "trade_count", "coverage").unique().rows() == [
        ("no_trade", 0, 1.0)
    ]
    assert frame["source_sha256"].to_list()[5] == ["empty"]


def test_what_is_not_listed_or_has_no_trades_has_no_file(lake):
    other = instrument(instrument_key="BINANCE:SPOT_PAIR:ETH-USDT", data_types=["quotes"])
    ingest(lake, DAY, raw_row(DAY, DataState.NOT_LISTED))
    result = build(lake, universe=universe(instrument(), other))
    assert (result.instruments, result.trades) == (0, 0)
    assert all("_manifests" in path for path in snapshot(lake))


def test_without_the_raw_partition_the_error_says_what_to_run(lake):
    with pytest.raises(MissingUpstream) as raised:
        build(lake)
    assert str(raised.value) == (
        "raw_ticks/trades 2024-08-08|binance: not materialized. Run: dagster asset materialize "
        "-m tickhandler_dagster.definitions "
        "--select raw_ticks/trades --partition '2024-08-08|binance'."
    )


def test_an_incident_marks_the_bars_it_covers(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    report = Incident(at(DAY, 3_600), at(DAY, 7_200), "resolved", "")
    ongoing = Incident(at(DAY, 82_800), None, "investigating", "")
    build(lake, catalog=catalog(incidents=(report, ongoing)))
    frame = bars(lake, Timeframe.H1)
    assert frame["status"].to_list() == ["traded", "vendor_gap", *["no_trade"] * 21, "traded"]
    assert frame["gap_ms"].sum() == 2 * 3_600_000
    assert frame["trade_count"].to_list()[:2] == [2, None]


def test_a_venue_without_exchange_time_is_cut_by_the_local_clock(lake):
    frame = trades(DAY, *THREE).with_columns(local_timestamp="timestamp")
    ingest(lake, DAY, store_trades(lake, DAY, frame))
    build(lake)
    assert bars(lake, Timeframe.H24)["clock"].to_list() == ["local"]


def test_contract_terms_that_become_known_change_the_bars(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    build(lake, universe=universe(instrument(contract_size=None)))
    assert bars(lake, Timeframe.H24).select("volume", "amount_sum").row(0) == (None, 6.0)
    build(lake, universe=universe(instrument(contract_size=10.0)))
    assert bars(lake, Timeframe.H24).select("volume", "bar_version").row(0) == (60.0, 2)


def test_rows_that_do_not_add_up_with_the_manifest_stop_the_build(lake):
    row = store_trades(lake, DAY, trades(DAY, *THREE))
    ingest(lake, DAY, dataclasses.replace(row, rows=4))
    with pytest.raises(CorruptData, match=r"do not add up \(was 3; expected 4\)"):
        build(lake)


def test_bars_that_lose_a_trade_stop_the_build(lake, monkeypatch):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    whole = day_trades.concatenated
    monkeypatch.setattr(day_trades, "concatenated", lambda parts: whole(parts).take(slice(1, None)))
    with pytest.raises(CorruptData, match=r"bars of 15s: trades in bars .* \(was 2; expected 3\)"):
        build(lake)


def test_a_raw_file_that_is_gone_names_the_partition_to_run(lake):
    ingest(lake, DAY, store_trades(lake, DAY, trades(DAY, *THREE)))
    lake.delete(RawTickFile(DAY, DataType.TRADES, KEY))
    with pytest.raises(MissingUpstream, match=r"--partition '2024-08-08\|binance'"):
        build(lake)


def recorded_trades(recorded, day):
    path = recorded / f"binance/trades/{day:%Y/%m/%d}/BTCUSDT.csv.gz"
    return pl.read_csv(path, schema_overrides={"id": pl.String}).select(
        pl.col("timestamp", "local_timestamp").cast(pl.Datetime("us", "UTC")),
        pl.col("id", "side"),
        pl.col("price", "amount").cast(pl.Float64),
    )


def test_every_recorded_trade_is_in_exactly_one_bar_of_its_exchange_day(lake, recorded):
    files = {day: recorded_trades(recorded, day) for day in (DAY, NEXT)}
    for day, frame in files.items():
        ingest(lake, day, store_trades(lake, day, frame))
    results = {day: build(lake, day) for day in (DAY, NEXT)}
    assert sum(result.trades for result in results.values()) == sum(map(len, files.values()))
    crossing = files[DAY].filter(pl.col("timestamp") >= midnight(NEXT)).height
    assert crossing == 19
    row = results[NEXT].manifests[Timeframe.S15].row(0, named=True)
    assert (row["previous_rows_used"], row["own_rows_used"]) == (19, len(files[NEXT]))


def test_recorded_trades_give_the_bars_of_a_plain_group_by(lake, recorded):
    files = {day: recorded_trades(recorded, day) for day in (DAY, NEXT)}
    for day, frame in files.items():
        ingest(lake, day, store_trades(lake, day, frame))
    both = (
        pl.concat(files.values()).with_columns(pl.col("id").cast(pl.Int64)).sort("timestamp", "id")
    )
    for timeframe in (Timeframe.S15, Timeframe.M5, Timeframe.H24):
        expected = both.group_by_dynamic("timestamp", every=f"{timeframe.us}us").agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            trade_count=pl.len().cast(pl.Int64),
            volume=pl.col("amount").sum(),
            size_p50=pl.col("amount").median(),
        )
        for day in files:
            build(lake, day)
        found = pl.concat([bars(lake, timeframe, day) for day in files])
        traded = found.filter(pl.col("status") == "traded")
        exact = ["open", "high", "low", "close", "trade_count", "size_p50"]
        assert traded.select(exact).equals(expected.select(exact))
        assert (traded["volume"] / expected["volume"] - 1).abs().max() < 1e-9


def test_trades_past_an_instruments_last_day_are_in_bars_of_the_day_they_are_stamped_on(lake):
    gone = instrument(date=BEFORE, available_to=midnight(DAY))
    lake.write_table(InstrumentsFile(BEFORE, VenueId.BINANCE), universe(gone), INSTRUMENTS_TABLE)
    late = trades(DAY, (-5, 99, 1), (0.4, 100, 2), (0.9, 101, 3)).with_columns(
        local_timestamp=pl.lit(at(DAY, -1)).cast(pl.Datetime("us", "UTC"))
    )
    ingest(lake, BEFORE, store_trades(lake, BEFORE, late))
    ingest(lake, DAY)
    other = instrument(instrument_key="BINANCE:SPOT_PAIR:ETH-USDT", tardis_symbol="ETHUSDT")
    result = build(lake, universe=universe(other))
    assert (result.instruments, result.trades) == (2, 2)
    day = bars(lake, Timeframe.H24).row(0, named=True)
    assert (day["open"], day["close"], day["trade_count"], day["volume"]) == (100, 101, 2, 5)
    again = snapshot(lake)
    assert build(lake, universe=universe(other)).is_no_op
    assert snapshot(lake) == again
