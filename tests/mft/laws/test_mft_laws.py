"""Laws of mid-frequency features over forty simulated days, through the pipeline that runs them.

Held against one pass that holds all candles in memory and knows neither files nor manifests.
"""

import datetime as dt
import random

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.days import US_PER_DAY, VenueDay, day_start_us
from tickhandler_dagster.market.mft.cross_section import compared_columns, cross_sectional
from tickhandler_dagster.market.mft.entry import Scope
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.halo import DAILY_INPUTS, SLOT_INPUTS, halo_of
from tickhandler_dagster.market.mft.joined import (
    with_all_venues,
    with_other_venue,
    with_slot_volume,
    with_trailing_days,
)
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series, dense_opens
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import MftFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_features import build_mft_features
from tickhandler_dagster.pipeline.mft_inputs import mft_plan

HERE, THERE = VenueId.BINANCE_FUTURES, VenueId.OKEX_SWAP
WINDOWS = Windows()
H1, M15, H24 = Timeframe.H1, Timeframe.M15, Timeframe.H24
ENTRIES = mft_plan(WINDOWS, first_day=dt.date(2024, 7, 1)).features
OWN = tuple(entry for entry in ENTRIES if entry.scope is not Scope.CROSS_SECTION)
ACROSS = tuple(entry for entry in ENTRIES if entry.scope is Scope.CROSS_SECTION)
ALONE = tuple(
    entry
    for entry in ENTRIES
    if entry.scope is Scope.INSTRUMENT and not {*SLOT_INPUTS, *DAILY_INPUTS} & set(entry.inputs)
)
"""Entries that read the instrument's own bars in a row and nothing else."""

NAMES = [entry.name for entry in ENTRIES]
WARM_DAYS = 5


def build(lake, day, *, timeframes=(H1,), venues=(HERE, THERE)):
    plan = mft_plan(WINDOWS, first_day=dt.date(2024, 7, 1), venues=(HERE, THERE))
    return [
        build_mft_features(VenueDay(day, venue), lake=lake, plan=plan, timeframes=timeframes)
        for venue in venues
    ]


def stored(lake, key, timeframe, day):
    return lake.read_table(MftFile(day, timeframe, key))


def _made_venues(day, span):
    """Venues whose candles of the day were ever made."""
    return (THERE,) if day == span["never_made"] else (HERE, THERE)


@pytest.fixture(scope="module")
def built(candles_1h, span):
    """The lake with the features of every day at 1 h, built in the order of the days."""
    for day in span["days"]:
        build(candles_1h.lake, day, venues=_made_venues(day, span))
    return candles_1h


