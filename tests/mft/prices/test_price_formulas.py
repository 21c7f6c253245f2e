"""Every price feature against the formula of its catalogue entry, written out with loops."""

from __future__ import annotations

import math
from statistics import fmean, pstdev, stdev, variance

import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated

BARS = 420
MINUTES_PER_YEAR = 365 * 24 * 60


class Slow:
    """The formulas at one row of bars given as lists."""

    def __init__(self, bars):
        self.bars = bars
        self.open, self.high, self.low = bars["open"], bars["high"], bars["low"]
        self.close, self.volume = bars["close"], bars["volume"]
        self.returns = [None, *map(self._log_ratio, self.close[1:], self.close)]

    @staticmethod
    def _log_ratio(above, below):
        return math.log(above / below)

    @staticmethod
    def last(values, row, count):
        return values[row - count + 1 : row + 1]

    def yearly(self, mean_square):
        return math.sqrt(mean_square * MINUTES_PER_YEAR)

    def change(self, row, horizon, skip=0):
        return self.close[row - skip] / self.close[row - horizon] - 1

    def mean_square(self, row, count):
        return fmean(r * r for r in self.last(self.returns, row, count))

    def vol_of_vol(self, row, count):
        rows = range(row - count + 1, row + 1)
        return stdev(self.yearly(self.mean_square(at, count)) for at in rows)

    def recursion(self, values, row, share):
        """s = s + share·(x - s), seeded with the first value."""
        state = None
        for value in values[: row + 1]:
            if value is not None:
                state = value if state is None else state + share * (value - state)
        return state

    def ema(self, values, row, span):
        return self.recursion(values, row, 2 / (span + 1))

    def ewma(self, row, half_life):
        squares = [None if r is None else r * r for r in self.returns]
        return self.yearly(self.recursion(squares, row, 1 - 2 ** (-1 / half_life)))

    def parkinson(self, row, count):
        rows = range(row - count + 1, row + 1)
        squares = [math.log(self.high[at] / self.low[at]) ** 2 for at in rows]
        return self.yearly(fmean(squares) / (4 * math.log(2)))

    def garman_klass(self, row, count):
        rows = range(row - count + 1, row + 1)
        terms = [
            math.log(self.high[at] / self.low[at]) ** 2 / 2
            - (2 * math.log(2) - 1) * math.log(self.close[at] / self.open[at]) ** 2
            for at in rows
        ]
        return self.yearly(fmean(terms))

    def rogers_satchell_square(self, row, count):
        total = 0.0
        for at in range(row - count + 1, row + 1):
            up, down = (
                math.log(self.high[at] / self.open[at]),
                math.log(self.low[at] / self.open[at]),
            )
            body = math.log(self.close[at] / self.open[at])
            total += up * (up - body) + down * (down - body)
        return total / count

    def yang_zhang(self, row, count):
        rows = range(row - count + 1, row + 1)
        jumps = variance(math.log(self.open[at] / self.close[at - 1]) for at in rows)
        bodies = variance(math.log(self.close[at] / self.open[at]) for at in rows)
        k = 0.34 / (1.34 + (count + 1) / (count - 1))
        rest = (1 - k) * self.rogers_satchell_square(row, count)
        return self.yearly(jumps + k * bodies + rest)

    def risk_adjusted(self, row, horizon, count):
        return self.change(row, horizon) / math.sqrt(self.mean_square(row, count) * horizon)

    def risk_adjusted_skip(self, row, horizon, count):
        scale = math.sqrt(self.mean_square(row - 1, count) * (horizon - 1))
        return self.change(row, horizon, skip=1) / scale

    def macd(self, row, line):
        lines = [
            self.ema(self.close, at, 12) - self.ema(self.close, at, 26) for at in range(row + 1)
        ]
        signal = self.ema(lines, row, 9)
        return {"line": lines[-1], "signal": signal, "histogram": lines[-1] - signal}[line]

    def place(self, row, count):
        closes = self.last(self.close, row, count)
        lower, upper = (fmean(closes) + side * 2 * pstdev(closes) for side in (-1, 1))
        return (self.close[row] - lower) / (upper - lower)

    def z_score(self, row, count):
        closes = self.last(self.close, row, count)
        return (self.close[row] - fmean(closes)) / pstdev(closes)

    def width(self, row, count):
        closes = self.last(self.close, row, count)
        return 4 * pstdev(closes) / fmean(closes)

    def rsi(self, row, period):
        moves = [b - a for a, b in zip(self.close, self.close[1:], strict=False)]
        rises = self.recursion([max(move, 0.0) for move in moves], row - 1, 1 / period)
        falls = self.recursion([max(-move, 0.0) for move in moves], row - 1, 1 / period)
        return 100 * rises / (rises + falls)

    def true_ranges(self):
        later = [
            max(h - low, abs(h - before), abs(low - before))
            for h, low, before in zip(self.high[1:], self.low[1:], self.close, strict=False)
        ]
        return [self.high[0] - self.low[0], *later]

    def atr(self, row, period):
        return self.recursion(self.true_ranges(), row, 1 / period)

    def moves(self):
        rises, falls = [None], [None]
        for row in range(1, len(self.close)):
            up = self.high[row] - self.high[row - 1]
            down = self.low[row - 1] - self.low[row]
            rises.append(up if up > max(down, 0) else 0.0)
            falls.append(down if down > max(up, 0) else 0.0)
        return rises, falls

    def direction(self, row, period, side):
        move = self.recursion(self.moves()[side], row, 1 / period)
        return 100 * move / self.atr(row, period)

    def adx(self, row, period):
        rises, falls = self.moves()
        spreads = []
        for at in range(1, row + 1):
            up, down = (self.recursion(side, at, 1 / period) for side in (rises, falls))
            spreads.append(100 * abs(up - down) / (up + down) if up + down > 0 else None)
        return self.recursion(spreads, row - 1, 1 / period)

    def channel(self, row, last, count):
        low = min(self.last(self.low, last, count))
        high = max(self.last(self.high, last, count))
        return (self.close[row] - low) / (high - low)

    def regression(self, row, count):
        logs = [math.log(close) for close in self.last(self.close, row, count)]
        middle, level = (count - 1) / 2, fmean(logs)
        both = sum((k - middle) * (y - level) for k, y in enumerate(logs))
        time = sum((k - middle) ** 2 for k in range(count))
        prices = sum((y - level) ** 2 for y in logs)
        return both / time, both * both / (time * prices)

    def signed(self, row, count):
        rows = range(row - count + 1, row + 1)
        return [
            math.copysign(self.volume[at], self.close[at] - self.close[at - 1])
            if self.close[at] != self.close[at - 1]
            else 0.0
            for at in rows
        ]

    def vwap_deviation(self, row, count):
        money = sum(self.last(self.bars["notional"], row, count))
        return math.log(self.close[row] / (money / sum(self.last(self.volume, row, count))))


