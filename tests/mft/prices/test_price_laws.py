"""Laws of every price feature: its look-back is true, it never looks ahead, its unit is its own."""

from __future__ import annotations

import math

import pytest

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.windows import Windows

BARS, BROKEN = 600, 300
EARLIER = {
    *(f"sma_{n}" for n in (5, 10, 20)),
    *(f"ema_{n}" for n in (5, 10, 20)),
    *(f"price_momentum_{n}" for n in (3, 5, 10, 20)),
    *(f"price_volatility_{n}" for n in (5, 10, 20)),
    *("wma_5", "price_velocity", "price_acceleration", "volume_sma_5", "volume_ema_5"),
    *("volume_ratio", "vwap_deviation", "high_low_ratio", "close_to_close_return"),
    *("trade_intensity", "avg_trade_size", "price_impact", "bid_ask_spread_proxy", "rsi_5"),
    *("macd", "macd_signal", "macd_histogram", "bollinger_position"),
    *("bollinger_upper", "bollinger_lower", "bollinger_width"),
}
RECURSIVE = (
    *("ema_", "macd", "rsi_", "atr_", "natr_", "adx_", "plus_di_", "minus_di_"),
    *("ewma_vol_", "volume_ema_"),
)
FLAT_IS_NULL = (
    *("price_z_score_", "rsi_", "adx_", "plus_di_", "minus_di_", "bollinger_position"),
    *("bollinger_percent_b_", "donchian_", "trend_r_squared_", "vol_ratio_"),
    *("risk_adjusted_", "obv_change_z_"),
)
OTHER_WINDOWS = Windows(
    horizons=(2, 7),
    volatility=(9,),
    vol_ratios=((7, 30),),
    averages=(8, 21),
    ewma_half_lives=(5,),
    rsi=(3,),
    macd=((3, 7, 4),),
    bollinger=(11,),
    atr=(6,),
    trend=(6, 13),
    flow=(4, 9),
)


@pytest.fixture(scope="module", params=[Windows(), OTHER_WINDOWS], ids=["default", "other"])
def entries(request, price_entries):
    return price_entries(request.param)


@pytest.fixture(scope="module")
def bars(random_bars):
    return random_bars(BARS)


@pytest.fixture(scope="module")
def values(price_series, bars, entries):
    return evaluated(price_series(bars), entries)


def _with(bars, rows, factors):
    changed = {name: list(column) for name, column in bars.items()}
    for name, factor in factors.items():
        for row in rows:
            changed[name][row] *= factor
    return changed


def _null_rows(values, name):
    return values[name].is_null().arg_true().to_list()


def test_a_value_is_null_exactly_while_its_window_touches_the_start(values, entries):
    for entry in entries:
        assert _null_rows(values, entry.name) == list(range(entry.look_back)), entry.name


def test_a_gap_makes_exactly_its_bar_and_the_look_back_after_it_null(price_series, bars, entries):
    values = evaluated(price_series(bars, gaps=[BROKEN]), entries)
    for entry in entries:
        touched = [*range(entry.look_back), *range(BROKEN, BROKEN + entry.look_back + 1)]
        assert _null_rows(values, entry.name) == sorted(set(touched)), entry.name


def test_a_bar_without_trades_counts_for_returns_alone(price_series, bars, entries):
    values = evaluated(price_series(bars, silent=[BROKEN]), entries)
    for entry in entries:
        touched = range(BROKEN, BROKEN + entry.look_back + 1) if entry.needs_trades else ()
        expected = sorted({*range(entry.look_back), *touched})
        assert _null_rows(values, entry.name) == expected, entry.name
    names = {entry.name for entry in entries if not entry.needs_trades}
    prefixes = ("log_return_", "realized_vol_", "close_to_close_return")
    assert all(name.startswith(prefixes) for name in names)
    assert values["close_to_close_return"][BROKEN] == 0


def test_a_value_does_not_depend_on_bars_before_its_look_back(price_series, bars, values, entries):
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), 1.001)
    others = {"volume": 1.2, "notional": 1.2, "variance": 1.2}
    moved = evaluated(price_series(_with(bars, [BROKEN], prices | others)), entries)
    for entry in entries:
        after = BROKEN + entry.look_back + 1
        found, before = (frame[entry.name].slice(after).to_list() for frame in (moved, values))
        if entry.name.startswith(RECURSIVE):
            assert found == pytest.approx(before, rel=1e-4), entry.name
        else:
            assert found == before, entry.name


def test_a_value_reads_the_first_bar_of_its_look_back(price_series, bars, values, entries):
    sizes = {"volume": 1.2, "notional": 1.3, "variance": 1.2}
    rise = {"open": 1.2, "high": 1.5, "close": 1.5, "vwap": 1.3}
    fall = {"open": 0.9, "low": 0.5, "close": 0.5, "vwap": 0.7}
    moved = [
        evaluated(price_series(_with(bars, [BROKEN], prices | sizes)), entries)
        for prices in (rise, fall)
    ]
    for entry in entries:
        if not entry.name.startswith((*RECURSIVE, "trade_intensity")):
            row = BROKEN + entry.look_back
            found = {frame[entry.name][row] for frame in moved}
            assert found != {values[entry.name][row]}, entry.name


