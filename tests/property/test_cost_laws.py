"""Laws of estimates: they add up, grow with what is asked for, and cost nothing for nothing."""

import dataclasses
import datetime as dt
import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.costs.amounts import ZERO, Amount, Spread, add_up, spread_of
from tickhandler_dagster.market.costs.bar_sizes import CANDLES, KNOWN_CELLS, MFT_FEATURES, BarSizes
from tickhandler_dagster.market.costs.file_sizes import KNOWN_FILES, SIZES, Basis, FileSizes
from tickhandler_dagster.market.costs.plan import (
    CellFiles,
    Plan,
    PlanLine,
    PlanPart,
    Selection,
    check_unchanged,
    differences,
    parse_part,
)
from tickhandler_dagster.market.costs.plan_json import PLAN_VERSION, parse_plan, plan_json
from tickhandler_dagster.market.costs.prices import Prices, price_rows, prices_with
from tickhandler_dagster.market.costs.quantities import (
    NOTHING,
    QUANTITY_NAMES,
    Machine,
    Quantities,
    cloud_bill,
    ingest_seconds,
    share_of_quota,
    storage_by_class,
    total_of,
)
from tickhandler_dagster.market.costs.typical_sizes import CANDLE_BAR_BYTES, TYPICAL_FILES
from tickhandler_dagster.market.costs.warnings import plan_warnings
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.repair_plan import PlannedAsset, Stage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 5)  # a Monday
VENUE = VenueId.BINANCE

numbers = st.floats(0, 1e15)
amounts = st.tuples(numbers, numbers, numbers).map(
    lambda some: Amount(sorted(some)[1], min(some), max(some))
)
quantities = st.builds(Quantities, **dict.fromkeys(QUANTITY_NAMES, amounts))


def is_ordered(amount):
    return amount.low <= amount.likely * (1 + 1e-9) <= amount.high * (1 + 1e-9) ** 2