def _returns(s):
    found = {
        f"log_return_{h}": lambda t, h=h: math.log(s.close[t] / s.close[t - h])
        for h in (1, 5, 15, 60)
    }
    found |= {f"price_momentum_{h}": lambda t, h=h: s.change(t, h) for h in (3, 5, 10, 20)}
    return found | {
        "close_to_close_return": lambda t: s.returns[t],
        "price_velocity": lambda t: s.close[t] - s.close[t - 1],
        "price_acceleration": lambda t: s.close[t] - 2 * s.close[t - 1] + s.close[t - 2],
    }


def _volatility(s):
    found = {}
    for w in (20, 60):
        found |= {
            f"realized_vol_bars_{w}": lambda t, w=w: s.yearly(s.mean_square(t, w)),
            f"realized_vol_rv_{w}": lambda t, w=w: s.yearly(
                fmean(s.last(s.bars["variance"], t, w))
            ),
            f"vol_of_vol_{w}": lambda t, w=w: s.vol_of_vol(t, w),
            f"parkinson_vol_{w}": lambda t, w=w: s.parkinson(t, w),
            f"garman_klass_vol_{w}": lambda t, w=w: s.garman_klass(t, w),
            f"rogers_satchell_vol_{w}": lambda t, w=w: s.yearly(s.rogers_satchell_square(t, w)),
            f"yang_zhang_vol_{w}": lambda t, w=w: s.yang_zhang(t, w),
        }
    for w in (5, 10, 20):
        found[f"price_volatility_{w}"] = lambda t, w=w: pstdev(s.last(s.close, t, w))
    return found | {
        "ewma_vol_11": lambda t: s.ewma(t, 11),
        "vol_ratio_20_60": lambda t: math.sqrt(s.mean_square(t, 20) / s.mean_square(t, 60)),
        "high_low_ratio": lambda t: (s.high[t] - s.low[t]) / s.close[t],
        "bid_ask_spread_proxy": lambda t: s.high[t] - s.low[t],
    }


