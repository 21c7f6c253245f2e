"""Bars against klines: what agrees, what differs, and which cause explains it."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.kline_comparison import (
    compare_klines,
    kline_findings,
    no_klines,
)
from tickhandler_dagster.market.kline_differences_table import (
    BAR_COLUMN,
    DIFFERENCE_CAUSE_MEANINGS,
    KLINE_DIFFERENCES_TABLE,
    DifferenceCause,
)
from tickhandler_dagster.market.klines import (
    COUNT,
    FIELDS,
    KLINE_SCHEMA,
    PRICES,
    VOLUMES,
    KlineInstrument,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.schema_check import SchemaCheck

CELL = VenueDay.parse("2024-08-08|binance")
START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
ONE = KlineInstrument("BINANCE:SPOT_PAIR:BTC-USDT", "BTCUSDT")
INVERSE = KlineInstrument("BINANCE-DELIVERY:PERPETUAL:BTC-USD", "BTCUSD_PERP", is_inverse=True)
LENGTH = 8


def minute(number):
    return START + dt.timedelta(minutes=number)


def bar_row(number, trades):
    """A bar from its trades, (price, amount, is a buy); facts as of a final bar of an own day."""
    prices = [price for price, _, _ in trades]
    return {
        "ts_open": minute(number),
        "status": (BarStatus.TRADED if trades else BarStatus.NO_TRADE).value,
        "is_final": True,
        "gap_ms": 0.0,
        "open": prices[0] if prices else None,
        "high": max(prices, default=None),
        "low": min(prices, default=None),
        "close": prices[-1] if prices else None,
        "volume": sum((amount for _, amount, _ in trades), 0.0),
        "notional": sum((price * amount for price, amount, _ in trades), 0.0),
        "amount_sum": sum((amount for _, amount, _ in trades), 0.0),
        "buy_volume_sum": sum((amount for _, amount, is_buy in trades if is_buy), 0.0),
        "trade_count": len(trades),
    }


BAR_SCHEMA = {
    "ts_open": pl.Datetime("us", "UTC"),
    "status": pl.String,
    "is_final": pl.Boolean,
    "gap_ms": pl.Float64,
    **{BAR_COLUMN[name]: KLINE_SCHEMA[name] for name in FIELDS},
}


def bars_of(minutes):
    return pl.DataFrame(
        [bar_row(number, trades) for number, trades in enumerate(minutes)], schema=BAR_SCHEMA
    )


def klines_of(minutes):
    """Klines of the same trades as the venue gives them: quiet minutes repeat the last price."""
    rows, last = [], 50.0
    for number, trades in enumerate(minutes):
        bar = bar_row(number, trades)
        row = {"ts_open": bar["ts_open"], **{name: bar[BAR_COLUMN[name]] for name in FIELDS}}
        if not trades:
            row |= dict.fromkeys(PRICES, last)
        last = row["close"]
        rows.append(row)
    return pl.DataFrame(rows, schema=KLINE_SCHEMA)


def changed(frame, number, **values):
    """The frame with other values in one minute."""
    here = pl.col("ts_open") == minute(number)
    return frame.with_columns(
        pl.when(here).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def without(frame, number):
    return frame.filter(pl.col("ts_open") != minute(number))


def compare(bars, klines, instrument=ONE, **more):
    return compare_klines(bars, klines, instrument, CELL, **more)


def causes(comparison):
    rows = comparison.differences.select("ts_open", "cause").iter_rows()
    return {(at - START) // dt.timedelta(minutes=1): cause for at, cause in rows}


BUSY = [[(100.0 + n, 1.5 + n, n % 2 == 0), (101.0 + n, 0.25, True)] for n in range(LENGTH)]

trade = st.tuples(
    st.integers(1, 10_000).map(lambda ticks: ticks / 100),
    st.integers(1, 1_000).map(lambda lots: lots / 1_000),
    st.booleans(),
)
days = st.lists(st.lists(trade, max_size=4), min_size=LENGTH, max_size=LENGTH)
places = st.integers(0, LENGTH - 1)


# ---- laws --------------------------------------------------------------------------------------


@given(days)
def test_bars_conform_wholly_to_klines_of_the_same_trades(minutes):
    found = compare(bars_of(minutes), klines_of(minutes))
    assert (found.minutes, found.differences.height) == (LENGTH, 0)
    assert kline_findings(found, CELL) == []


@given(days, days)
def test_a_minute_differs_seen_from_either_side(minutes, others):
    one = compare(bars_of(minutes), klines_of(others))
    other = compare(bars_of(others), klines_of(minutes))
    assert causes(one).keys() == causes(other).keys()
    swapped = {"missing_here": "missing_there", "missing_there": "missing_here"}
    assert causes(one) == {at: swapped.get(why, why) for at, why in causes(other).items()}


@given(days, days)
def test_every_differing_minute_has_one_cause_and_the_rows_hold(minutes, others):
    found = compare(bars_of(minutes), klines_of(others))
    assert sum(found.by_cause.values()) == found.differences.height <= found.minutes
    assert SchemaCheck(KLINE_DIFFERENCES_TABLE).run([("one", found.differences)]).has_passed
    broken = {finding.rule: finding.rows for finding in kline_findings(found, CELL)}
    assert bool(broken) == bool(found.differences.height)
    assert max(broken.values(), default=0) <= found.differences.height <= sum(broken.values())


@given(places, st.sampled_from(FIELDS))
def test_a_planted_value_is_found_in_its_minute_and_its_field(place, name):
    klines = klines_of(BUSY)
    value = klines[name][place]
    planted = changed(klines, place, **{name: value + 1 if name == COUNT else value * 1.0001})
    found = compare(bars_of(BUSY), planted)
    assert causes(found) == {place: "revised"}
    assert found.differences["fields"].to_list() == [[name]]
    rule = RuleName.KLINE_PRICE_DIFFERS if name in PRICES else RuleName.KLINE_VOLUME_DIFFERS
    assert [finding.rule for finding in kline_findings(found, CELL)] == [rule]


@given(places.filter(bool))
def test_a_trade_across_an_edge_explains_both_minutes(place):
    moved = [list(trades) for trades in BUSY]
    moved[place - 1].append(moved[place].pop(0))
    found = compare(bars_of(BUSY), klines_of(moved))
    assert causes(found) == {place - 1: "boundary", place: "boundary"}


@given(places.filter(bool))
def test_a_whole_minute_across_an_edge_is_a_boundary_too(place):
    moved = [list(trades) for trades in BUSY]
    moved[place - 1] += moved[place]
    moved[place] = []
    assert causes(compare(bars_of(BUSY), klines_of(moved))) == {
        place - 1: "boundary",
        place: "boundary",
    }


@given(st.floats(-0.9e-9, 0.9e-9), places, st.sampled_from(VOLUMES))
def test_what_adding_up_in_another_order_changes_is_no_difference(error, place, name):
    klines = klines_of(BUSY)
    near = changed(klines, place, **{name: klines[name][place] * (1 + error)})
    assert compare(bars_of(BUSY), near).differences.height == 0


# ---- cases -------------------------------------------------------------------------------------


def test_causes_are_told_in_words_each():
    assert set(DIFFERENCE_CAUSE_MEANINGS) == set(DifferenceCause)


def test_minutes_without_trades_agree_whatever_price_the_kline_repeats():
    quiet = [[] for _ in range(LENGTH)]
    found = compare(bars_of(quiet), klines_of(quiet))
    assert (found.minutes, found.differences.height) == (LENGTH, 0)
    assert compare(bars_of(quiet), no_klines()).differences.height == 0


def test_nothing_on_either_side_is_nothing_compared():
    found = compare(bars_of([]), no_klines())
    assert (found.minutes, found.differences.height) == (0, 0)


def test_a_provisional_bar_is_late_and_no_finding():
    bars = changed(bars_of(BUSY), 7, is_final=False, trade_count=1)
    found = compare(bars, klines_of(BUSY))
    assert causes(found) == {7: "late"}
    assert kline_findings(found, CELL) == []


def test_a_provisional_bar_that_agrees_is_no_difference():
    assert compare(changed(bars_of(BUSY), 7, is_final=False), klines_of(BUSY)).minutes == LENGTH


def test_what_a_reported_gap_took_is_lost():
    bars = changed(bars_of(BUSY), 3, trade_count=1, volume=1.5, gap_ms=20_000.0)
    assert causes(compare(bars, klines_of(BUSY))) == {3: "lost"}


@pytest.mark.parametrize("end", [minute(3), minute(3) + dt.timedelta(seconds=40)])
def test_what_lost_ids_tell_of_is_lost_also_where_the_hole_has_no_length(end):
    bars = changed(bars_of(BUSY), 3, trade_count=1, volume=1.5)
    found = compare(bars, klines_of(BUSY), gaps=[(minute(3), end)])
    assert causes(found) == {3: "lost"}


def test_a_gap_ends_before_the_minute_it_ends_at():
    bars = changed(bars_of(BUSY), 3, trade_count=1, volume=1.5)
    found = compare(bars, klines_of(BUSY), gaps=[(minute(1), minute(3))])
    assert causes(found) == {3: "revised"}


def test_trades_that_only_the_venue_has_are_missing_here():
    nothing = changed(
        bars_of(BUSY),
        2,
        status=BarStatus.NO_TRADE.value,
        trade_count=0,
        **dict.fromkeys((*PRICES, "volume", "notional", "amount_sum", "buy_volume_sum")),
    )
    found = compare(nothing, klines_of(BUSY))
    assert causes(found) == {2: "missing_here"}
    assert found.differences["fields"].to_list() == [list(FIELDS)]
    assert [finding.rule for finding in kline_findings(found, CELL)] == [RuleName.KLINE_MISSING]


def test_a_minute_without_a_bar_is_missing_here_and_counts():
    found = compare(without(bars_of(BUSY), 2), klines_of(BUSY))
    assert (causes(found), found.minutes) == ({2: "missing_here"}, LENGTH)


def test_a_day_that_was_never_taken_is_missing_here_and_not_late():
    bars = bars_of([[] for _ in BUSY]).with_columns(
        status=pl.lit(BarStatus.NOT_INGESTED.value), is_final=pl.lit(value=False)
    )
    assert compare(bars, klines_of(BUSY)).by_cause[DifferenceCause.MISSING_HERE] == LENGTH


def test_trades_that_only_we_have_are_missing_there():
    found = compare(bars_of(BUSY), without(klines_of(BUSY), 5))
    assert causes(found) == {5: "missing_there"}


def test_prices_are_equal_or_they_differ():
    klines = klines_of(BUSY)
    planted = changed(klines, 4, high=klines["high"][4] * (1 + 1e-15))
    assert planted["high"][4] != klines["high"][4]
    assert causes(compare(bars_of(BUSY), planted)) == {4: "revised"}


@pytest.mark.parametrize(("instrument", "differs"), [(INVERSE, False), (ONE, True)])
def test_only_quotients_of_inverse_contracts_may_be_rounded_per_trade(instrument, differs):
    klines = klines_of(BUSY)
    rounded = changed(klines, 4, volume=klines["volume"][4] + 1.5e-8)
    assert (compare(bars_of(BUSY), rounded, instrument).differences.height > 0) is differs


def test_a_field_that_the_source_does_not_give_is_not_compared():
    given = klines_of(BUSY).with_columns(
        pl.lit(None, KLINE_SCHEMA[name]).alias(name)
        for name in ("quote_volume", "buy_volume", COUNT)
    )
    assert compare(bars_of(BUSY), given).differences.height == 0
    planted = changed(given, 1, volume=9.0)
    assert compare(bars_of(BUSY), planted).differences["fields"].to_list() == [["volume"]]


def test_a_finding_says_which_minutes_with_both_numbers():
    planted = changed(klines_of(BUSY), 4, high=999.0)
    (finding,) = kline_findings(compare(bars_of(BUSY), planted), CELL)
    assert (finding.rows, finding.of_rows, finding.source) == (1, LENGTH, "klines")
    assert finding.first_at == finding.last_at == minute(4)
    assert finding.sample == "00:04 revised: high 105.0 against 999.0"