class OnePass:
    """All candles of a span in memory, and features of any part of it."""

    def __init__(self, made, timeframe, changed=lambda frame: frame):
        self._timeframe = timeframe
        self._frames = {}
        for (key, of_timeframe, _), frame in sorted(made.candles.items()):
            self._frames.setdefault((key, of_timeframe), []).append(frame)
        self._frames = {
            place: changed(pl.concat(frames)).sort("ts_open")
            for place, frames in self._frames.items()
        }

    def keys(self, venue, day):
        """Instruments of the venue with bars of the day."""
        return [
            key
            for (key, timeframe), frame in self._frames.items()
            if timeframe is self._timeframe
            and key.startswith(f"{venue.upper()}:")
            and not frame.filter(_is_on(day)).is_empty()
        ]

    def series(self, key, first, last):
        """Its bars from the first to the last day, with what is joined to them."""
        start, end = day_start_us(first), day_start_us(last) + US_PER_DAY
        bars = self._bars(key, start, end)
        bars = with_slot_volume(bars, self._frames[key, self._timeframe])
        bars = with_trailing_days(bars, self._frames[key, H24])
        venue = key.split(":")[0]
        reference = self._bars(f"{venue}:PERPETUAL:BTC-USDT", start, end)
        bars = bars.join(
            reference.select("ts_open", ref_log_return="log_return", ref_valid_run="valid_run"),
            on="ts_open",
            how="left",
            maintain_order="left",
        )
        other = self._elsewhere(key)
        is_priced_there = other is not None and venue == THERE.upper()
        bars = with_other_venue(bars, other if is_priced_there else None, str(HERE))
        return with_all_venues(bars, [] if other is None else [other])

    def day(self, venue, day, first):
        """Every instrument's rows of a day, from series that start on the first day."""
        rows = [
            evaluated(self.series(key, first, day), OWN)
            .filter(_is_on(day) & pl.col("status").is_not_null())
            .with_columns(instrument_key=pl.lit(key))
            for key in self.keys(venue, day)
        ]
        names = ("instrument_key", "ts_open", "available_at", "is_valid")
        compared = pl.concat([frame.select(*names, *compared_columns(WINDOWS)) for frame in rows])
        across = cross_sectional(compared, ACROSS).drop("available_at")
        return (
            pl.concat([frame.drop("available_at") for frame in rows])
            .join(across.select("instrument_key", "ts_open", *_names(ACROSS)), on=names[:2])
            .select(*names[:2], *NAMES)
            .sort(names[:2])
        )

    def _bars(self, key, start, end):
        candles = self._frames[key, self._timeframe].select(*CANDLE_COLUMNS, "funding_interval_h")
        inside = pl.col("ts_open").to_physical().is_between(start, end - 1)
        bars = bar_series(candles.filter(inside), dense_opens(start, end, self._timeframe.us))
        return bars.with_columns(pl.col("available_at").cum_max())

    def _elsewhere(self, key):
        venue, rest = key.split(":", 1)
        there = THERE if venue == HERE.upper() else HERE
        return self._frames.get((f"{there.upper()}:{rest}", self._timeframe))


def _is_on(day):
    return pl.col("ts_open").dt.date() == day


def _names(entries):
    return [entry.name for entry in entries]


def of_day(lake, one_pass, venue, day, timeframe=H1):
    """The stored rows of a venue's day in the form of `OnePass.day`."""
    frames = [stored(lake, key, timeframe, day) for key in one_pass.keys(venue, day)]
    return (
        pl.concat(frames)
        .select("instrument_key", "ts_open", *NAMES)
        .sort("instrument_key", "ts_open")
    )


def differing(left, right):
    return [name for name in left.columns if not left[name].equals(right[name])]


# ---- one pass ----------------------------------------------------------------------------------


def test_a_day_built_alone_is_one_pass_over_all_candles_bit_for_bit(built, span):
    one_pass = OnePass(built, H1)
    halo = dt.timedelta(days=max(halo_of(ENTRIES, H1).series))
    for number, day in enumerate(span["days"]):
        # The venue of all instruments every fourth day and on the odd ones, the other each day.
        odd = {span["not_ingested"][1], span["listed"][1], span["delisted"][1]}
        for venue in (HERE, THERE) if number % 4 == 3 or day in odd else (THERE,):
            if venue in _made_venues(day, span):
                expected = one_pass.day(venue, day, day - halo)
                found = of_day(built.lake, one_pass, venue, day)
                assert differing(found, expected) == [], (venue, day)


def test_where_the_series_starts_is_rounding_and_the_memory_of_recursions_at_most(built, span):
    one_pass, days = OnePass(built, H1), span["days"]
    key = f"{HERE.upper()}:PERPETUAL:BTC-USDT"
    whole = evaluated(one_pass.series(key, days[0], days[-1]), OWN)
    alone = pl.concat(
        [stored(built.lake, key, H1, day) for day in days if HERE in _made_venues(day, span)]
    )
    whole = whole.join(alone.select("ts_open"), on="ts_open", how="semi")
    for entry in OWN:
        mine, theirs = alone[entry.name], whole[entry.name]
        if entry.dtype.is_float():
            assert mine.is_null().equals(theirs.is_null()), entry.name
            scale = theirs.drop_nulls().std() or 1.0
            assert ((mine - theirs).abs().max() or 0.0) <= 1e-3 * scale, entry.name
        else:
            assert mine.equals(theirs), entry.name