def test_a_value_is_the_same_when_later_bars_are_not_known(price_series, bars, values, entries):
    known = {name: column[: BROKEN + 1] for name, column in bars.items()}
    found = evaluated(price_series(known), entries)
    for entry in entries:
        assert found[entry.name].to_list() == values[entry.name].head(BROKEN + 1).to_list()


def test_a_value_follows_its_unit_when_prices_double_and_sizes_quadruple(
    price_series, bars, values, entries
):
    factors = dict.fromkeys(("open", "high", "low", "close", "vwap"), 2.0)
    scaled = evaluated(
        price_series(_with(bars, range(BARS), factors | {"volume": 4.0, "notional": 8.0})), entries
    )
    for entry in entries:
        factor = 2.0**entry.unit.price * 4.0**entry.unit.size
        found = scaled[entry.name].to_list()
        expected = [None if v is None else v * factor for v in values[entry.name].to_list()]
        if entry.name.startswith("trend_r_squared_"):  # ln 2P is ln P + ln 2, rounded
            known = slice(entry.look_back, None)
            assert found[known] == pytest.approx(expected[known], rel=1e-9), entry.name
        else:
            assert found == expected, entry.name


def _flat(bars, since=0):
    price = bars["close"][since]
    flat = {name: list(column) for name, column in bars.items()}
    for name in ("open", "high", "low", "close", "vwap"):
        flat[name][since + 1 :] = [price] * (BARS - since - 1)
    return flat


@pytest.mark.parametrize("since", [0, 150])
def test_a_price_that_stands_still_has_no_place_and_no_volatility(
    price_series, bars, entries, since
):
    last = evaluated(price_series(_flat(bars, since)), entries).row(-1, named=True)
    for entry in entries:
        if entry.name.startswith(FLAT_IS_NULL):
            assert last[entry.name] is None, entry.name
        else:
            assert last[entry.name] is not None, entry.name
        if entry.name.startswith(("trend_slope_", "realized_vol_bars_", "vol_of_vol_", "garman_")):
            assert last[entry.name] == 0, entry.name


def test_no_value_is_infinite_nan_or_out_of_bounds(values, entries):
    for entry in entries:
        known = values[entry.name].drop_nulls().to_list()
        bounds = entry.bounds
        assert all(map(math.isfinite, known)), entry.name
        assert bounds.ge is None or min(known) >= bounds.ge, entry.name
        assert bounds.gt is None or min(known) > bounds.gt, entry.name
        assert bounds.le is None or max(known) <= bounds.le, entry.name


def test_features_of_sizes_are_null_while_the_contract_s_units_are_unknown(
    price_series, bars, entries
):
    unknown = {name: column for name, column in bars.items() if name not in {"volume", "notional"}}
    last = evaluated(price_series(unknown), entries).row(-1, named=True)
    of_sizes = {entry.name for entry in entries if "base_volume" in entry.inputs}
    assert {name for name in of_sizes if last[name] is not None} == set()
    of_prices = {entry.name for entry in entries} - of_sizes
    assert {name for name in of_prices if last[name] is None} == set()


def test_parkinson_is_null_where_bars_have_fewer_than_a_hundred_trades(price_series, bars, entries):
    count = next(entry.look_back for entry in entries if entry.name.startswith("parkinson")) + 1
    name = f"parkinson_vol_{count}"
    trades = [100] * BARS
    assert evaluated(price_series(bars | {"trades": trades}), entries)[name][-1] is not None
    trades[-1] = 99
    assert evaluated(price_series(bars | {"trades": trades}), entries)[name][-1] is None


def test_the_earlier_system_s_names_exist_whatever_the_windows(entries):
    assert {entry.name for entry in entries} >= EARLIER


def test_an_entry_declares_the_columns_that_its_expression_reads(price_series, bars, entries):
    columns = set(price_series(bars).columns)
    for entry in entries:
        assert set(entry.inputs) == set(entry.expression.meta.root_names()), entry.name
        assert set(entry.inputs) <= columns


@pytest.mark.parametrize(
    ("family", "bars"), [("volatility", 1), ("averages", 1), ("bollinger", 1), ("trend", 4)]
)
def test_a_window_too_short_for_its_statistic_is_refused(price_entries, family, bars):
    with pytest.raises(InvalidInput, match=f"windows.{family}: the window is too short"):
        price_entries(Windows(**{family: (bars,)}))


def test_names_differ_and_formulas_are_sentences_that_fit_a_catalogue(entries):
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert len(entry.formula) <= 200
        assert entry.formula.endswith(".")
