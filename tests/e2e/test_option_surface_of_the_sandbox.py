"""The option surface of the sandbox's venues is the smile that its options were priced from.

The simulator prices every option at sigma(m) = level - 0.06 m + 0.25 m^2, with m = ln(K/F)/sqrt(T)
and a level that moves over the day. Its chains list few strikes and say a mark every four minutes,
so that the surface is near the truth and not on it: tolerances are stated with each column.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import OptionsSurfaceFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox import fair_value
from tickhandler_dagster.sandbox.simulator import Simulator

DAY = "2024-08-08"
VENUES = ("deribit", "okex-options")
ASSETS = ("BTC", "ETH")
CHAIN = ("raw_ticks/options_chain", "options_surface")
DAYS_PER_YEAR = 365
ATM = tuple(f"atm_iv_{days}d" for days in (7, 30, 60, 90))


@pytest.fixture(scope="module")
def market(open_platform, tmp_path_factory):
    """(platform, simulator, results by venue): chain and surface of a day, in one run a venue."""
    simulator = Simulator(7, scale=0.02)
    with open_platform(tmp_path_factory.mktemp("surface"), simulator, VENUES) as (platform, _):
        results = {}
        for venue in VENUES:
            platform.prepare(venue, f"{DAY}|{venue}")
            results[venue] = platform.run(*CHAIN, partition=f"{DAY}|{venue}")
        yield platform, simulator, results


def _surface(market, venue, asset, timeframe=Timeframe.M5):
    cell = VenueDay.parse(f"{DAY}|{venue}")
    item = OptionsSurfaceFile(cell.date, timeframe, cell.venue, f"{asset}-USD")
    return market[0].lake.read_table(item)


def _level(market, asset, surface):
    fair = market[1]._days.fair
    times = surface["ts_close"].to_physical().to_numpy()
    wave = fair.wave(times, "volatility", asset)
    return fair_value._ATM_VOLATILITY[asset] * np.exp(0.05 * wave)


def _at_call_delta(level, years, target):
    """The true smile's volatility at which a call has the delta, by bisection in moneyness."""

    def smile(moneyness):
        return level - 0.06 * moneyness + 0.25 * moneyness**2

    low, high = -1.2, 1.2
    for _ in range(60):
        middle = (low + high) / 2
        sigma = smile(middle)
        d1 = -middle / sigma + sigma * math.sqrt(years) / 2
        is_above = math.erfc(-d1 / math.sqrt(2)) / 2 > target
        low, high = (middle, high) if is_above else (low, middle)
    return smile(low)


def _wings(level):
    pairs = [
        [_at_call_delta(one, 30 / DAYS_PER_YEAR, delta) for one in level] for delta in (0.75, 0.25)
    ]
    return (np.array(one) for one in pairs)


def _error(surface, name, expected):
    found = surface[name].to_numpy()
    assert not np.isnan(found).any(), name
    return np.abs(found - expected)