def test_the_order_in_which_days_arrive_and_are_built_changes_no_value(make_lake, span):
    days = span["days"][:5]
    in_order, shuffled = make_lake(), make_lake()
    in_order.put_days((M15, H24), days)
    _build_made(in_order.lake, days, span)
    arrived = random.Random(4).sample(days, len(days))
    for number, day in enumerate(arrived, start=1):
        shuffled.put_days((M15, H24), [day])
        _build_made(shuffled.lake, arrived[:number], span)
    _build_made(shuffled.lake, days, span)
    one_pass = OnePass(in_order, M15)
    for day in days:
        for venue in _made_venues(day, span):
            left, right = (
                of_day(made.lake, one_pass, venue, day, M15) for made in (in_order, shuffled)
            )
            assert differing(left, right) == [], (venue, day)


def _build_made(lake, days, span):
    for day in days:
        build(lake, day, timeframes=(M15,), venues=_made_venues(day, span))


# ---- one day changed ---------------------------------------------------------------------------


def test_one_changed_day_changes_exactly_the_days_that_read_it(built, make_copy, span):
    days, changed = span["days"], span["days"][25]
    made = make_copy(built)
    made.put_day(HERE, H1, changed, version=1)
    halo = halo_of(ENTRIES, H1)
    readers = {changed + dt.timedelta(days=back) for back in (0, *halo.series, *halo.slots)}
    key = f"{HERE.upper()}:PERPETUAL:ADA-USDT"
    for day in days[24:]:
        here = build(made.lake, day, venues=(HERE,))[0]
        assert bool(here.built) is (day in readers), day
        before, after = (stored(one.lake, key, H1, day) for one in (built, made))
        assert bool(differing(before.select(NAMES), after.select(NAMES))) is (day in readers), day
        assert before.height == after.height


# ---- gaps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["vendor_gap", "not_ingested", "provisional", "missing"])
def test_a_gap_makes_exactly_the_windows_that_touch_it_null(candles_1h, span, status):
    """Against the same candles without the gap: nothing else becomes null, nothing stays."""
    one_pass, days = OnePass(candles_1h, H1), span["days"]
    key = f"{THERE.upper()}:PERPETUAL:BTC-USDT"
    whole = one_pass.series(key, days[0], days[-1])
    candles = whole.select(*CANDLE_COLUMNS, "funding_interval_h")
    at = candles.height // 2
    is_gap = pl.int_range(pl.len()).is_between(at, at + 2)
    cut = {
        "vendor_gap": lambda frame: frame.with_columns(
            status=pl.when(is_gap).then(pl.lit("vendor_gap")).otherwise("status")
        ),
        "not_ingested": lambda frame: frame.with_columns(
            pl.when(is_gap).then(None).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close", "volume", "trade_count")
        ).with_columns(status=pl.when(is_gap).then(pl.lit("not_ingested")).otherwise("status")),
        "provisional": lambda frame: frame.with_columns(is_final=~is_gap),
        "missing": lambda frame: frame.filter(~is_gap),
    }[status](candles)
    without, with_gap = (
        evaluated(bar_series(frame, candles["ts_open"]), ALONE) for frame in (candles, cut)
    )
    for entry in ALONE:
        touched = pl.Series(
            [at <= row and row - entry.look_back <= at + 2 for row in range(candles.height)]
        )
        lost = with_gap[entry.name].is_null() & without[entry.name].is_not_null()
        assert lost.equals((touched & without[entry.name].is_not_null()).alias(entry.name)), (
            entry.name
        )


def test_every_outage_of_the_venue_is_a_hole_and_what_follows_it_waits(built, span):
    key = f"{HERE.upper()}:PERPETUAL:BTC-USDT"
    day, first, end = span["gaps"][1]
    rows = stored(built.lake, key, H1, day)
    assert rows["log_return_1"].is_null().to_list() == [first <= hour <= end for hour in range(24)]
    assert rows["log_return_5"].is_null().to_list() == [
        first <= hour < end + 5 for hour in range(24)
    ]
    assert rows.filter(pl.col("ts_open").dt.hour() == first)["status"].item() == "vendor_gap"