def known(days, sizes, symbols=("A", "B"), venue="binance"):
    """Files of these sizes on each of some days in a row."""
    rows = [
        (DAY + dt.timedelta(days=n), venue, "trades", symbol, "SPOT_PAIR", *[size * (n + 1)] * 4)
        for n in range(days)
        for symbol, size in zip(symbols, sizes, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(KNOWN_FILES), orient="row")


@given(st.lists(quantities, max_size=6))
def test_what_parts_take_adds_up_to_what_the_whole_takes(parts):
    whole = total_of(parts)
    for name in QUANTITY_NAMES:
        assert getattr(whole, name).likely == pytest.approx(
            sum(getattr(part, name).likely for part in parts)
        )


@given(quantities, quantities)
def test_a_bill_of_more_is_no_smaller_and_nothing_costs_nothing(one, other):
    prices = Prices()
    less, more = cloud_bill(one, prices), cloud_bill(one + other, prices)
    assert more.once.high >= less.once.high
    assert more.monthly.likely >= less.monthly.likely
    assert cloud_bill(NOTHING, prices).once == ZERO
    assert share_of_quota(NOTHING, prices) == ZERO
    assert NOTHING.is_nothing


@given(quantities)
def test_a_laptop_is_charged_nothing(taken):
    bill = cloud_bill(taken, Prices(), has_bucket=False, has_bigquery=False)
    assert bill.once == bill.monthly == ZERO


@given(amounts)
def test_colder_storage_is_cheaper(stored):
    costs = list(storage_by_class(stored, Prices()).values())
    assert [cost.likely for cost in costs] == sorted((cost.likely for cost in costs), reverse=True)


@given(st.lists(st.floats(0.01, 100), max_size=40))
def test_a_spread_is_a_range_around_its_centre(ratios):
    spread = spread_of(ratios)
    assert 0 < spread.low <= spread.centre <= spread.high
    assert math.isfinite(spread.high)


@given(st.floats(0.1, 10), st.integers(2, 30))
def test_days_alike_still_leave_a_range_and_more_of_them_a_narrower_one(ratio, days):
    few, many = spread_of([ratio] * days), spread_of([ratio] * (days + 5))
    assert few.low < few.centre < few.high
    assert many.high / many.low <= few.high / few.low


def test_nineteen_of_twenty_days_are_below_the_upper_end():
    random = np.random.default_rng(7)
    draws = np.exp(random.normal(0, 0.4, size=(2_000, 8)))
    below = [draw[-1] <= spread_of(list(draw[:-1])).high for draw in draws]
    assert 0.93 < np.mean(below) < 0.97


@given(
    st.integers(0, 9),
    st.lists(st.sampled_from(["A", "B", "NEW", "OTHER"]), max_size=8),
    st.integers(1, 7),
)
def test_sizes_of_files_are_ordered_grow_with_files_and_are_zero_of_none(days, symbols, weekday):
    sizes = FileSizes(known(days, (10.0, 30.0)))
    wanted = [(symbol, "SPOT_PAIR") for symbol in symbols]
    one = sizes.of(VENUE, DataType.TRADES, wanted, weekday)
    more = sizes.of(VENUE, DataType.TRADES, [*wanted, ("A", "SPOT_PAIR")], weekday)
    assert all(is_ordered(getattr(one, name)) for name in SIZES)
    assert all(getattr(more, name).likely >= getattr(one, name).likely for name in SIZES)
    assert sizes.of(VENUE, DataType.TRADES, [], weekday).source_bytes == ZERO
    assert sum(sizes.bases(VENUE, DataType.TRADES, wanted).values()) == len(wanted)


def test_a_file_is_judged_by_the_nearest_that_is_known():
    frame = pl.concat([known(4, (10.0, 30.0)), known(4, (5.0,), ("X",), "upbit")])
    sizes = FileSizes(frame)
    wanted = [("A", "SPOT_PAIR"), ("NEW", "SPOT_PAIR"), ("NEW", "PERPETUAL")]
    assert dict(sizes.bases(VENUE, DataType.TRADES, wanted)) == {
        Basis.FILE: 1,
        Basis.KIND: 1,
        Basis.PUBLISHED: 1,
    }
    elsewhere = sizes.bases(VenueId.OKEX, DataType.TRADES, [("Q", "SPOT_PAIR")])
    assert elsewhere[Basis.ELSEWHERE] == 1
    quotes = sizes.bases(VENUE, DataType.QUOTES, [("A", "SPOT_PAIR")])
    assert quotes[Basis.PUBLISHED] == 1


def test_a_weekday_that_is_known_twice_speaks_for_itself():
    days = [DAY + dt.timedelta(days=n) for n in range(14)]
    rows = [
        (day, "binance", "trades", "A", "SPOT_PAIR", *[100.0 if day.weekday() >= 5 else 10.0] * 4)
        for day in days
    ]
    sizes = FileSizes(pl.DataFrame(rows, schema=dict(KNOWN_FILES), orient="row"))

    def likely(weekday):
        return sizes.of(VENUE, DataType.TRADES, [("A", "SPOT_PAIR")], weekday).rows.likely

    assert likely(6) == pytest.approx(10 * likely(1))


@given(st.sampled_from(list(Timeframe)), st.integers(0, 50), st.booleans())
def test_bars_nothing_is_known_of_have_a_size_that_grows_with_instruments(timeframe, count, is_mft):
    family = MFT_FEATURES if is_mft else CANDLES
    one = BarSizes().of(family, timeframe, VENUE, count)
    more = BarSizes().of(family, timeframe, VENUE, count + 1)
    assert more.bytes.likely > one.bytes.likely
    assert is_ordered(one.bytes)
    assert BarSizes().of(family, timeframe, VENUE, 0).bytes == ZERO


def test_bars_of_another_venue_stand_in_with_a_wide_range():
    cells = pl.DataFrame(
        [(DAY, "upbit", "candles/1m", 2, 0, 2_880, 1_000)], schema=dict(KNOWN_CELLS), orient="row"
    )
    known_venue = BarSizes(cells).of(CANDLES, Timeframe.M1, VenueId.UPBIT, 2)
    other = BarSizes(cells).of(CANDLES, Timeframe.M1, VENUE, 4)
    assert known_venue.rows.likely == 2_880
    assert other.rows.likely == 5_760
    assert other.bytes.high / other.bytes.low >= known_venue.bytes.high / known_venue.bytes.low


def test_the_tables_of_sizes_are_total():
    assert set(TYPICAL_FILES) == set(DataType)
    assert set(CANDLE_BAR_BYTES) == set(Timeframe)


def test_every_price_has_a_unit_and_a_source_and_can_be_replaced():
    assert all(unit and source for _, _, unit, source in price_rows(Prices()))
    for item in dataclasses.fields(Prices):
        rows = price_rows(prices_with({item.name: 7}))
        changed = {name: (value, source) for name, value, _, source in rows}
        assert changed[item.name] == (7.0, "set by hand")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gcs": 1}, "not a number of the price table"),
        ({"gcs_standard": -1}, "not a price"),
        ({"gcs_standard": "a lot"}, "not a price"),
        ({"gcs_standard": True}, "not a price"),
        ({"gcs_standard": math.inf}, "not a price"),
    ],
)
def test_a_wrong_price_is_refused(changes, text):
    with pytest.raises(InvalidInput, match=text):
        prices_with(changes)