@pytest.mark.parametrize("venue", VENUES)
def test_chain_and_surface_are_one_run_and_the_surface_is_checked(market, venue):
    platform, _, results = market
    result = results[venue]
    assert result.success
    assert platform.checks(result) == {
        (asset, check): True for asset in CHAIN for check in ("schema_holds", "complete")
    }
    done = Counter(str(one.asset_key.path[0]) for one in result.get_asset_materialization_events())
    assert done == {"raw_ticks": 1, "options_surface": 1}
    (event,) = (
        one.materialization
        for one in result.get_asset_materialization_events()
        if one.asset_key.path == ["options_surface"]
    )
    rows = event.metadata["dagster/partition_row_count"].value
    underlyings = 3 if venue == "deribit" else 2
    assert rows == underlyings * sum(timeframe.bars_per_day for timeframe in Timeframe)
    assert "Simulated" in event.metadata["source"].value
    assert "data:image/png" in event.metadata["picture of the term structure"].value
    for asset in ASSETS:
        assert f"| {asset}-USD |" in event.metadata["underlyings"].value


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("asset", "mean", "largest"), [("BTC", 0.007, 0.02), ("ETH", 0.012, 0.03)])
def test_the_volatility_at_the_money_is_the_level_it_was_priced_from(
    market, venue, asset, mean, largest
):
    surface = _surface(market, venue, asset)
    level = _level(market, asset, surface)
    for name in ATM:
        errors = _error(surface, name, level)
        assert errors.mean() < mean, name
        assert errors.max() < largest, name
    # a day or two before the expiry strikes are a standard deviation apart
    assert _error(surface, "atm_mark_iv", level).mean() < 0.04
    assert np.abs(surface["term_slope"].to_numpy()).mean() < 2 * mean


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("asset", "mean"), [("BTC", 0.006), ("ETH", 0.015)])
def test_the_skew_is_the_smiles(market, venue, asset, mean):
    surface = _surface(market, venue, asset)
    level = _level(market, asset, surface)
    put, call = _wings(level)
    expected = {
        "put_iv_25d_30d": put,
        "call_iv_25d_30d": call,
        "risk_reversal_25d_30d": call - put,
        "butterfly_25d_30d": (call + put) / 2 - level,
    }
    for name, values in expected.items():
        errors = _error(surface, name, values)
        assert errors.mean() < mean, name
        # marks of some minutes ago bend the smile when the price jumps
        assert np.quantile(errors, 0.95) < 2.5 * mean, name
    assert _error(surface, "put_call_ratio_25d_30d", put / call).mean() < 2 * mean
    assert (surface["risk_reversal_25d_30d"] < 0).mean() > 0.9


@pytest.mark.parametrize("venue", VENUES)
def test_the_strip_sees_the_wings_that_the_money_does_not(market, venue):
    """Of a smile with this curvature the strip's volatility lies a fifth to a third above."""
    surface = _surface(market, venue, "BTC")
    free = surface["model_free_volatility_30d"].drop_nulls()
    assert free.len() > surface.height / 2
    ratio = (surface["model_free_volatility_30d"] / surface["atm_iv_30d"]).drop_nulls()
    assert ratio.is_between(1.15, 1.35).all()


@pytest.mark.parametrize("asset", ASSETS)
def test_percent_and_fraction_venues_agree(market, asset):
    one, other = (_surface(market, venue, asset) for venue in VENUES)
    for name in (*ATM, "put_iv_25d_30d", "call_iv_25d_30d"):
        assert (one[name] - other[name]).abs().mean() < 0.004, name
    assert ((one["front_forward"] / other["front_forward"]) - 1).abs().max() < 0.02


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("asset", ASSETS)
def test_the_venues_own_numbers_are_the_formulas(market, venue, asset):
    surface = _surface(market, venue, asset)
    assert surface["mark_premium_gap_bps"].max() < 0.5
    assert surface["venue_delta_gap_max"].max() < 0.002
    assert surface["invalid_option_count"].sum() == surface["crossed_option_count"].sum() == 0
    assert surface["calendar_violation_count"].sum() == 0
    assert surface["expiry_count"].min() >= 4


def test_a_linear_chain_has_a_surface_too(market):
    cell = VenueDay.parse(f"{DAY}|deribit")
    item = OptionsSurfaceFile(cell.date, Timeframe.H1, VenueId.DERIBIT, "XRP-USDC")
    surface = market[0].lake.read_table(item)
    assert surface["option_count"].min() >= 5
    assert surface["mark_premium_gap_bps"].max() < 2


def test_running_again_changes_nothing(market):
    platform, _, _ = market
    before = platform.bytes()
    result = platform.run("options_surface", partition=f"{DAY}|deribit")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["underlyings built"].value == 0
    assert platform.bytes() == before


def test_without_its_chain_the_surface_says_what_to_run(make_platform):
    platform, _ = make_platform(Simulator(7, scale=0.02), ("deribit",))
    cell = "2024-08-08|deribit"
    platform.prepare("deribit", cell)
    result = platform.run("options_surface", partition=cell)
    assert not result.success
    (failure,) = platform.failures(result)
    assert "--select raw_ticks/options_chain --partition '2024-08-08|deribit'" in failure


def test_a_grid_without_option_venues_has_no_surface(make_platform):
    platform, _ = make_platform(Simulator(7, scale=0.02), ("binance",))
    keys = {key.to_user_string() for key in platform._repository.asset_graph.get_all_asset_keys()}
    assert "options_surface" not in keys
