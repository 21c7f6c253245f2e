"""Laws of rolling statistics: what a value depends on, and what it does not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.comoments import correlation, covariance
from tickhandler_dagster.market.mft.entry import Scope
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.windows import Windows

COUNT = 700
BAR = 350
SPIKE = 1.3
NAMES = (
    *(f"autocorrelation_{lag}_{window}" for window in (60, 120) for lag in (1, 2, 3)),
    "variance_ratio_2_60",
    "variance_ratio_5_120",
    "hurst_256",
    "return_skewness_60",
    "return_kurtosis_60",
    "max_drawdown_60",
    *(f"reference_{what}_{window}" for window in (60, 120) for what in ("beta", "correlation")),
    *(f"reference_residual_{window}" for window in (60, 120)),
    *(f"reference_lead_{lag}_{window}" for window in (60, 120) for lag in (1, 2, 3)),
)
REFERENCE_NAMES = tuple(name for name in NAMES if name.startswith("reference"))


@pytest.fixture(scope="module")
def features(features_of):
    return {feature.name: feature for feature in features_of()}


@pytest.fixture(scope="module")
def paths(price_paths):
    return price_paths(COUNT)


@pytest.fixture(scope="module")
def values_of(series_of, features):
    def made(*paths, **kinds):
        return evaluated(series_of(*paths, **kinds), list(features.values())).select(NAMES)

    return made


@pytest.fixture(scope="module")
def values(values_of, paths):
    return values_of(*paths)


@pytest.fixture(scope="module")
def without_the_bar(values_of, paths):
    return values_of(*paths, gaps=(BAR,))


@pytest.fixture(scope="module")
def without_the_reference_bar(values_of, paths):
    return values_of(*paths, reference_gaps=(BAR,))


def _spiked(path):
    moved = path.copy()
    moved[BAR] *= SPIKE
    return moved


@pytest.fixture(scope="module")
def with_a_spike(values_of, paths):
    """The bar's close of both sides moved; by different factors, so that no ratio hides it."""
    price, reference = paths
    both = _spiked(price), np.sqrt(reference * _spiked(reference))
    return values_of(*both)


def test_these_are_all_the_entries(features):
    assert set(NAMES) == set(features)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_known_as_soon_as_the_window_is_whole(values, features, name):
    missing = values[name].is_null().arg_true().to_list()
    assert missing == list(range(features[name].look_back))


@pytest.mark.parametrize("name", NAMES)
def test_a_gap_takes_the_bar_and_as_many_after_it_as_the_look_back(
    values, without_the_bar, features, name
):
    known = values[name].is_not_null()
    lost = (known & without_the_bar[name].is_null()).arg_true().to_list()
    assert lost == list(range(BAR, BAR + features[name].look_back + 1))


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_a_gap_of_the_reference_takes_as_many(values, without_the_reference_bar, features, name):
    known = values[name].is_not_null()
    lost = (known & without_the_reference_bar[name].is_null()).arg_true().to_list()
    assert lost == list(range(BAR, BAR + features[name].look_back + 1))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(REFERENCE_NAMES)))
