"""What writes a name reads it back: paths, cells, and the tables over enums are total."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market import paths
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import VenueDay, day_span_us, parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId, parse_venue, venues_with
from tickhandler_dagster.reporting.pictures import STATE_COLOURS

dates = st.dates(dt.date(1990, 1, 1), dt.date(2099, 12, 31))
venues = st.sampled_from(VenueId)
data_types = st.sampled_from(DataType)
timeframes = st.sampled_from(Timeframe)
keys = st.from_regex(r"[A-Z]{1,9}:[A-Z_]{1,9}:[A-Z0-9.@-]{1,30}", fullmatch=True)
symbols = st.from_regex(r"[A-Z0-9@_-]{1,20}", fullmatch=True)

hours = st.sampled_from([f"{hour:02d}" for hour in range(24)])
sequences = st.integers(0, 10**17)
words = st.sampled_from(["bars", "ticks_trades", "part_1723075200000000"])

objects = st.one_of(
    st.builds(paths.CatalogFile, venues, st.sampled_from(["catalog", "contracts"])),
    st.builds(paths.InstrumentsFile, dates, venues),
    st.builds(paths.RawTickFile, dates, data_types, keys),
    st.builds(paths.RawManifest, dates, data_types, venues),
    st.builds(paths.CandleFile, dates, timeframes, keys),
    st.builds(paths.CandleManifest, dates, timeframes, venues),
    st.builds(paths.OptionsSurfaceFile, dates, timeframes, venues, symbols),
    st.builds(paths.OptionsSurfaceManifest, dates, venues),
    st.builds(paths.InformationBarFile, dates, st.sampled_from(BarKind), keys),
    st.builds(paths.InformationBarManifest, dates, st.sampled_from(BarKind), venues),
    st.builds(paths.QuoteAuditFile, dates, venues),
    st.builds(paths.FindingsFile, dates, venues, st.sampled_from(["trades", "prices"])),
    st.builds(paths.QuarantinedRows, dates, data_types, keys),
    st.builds(paths.QuarantinedFile, dates, data_types, venues, symbols),
    st.builds(paths.LiveTicksFile, dates, data_types, venues, hours, sequences),
    st.builds(paths.LiveCandlesFile, dates, timeframes, venues, hours, words),
    st.builds(paths.LiveDifferencesFile, dates, venues),
    st.builds(paths.DeadLettersFile, words, dates, venues, sequences),
)


@given(objects)
def test_a_path_reads_back_as_the_object_that_wrote_it(item):
    assert paths.parse_path(item.path) == item


@given(objects, objects)
def test_two_objects_never_share_a_path(one, other):
    assert (one.path == other.path) == (one == other)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "raw_tick_data/by_date/day-2024-08-08/data_type-candles/A.parquet",
        "raw_tick_data/by_date/day-2024-13-08/data_type-trades/A.parquet",
        "instrument_availability/by_date/day-2024-08-08/venue-nowhere/instruments.parquet",
        "../raw_tick_data/by_date/day-2024-08-08/data_type-trades/A.parquet",
        "raw_tick_data/by_date/day-2024-08-08/data_type-trades/a/b.parquet",
        "live_ticks/by_date/day-2024-08-08/data_type-trades/venue-binance/hour-24/1.parquet",
        "live_ticks/by_date/day-2024-08-08/data_type-trades/venue-binance/hour-03/01.parquet",
    ],
)
def test_any_other_path_is_refused(path):
    with pytest.raises(InvalidInput):
        paths.parse_path(path)


@given(dates, venues)
def test_a_cell_reads_back_from_its_key(date, venue):
    assert VenueDay.parse(str(VenueDay(date, venue))) == VenueDay(date, venue)


@given(dates)
def test_days_follow_each_other_without_gap_or_overlap(date):
    assert day_span_us(date)[1] == day_span_us(date + dt.timedelta(days=1))[0]


@pytest.mark.parametrize(
    "text", ["2023/05/23", "23-05-2023", "2024-02-30", "2024-8-8", "today", "", "2024-08-08T00:00"]
)
def test_a_date_in_another_form_is_an_answer(text):
    with pytest.raises(InvalidInput, match=r"not a date \(expected YYYY-MM-DD\)"):
        parse_date(text)


@pytest.mark.parametrize("text", ["2024-08-08", "2024-08-08 binance", "binance|2024-08-08", "|"])
def test_a_key_in_another_form_is_an_answer(text):
    with pytest.raises(InvalidInput):
        VenueDay.parse(text)


def test_unknown_names_list_the_known_ones():
    for parse, known in (
        (parse_venue, VenueId),
        (parse_data_type, DataType),
        (parse_timeframe, Timeframe),
    ):
        with pytest.raises(InvalidInput) as caught:
            parse("nothing")
        assert all(name in str(caught.value) for name in known)


def test_venues_are_found_by_either_name_in_any_case():
    assert parse_venue("OKX-Swap") is VenueId.OKEX_SWAP
    assert parse_venue(" okex-swap ") is VenueId.OKEX_SWAP


def test_tables_over_enums_are_total():
    assert set(VENUES) == set(VenueId)
    assert set(RAW_TABLES) == set(DataType)
    assert set(STATE_MEANINGS) == set(DataState)
    assert set(STATE_COLOURS) == set(DataState)
    assert len({venue.key_name for venue in VENUES.values()}) == len(VENUES)


def test_all_timeframes_divide_a_day_and_each_other_in_order():
    lengths = [timeframe.us for timeframe in Timeframe]
    assert all(longer % shorter == 0 for shorter, longer in itertools.pairwise(lengths))
    assert Timeframe.H24.bars_per_day == 1


def test_venues_with_a_type_keep_the_order_of_the_grid():
    for data_type in DataType:
        having = venues_with(data_type)
        assert having
        assert list(having) == [venue for venue in VenueId if venue in having]