def _momentum(s):
    found = {}
    for h, w in ((1, 20), (5, 20), (15, 20), (60, 60)):
        found |= {
            f"momentum_{h}": lambda t, h=h: s.change(t, h),
            f"roc_pct_{h}": lambda t, h=h: 100 * s.change(t, h),
            f"risk_adjusted_momentum_{h}_{w}": lambda t, h=h, w=w: s.risk_adjusted(t, h, w),
        }
        if h > 1:
            found |= {
                f"momentum_skip_last_{h}": lambda t, h=h: s.change(t, h, skip=1),
                f"risk_adjusted_momentum_skip_last_{h}_{w}": lambda t, h=h, w=w: (
                    s.risk_adjusted_skip(t, h, w)
                ),
            }
    for name, line in (("", "line"), ("_signal", "signal"), ("_histogram", "histogram")):
        found[f"macd{name}"] = lambda t, line=line: s.macd(t, line)
        found[f"macd{name}_to_price_12_26_9"] = lambda t, line=line: s.macd(t, line) / s.close[t]
    return found


def _places(s):
    found = {}
    for w in (5, 10, 20, 60):
        found |= {
            f"sma_{w}": lambda t, w=w: fmean(s.last(s.close, t, w)),
            f"price_z_score_{w}": lambda t, w=w: s.z_score(t, w),
            f"donchian_position_{w}": lambda t, w=w: s.channel(t, t, w),
            f"donchian_breakout_{w}": lambda t, w=w: s.channel(t, t - 1, w),
        }
    for w in (5, 10, 20):
        found[f"ema_{w}"] = lambda t, w=w: s.ema(s.close, t, w)
    for sign, name in ((1, "upper"), (-1, "lower")):
        found[f"bollinger_{name}"] = lambda t, sign=sign: (
            fmean(s.last(s.close, t, 20)) + sign * 2 * pstdev(s.last(s.close, t, 20))
        )
    return found | {
        "wma_5": lambda t: sum(k * s.close[t - 5 + k] for k in range(1, 6)) / 15,
        "bollinger_position": lambda t: s.place(t, 20),
        "bollinger_percent_b_20": lambda t: s.place(t, 20),
        "bollinger_width": lambda t: s.width(t, 20),
        "bollinger_width_20": lambda t: s.width(t, 20),
    }


def _oscillators(s):
    return {
        "rsi_5": lambda t: s.rsi(t, 5),
        "rsi_14": lambda t: s.rsi(t, 14),
        "atr_14": lambda t: s.atr(t, 14),
        "natr_pct_14": lambda t: 100 * s.atr(t, 14) / s.close[t],
        "plus_di_14": lambda t: s.direction(t, 14, 0),
        "minus_di_14": lambda t: s.direction(t, 14, 1),
        "adx_14": lambda t: s.adx(t, 14),
    }


def _trend_and_volume(s):
    found = {}
    for w in (20, 60):
        found |= {
            f"trend_slope_{w}": lambda t, w=w: s.regression(t, w)[0],
            f"trend_r_squared_{w}": lambda t, w=w: s.regression(t, w)[1],
        }
    for w in (5, 20, 60):
        found |= {
            f"obv_change_{w}": lambda t, w=w: sum(s.signed(t, w)),
            f"obv_change_z_{w}": lambda t, w=w: (
                sum(s.signed(t, w)) / math.sqrt(sum(v * v for v in s.signed(t, w)))
            ),
            f"vwap_deviation_{w}": lambda t, w=w: s.vwap_deviation(t, w),
        }
    return found | {
        "volume_sma_5": lambda t: fmean(s.last(s.volume, t, 5)),
        "volume_ema_5": lambda t: s.ema(s.volume, t, 5),
        "volume_ratio": lambda t: s.volume[t] / fmean(s.last(s.volume, t, 5)),
        "vwap_deviation": lambda t: (s.close[t] - s.bars["vwap"][t]) / s.bars["vwap"][t],
        "trade_intensity": lambda t: s.bars["trades"][t] / 60,
        "avg_trade_size": lambda t: s.volume[t] / s.bars["trades"][t],
        "price_impact": lambda t: abs(s.close[t] - s.close[t - 1]) / s.volume[t],
    }


_PARTS = (_returns, _volatility, _momentum, _places, _oscillators, _trend_and_volume)


@pytest.fixture(scope="module")
def references(random_bars):
    slow = Slow(random_bars(BARS))
    return {name: formula for part in _PARTS for name, formula in part(slow).items()}


@pytest.fixture(scope="module")
def values(price_series, price_entries, random_bars):
    return evaluated(price_series(random_bars(BARS)), price_entries())


def test_every_entry_has_a_reference_and_every_reference_an_entry(references, price_entries):
    assert set(references) == {entry.name for entry in price_entries()}


def test_every_value_is_what_its_formula_says(references, values, price_entries):
    for entry in price_entries():
        rows = [entry.look_back, *range(entry.look_back + 1, BARS, 37), BARS - 1]
        found = values[entry.name].gather(rows).to_list()
        said = [references[entry.name](row) for row in rows]
        assert found == pytest.approx(said, rel=1e-9, abs=1e-12), entry.name