def test_the_reference_matters_only_to_entries_that_say_so(
    values, without_the_reference_bar, features, name
):
    assert features[name].scope is Scope.INSTRUMENT
    assert values[name].equals(without_the_reference_bar[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_without_trades_counts_as_missing(values, values_of, paths, features, name):
    found = values_of(*paths, untraded=(BAR,))[name]
    lost = (values[name].is_not_null() & found.is_null()).arg_true().to_list()
    assert lost == list(range(BAR, BAR + features[name].look_back + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_changes_nothing_before_it_and_nothing_past_the_look_back(
    values, with_a_spike, features, name
):
    assert values[name][:BAR].equals(with_a_spike[name][:BAR])
    past = slice(BAR + features[name].look_back + 1, None)
    before, after = values[name][past].to_numpy(), with_a_spike[name][past].to_numpy()
    assert len(before) > 50
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_the_look_back_is_no_longer_than_what_is_read(values, with_a_spike, features, name):
    last = BAR + features[name].look_back
    assert values[name][last] != pytest.approx(with_a_spike[name][last], rel=1e-9, abs=0)


@pytest.mark.parametrize("end", [BAR, 2 * BAR - 1])
def test_bars_that_follow_change_no_bit(values, values_of, paths, end):
    assert values[:end].equals(values_of(*(path[:end] for path in paths)))


@pytest.mark.parametrize("start", [1, 37, 60, 128])
def test_where_the_series_starts_is_rounding_at_most(values, values_of, paths, start):
    later = values_of(*(path[start:] for path in paths))
    for name in NAMES:
        known = later[name].is_not_null().to_numpy()
        np.testing.assert_allclose(
            later[name].to_numpy()[known],
            values[name][start:].to_numpy()[known],
            rtol=1e-10,
            atol=1e-12,
        )


def test_a_drawdown_is_the_same_to_the_bit_wherever_the_series_starts(values, values_of, paths):
    later = values_of(*(path[37:] for path in paths))["max_drawdown_60"]
    assert later[59:].equals(values["max_drawdown_60"][37 + 59 :])


def test_doubling_all_prices_changes_no_bit(values, values_of, paths):
    assert values.equals(values_of(*(2 * path for path in paths)))


def test_a_flat_price_has_no_statistic_but_its_drawdown_and_what_the_reference_does(
    values_of, paths
):
    found = values_of(np.full(COUNT, 3.25), paths[1])
    known = {name for name in NAMES if found[name].is_not_null().any()}
    assert known == {
        "max_drawdown_60",
        *(f"reference_{what}_{window}" for what in ("beta", "residual") for window in (60, 120)),
    }
    for name in known:
        assert set(found[name].drop_nulls()) == {0.0}


def test_prices_that_grow_by_one_factor_have_no_variance(values_of, paths):
    found = values_of(2.0 ** np.arange(COUNT), paths[1])
    assert found["hurst_256"].null_count() == COUNT
    assert found["variance_ratio_2_60"].null_count() == COUNT
    assert found["autocorrelation_1_60"].null_count() == COUNT
    for name in ("reference_correlation_60", "reference_lead_1_60"):
        assert found[name].null_count() == COUNT


def test_what_does_not_vary_correlates_with_nothing_although_covariance_is_rounded():
    """Beside 0.5, sums and differences round on different grids and their variances differ."""
    moves = np.random.default_rng(3).standard_normal(COUNT)
    sides = pl.DataFrame({"flat": np.full(COUNT, 0.5), "moves": 1e-3 * moves})
    found = sides.select(
        covariance=covariance(pl.col("flat"), pl.col("moves"), 60),
        correlation=correlation(pl.col("flat"), pl.col("moves"), 60),
    )
    assert (found["covariance"].drop_nulls() != 0).any()
    assert not found["correlation"].is_finite().any()


def test_a_flat_reference_explains_nothing(values_of, paths):
    found = values_of(paths[0], np.full(COUNT, 61_000.0))
    assert all(found[name].null_count() == COUNT for name in REFERENCE_NAMES)


def test_the_reference_beside_itself_has_beta_one_and_no_residual(values_of, paths):
    found = values_of(paths[1], paths[1])
    for window in (60, 120):
        assert set(found[f"reference_beta_{window}"].drop_nulls()) == {1.0}
        assert set(found[f"reference_correlation_{window}"].drop_nulls()) == {1.0}
        assert found[f"reference_beta_{window}"].null_count() == window
        assert found[f"reference_residual_{window}"].null_count() == COUNT


def test_rounding_takes_no_statistic_past_its_bound(values_of, paths):
    """Perfect correlations, and returns of two values, whose kurtosis is the least there is."""
    with_itself = values_of(paths[1] ** 3, paths[1])["reference_correlation_60"]
    against_itself = values_of(paths[1] ** -3.0, paths[1])["reference_correlation_60"]
    steps = np.resize([1.0, 1.0003], COUNT)
    two_valued = values_of(steps, steps)["return_kurtosis_60"]
    assert with_itself.max() == 1.0
    assert against_itself.min() == -1.0
    assert two_valued.min() == 1.0


def test_without_the_reference_all_that_reads_it_is_null(features, series_of, paths):
    series = series_of(paths[0]).with_columns(
        ref_log_return=pl.lit(None, pl.Float64), ref_valid_run=pl.lit(None, pl.Int64)
    )
    found = evaluated(series, [features[name] for name in REFERENCE_NAMES])
    assert all(found[name].null_count() == COUNT for name in REFERENCE_NAMES)


@settings(max_examples=30)
@given(
    ticks=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    stickiness=st.sampled_from([0.0, 0.9, 0.995]),
)
def test_a_price_that_bounces_between_ticks_keeps_every_bound(
    series_of, features, ticks, seed, stickiness
):
    rng = np.random.default_rng(seed)
    paths = []
    for _ in range(2):
        levels = rng.integers(0, ticks + 1, 420)
        kept = np.where(rng.random(420) < stickiness, 0, np.arange(420))
        paths.append(1.0 + 1e-4 * levels[np.maximum.accumulate(kept)])
    found = evaluated(series_of(*paths), list(features.values()))
    for feature in features.values():
        known = found[feature.name].drop_nulls()
        bounds = feature.bounds
        assert known.is_finite().all()
        assert bounds.ge is None or (known >= bounds.ge).all()
        assert bounds.le is None or (known <= bounds.le).all()
        assert bounds.gt is None or (known > bounds.gt).all()


def test_entries_state_what_they_read(features):
    for feature in features.values():
        assert set(feature.inputs) == set(feature.expression.meta.root_names())
        assert feature.formula.endswith(".")
        assert len(feature.formula) <= 200


@pytest.mark.parametrize(
    ("family", "windows"),
    [
        ("autocorrelation", (49,)),
        ("autocorrelation", (59,)),
        ("variance_ratio", ((6, 59),)),
        ("hurst", (255,)),
        ("moments", (29,)),
        ("reference", (59,)),
    ],
)
def test_a_window_too_short_for_its_statistic_is_refused(features_of, family, windows):
    with pytest.raises(InvalidInput, match=f"windows.{family}: the window is too short"):
        features_of(Windows(**{family: windows}))


def test_a_shorter_series_than_the_window_has_no_value(values_of, paths):
    found = values_of(*(path[:5] for path in paths))
    assert found.null_count().row(0) == (5,) * len(NAMES)
