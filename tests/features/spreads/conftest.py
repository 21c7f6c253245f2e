"""A slow reference for spreads, impact, toxicity and realised measures.

What belongs here: lists and loops over the formulas. It never calls a kernel to know a value, and
knows its rows only by what they are asked for. What does not: rows (`kernels/conftest.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import pairwise
from types import SimpleNamespace

import pytest

SECOND = 10**6
TAGS = {"1s": SECOND, "5s": 5 * SECOND, "30s": 30 * SECOND}


def ratio(above, below):
    return above / below if below else None


def mid_at_arrival(states, moment, *, strict):
    """The last mid by arrival, at most 5 s old; states in order of arrival."""
    place = (bisect_left if strict else bisect_right)(states, moment, key=lambda one: one.arrived)
    while place and states[place - 1].mid is None:
        place -= 1
    is_fresh = place and moment - states[place - 1].arrived <= 5 * SECOND
    return states[place - 1].mid if is_fresh else None


def impact_columns(inside, states, known_until=None):
    """Columns of `TradeImpact` for the trades of a bar; states in order of arrival."""
    signed = [trade for trade in inside if trade.side]
    before = {id(one): mid_at_arrival(states, one.arrived, strict=True) for one in signed}
    matched = [one for one in signed if before[id(one)] is not None]

    def money(trades):
        return math.fsum(one.quote for one in trades)

    def total(trades, distance):
        return math.fsum(
            one.quote * 2 * one.side * distance(one) / before[id(one)] * 1e4 for one in trades
        )

    spread = total(matched, lambda one: one.price - before[id(one)])
    columns = {
        "signed_notional": money(signed),
        "mid_matched_notional": money(matched),
        "effective_spread_sum": spread,
        "effective_spread_bps": ratio(spread, money(matched)),
        "mid_matched_share": ratio(money(matched), money(signed)),
    }
    for tag, horizon in TAGS.items():
        later = {}
        for one in matched:
            moment = one.arrived + horizon
            if known_until is None or moment < known_until:
                later[id(one)] = mid_at_arrival(states, moment, strict=False)
        both = [one for one in matched if later.get(id(one)) is not None]
        effective = total(both, lambda one: one.price - before[id(one)])
        realised = total(both, lambda one, later=later: one.price - later[id(one)])
        impact = total(both, lambda one, later=later: later[id(one)] - before[id(one)])
        columns |= {
            f"matched_notional_{tag}": money(both),
            f"matched_effective_spread_sum_{tag}": effective,
            f"realized_spread_sum_{tag}": realised,
            f"price_impact_sum_{tag}": impact,
            f"effective_spread_{tag}_bps": ratio(effective, money(both)),
            f"realized_spread_{tag}_bps": ratio(realised, money(both)),
            f"price_impact_{tag}_bps": ratio(impact, money(both)),
        }
    return columns


def mid_at_second(states, moment):
    """The last mid by exchange time before the moment, at most 60 s old; states in that order."""
    place = bisect_left(states, moment, key=lambda one: one.at)
    while place and states[place - 1].mid is None:
        place -= 1
    is_fresh = place and moment - states[place - 1].at <= 60 * SECOND
    return states[place - 1].mid if is_fresh else None


def price_at_second(trades, moment):
    place = bisect_left(trades, moment, key=lambda one: one.at)
    return trades[place - 1].price if place else None


def second_returns(values):
    return [
        None if one is None or other is None else math.log(other / one)
        for one, other in pairwise(values)
    ]


def moment_columns(returns, earlier):
    """Columns of the mid's returns in a bar; `earlier` is the return of the second before it."""
    own = [value for value in returns if value is not None]
    pairs = [
        abs(one) * abs(other)
        for one, other in pairwise([earlier, *returns])
        if one is not None and other is not None
    ]
    count = len(own)
    powers = [math.fsum(value**power for value in own) for power in range(5)]
    length = math.fsum(abs(value) for value in own)
    up = math.fsum(value**2 for value in own if value > 0)
    down = math.fsum(value**2 for value in own if value < 0)
    few, variance = count < 10, powers[2]
    bipower = math.pi / 2 * math.fsum(pairs) * count / len(pairs) if pairs and not few else None
    jump = None if bipower is None else max(variance - bipower, 0.0)
    many = count >= 30 and variance > 0
    return {
        "mid_return_count": count,
        "mid_return_sum": powers[1],
        "mid_return_abs_sum": length,
        "mid_return_square_sum": variance,
        "mid_return_up_cube_sum": math.fsum(value**3 for value in own if value > 0),
        "mid_return_down_cube_sum": -math.fsum(value**3 for value in own if value < 0),
        "mid_return_fourth_sum": powers[4],
        "mid_return_up_square_sum": up,
        "mid_return_down_square_sum": down,
        "mid_return_pair_count": len(pairs),
        "mid_return_pair_sum": math.fsum(pairs),
        "realized_variance": None if few else variance,
        "realized_volatility": None if few else math.sqrt(variance),
        "realized_volatility_annualised": None
        if few
        else math.sqrt(variance * 365 * 86_400 / count),
        "bipower_variation": bipower,
        "jump_variation": jump,
        "relative_jump": None if jump is None or not variance else jump / variance,
        "realized_semivariance_up": None if few else up,
        "realized_semivariance_down": None if few else down,
        "signed_jump": None if few else up - down,
        "efficiency_ratio": None if few or not length else abs(powers[1]) / length,
        "realized_skewness": math.sqrt(count) * powers[3] / variance**1.5 if many else None,
        "realized_kurtosis": count * powers[4] / variance**2 if many else None,
        "realized_quarticity": count / 3 * powers[4] if count >= 30 else None,
    }


