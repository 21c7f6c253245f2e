"""Laws of the option surface: flat smiles, parity, scale, time, what is stale and what is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE
from tickhandler_dagster.market.options.units import POINTS_PER_UNIT, as_fraction, in_quote, is_sane
from tickhandler_dagster.market.venues import VenueId, venues_with

DAYS = (3, 20, 45, 80, 120)
ATM = [f"atm_iv_{days}d" for days in (7, 30, 60, 90)]
DIMENSIONS = {entry.name: (entry.unit.price, entry.unit.size) for entry in OPTION_SURFACE}


def _flat(sigma):
    return lambda *_: sigma


def _market(chains, smile, *, days=DAYS, **changes):
    options = {"strikes": chains.ladder(count=41, spacing=0.04), "moments": (chains.START,)}
    return [chains.made(one, volatility=smile, **(options | changes)) for one in days]


def _now(chains, expiries, later_us=1):
    columns = chains.surface(expiries, [chains.START + later_us])
    return {name: float(values[0]) for name, values in columns.items()}


def _equal(first, second):
    assert set(first) == set(second)
    for name, values in first.items():
        assert np.array_equal(values, second[name], equal_nan=True), name


@settings(max_examples=25)
@given(sigma=st.floats(0.2, 1.5), forward=st.floats(0.05, 1e5), pays_coin=st.booleans())
def test_a_flat_smile_is_a_flat_surface(chains, sigma, forward, pays_coin):
    expiries = _market(
        chains,
        _flat(sigma),
        strikes=chains.ladder(forward, 41, 0.06),
        forward=forward,
        pays_coin=pays_coin,
    )
    found = _now(chains, expiries)
    for name in (*ATM, "atm_mark_iv", "put_iv_25d_30d", "call_iv_25d_30d"):
        assert found[name] == pytest.approx(sigma, rel=1e-9), name
    for name in ("risk_reversal_25d_30d", "butterfly_25d_30d", "term_slope", "term_slope_7d_30d"):
        assert found[name] == pytest.approx(0, abs=1e-9), name
    for name in ("forward_variance_7d_30d", "forward_variance_60d_90d"):
        assert found[name] == pytest.approx(sigma**2, rel=1e-7), name
    assert found["put_call_ratio_25d_30d"] == pytest.approx(1, rel=1e-9)
    assert found["skew_25d_put_call_ratio"] == pytest.approx(1, rel=1e-9)
    assert found["calendar_violation_count"] == 0
    assert found["mark_premium_gap_bps"] == pytest.approx(0, abs=1e-6)
    assert found["venue_delta_gap_max"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.4, 0.6, 1.0])
def test_the_model_free_variance_of_a_flat_smile_is_its_square(chains, sigma):
    """The strip is a sum over strikes: its error falls with the square of their distance."""
    errors = []
    for spacing in (0.02, 0.01, 0.005):
        strikes = chains.ladder(count=int(6 / spacing) + 1, spacing=spacing)
        found = _now(chains, _market(chains, _flat(sigma), days=(20, 45), strikes=strikes))
        errors.append(found["model_free_variance_30d"] - sigma**2)
        assert found["model_free_volatility_30d"] ** 2 == pytest.approx(sigma**2 + errors[-1])
    assert abs(errors[2]) < 6e-5
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_wings_cost_model_free_variance_that_the_money_does_not_see(chains):
    dense = chains.ladder(count=301, spacing=0.01)
    curved = _market(
        chains, lambda k, f: 0.5 + 0.3 * math.log(k / f) ** 2, days=(20, 45), strikes=dense
    )
    found = _now(chains, curved)
    assert found["atm_iv_30d"] == pytest.approx(0.5, rel=1e-3)
    assert found["model_free_volatility_30d"] > found["atm_iv_30d"]
    assert found["butterfly_25d_30d"] > 0


@pytest.mark.parametrize("tilt", [0.05, 0.2])
def test_mirroring_the_smile_turns_the_sign_of_the_skew(chains, tilt):
    down, up = (
        _now(chains, _market(chains, lambda k, f, slope=slope: 0.6 + slope * math.log(k / f)))
        for slope in (-tilt, tilt)
    )
    assert down["risk_reversal_25d_30d"] < 0 < up["risk_reversal_25d_30d"]
    assert down["put_call_ratio_25d_30d"] > 1 > up["put_call_ratio_25d_30d"]
    assert down["skew_25d_put_call_ratio"] > 1 > up["skew_25d_put_call_ratio"]
    assert down["atm_iv_30d"] == pytest.approx(up["atm_iv_30d"], rel=1e-3)


def test_calls_and_puts_say_the_same_where_one_of_them_is_missing(chains):
    whole = _market(chains, lambda k, f: 0.6 - 0.1 * math.log(k / f))
    rights = random.Random(1)
    halves = []
    for expiry in whole:
        gone = {(strike, rights.random() < 0.5) for strike in {o.strike for o in expiry.options}}
        kept = tuple(o for o in expiry.options if (o.strike, o.is_call) not in gone)
        halves.append(replace(expiry, options=kept))
    found, expected = _now(chains, halves), _now(chains, whole)
    assert found["option_count"] == expected["option_count"] / 2
    for name in (*ATM, "risk_reversal_25d_30d", "model_free_variance_30d", "atm_mark_iv"):
        assert found[name] == expected[name], name


@pytest.mark.parametrize("pays_coin", [True, False])
def test_parity_gives_the_forward_that_the_venue_does_not(chains, pays_coin):
    smile = lambda k, f: 0.6 - 0.1 * math.log(k / f)  # noqa: E731  (a smile is a function)
    given = _market(chains, smile, pays_coin=pays_coin)
    silent = _market(chains, smile, pays_coin=pays_coin, underlying=math.nan)
    found, expected = _now(chains, silent), _now(chains, given)
    assert math.isnan(found.pop("mark_premium_gap_bps"))
    for name in ("venue_delta_gap_mean", "venue_delta_gap_max"):
        assert math.isnan(found.pop(name))
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12, nan_ok=True), name


def test_without_pairs_and_without_an_underlying_there_is_no_surface(chains):
    expiries = _market(chains, _flat(0.6), underlying=math.nan)
    calls = [replace(e, options=tuple(o for o in e.options if o.is_call)) for e in expiries]
    found = _now(chains, calls)
    assert found["option_count"] == found["expiry_count"] == 0
    assert all(math.isnan(found[name]) for name in (*ATM, "atm_mark_iv", "chain_age_max_ms"))


@pytest.mark.parametrize("seed", range(3))
def test_doubled_prices_and_quadrupled_sizes_scale_each_column_by_its_unit(chains, seed):
    moments = [chains.START + minute * chains.MINUTE for minute in range(0, 180, 11)]
    plain = chains.disordered(seed, pays_coin=False)
    scaled = [
        replace(
            expiry,
            options=tuple(
                replace(
                    one,
                    strike=2 * one.strike,
                    size=4 * one.size,
                    rows=tuple(
                        replace(
                            row,
                            underlying=2 * row.underlying,
                            bid=2 * row.bid,
                            ask=2 * row.ask,
                            mark=2 * row.mark,
                        )
                        for row in one.rows
                    ),
                )
                for one in expiry.options
            ),
        )
        for expiry in plain
    ]
    found, expected = chains.surface(scaled, moments), chains.surface(plain, moments)
    for name, values in found.items():
        price, size = DIMENSIONS[name]
        assert values == pytest.approx(
            expected[name] * 2.0**price * 4.0**size, rel=1e-12, abs=1e-15, nan_ok=True
        ), name


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_arrives_at_the_moment_or_later_matters(chains, seed):
    expiries = chains.disordered(seed)
    moments = [chains.START + minute * chains.MINUTE for minute in (20, 60, 95)]
    expected = chains.surface(expiries, moments)
    for place, moment in enumerate(moments):
        draw = random.Random(seed)

        def changed(row, *, moment=moment, draw=draw):
            return row if row.arrival < moment else replace(row, volatility=draw.random(), bid=9.0)

        cut = [
            _with_rows(e, lambda rows, m=moment: [r for r in rows if r.arrival < m])
            for e in expiries
        ]
        other = [_with_rows(e, lambda rows: [changed(row) for row in rows]) for e in expiries]
        at_the_moment = [
            _with_rows(
                e,
                lambda rows, m=moment: (
                    [r for r in rows if r.arrival < m] + [chains.Row(m, 3.0, 1.0, 2.0, 1.0)]
                ),
            )
            for e in expiries
        ]
        for changed_chain in (cut, other, at_the_moment):
            found = chains.surface(changed_chain, [moment])
            one = {name: values[place : place + 1] for name, values in expected.items()}
            _equal(found, one)


def _with_rows(expiry, change):
    return replace(
        expiry,
        options=tuple(replace(one, rows=tuple(change(one.rows))) for one in expiry.options),
    )


def test_only_the_last_row_before_each_moment_is_needed(chains):
    moments = [chains.START + quarter * 15_000_000 for quarter in range(1, 720)]
    expiries = chains.disordered(4)

    def last_per_bar(rows):
        kept = {row.arrival // 15_000_000: row for row in rows}
        return list(kept.values())

    thinned = [_with_rows(expiry, last_per_bar) for expiry in expiries]
    _equal(chains.surface(thinned, moments), chains.surface(expiries, moments))


def test_a_moment_has_the_same_surface_whatever_it_is_asked_with(chains):
    expiries = chains.disordered(5)
    moments = [chains.START + second * 1_000_000 for second in range(1, 10_000, 5)]
    together = chains.surface(expiries, moments)
    for place in (0, 1439, 1440, len(moments) - 1):
        alone = chains.surface(expiries, [moments[place]])
        _equal(alone, {name: values[place : place + 1] for name, values in together.items()})


@pytest.mark.parametrize(
    ("age_s", "near", "wing"), [(300, True, True), (301, False, True), (1801, False, False)]
)
def test_rows_near_the_money_age_faster_than_wings(chains, age_s, near, wing):
    """Half a standard deviation in 30 days at 60 %: 8.6 % from the forward."""
    strikes = [54_000, 54_500, 56_000, 60_000, 65_000, 66_000]
    (expiry,) = _market(chains, _flat(0.6), days=(30,), strikes=strikes)
    fresh = chains.Row(chains.START + age_s * 1_000_000 - 1, underlying=60_000.0)
    silent = chains.Option(
        100_000.0, is_call=True, rows=(fresh,)
    )  # gives the forward and no volatility
    chain = replace(expiry, options=(*expiry.options, silent))
    found = _now(chains, [chain], later_us=age_s * 1_000_000)
    counting = 2 * (3 * near + 3 * wing)
    assert found["option_count"] == counting
    assert found["stale_option_count"] == 12 - counting
    assert found["invalid_option_count"] == 1


def test_an_expiry_is_used_until_its_last_hour_and_alive_until_its_end(chains):
    hour = 60 * chains.MINUTE
    expiry = chains.START + 2 * chains.DAY
    moments = [expiry - hour, expiry - hour + 1, expiry - 1, expiry]
    arrivals = [moment - 1 for moment in moments[:3]]
    chain = _market(chains, _flat(0.6), days=(2,), moments=arrivals)
    columns = chains.surface(chain, moments)
    assert columns["expiry_count"].tolist() == [1, 0, 0, 0]
    assert (columns["option_count"] > 0).tolist() == [True, True, True, False]
    assert (columns["put_open_interest"] > 0).tolist() == [True, True, True, False]


@pytest.mark.parametrize(("options", "used"), [(4, 0), (5, 1)])
def test_an_expiry_needs_five_options_that_count(chains, options, used):
    (whole,) = _market(chains, _flat(0.6), days=(30,), strikes=[55e3, 59e3, 61e3])
    found = _now(chains, [replace(whole, options=whole.options[:options])])
    assert (found["option_count"], found["expiry_count"]) == (options, used)
    assert math.isnan(found["front_days"]) is not bool(used)


def test_the_front_expiry_has_a_day_left(chains):
    near, far = _market(chains, _flat(0.6), days=(2, 9), moments=(chains.START + chains.DAY - 2,))
    moments = [
        chains.START + chains.DAY - 1,
        chains.START + chains.DAY,
        chains.START + chains.DAY + 1,
    ]
    columns = chains.surface([near, far], moments)
    assert columns["front_days"] == pytest.approx([1, 1, 8])


def test_constant_maturities_are_never_extrapolated(chains):
    found = _now(chains, _market(chains, _flat(0.6), days=(10, 40)))
    assert math.isnan(found["atm_iv_7d"])
    assert found["atm_iv_30d"] == pytest.approx(0.6)
    assert math.isnan(found["atm_iv_60d"])
    assert math.isnan(found["term_slope"])


def test_total_variance_is_linear_between_expiries(chains):
    near, far = (
        chains.made(days, strikes=chains.ladder(), volatility=_flat(s), moments=(chains.START,))
        for days, s in ((20, 0.8), (40, 0.5))
    )
    found = _now(chains, [near, far])
    expected = (0.8**2 * 20 + 0.5**2 * 40) / 2 / 30
    assert found["atm_iv_30d"] ** 2 == pytest.approx(expected, rel=1e-6)
    assert found["calendar_violation_count"] == 1


def test_a_chain_that_contradicts_itself_has_a_negative_forward_variance(chains):
    days = ((20, 1.2), (32, 1.0), (70, 0.4))
    expiries = [
        chains.made(one, strikes=chains.ladder(), volatility=_flat(s), moments=(chains.START,))
        for one, s in days
    ]
    found = _now(chains, expiries)
    assert found["forward_variance_30d_60d"] < 0
    assert found["calendar_violation_count"] == 1


def test_open_interest_is_counted_in_base_asset_and_null_where_its_unit_is_unknown(chains):
    known = _market(chains, _flat(0.6), days=(30,), size=0.01)
    unknown = _market(chains, _flat(0.6), days=(30,), size=math.nan)
    assert _now(chains, known)["put_open_interest"] == pytest.approx(41 * 10 * 0.01)
    found = _now(chains, unknown)
    assert math.isnan(found["put_open_interest"])
    assert math.isnan(found["gross_gamma_1pct"])
    assert found["option_open_interest_ratio"] == 1


def test_max_pain_lies_where_all_interest_is(chains):
    (expiry,) = _market(chains, _flat(0.6), days=(30,), strikes=[50e3, 60e3, 70e3, 80e3])
    heavy = _with_interest(expiry, {(70e3, True): 5.0, (70e3, False): 5.0})
    found = _now(chains, [heavy])
    assert found["max_pain_strike"] == found["open_interest_weighted_strike"] == 70e3
    assert found["max_pain_distance"] == pytest.approx(math.log(7 / 6))


def _with_interest(expiry, interest):
    return replace(
        expiry,
        options=tuple(
            replace(
                one,
                rows=tuple(
                    replace(row, open_interest=interest.get((one.strike, one.is_call), 0.0))
                    for row in one.rows
                ),
            )
            for one in expiry.options
        ),
    )


def test_units_are_known_for_every_venue_that_has_a_chain():
    assert set(POINTS_PER_UNIT) == set(venues_with(DataType.OPTIONS_CHAIN))


def test_a_wrong_unit_of_volatility_makes_every_option_invalid(chains):
    found = _now(chains, _market(chains, _flat(0.6), volatility_given=62.0))
    assert found["option_count"] == 0
    assert found["invalid_option_count"] == 2 * 41 * len(DAYS)


def test_a_wrong_unit_of_premium_shows_in_the_gap_to_the_formula(chains):
    right = _market(chains, _flat(0.6), pays_coin=False)
    wrong = [replace(one, pays_coin=True) for one in right]
    assert _now(chains, right)["mark_premium_gap_bps"] < 1e-6
    assert _now(chains, wrong)["mark_premium_gap_bps"] > 1e6


def test_percent_and_fraction_are_one_volatility_and_coin_and_quote_one_premium():
    percent, fraction = np.array([62.89]), np.array([0.6289])
    assert as_fraction(VenueId.DERIBIT, percent) == pytest.approx(fraction)
    assert as_fraction(VenueId.OKEX_OPTIONS, fraction) == pytest.approx(fraction)
    assert is_sane(np.array([0.0099, 0.01, 5.0, 5.01, math.nan])).tolist() == [
        False, True, True, False, False,
    ]  # fmt: skip
    coin, quote = np.array([0.02]), np.array([1_200.0])
    forward = np.array([60_000.0])
    assert in_quote(coin, forward, pays_coin=True) == in_quote(quote, forward, pays_coin=False)