def test_a_day_that_was_not_ingested_has_rows_and_no_values(built, span):
    key, day = span["not_ingested"]
    rows = stored(built.lake, key, H1, day)
    assert rows.height == H1.bars_per_day
    assert all(rows[name].null_count() == rows.height for name in NAMES)


def test_an_instrument_begins_and_ends_with_its_listing(built, span):
    listed, first = span["listed"]
    delisted, last = span["delisted"]
    after = dt.timedelta(days=1)
    assert stored(built.lake, listed, H1, first - after) is None
    begins = stored(built.lake, listed, H1, first)
    assert begins["log_return_1"].is_null().to_list() == [True] + [False] * 23
    assert stored(built.lake, delisted, H1, last).height == 15
    assert stored(built.lake, delisted, H1, last + after) is None


# ---- lookahead ---------------------------------------------------------------------------------


@pytest.mark.parametrize("future", ["removed", "shuffled"])
@pytest.mark.parametrize("hour", [1, 9.37, 17])
def test_what_a_row_says_was_known_when_it_says_so(built, make_copy, span, future, hour):
    """Bars that were not available at a moment can be anything: no row that was changes a bit."""
    day = span["days"][37]
    moment = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) + dt.timedelta(hours=hour)
    made = make_copy(built)
    rng = np.random.default_rng(int(hour * 100))

    def blinded(_instrument, frame):
        is_known = frame["available_at"] <= moment
        if future == "removed":
            return frame.filter(is_known)
        places = np.arange(frame.height)
        unknown = places[~is_known.to_numpy()]
        places[unknown] = rng.permutation(unknown)
        times = ("ts_open", "ts_close", "available_at")
        return frame.with_columns(frame.drop(times)[places])

    for timeframe in (H1, H24):
        for later in (dt.timedelta(0), dt.timedelta(days=1)):
            for venue in (HERE, THERE):
                made.put_day(venue, timeframe, day + later, change=blinded)
    build(made.lake, day)
    known = 0
    for key in (
        key for key, timeframe, of_day in built.candles if (timeframe, of_day) == (H1, day)
    ):
        before, after = (stored(one.lake, key, H1, day) for one in (built, made))
        then = before.filter(pl.col("available_at") <= moment)
        now = after.filter(pl.col("available_at") <= moment).join(
            then.select("ts_open"), on="ts_open", how="semi"
        )
        assert differing(then.select("ts_open", *NAMES), now.select("ts_open", *NAMES)) == [], key
        known += then.height
    assert known >= 3 * (int(hour) - 1)


# ---- values ------------------------------------------------------------------------------------


def test_every_entry_has_a_value_when_warm_and_none_is_infinite_or_out_of_bounds(built, span):
    one_pass = OnePass(built, H1)
    rows = pl.concat(
        [
            of_day(built.lake, one_pass, venue, day)
            for day in span["days"][-WARM_DAYS:]
            for venue in (HERE, THERE)
        ]
    )
    for entry in ENTRIES:
        values = rows[entry.name].drop_nulls()
        assert len(values) > 0, entry.name
        if entry.dtype.is_float():
            assert values.is_finite().all(), entry.name
        if entry.dtype.is_numeric():
            low, high = values.min(), values.max()
            bounds = entry.bounds
            assert bounds.ge is None or low >= bounds.ge, entry.name
            assert bounds.gt is None or low > bounds.gt, entry.name
            assert bounds.le is None or high <= bounds.le, entry.name
            assert bounds.lt is None or high < bounds.lt, entry.name


def test_no_number_of_forty_days_is_infinite_or_not_a_number(built, span):
    for day in span["days"]:
        for key in (key for key, timeframe, on in built.candles if (timeframe, on) == (H1, day)):
            rows = stored(built.lake, key, H1, day)
            floats = rows.select(pl.col(pl.Float64))
            assert floats.select(pl.all().is_finite().all()).row(0) == (True,) * floats.width