@given(st.integers(1, 64), st.floats(1, 1e4))
def test_more_cores_and_a_faster_line_never_take_longer(cores, rate):
    some = (Amount.exact(100), Amount.exact(1e9), Amount.exact(1e7))
    slow = ingest_seconds(*some, prices=Prices(), machine=Machine(1, 10))
    fast = ingest_seconds(
        *some, prices=prices_with({"download_rate": 20 + rate}), machine=Machine(cores, 50)
    )
    assert fast.likely <= slow.likely


def made_plan(files=3, place="lake", days=(DAY,), stored=0.0, jobs=0.0):
    cells = tuple(VenueDay(day, VENUE) for day in days)
    taken = Quantities(
        download_bytes=Amount(10.0, 5.0, 20.0),
        stored_bytes=Amount.exact(stored),
        load_jobs=Amount.exact(jobs),
    )
    return Plan(
        selection=Selection(
            start=DAY, end=days[-1], venues=(VENUE,), data_types=(DataType.TRADES,)
        ),
        place=place,
        lines=(PlanLine("raw_ticks/trades", len(cells), 1, files, 2, taken),),
        work=(PlannedAsset("raw_ticks/trades", Stage.TICKS, cells, {"files": files}),),
        files={"raw_ticks/trades": {cell: CellFiles(files, 4, 5) for cell in cells}},
        warehouse={"candles_1m": tuple(days)} if jobs else {},
        notes=("a note",),
    )


def test_a_plan_survives_its_text_form():
    plan = made_plan(jobs=1)
    assert parse_plan(json.loads(json.dumps(plan_json(plan))), "plan.json") == plan


@pytest.mark.parametrize("document", [[], {}, {"version": PLAN_VERSION + 1}, "plan", None])
def test_what_is_no_plan_of_this_version_is_refused(document):
    with pytest.raises(InvalidInput, match="not a plan of this version"):
        parse_plan(document, "plan.json")


def test_a_damaged_plan_is_refused_by_name():
    document = plan_json(made_plan())
    del document["work"][0]["cells"]
    with pytest.raises(InvalidInput, match=r"plan\.json: a damaged plan .*cells"):
        parse_plan(document, "plan.json")


def test_a_plan_is_run_only_where_it_was_made_and_while_it_fits():
    plan = made_plan()
    check_unchanged(plan, made_plan())
    check_unchanged(plan, made_plan(stored=9.0))  # a new estimate changes nothing that is done
    assert differences(plan, made_plan(files=2)) == [
        "raw_ticks/trades 2024-08-05|binance: planned 3 files, now 2 files"
    ]
    with pytest.raises(InvalidInput, match="another lake"):
        check_unchanged(plan, made_plan(place="elsewhere"))
    with pytest.raises(InvalidInput, match="in 2 partitions"):
        check_unchanged(plan, made_plan(files=2, days=(DAY, DAY + dt.timedelta(days=1))))
    many = tuple(DAY + dt.timedelta(days=n) for n in range(9))
    with pytest.raises(InvalidInput, match="and 3 more"):
        check_unchanged(plan, made_plan(days=many))


def test_limits_that_a_plan_meets_are_told():
    huge = made_plan(stored=1e12, jobs=1)
    prices = prices_with({"vendor_quota": 1e-9, "bigquery_jobs_per_table": 0})
    told = " ".join(plan_warnings(huge, prices, free_bytes=1_000))
    assert "transfer quota" in told
    assert "1.0 kB free" in told
    assert "load jobs" in told
    assert plan_warnings(made_plan(), Prices(), free_bytes=None) == []


def test_a_selection_that_makes_no_sense_is_refused():
    with pytest.raises(InvalidInput, match="before the first day"):
        made_plan(days=(DAY - dt.timedelta(days=1),))
    with pytest.raises(InvalidInput, match="negative"):
        dataclasses.replace(made_plan().selection, max_files=-1)
    with pytest.raises(InvalidInput, match="a plan can be made for"):
        parse_part("bars")
    assert [parse_part(part.value) for part in PlanPart] == list(PlanPart)


@given(amounts, amounts)
def test_amounts_keep_their_order_under_sums_factors_and_spreads(one, other):
    assert is_ordered(add_up([one, other]))
    assert is_ordered(one.times(3))
    assert is_ordered(one.within(Spread(1.0, 0.5, 2.0).widened(2)))
    assert is_ordered(one.at_least(other))