def trade_grid_columns(returns, mid_returns):
    own = [value for value in returns if value is not None]
    mids = [value for value in mid_returns if value is not None]
    variance = math.fsum(value**2 for value in own)
    mid_variance = math.fsum(value**2 for value in mids)
    enough = len(own) >= 10 and len(mids) >= 10 and mid_variance
    return {
        "trade_return_count": len(own),
        "trade_return_square_sum": variance,
        "realized_variance_trade": variance if len(own) >= 10 else None,
        "variance_ratio_trade_mid": (variance / len(own)) / (mid_variance / len(mids))
        if enough
        else None,
    }


def joint_columns(returns, reference):
    pairs = [
        (one, other)
        for one, other in zip(returns, reference, strict=True)
        if one is not None and other is not None
    ]
    product = math.fsum(one * other for one, other in pairs)
    own = math.fsum(one**2 for one, _ in pairs)
    others = math.fsum(other**2 for _, other in pairs)
    enough = len(pairs) >= 30 and own and others
    return {
        "btc_return_count": len(pairs),
        "btc_return_product_sum": product,
        "btc_joint_own_square_sum": own,
        "btc_joint_square_sum": others,
        "realized_correlation_btc": product / math.sqrt(own * others) if enough else None,
    }


def least_squares(xs, ys):
    """Slope and R² of the line with intercept; None where x or y does not vary."""
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    xx = math.fsum((x - mean_x) ** 2 for x in xs)
    yy = math.fsum((y - mean_y) ** 2 for y in ys)
    xy = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope = ratio(xy, xx)
    return slope, None if slope is None or not yy else xy**2 / xx / yy


def information_columns(returns, seconds):
    """Columns of impact; `seconds` are the trades of each second."""
    pairs = [
        (math.fsum(one.side * one.quote for one in trades), value)
        for trades, value in zip(seconds, returns, strict=True)
        if value is not None
    ]
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    zs = [math.copysign(math.sqrt(abs(x)), x) for x in xs]
    samples = sum(x != 0 for x in xs)
    ratios = [
        abs(value) / math.fsum(one.quote for one in trades) * 1e6
        for trades, value in zip(seconds, returns, strict=True)
        if value is not None and trades
    ]
    slope, fit = least_squares([x / 1e6 for x in xs], [y * 1e4 for y in ys]) if xs else (None, None)
    root_slope = least_squares([z / 1e3 for z in zs], [y * 1e4 for y in ys])[0] if xs else None
    enough = samples >= 10
    return {
        "kyle_second_count": len(pairs),
        "kyle_sample_count": samples,
        "kyle_x_sum": math.fsum(xs),
        "kyle_y_sum": math.fsum(ys),
        "kyle_xy_sum": math.fsum(x * y for x, y in pairs),
        "kyle_xx_sum": math.fsum(x * x for x in xs),
        "kyle_yy_sum": math.fsum(y * y for y in ys),
        "kyle_z_sum": math.fsum(zs),
        "kyle_zy_sum": math.fsum(z * y for z, y in zip(zs, ys, strict=True)),
        "kyle_zz_sum": math.fsum(abs(x) for x in xs),
        "kyle_lambda": slope if enough else None,
        "kyle_lambda_r2": fit if enough else None,
        "kyle_lambda_sqrt": root_slope if enough else None,
        "amihud_count": len(ratios),
        "amihud_sum": math.fsum(ratios),
        "amihud": math.fsum(ratios) / len(ratios) if len(ratios) >= 5 else None,
    }


def roll_columns(inside, earlier):
    """Columns of price changes; `earlier` are the trades before the bar."""
    prices = [trade.price for trade in (*earlier[-2:], *inside)]
    changes = [(other - one) / one for one, other in pairwise(prices)]
    pairs = list(pairwise(changes))[-len(inside) :] if inside else []
    now, then = [later for _, later in pairs], [before for before, _ in pairs]
    spread = None
    if len(pairs) >= 20:
        mean_now, mean_then = math.fsum(now) / len(now), math.fsum(then) / len(then)
        covariance = math.fsum(
            (one - mean_now) * (other - mean_then) for one, other in zip(now, then, strict=True)
        ) / len(pairs)
        spread = 2 * math.sqrt(-covariance) * 1e4 if covariance < 0 else None
    return {
        "roll_pair_count": len(pairs),
        "roll_change_sum": math.fsum(now),
        "roll_earlier_change_sum": math.fsum(then),
        "roll_product_sum": math.fsum(one * other for one, other in pairs),
        "roll_spread_bps": spread,
    }


def toxicity(trades, bucket_volume):
    """Mean imbalance of the last 50 complete buckets after these trades; None before."""
    imbalances, filled, signed = [], 0.0, 0.0
    for trade in trades:
        left = trade.base / bucket_volume
        while filled + left >= 1:
            part = 1 - filled
            imbalances.append(abs(signed + trade.side * part))
            left -= part
            filled = signed = 0.0
        filled += left
        signed += trade.side * left
    return math.fsum(imbalances[-50:]) / 50 if len(imbalances) >= 50 else None


@pytest.fixture(scope="session")
def reference():
    """The formulas by name."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if name[0] != "_"})
