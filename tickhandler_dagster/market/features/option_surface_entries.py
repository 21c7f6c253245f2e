"""The columns of the option surface, each as an entry of the registry's form.

What belongs here: entries. Which of them stand on candles is `surface.py`, the arithmetic is
`market/options`.
"""

from __future__ import annotations

from functools import partial

from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import over
from tickhandler_dagster.market.features.units import (
    BASE,
    BPS,
    MS,
    PRICE,
    QUOTE,
    Unit,
    count_of,
)
from tickhandler_dagster.market.options.chain import WING_AGE_US
from tickhandler_dagster.market.tables import Bounds

VOLATILITY = Unit("annualised volatility: 0.5 = 50 %")
VARIANCE = Unit("annualised variance")
DAYS = Unit("days")
_OPTIONS = count_of("options")
_EXPIRIES = count_of("expiries")

_CBOE = "Cboe (2023), Volatility Index Methodology: Cboe Volatility Index"
_BLACK = "Black (1976), The pricing of commodity contracts"
_GATHERAL = "Gatheral (2006), The Volatility Surface"
_CARRY = "last row of each option in the file of the day before"
_USED = (
    "5 options that count in the expiry, a forward, and an hour to expiry; an option counts with a "
    "row of at most 5 min (within half a standard deviation of the forward) or 30 min (wings), "
    "0.01 to 5 of volatility and bid < ask"
)
_BRACKET = "no used expiry on one side of the maturity (never extrapolated)"
_FRONT_NULL = "no used expiry with a day left, or no strikes around the point"
_REFERENCE = "slow reference in plain Python; the sandbox's smile"

_entry = partial(
    Feature,
    inputs=(Channel.OPTIONS,),
    merge=Merge.LAST,
    look_back=over(WING_AGE_US, "(the last row of each option)"),
    carry_in=_CARRY,
    oracle=_REFERENCE,
)
_smile = partial(_entry, minimum=_USED)
_volatility = partial(_smile, unit=VOLATILITY, bounds=Bounds(gt=0), source=_GATHERAL)
_atm = partial(_volatility, null_rule=_BRACKET)
_skew = partial(
    _smile, null_rule=f"{_BRACKET}, or 25 deltas lie outside its strikes", source=_GATHERAL
)
_variance = partial(_smile, unit=VARIANCE, null_rule=f"{_BRACKET}, of either", source=_GATHERAL)
_strip = partial(
    _smile,
    null_rule=f"{_BRACKET} with 6 strikes that count on either side of its forward",
    source=_CBOE,
    oracle="slow reference in plain Python; a flat smile gives its square",
)
_interest = partial(
    _entry,
    source="Sums over the chain's open interest",
    null_rule="the size of a contract is unknown",
    bounds=Bounds(ge=0),
)
_quality = partial(_entry, source="Counts over the chain", bounds=Bounds(ge=0))

_FRONT = (
    _volatility(
        name="atm_mark_iv",
        formula=(
            "Volatility of the mark at strike = forward, of the first used expiry with a day left: "
            "variance linear in ln(K/F) between the strikes around 0."
        ),
        null_rule=_FRONT_NULL,
        earlier_meaning=(
            "mark_iv of the option of the nearest expiry whose delta was nearest to 0.5, which "
            "jumped between strikes and died at the expiry; in the venue's unit. Never computed"
        ),
    ),
    _smile(
        name="skew_25d_put_call_ratio",
        formula=(
            "Volatility of the put of 25 deltas / that of the call, of the first used expiry with "
            "a day left; volatility linear in the Black-76 delta."
        ),
        bounds=Bounds(gt=0),
        null_rule=_FRONT_NULL,
        source=_BLACK,
        earlier_meaning=(
            "the same ratio of the options whose venue deltas were nearest to 0.25, of the nearest "
            "expiry however near. Never computed"
        ),
    ),
    _smile(
        name="front_days",
        formula="Days from the bar's end to the first used expiry with at least a day left.",
        unit=DAYS,
        bounds=Bounds(ge=1),
        null_rule="no used expiry with a day left",
        source="Terms of the listing",
    ),
    _smile(
        name="front_forward",
        formula=(
            "Forward of that expiry: the venue's price of the underlying in its freshest row of at "
            "most 5 min, else by put-call parity."
        ),
        unit=PRICE,
        bounds=Bounds(gt=0),
        null_rule="no used expiry with a day left",
        source=_BLACK,
    ),
)

_MATURITIES = tuple(
    _atm(
        name=f"atm_iv_{days}d",
        formula=(
            f"Volatility at the money in {days} days: sqrt(w / T), total variance w linear in T "
            "between the expiries around it."
        ),
    )
    for days in (7, 30, 60, 90)
)

_WINGS = (
    _skew(
        name="put_iv_25d_30d",
        formula="Volatility of the put of 25 deltas in 30 days: sqrt(w / T), w linear in T.",
        unit=VOLATILITY,
        bounds=Bounds(gt=0),
    ),
    _skew(
        name="call_iv_25d_30d",
        formula="Volatility of the call of 25 deltas in 30 days: sqrt(w / T), w linear in T.",
        unit=VOLATILITY,
        bounds=Bounds(gt=0),
    ),
    _skew(
        name="risk_reversal_25d_30d",
        formula="call_iv_25d_30d - put_iv_25d_30d: below 0 where downside costs more.",
        unit=VOLATILITY,
    ),
    _skew(
        name="butterfly_25d_30d",
        formula="(call_iv_25d_30d + put_iv_25d_30d) / 2 - atm_iv_30d: how much the wings cost.",
        unit=VOLATILITY,
    ),
    _skew(
        name="put_call_ratio_25d_30d",
        formula="put_iv_25d_30d / call_iv_25d_30d.",
        bounds=Bounds(gt=0),
    ),
)

