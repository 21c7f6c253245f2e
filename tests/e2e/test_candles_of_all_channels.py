"""Candles of spot, linear, inverse and dated instruments hold every column of the dictionary."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from doubles.small_market import SmallMarket

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.simulator import Simulator

DAYS = ("2024-08-08", "2024-08-09")
OPTIONS = "okex-options"
BAR_VENUES = ("binance", "binance-futures", "okex-swap")
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
KINDS = tuple(f"bars/{kind}" for kind in ("tick", "volume", "dollar"))
READ = (
    DataType.TRADES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
)
INSTRUMENTS = {
    "spot": "BINANCE:SPOT_PAIR:ETH-USDT",
    "linear": "BINANCE-FUTURES:PERPETUAL:ETH-USDT",
    "inverse": "OKX-SWAP:PERPETUAL:BTC-USD",
    "dated": "BINANCE-FUTURES:FUTURE:BTC-USDT-241227",
}
# Of the options a few expiries: bars read tenors of a week, a month and a quarter.
EXPIRIES = {"240816", "240830", "240906", "240913", "240927", "241227"}
# Not there by nature of the instrument, beside whole channels that it lacks.
FUNDING = {
    "funding_rate", "predicted_funding_rate", "next_funding_time", "funding_interval_h",
    "funding_settled", "funding_annualised", "perp_premium",
}  # fmt: skip
DATED = {"futures_basis", "futures_basis_annualised", "calendar_spread", "roll_yield_per_day"}
# A simulated day at this scale is too thin, or the sandbox says nothing of it.
THIN = {
    "ofi", "ofi_normalised", "ofi_depth_sum", "ofi_event_count",  # there is no feed of best quotes
    # five levels reach 2.5 bp
    *(f"{side}_depth_{bps}bps" for side in ("bid", "ask") for bps in (5, 10, 25)),
    *(
        f"{name}_{after}_bps"  # the book is silent for longer than the join allows
        for name in ("effective_spread", "realized_spread", "price_impact")
        for after in ("5s", "30s")
    ),
    "flow_toxicity_vpin_n50", "size_p99", "delay_p99", "resilience_median_ms",
    "predicted_funding_rate", "liquidation_is_throttled", "model_free_volatility_30d",
    "kyle_lambda", "kyle_lambda_r2", "kyle_lambda_sqrt", "amihud", "roll_spread_bps",
    "buy_cost_100k_bps", "sell_cost_100k_bps", "micro_price", "micro_price_gap_bps",
    "micro_price_fit_day",
}  # fmt: skip


def market():
    """What is looked at, and what its features need: spot, bitcoin, dated contracts, options."""
    options = (one.dataset_id for one in Simulator(7).listings(VenueId(OPTIONS)))
    return SmallMarket(
        *(
            "BTCUSDT",
            "ETHUSDT",
            "BTCUSDT_240927",
            "BTCUSDT_241227",
            "BTC-USD-SWAP",
            "BTC-USDT-SWAP",
        ),
        *(name for name in options if name.split("-")[2] in EXPIRIES),
        scale=0.15,
    )


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    venues = (*BAR_VENUES, OPTIONS)
    with open_platform(tmp_path_factory.mktemp("channels"), market(), venues) as (opened, _):
        cells = [f"{day}|{venue}" for day in DAYS for venue in BAR_VENUES]
        for venue in venues:
            opened.prepare(venue, *(f"{day}|{venue}" for day in DAYS))
        for day in DAYS:
            chain = opened.run(
                "raw_ticks/options_chain", "options_surface", partition=f"{day}|{OPTIONS}"
            )
            assert chain.success, opened.failures(chain)
        for cell in cells:
            for data_type in READ:
                if data_type in VENUES[VenueId(cell.split("|")[1])].data_types:
                    assert opened.run(f"raw_ticks/{data_type}", partition=cell).success
        yield opened


@pytest.fixture(scope="module")
def results(platform):
    """Runs by cell, days in order: the second day's bars stand on the first's."""
    found = {}
    for day in DAYS:
        for venue in BAR_VENUES:
            keys = CANDLES if day == DAYS[0] else (*CANDLES, *KINDS)
            found[f"{day}|{venue}"] = platform.run(*keys, partition=f"{day}|{venue}")
    return found


def frames(platform, key, day=DAYS[1]):
    root = Path(platform.settings.lake_root, f"processed_candles/by_date/day-{day}")
    return {
        timeframe: pl.read_parquet(root / f"timeframe-{timeframe}" / f"{key}.parquet", glob=False)
        for timeframe in Timeframe
    }


def test_every_run_and_every_check_is_green(platform, results):
    for cell, result in results.items():
        assert result.success, (cell, platform.failures(result))
        assert all(platform.checks(result).values()), cell


@pytest.mark.parametrize("kind", INSTRUMENTS)
def test_every_file_has_every_column_of_the_dictionary(platform, results, kind):
    for frame in frames(platform, INSTRUMENTS[kind]).values():
        assert frame.columns == CANDLE_TABLE.names
        assert set(FEATURES) <= set(frame.columns)


@pytest.mark.parametrize("kind", INSTRUMENTS)
def test_a_column_is_empty_only_where_the_instrument_has_no_such_thing(platform, results, kind):
    found = frames(platform, INSTRUMENTS[kind])
    empty = {
        name
        for name in FEATURES
        if all(frame[name].null_count() == frame.height for frame in found.values())
    }
    lacking = {Channel.TICKER, Channel.LIQUIDATIONS} if kind == "spot" else set()
    allowed = {name for name, feature in FEATURES.items() if lacking & set(feature.inputs)}
    allowed |= DATED if kind != "dated" else FUNDING
    assert empty - allowed - THIN == set()


def test_candles_carry_the_surface_of_their_base_asset_from_another_venue(platform, results):
    for key in INSTRUMENTS.values():
        hours = frames(platform, key)[Timeframe.H1]
        assert hours["surface_venue"].unique().to_list() == [OPTIONS]
        assert hours["atm_iv_30d"].is_between(0.3, 1.2).all()


def test_the_second_day_remembers_the_first(platform, results):
    for day, remembers in zip(DAYS, (False, True), strict=True):
        hours = frames(platform, INSTRUMENTS["linear"], day)[Timeframe.H1]
        assert hours["has_memory"].unique().to_list() == [remembers]
        assert hours["large_trade_threshold"].is_null().all() is not remembers


def test_the_same_again_builds_nothing_and_changes_no_byte(platform, results):
    before = platform.bytes()
    for venue in BAR_VENUES:
        assert platform.run(*CANDLES, partition=f"{DAYS[1]}|{venue}").success
    assert platform.bytes() == before
