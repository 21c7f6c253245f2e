"""Real recorded feeds through the same assets: each trade is in one bar or in quarantine."""

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.paths import QuarantinedRows, RawTickFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.sandbox.folder_source import FolderSource

DAYS = ("2024-08-08", "2024-08-09")
KEYS = {
    "binance": ["BINANCE:SPOT_PAIR:BTC-USDT"],
    "binance-futures": ["BINANCE-FUTURES:PERPETUAL:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:ETH-USDT"],
}
CELLS = {"binance": DAYS, "binance-futures": DAYS[:1]}
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory, recorded):
    root = tmp_path_factory.mktemp("recorded")
    with open_platform(root, FolderSource(recorded), list(CELLS)) as (platform, _):
        for venue, days in CELLS.items():
            platform.prepare(venue, *(f"{day}|{venue}" for day in days))
            for day in days:
                result = platform.run("raw_ticks/trades", partition=f"{day}|{venue}")
                assert result.success, platform.failures(result)
            for day in days:
                result = platform.run(*CANDLES, partition=f"{day}|{venue}")
                assert result.success, platform.failures(result)
                assert all(platform.checks(result).values())
        yield platform


def _trades(platform, venue):
    frames = []
    for key in KEYS[venue]:
        for day in CELLS[venue]:
            frame = platform.lake.read_table(
                RawTickFile(dt.date.fromisoformat(day), DataType.TRADES, key)
            )
            if frame is not None:
                frames.append(frame.with_columns(file_day=pl.lit(day), key=pl.lit(key)))
    return pl.concat(frames)


@pytest.mark.parametrize("venue", KEYS)
def test_every_trade_is_in_exactly_one_bar_of_each_timeframe(platform, venue):
    trades = _trades(platform, venue)
    manifest = [row for day in CELLS[venue] for row in platform.states(f"{day}|{venue}").values()]
    quarantined = sum(row.quarantined_rows for row in manifest)
    assert trades.height + quarantined == sum(row.source_rows for row in manifest)
    days = [dt.date.fromisoformat(day) for day in CELLS[venue]]
    due = trades.filter(pl.col("timestamp").dt.date().is_in(days))
    # The futures' file of the 8th ends with trades of the 9th, whose own file was not recorded.
    assert trades.height - due.height == sum(
        row.rows_after_day for row in manifest[-len(KEYS[venue]) :]
    )
    for timeframe in Timeframe:
        bars = pl.concat(
            [platform.bars(day, timeframe, f"{venue.upper()}:*") for day in CELLS[venue]]
        )
        assert bars["trade_count"].sum() == due.height
        assert bars["amount_sum"].sum() == pytest.approx(due["amount"].sum(), rel=1e-9)
        assert bars.select("instrument_key", "ts_open").is_unique().all()


def test_trades_stamped_on_the_next_day_are_in_the_bars_of_that_day(platform):
    trades = _trades(platform, "binance")
    strays = trades.filter(
        (pl.col("file_day") == DAYS[0]) & (pl.col("timestamp").dt.date() == dt.date(2024, 8, 9))
    )
    assert strays.height == 19
    first = platform.bars(DAYS[1], "15s").sort("ts_open").row(0, named=True)
    assert first["ts_open"] == dt.datetime(2024, 8, 9, tzinfo=dt.UTC)
    assert first["open"] == strays.sort("timestamp", maintain_order=True)["price"][0]
    own = trades.filter(
        (pl.col("timestamp") >= first["ts_open"]) & (pl.col("timestamp") < first["ts_close"])
    )
    assert first["trade_count"] == own.height > strays.height - 1


def test_a_recorder_clock_behind_the_exchange_leaves_the_data_as_it_is(platform):
    trades = _trades(platform, "binance")
    lateness = (trades["local_timestamp"] - trades["timestamp"]).dt.total_milliseconds()
    assert -1_300 < lateness.median() < -1_200
    assert not platform.lake.exists(
        QuarantinedRows(dt.date(2024, 8, 8), DataType.TRADES, KEYS["binance"][0])
    )


def test_bars_agree_with_a_plain_group_by_of_the_file(platform):
    trades = _trades(platform, "binance-futures").filter(
        pl.col("key") == KEYS["binance-futures"][0]
    )
    plain = (
        trades.with_columns(id=pl.col("id").cast(pl.Int64))
        .sort("timestamp", "id")
        .group_by(ts_open=pl.col("timestamp").dt.truncate("1m"), maintain_order=True)
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("amount").sum(),
            trade_count=pl.len().cast(pl.Int64),
        )
    )
    bars = (
        pl.concat([platform.bars(DAYS[0], "1m", "BINANCE-FUTURES:PERPETUAL:BTC-USDT")])
        .filter(pl.col("status") == "traded")
        .select(plain.columns)
    )
    first_day = plain.filter(pl.col("ts_open").dt.date() == dt.date(2024, 8, 8))
    assert bars.drop("volume").equals(first_day.drop("volume"))
    assert (bars["volume"] - first_day["volume"]).abs().max() < 1e-9


def test_the_second_run_of_everything_is_byte_identical(platform):
    before = platform.bytes()
    for venue, days in CELLS.items():
        for day in days:
            cell = f"{day}|{venue}"
            assert platform.run("instruments", "raw_ticks/trades", *CANDLES, partition=cell).success
    assert platform.bytes() == before


def test_forcing_fetches_again_and_writes_the_same_bytes(platform):
    before = platform.bytes()
    config = {"ops": {"raw_ticks__trades": {"config": {"force": True}}}}
    result = platform.run("raw_ticks/trades", partition=f"{DAYS[0]}|binance", config=config)
    fetched = result.get_asset_materialization_events()[0].materialization.metadata["files fetched"]
    assert fetched.value == 1
    assert platform.bytes() == before


def test_every_recorded_type_keeps_its_table_and_is_known_to_be_minutes_of_a_day(platform):
    cells = [(kind, venue) for kind in ("book_snapshot_5", "book_ticker") for venue in KEYS]
    for data_type, venue in [*cells, ("incremental_book_L2", "binance")]:
        result = platform.run(f"raw_ticks/{data_type}", partition=f"{DAYS[0]}|{venue}")
        assert result.success, platform.failures(result)
        # six minutes were recorded: the silence before them is a hole of the day
        verdicts = {check: has_passed for (_, check), has_passed in platform.checks(result).items()}
        assert verdicts == {"schema_holds": True, "complete": False}