_TERM = (
    _smile(
        name="term_slope",
        formula="atm_iv_90d - atm_iv_7d: below 0 where the near future is the wilder.",
        unit=VOLATILITY,
        null_rule=f"{_BRACKET}, of either",
        source=_GATHERAL,
    ),
    _smile(
        name="term_slope_7d_30d",
        formula="atm_iv_30d - atm_iv_7d: the slope where the chain has no far expiries.",
        unit=VOLATILITY,
        null_rule=f"{_BRACKET}, of either",
        source=_GATHERAL,
    ),
    *(
        _variance(
            name=f"forward_variance_{near}d_{far}d",
            formula=(
                f"(atm_iv_{far}d^2 * {far} - atm_iv_{near}d^2 * {near}) / {far - near}: variance "
                f"from day {near} to {far}; below 0 the chain contradicts itself."
            ),
        )
        for near, far in ((7, 30), (30, 60), (60, 90))
    ),
    _strip(
        name="model_free_variance_30d",
        formula=(
            "Strip variance (2/T) * sum(dK/K^2 * Q(K)) - (F/K0 - 1)^2 / T of options out of the "
            "money in 30 days, its total linear in T between expiries; no rate."
        ),
        unit=VARIANCE,
    ),
    _strip(
        name="model_free_volatility_30d",
        formula="sqrt(model_free_variance_30d), as the VIX states it.",
        unit=VOLATILITY,
        bounds=Bounds(ge=0),
    ),
)

_INTEREST = (
    _interest(
        name="put_open_interest",
        formula="Open interest of the puts, sum(OI * contract size), rows of at most 30 min.",
        unit=BASE,
    ),
    _interest(
        name="call_open_interest",
        formula="Open interest of the calls, sum(OI * contract size), rows of at most 30 min.",
        unit=BASE,
    ),
    _interest(
        name="option_open_interest_ratio",
        formula="Open interest of the puts / that of the calls.",
        null_rule="no call is open",
    ),
    _interest(
        name="open_interest_weighted_strike",
        formula="sum(K * OI) / sum(OI) over puts and calls.",
        unit=PRICE,
        bounds=Bounds(gt=0),
        null_rule="nothing is open",
    ),
    _interest(
        name="max_pain_strike",
        formula=(
            "Listed strike of the front expiry at which its open options would be worth least: "
            "argmin of sum(OI_c * (S - K)+) + sum(OI_p * (K - S)+)."
        ),
        unit=PRICE,
        bounds=Bounds(gt=0),
        null_rule="no used expiry with a day left, or nothing is open in it",
    ),
    _interest(
        name="max_pain_distance",
        formula="ln(max_pain_strike / front_forward).",
        bounds=Bounds(),
        null_rule="no used expiry with a day left, or nothing is open in it",
    ),
    _interest(
        name="gross_gamma_1pct",
        formula=(
            "sum(gamma * OI * contract size * F^2 * 1 %): delta that a move of 1 % makes all "
            "holders change together. Gross: who is short is not observable."
        ),
        unit=QUOTE,
        source=_BLACK,
    ),
)

_QUALITY = (
    _quality(name="option_count", formula="Options that count at the bar's end.", unit=_OPTIONS),
    _quality(
        name="stale_option_count",
        formula="Options whose last row is older than 5 min (near the money) or 30 min (wings).",
        unit=_OPTIONS,
    ),
    _quality(
        name="invalid_option_count",
        formula="Options with a fresh row whose volatility is missing or not between 0.01 and 5.",
        unit=_OPTIONS,
    ),
    _quality(
        name="crossed_option_count",
        formula="Options with a fresh and sane row whose bid is not below their ask.",
        unit=_OPTIONS,
    ),
    _quality(
        name="expiry_count",
        formula="Expiries that are used: 5 options that count, a forward, an hour left.",
        unit=_EXPIRIES,
    ),
    _quality(
        name="calendar_violation_count",
        formula="Expiries with less total variance at the money than a nearer one.",
        unit=_EXPIRIES,
    ),
    _quality(
        name="chain_age_max_ms",
        formula="Age of the oldest row that counts.",
        unit=MS,
        null_rule="no option counts",
        bounds=Bounds(ge=0, le=1_800_000),
    ),
    _quality(
        name="venue_delta_gap_mean",
        formula="Mean of abs(the venue's delta - the Black-76 delta) at the row's own time.",
        null_rule="no option that counts has a delta of the venue",
        source=_BLACK,
    ),
    _quality(
        name="venue_delta_gap_max",
        formula="Largest abs(the venue's delta - the Black-76 delta) at the row's own time.",
        null_rule="no option that counts has a delta of the venue",
        source=_BLACK,
    ),
    _quality(
        name="mark_premium_gap_bps",
        formula=(
            "Mean of abs(mark premium - Black-76 at the mark's volatility) / F: a wrong unit of "
            "premium or volatility shows here."
        ),
        unit=BPS,
        null_rule="no option that counts has a mark premium",
        source=_BLACK,
    ),
)

OPTION_SURFACE: tuple[Feature, ...] = (
    *_FRONT,
    *_MATURITIES,
    *_WINGS,
    *_TERM,
    *_INTEREST,
    *_QUALITY,
)
"""Every value of the surface, in the order of the columns."""
