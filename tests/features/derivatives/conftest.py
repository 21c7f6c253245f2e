"""A slow reference for the ticker's columns, written from their formulas, and rows to hold it to.

What belongs here: what the tests of this folder share. It never calls the kernel to know a value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.ticker import DerivativeKind, TickerDay
from tickhandler_dagster.market.bars.ticker_ticks import TICKER_COLUMNS, ticker_ticks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.derivatives import DERIVATIVES
from tickhandler_dagster.market.features.family import (
    DayGrid,
    family_columns,
    rolled_up_column,
)
from tickhandler_dagster.market.features.feature import Channel, Merge
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import Timeframe

START = 19_943 * US_PER_DAY
SECOND, MINUTE, HOUR = 10**6, 60 * 10**6, 3_600 * 10**6
TEN_MINUTES = 10 * MINUTE
LINEAR, INVERSE = ContractTerms(0.01), ContractTerms(100.0, is_inverse=True)
UNKNOWN = ContractTerms(None)
PERPETUAL = DerivativeKind(is_perpetual=True)
FUTURE = DerivativeKind(expiry_us=START + 10 * HOUR)
STORED = [
    one for one in DERIVATIVES if one.inputs == (Channel.TICKER,) and one.merge is not Merge.DERIVED
]
DERIVED = [
    one for one in DERIVATIVES if one.inputs == (Channel.TICKER,) and one.merge is Merge.DERIVED
]


@dataclass
class Row:
    timestamp: int
    local_timestamp: int
    funding_timestamp: int | None = None
    funding_rate: float | None = None
    predicted_funding_rate: float | None = None
    open_interest: float | None = None
    last_price: float | None = None
    index_price: float | None = None
    mark_price: float | None = None


def arrays(rows, terms=LINEAR):
    table = RAW_TABLES["derivative_ticker"].stored
    cells = {name: [getattr(row, name) for row in rows] for name in TICKER_COLUMNS}
    frame = pl.DataFrame(
        {name: pl.Series(cells[name], dtype=table.column(name).dtype) for name in TICKER_COLUMNS}
    )
    return ticker_ticks(frame, terms)


def random_rows(seed, count, start=START):
    """A day with bursts, silences, empty cells, spreads' prices and fundings of several lengths."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, US_PER_DAY, max(1, count // 12))
    spread = rng.choice([SECOND, MINUTE, 30 * MINUTE], count)
    offsets = np.clip(rng.choice(centres, count) + rng.normal(0, 1, count) * spread, 0, None)
    arrivals = np.sort(np.minimum(offsets, US_PER_DAY - 1)).astype(int) + start
    interval = int(rng.choice([MINUTE, 20 * MINUTE, HOUR, 8 * HOUR]))
    rows = []
    for arrival in arrivals.tolist():
        stamp = arrival - int(rng.integers(-20_000, 90_000))
        lag = int(rng.choice([0, 0, 0, 300_000]))  # rows just after the event name the old time
        due = ((stamp - lag) // interval + 1) * interval
        if rng.random() < 0.002:
            interval = int(rng.choice([MINUTE, HOUR, 4 * HOUR]))

        def cell(value, share=0.15):
            return None if rng.random() < share else value

        rows.append(
            Row(
                stamp,
                arrival,
                cell(due),
                cell(float(rng.normal(0, 1e-4))),
                cell(float(rng.normal(0, 1e-4)), 0.8),
                cell(float(rng.integers(0, 5) * 1000)),
                cell(float(rng.normal(60_000, 50))),
                cell(float(rng.normal(60_000, 50))),
                cell(float(rng.normal(60_000, 50)) if rng.random() < 0.97 else -13.5),
            )
        )
    return rows


class Fundings:
    """The fundings seen to pass, row by row."""

    def __init__(self):
        self.next = self.interval = self.settled = self.candidate = None

    def see(self, row):
        due, stamp = row.funding_timestamp, row.timestamp
        if due is None:
            return
        if self.next is None or due > self.next:
            if self.next is not None:
                follows = stamp - self.next < (due - self.next) / 2
                self.settled = None
                if follows:
                    self.interval = (due - self.next) / HOUR
                    if self.candidate and self.next - self.candidate[1] <= TEN_MINUTES:
                        self.settled = self.candidate[0]
            self.candidate, self.next = None, due
        if due == self.next and row.funding_rate is not None and stamp < due:
            self.candidate = (row.funding_rate, stamp)


def quotient(above, below):
    return None if above is None or below is None or below <= 0 else above / below


def less_one(value):
    return None if value is None else value - 1


def worth(terms, amount, mark):
    """Base asset and money of an amount of contracts."""
    if amount is None or terms.contract_size is None:
        return None, None
    value = amount * terms.contract_size
    if terms.is_inverse:
        return quotient(value, mark), value
    return value, None if mark is None else value * mark


def slow_columns(rows, terms, kind, timeframe, *, near=None, start=START):
    """Every stored column of the day's bars, from the formulas; `rows` may begin days before."""
    marks = [start + number * timeframe.us for number in range(US_PER_DAY // timeframe.us + 1)]
    waiting = sorted(rows, key=lambda row: row.local_timestamp)[::-1]
    known, fundings, last, found, before = {}, Fundings(), None, [], None
    for moment in marks:
        while waiting and waiting[-1].local_timestamp < moment:
            row = waiting.pop()
            fundings.see(row)
            last = row.local_timestamp
            for field in fields(Row):
                value = getattr(row, field.name)
                if value is not None:
                    known[field.name] = (value, row.local_timestamp)
        now = {name: value for name, (value, at) in known.items() if moment - at <= TEN_MINUTES}
        if moment > start:
            found.append(bar_of(now, before, (moment, last), (terms, kind, fundings, near)))
        before = now
    return {name: [bar[name] for bar in found] for name in found[0]}


def bar_of(now, before, times, facts):
    (moment, last), (terms, kind, fundings, near) = times, facts
    mark, index = now.get("mark_price"), now.get("index_price")
    base, money = worth(terms, now.get("open_interest"), mark)
    previous, _ = worth(terms, before.get("open_interest"), mark)
    basis = less_one(quotient(mark, index))
    expiry = None if kind.is_perpetual else kind.expiry_us
    days = None if expiry is None else (expiry - moment) / US_PER_DAY
    yearly = None if basis is None or days is None or days < 0.5 else basis * 365 / days
    calendar = roll = None
    if near is not None and expiry is not None and moment <= near[0]:
        calendar = less_one(quotient(mark, near[1](moment)))
        roll = None if calendar is None else calendar / ((expiry - near[0]) / US_PER_DAY)
    is_settled = fundings.next is not None and moment <= fundings.next + TEN_MINUTES
    return {
        "funding_rate": now.get("funding_rate"),
        "predicted_funding_rate": now.get("predicted_funding_rate"),
        "next_funding_time": now.get("funding_timestamp"),
        "funding_interval_h": fundings.interval,
        "funding_settled": fundings.settled if is_settled else None,
        "index_price": index,
        "mark_price": mark,
        "last_price": now.get("last_price"),
        "ticker_age_ms": None if last is None else (moment - last) / 1000,
        "open_interest": base,
        "open_interest_notional": money,
        "oi_previous": previous,
        "perp_premium": basis if kind.is_perpetual else None,
        "futures_basis": None if expiry is None else basis,
        "futures_basis_annualised": yearly,
        "calendar_spread": calendar,
        "roll_yield_per_day": roll,
    }


def sliced(ticks, cuts):
    """The rows in spans of whole 15 s bars."""
    edges = [START, *sorted(START + cut * 15 * SECOND for cut in cuts), START + US_PER_DAY]
    places = np.searchsorted(ticks.local_timestamp, edges)
    return [ticks.take(slice(*pair)) for pair in pairwise(places)]


def built(ticks, kind, timeframe=Timeframe.S15, *, cuts=(), **known):
    day = TickerDay(DayGrid(START, timeframe), kind, **known)
    for part in sliced(ticks, cuts):
        day.add(part)
    return day


def columns_of(day, timeframe):
    """The stored columns at a timeframe, by the registry's merging, as numbers."""
    return {
        one.name: (
            day.exact[timeframe][one.name]
            if one.merge is Merge.RECOMPUTED
            else rolled_up_column(day.statistics[one.name], one.merge, timeframe)
        )
        for one in STORED
    }


def same(found, expected, *, exactly=False):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        wanted = np.array(
            [math.nan if value is None else value for value in expected[name]], dtype=float
        )
        compare = np.testing.assert_array_equal if exactly else np.testing.assert_allclose
        compare(values, wanted, err_msg=name, **({} if exactly else {"rtol": 1e-12}))


KINDS = {
    "linear perpetual": (LINEAR, PERPETUAL),
    "inverse perpetual": (INVERSE, DerivativeKind(is_inverse=True, is_perpetual=True)),
    "linear future": (LINEAR, FUTURE),
    "inverse future": (
        INVERSE,
        DerivativeKind(is_inverse=True, expiry_us=START + 90 * US_PER_DAY),
    ),
    "units unknown": (UNKNOWN, PERPETUAL),
}


def derived(day, timeframe):
    found = family_columns(day.finish(), STORED, timeframe)
    bars = pl.DataFrame(list(found.values()))
    for one in DERIVED:
        value = one.expression
        bars = bars.with_columns(pl.when(value.is_finite()).then(value).alias(one.name))
    return bars


@pytest.fixture(scope="session")
def ticker():
    """The reference, the rows and the ways to run the kernel."""
    names = (
        Row, arrays, random_rows, slow_columns, quotient, built, columns_of, same, derived,
    )  # fmt: skip
    constants = {"kinds": KINDS, "stored": STORED, "derived_entries": DERIVED}
    return SimpleNamespace(**{one.__name__: one for one in names}, **constants)
