"""Simulated candles and a slow check, shared by the tests of flow, carry, surface, calendar."""

from __future__ import annotations

import datetime as dt
import math
import random

import polars as pl
import pytest

from tickhandler_dagster.market.mft.carry import carry_features
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.flow import flow_features
from tickhandler_dagster.market.mft.joined import JOINED_COLUMNS
from tickhandler_dagster.market.mft.seasonality import seasonality_features
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series
from tickhandler_dagster.market.mft.surface_changes import surface_change_features
from tickhandler_dagster.market.mft.venues import venue_features
from tickhandler_dagster.market.mft.windows import Windows

START = dt.datetime(2024, 3, 29, 3, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
WINDOWS = Windows(horizons=(1, 5), flow=(1, 5, 20, 33), carry=(2, 20))

ALL_FAMILIES = (
    flow_features,
    carry_features,
    surface_change_features,
    seasonality_features,
    venue_features,
)

_TIMES = ("ts_open", "ts_close", "available_at", "next_funding_time")
_EMPTY_WITHOUT_TRADES = (
    *("open", "high", "low", "close", "price_vwap", "trade_flow_imbalance"),
    *("effective_spread_bps", "amihud", "kyle_lambda"),
)
_LEVELS = {
    "mid_price": 100,
    "spread_tw_bps": 3,
    "effective_spread_bps": 2,
    "amihud": 0.4,
    "realized_variance": 1e-6,
    "funding_rate": 1e-4,
    "funding_settled": 1e-4,
    "funding_annualised": 0.1,
    "open_interest": 5000,
    "mark_price": 100,
    "index_price": 100,
    "liquidation_notional": 50,
    "atm_iv_30d": 0.5,
    "atm_mark_iv": 0.5,
    "skew_25d_put_call_ratio": 1.1,
    "funding_interval_h": 1,
    "slot_volume_mean_4w": 20,
    "funding_mean_30d": 0.1,
    "funding_std_30d": 0.02,
    "realized_variance_30d": 0.2,
    "other_mid_price": 100,
    "all_venues_notional": 40_000,
}
_SIGNED = (
    *("kyle_lambda", "perp_premium", "futures_basis_annualised"),
    *("term_slope", "risk_reversal_25d_30d"),
)
_UNKNOWN_SHARES = dict.fromkeys(
    ("amihud", "kyle_lambda", "spread_tw_bps", "effective_spread_bps"), 0.4
) | dict.fromkeys(("slot_volume_mean_4w", "other_mid_price", "term_slope"), 0.02)


def _candle(rng, place):
    """A traded bar with every column; funding passes every hour, at the full hour."""
    opens = START + place * MINUTE
    closes = opens + MINUTE
    next_hour = closes.replace(minute=0, second=0) + dt.timedelta(hours=1)
    buys, sells = rng.lognormvariate(2, 1), rng.lognormvariate(2, 1)
    price = 100 * math.exp(rng.gauss(0, 0.01))
    high, low = price * (1 + rng.random() / 100), price * (1 - rng.random() / 100)
    row = {name: level * math.exp(rng.gauss(0, 0.2)) for name, level in _LEVELS.items()}
    row |= {name: rng.gauss(0, 1) for name in _SIGNED}
    return row | {
        "ts_open": opens,
        "ts_close": closes,
        "available_at": closes + dt.timedelta(milliseconds=200 + rng.randrange(900)),
        "status": "traded",
        "is_final": True,
        "open": low,
        "high": high,
        "low": low,
        "close": price,
        "trade_count": rng.randrange(1, 60),
        "volume": buys + sells,
        "notional": (buys + sells) * price,
        "buy_volume_sum": buys,
        "sell_volume_sum": sells,
        "price_vwap": price,
        "trade_flow_imbalance": (buys - sells) / (buys + sells),
        "next_funding_time": next_hour,
        "funding_interval_h": 1.0,
        "slot_volume_count_4w": 4,
        "funding_count_30d": 30,
        "other_venue": "bybit",
        "other_available_at": closes,
        "all_venues_available_at": closes,
    }


def _with_holes(rng, row):
    """Some bars without trades, some behind a gap, some values unknown."""
    chance = rng.random()
    if chance < 0.15:
        zeros = ("trade_count", "volume", "notional", "buy_volume_sum", "sell_volume_sum")
        row |= dict.fromkeys(_EMPTY_WITHOUT_TRADES) | dict.fromkeys(zeros, 0.0)
        row |= {"status": "no_trade", "trade_count": 0, "liquidation_notional": 0.0}
    elif chance < 0.155:
        row |= {"status": "vendor_gap"}
    elif chance < 0.16:
        row |= {"is_final": False}
    row |= {name: None for name, share in _UNKNOWN_SHARES.items() if rng.random() < share}
    if rng.random() < 0.05:
        row |= {"slot_volume_count_4w": 3, "funding_count_30d": 29}
    if rng.random() < 0.01:
        row["next_funding_time"] = None
    return row


def _schema():
    joined = {column.name: column.dtype for column in JOINED_COLUMNS}
    texts = {"status": pl.String(), "is_final": pl.Boolean(), "trade_count": pl.Int64()}
    times = dict.fromkeys(_TIMES, pl.Datetime("us", "UTC"))
    return dict.fromkeys(CANDLE_COLUMNS, pl.Float64()) | joined | texts | times


@pytest.fixture(scope="session")
def candles():
    """Candles of consecutive minutes, whole or with holes."""

    def make(count, *, seed=0, has_holes=False):
        rng = random.Random(seed)
        rows = [_candle(rng, place) for place in range(count)]
        if has_holes:
            rows = [_with_holes(rng, row) for row in rows]
        return pl.DataFrame(rows, schema=_schema(), orient="row")

    return make


@pytest.fixture(scope="session")
def as_series():
    """The series of candles without missing rows."""
    return lambda frame: bar_series(frame, frame["ts_open"])


@pytest.fixture(scope="session")
def windows():
    return WINDOWS


@pytest.fixture(scope="session")
def entries(windows):
    """Entries over one instrument's series, of all families of these tests."""
    return tuple(entry for family in ALL_FAMILIES for entry in family(windows))


def _close(value, wanted):
    if value is None or wanted is None:
        return value is wanted
    return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12)


@pytest.fixture(scope="session")
def agrees(as_series, candles):
    """Holds features against functions of (rows, place), on candles with holes."""

    def check(features, references, seed):
        series = as_series(candles(260, seed=seed, has_holes=True))
        got = evaluated(series, features)
        rows = series.to_dicts()
        runs = []
        for row in rows:
            runs.append((runs[-1] if runs else 0) + 1 if row["is_valid"] else 0)
        for feature in features:
            reference = references[feature.name]
            wanted = [
                reference(rows, place) if runs[place] > feature.look_back else None
                for place in range(len(rows))
            ]
            values = got[feature.name].to_list()
            differing = [
                (place, value, want)
                for place, (value, want) in enumerate(zip(values, wanted, strict=True))
                if not _close(value, want)
            ]
            assert not differing, (feature.name, differing[:3])
            assert any(want is not None for want in wanted), feature.name

    return check
