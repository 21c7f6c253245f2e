"""Option chains made by hand, and the surface written a second time from the formulas.

What belongs here: chains as plain rows, the slow reference over them, and the conversion to what
the kernel takes. The reference is plain Python: lists, loops, math; it never calls the kernel.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tickhandler_dagster.market.options.chain import ExpiryChain, OptionRows
from tickhandler_dagster.market.options.expiry import expiry_surface
from tickhandler_dagster.market.options.surface import surface_columns

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
YEAR = 365 * DAY
START = 19_943 * DAY
NAN = math.nan

FIELDS = ("volatility", "underlying", "bid", "ask", "mark", "delta", "open_interest")


@dataclass(frozen=True)
class Row:
    """A row of a chain; volatilities are fractions."""

    arrival: int
    volatility: float = NAN
    underlying: float = NAN
    bid: float = NAN
    ask: float = NAN
    mark: float = NAN
    delta: float = NAN
    open_interest: float = NAN


@dataclass(frozen=True)
class Option:
    strike: float
    is_call: bool
    rows: tuple[Row, ...]
    size: float = 1.0


@dataclass(frozen=True)
class Expiry:
    expiry: int
    options: tuple[Option, ...]
    pays_coin: bool = True


def cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def d1(forward, strike, years, volatility):
    width = volatility * math.sqrt(years)
    return math.log(forward / strike) / width + width / 2


def premium(forward, strike, years, volatility, *, is_call):
    first = d1(forward, strike, years, volatility)
    second = first - volatility * math.sqrt(years)
    if is_call:
        return forward * cdf(first) - strike * cdf(second)
    return strike * cdf(-second) - forward * cdf(-first)


def call_delta(forward, strike, years, volatility):
    return cdf(d1(forward, strike, years, volatility))


def made(expiry_days, *, strikes, volatility, forward=60_000.0, moments=(0,), **changes):
    """An expiry in which every strike has a put and a call whose marks are the formula's.

    Args:
        expiry_days: Days from `START`.
        strikes: All of them.
        volatility: Of (strike, forward), a fraction.
        forward: One number, or a function of the arrival.
        moments: Arrivals of every option's rows.
        changes: `pays_coin`, `size`, and cells of every row that are not what follows.
    """
    expiry = START + int(expiry_days * DAY)
    pays_coin = changes.pop("pays_coin", True)
    size = changes.pop("size", 1.0)
    overwritten = {name.removesuffix("_given"): value for name, value in changes.items()}
    options = []
    for strike in strikes:
        for is_call in (False, True):
            rows = []
            for moment in moments:
                price = forward(moment) if callable(forward) else forward
                sigma = volatility(strike, price)
                years = (expiry - moment) / YEAR
                worth = premium(price, strike, years, sigma, is_call=is_call)
                unit = price if pays_coin else 1.0
                delta = call_delta(price, strike, years, sigma) - (not is_call)
                row = Row(moment, sigma, price, NAN, NAN, worth / unit, delta, 10.0)
                rows.append(replace(row, **overwritten))
            options.append(Option(strike, is_call, tuple(rows), size))
    return Expiry(expiry, tuple(options), pays_coin)


def ladder(centre=60_000.0, count=25, spacing=0.05):
    """Strikes around a price, equally far apart in log distance, none at the price itself."""
    return [centre * math.exp((number - count / 2) * spacing) for number in range(count)]


def surface(expiries, moments):
    """What the kernel gives."""
    moments = np.array(moments, dtype=np.int64)
    ordered = sorted(expiries, key=lambda one: one.expiry)
    return surface_columns([expiry_surface(_chain(one), moments) for one in ordered], len(moments))


def _chain(expiry):
    ordered = sorted(expiry.options, key=lambda one: (one.strike, one.is_call))
    return ExpiryChain(
        expiry.expiry,
        expiry.pays_coin,
        [
            OptionRows(
                one.strike,
                one.is_call,
                one.size,
                np.array([row.arrival for row in one.rows], dtype=np.int64),
                *(
                    np.array([getattr(row, name) for row in one.rows], dtype=float)
                    for name in FIELDS
                ),
            )
            for one in ordered
        ],
    )


# --- the slow reference ---------------------------------------------------------------------------


def latest(option, moment):
    before = [row for row in option.rows if row.arrival < moment]
    return before[-1] if before else None


def forward_of(expiry, moment):
    found = [
        (row.arrival, row.underlying)
        for option in expiry.options
        if (row := latest(option, moment)) and moment - row.arrival <= 5 * MINUTE
        if row.underlying > 0
    ]
    return max(found)[1] if found else parity(expiry, moment)


def parity(expiry, moment):
    def worth(option):
        row = latest(option, moment)
        if row is None or moment - row.arrival > 5 * MINUTE:
            return NAN
        return (row.bid + row.ask) / 2 if 0 < row.bid < row.ask else row.mark

    puts = {one.strike: worth(one) for one in expiry.options if not one.is_call}
    calls = {one.strike: worth(one) for one in expiry.options if one.is_call}
    gaps = [
        (abs(calls[strike] - puts[strike]), strike, calls[strike] - puts[strike])
        for strike in sorted(set(puts) & set(calls))
        if not math.isnan(calls[strike] - puts[strike])
    ]
    if not gaps:
        return NAN
    _, strike, gap = min(gaps)
    return strike / (1 - gap) if expiry.pays_coin else strike + gap


def judged(expiry, moment, forward):
    """(option, row, verdict) of every option with a row; ok, stale, invalid, crossed, unpriced."""
    years = (expiry.expiry - moment) / YEAR
    for option in expiry.options:
        row = latest(option, moment)
        if row is None or moment >= expiry.expiry:
            continue
        is_near = (
            not math.isnan(forward)
            and not math.isnan(row.volatility)
            and abs(math.log(option.strike / forward)) <= 0.5 * row.volatility * math.sqrt(years)
        )
        if moment - row.arrival > (5 if is_near else 30) * MINUTE:
            yield option, row, "stale"
        elif not 0.01 <= row.volatility <= 5:
            yield option, row, "invalid"
        elif row.bid > 0 and row.ask > 0 and row.bid >= row.ask:
            yield option, row, "crossed"
        else:
            yield option, row, "unpriced" if math.isnan(forward) else "ok"


def between(points, target):
    """Linear between the last point at or below the target and the one after it; NaN outside."""
    below = [place for place, (x, _) in enumerate(points) if x <= target]
    if not below:
        return NAN
    x0, y0 = points[below[-1]]
    if x0 == target:
        return y0
    if below[-1] + 1 == len(points):
        return NAN
    x1, y1 = points[below[-1] + 1]
    return y0 + (target - x0) / (x1 - x0) * (y1 - y0)


def smile_of(ok, forward):
    """Volatility by strike: the option out of the money, else the other one."""
    found = {}
    for strike in sorted({option.strike for option, _ in ok}):
        sides = {option.is_call: row.volatility for option, row in ok if option.strike == strike}
        found[strike] = sides.get(strike >= forward, sides.get(strike < forward))
    return list(found.items())


def strip(smile, forward, years):
    below = [strike for strike, _ in smile if strike < forward]
    above = [strike for strike, _ in smile if strike > forward]
    if min(len(below), len(above)) < 6:
        return NAN
    centre = max(strike for strike, _ in smile if strike <= forward)
    total = 0.0
    for place, (strike, sigma) in enumerate(smile):
        lower = smile[max(place - 1, 0)][0]
        upper = smile[min(place + 1, len(smile) - 1)][0]
        width = (upper - lower) / (2 if 0 < place < len(smile) - 1 else 1)
        call = premium(forward, strike, years, sigma, is_call=True)
        put = premium(forward, strike, years, sigma, is_call=False)
        if strike > centre:
            worth = call
        elif strike < centre:
            worth = put
        else:
            worth = (call + put) / 2
        total += width / strike**2 * worth
    return 2 * total - (forward / centre - 1) ** 2


def one_expiry(expiry, moment):
    forward = forward_of(expiry, moment) if moment < expiry.expiry else NAN
    years = (expiry.expiry - moment) / YEAR
    verdicts = list(judged(expiry, moment, forward))
    ok = [(option, row) for option, row, verdict in verdicts if verdict == "ok"]
    recent = [
        (option, row.open_interest)
        for option, row, _ in verdicts
        if moment - row.arrival <= 30 * MINUTE and not math.isnan(row.open_interest)
    ]
    found = {
        "counts": {
            name: sum(verdict == name for *_, verdict in verdicts)
            for name in ("ok", "stale", "invalid", "crossed")
        },
        "ages": [moment - row.arrival for _, row in ok],
        "recent": recent,
        "forward": forward,
        "years": years,
        "is_used": len(ok) >= 5 and expiry.expiry - moment >= 60 * MINUTE,
        "delta_gaps": [],
        "premium_gaps": [],
        "gamma": 0.0,
    }
    for option, row in ok:
        then = (expiry.expiry - row.arrival) / YEAR
        terms = (row.underlying, option.strike, then, row.volatility)
        if math.isnan(row.underlying):
            continue
        delta = call_delta(*terms) - (not option.is_call)
        worth = premium(*terms, is_call=option.is_call)
        given = row.mark * (row.underlying if expiry.pays_coin else 1)
        if not math.isnan(row.delta):
            found["delta_gaps"].append(abs(row.delta - delta))
        if not math.isnan(row.mark):
            found["premium_gaps"].append(abs(given - worth) / row.underlying)
    smile = smile_of(ok, forward)
    by_strike = dict(smile)
    for option, interest in recent:
        sigma = by_strike.get(option.strike)
        if sigma is None or not interest:
            continue
        x = d1(forward, option.strike, years, sigma)
        density = math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        gamma = density / (forward * sigma * math.sqrt(years))
        found["gamma"] += gamma * interest * option.size * forward**2 * 0.01
    if found["is_used"]:
        deltas = [
            (strike, sigma, call_delta(forward, strike, years, sigma)) for strike, sigma in smile
        ]
        put = between([(1 - delta, sigma) for _, sigma, delta in deltas], 0.25)
        call = between([(delta, sigma) for _, sigma, delta in reversed(deltas)], 0.25)
        found |= {
            "atm": between([(math.log(k / forward), s**2 * years) for k, s in smile], 0.0),
            "put": put**2 * years,
            "call": call**2 * years,
            "model_free": strip(smile, forward, years),
        }
    return found


def max_pain(expiry, recent):
    if not sum(interest for _, interest in recent):
        return NAN
    pains = []
    for settlement in sorted({option.strike for option in expiry.options}):
        worth = sum(
            interest * max(settlement - o.strike if o.is_call else o.strike - settlement, 0)
            for o, interest in recent
        )
        pains.append((worth, settlement))
    return min(pains)[1]


def root(value):
    return math.sqrt(value) if value >= 0 else NAN


def reference(expiries, moment):
    """The surface at one moment, from the formulas."""
    ordered = sorted(expiries, key=lambda one: one.expiry)
    all_found = [one_expiry(expiry, moment) for expiry in ordered]
    used = [(e, one) for e, one in zip(ordered, all_found, strict=True) if one["is_used"]]
    result = {}

    def at(name, days):
        points = [(one["years"], one[name]) for _, one in used if not math.isnan(one[name])]
        return between(points, days / 365) / (days / 365)

    variance = {days: at("atm", days) for days in (7, 30, 60, 90)}
    sigma = {days: root(value) for days, value in variance.items()}
    put, call, free = root(at("put", 30)), root(at("call", 30)), at("model_free", 30)
    result |= {f"atm_iv_{days}d": value for days, value in sigma.items()}
    result |= {
        "put_iv_25d_30d": put,
        "call_iv_25d_30d": call,
        "risk_reversal_25d_30d": call - put,
        "butterfly_25d_30d": (call + put) / 2 - sigma[30],
        "put_call_ratio_25d_30d": put / call,
        "term_slope": sigma[90] - sigma[7],
        "term_slope_7d_30d": sigma[30] - sigma[7],
        "model_free_variance_30d": free,
        "model_free_volatility_30d": root(free),
    }
    for near, far in ((7, 30), (30, 60), (60, 90)):
        total = variance[far] * far - variance[near] * near
        result[f"forward_variance_{near}d_{far}d"] = total / (far - near)
    result |= _front(used) | _sums(all_found) | _quality(all_found)
    atms = [one["atm"] for _, one in used if not math.isnan(one["atm"])]
    result["expiry_count"] = len(used)
    result["calendar_violation_count"] = sum(
        value < max(atms[:place]) for place, value in enumerate(atms) if place
    )
    return result


def _front(used):
    names = (
        "atm_mark_iv", "skew_25d_put_call_ratio", "front_days", "front_forward",
        "max_pain_strike", "max_pain_distance",
    )  # fmt: skip
    fronts = [(expiry, one) for expiry, one in used if one["years"] * 365 >= 1]
    if not fronts:
        return dict.fromkeys(names, NAN)
    expiry, one = fronts[0]
    pain = max_pain(expiry, one["recent"])
    values = (
        root(one["atm"] / one["years"]),
        root(one["put"] / one["call"]),
        one["years"] * 365,
        one["forward"],
        pain,
        math.log(pain / one["forward"]),
    )
    return dict(zip(names, values, strict=True))


def _sums(all_found):
    recent = [pair for one in all_found for pair in one["recent"]]

    def total(value, wanted):
        return sum(value(option, oi) for option, oi in recent if option.is_call in wanted)

    put, call = (total(lambda _, oi: oi, (flag,)) for flag in (False, True))
    strike = total(lambda option, oi: option.strike * oi, (False, True))
    return {
        "put_open_interest": total(lambda option, oi: option.size * oi if oi else 0.0, (False,)),
        "call_open_interest": total(lambda option, oi: option.size * oi if oi else 0.0, (True,)),
        "option_open_interest_ratio": put / call if call else NAN,
        "open_interest_weighted_strike": strike / (put + call) if put + call else NAN,
        "gross_gamma_1pct": sum(one["gamma"] for one in all_found),
    }


def _quality(all_found):
    counts = {
        name: sum(one["counts"][name] for one in all_found)
        for name in ("ok", "stale", "invalid", "crossed")
    }
    ages = [age for one in all_found for age in one["ages"]]
    deltas = [gap for one in all_found for gap in one["delta_gaps"]]
    premiums = [gap for one in all_found for gap in one["premium_gaps"]]
    return {
        "option_count": counts["ok"],
        "stale_option_count": counts["stale"],
        "invalid_option_count": counts["invalid"],
        "crossed_option_count": counts["crossed"],
        "chain_age_max_ms": max(ages) / 1_000 if ages else NAN,
        "venue_delta_gap_mean": sum(deltas) / len(deltas) if deltas else NAN,
        "venue_delta_gap_max": max(deltas, default=NAN),
        "mark_premium_gap_bps": sum(premiums) / len(premiums) * 10_000 if premiums else NAN,
    }


def disordered(seed, *, pays_coin=True, size=1.0):
    """Expiries with every fault a chain has: silence, empty cells, no volatility, crosses."""
    draw = random.Random(seed)
    found = []
    for days in (0.02, 0.9, 4, 12, 27, 45, 70, 120):
        options = []
        level = draw.uniform(0.4, 0.9)
        for strike in ladder(count=17, spacing=0.02 + 0.01 * math.sqrt(days)):
            for is_call in (False, True):
                if draw.random() < 0.05:
                    continue
                rows = []
                moment = START - draw.randrange(40 * MINUTE)
                while moment < START + 180 * MINUTE:
                    rows.append(_drawn(draw, moment, strike, level))
                    moment += int(draw.expovariate(1 / draw.choice((2, 6, 20))) * MINUTE) + 1
                options.append(Option(strike, is_call, tuple(rows), size))
        found.append(Expiry(START + int(days * DAY), tuple(options), pays_coin))
    return found


def _drawn(draw, moment, strike, level):
    def sometimes(value, share=0.04):
        return NAN if draw.random() < share else value

    price = 60_000 * math.exp(draw.gauss(0, 0.01))
    sigma = level - 0.05 * math.log(strike / price) + draw.gauss(0, 0.01)
    bid = draw.uniform(0.001, 0.05)
    return Row(
        moment,
        draw.choice((NAN, 0.0, 0.002, 62.0)) if draw.random() < 0.06 else sigma,
        sometimes(price, 0.3),
        sometimes(bid),
        sometimes(bid * draw.uniform(0.98, 1.4)),
        sometimes(draw.uniform(0.0005, 0.1)),
        sometimes(draw.uniform(-1, 1)),
        sometimes(float(draw.randrange(4))),
    )


class Chains:
    """The functions above, for the tests of the folder."""

    START, MINUTE, DAY, YEAR = START, MINUTE, DAY, YEAR
    Row, Option, Expiry = Row, Option, Expiry
    made, ladder, surface = staticmethod(made), staticmethod(ladder), staticmethod(surface)
    reference, disordered = staticmethod(reference), staticmethod(disordered)
    premium, call_delta = staticmethod(premium), staticmethod(call_delta)


@pytest.fixture(scope="session")
def chains():
    return Chains
