"""The catalogue as a whole: names, inputs, the days that are read, and the page about it."""

from __future__ import annotations

import pytest

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.catalog import (
    MFT_FAMILIES,
    MFT_TIMEFRAMES,
    mft_features,
    repeated_names,
)
from tickhandler_dagster.market.mft.cross_section import compared_columns
from tickhandler_dagster.market.mft.dictionary import mft_dictionary
from tickhandler_dagster.market.mft.entry import Scope
from tickhandler_dagster.market.mft.halo import halo_bars, halo_days, halo_of
from tickhandler_dagster.market.mft.joined import JOINED_COLUMNS
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series, dense_opens
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_table import MFT_IDENTITY, mft_table
from tickhandler_dagster.market.timeframes import Timeframe

FEATURES = mft_features(Windows())


def series_columns():
    empty = CANDLE_TABLE.polars_schema.to_frame().select(CANDLE_COLUMNS)
    return bar_series(empty, dense_opens(0, 0, 1)).columns


def test_names_are_unique_and_in_no_other_column_of_a_row():
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert not set(names) & {column.name for column in MFT_IDENTITY}
    assert mft_table(Windows()).names[len(MFT_IDENTITY) :] == names


def test_the_same_window_twice_is_refused():
    with pytest.raises(InvalidInput, match="would be two columns"):
        mft_features(Windows(horizons=(5, 5)))
    assert repeated_names((*FEATURES[:3], FEATURES[1])) == [FEATURES[1].name]


def test_every_input_is_a_column_that_somebody_makes():
    known = {*series_columns(), *CANDLE_TABLE.names, *(one.name for one in JOINED_COLUMNS)}
    own = {one.name for one in FEATURES if one.scope is not Scope.CROSS_SECTION}
    for feature in FEATURES:
        made = known | own if feature.scope is Scope.CROSS_SECTION else known
        inputs = {name.removeprefix("ref_") for name in feature.inputs}
        assert inputs <= made, feature.name
        if feature.scope is not Scope.REFERENCE:
            assert inputs == set(feature.inputs), feature.name
    assert set(compared_columns(Windows())) <= known | own


def test_an_entry_names_as_inputs_what_its_expression_reads():
    unnamed = {"instrument_key", "ts_open", "ts_close", "is_valid"}
    for feature in FEATURES:
        roots = set(feature.expression.meta.root_names())
        assert roots <= {*feature.inputs, *unnamed}, feature.name


def test_the_halo_is_that_of_the_longest_look_back():
    longest = halo_bars(FEATURES)
    assert longest == max(feature.look_back for feature in FEATURES)
    for timeframe in MFT_TIMEFRAMES:
        halo = halo_of(FEATURES, timeframe)
        bars = len(halo.series) * timeframe.bars_per_day
        assert bars >= longest > bars - timeframe.bars_per_day
        assert halo.slots == (7, 14, 21, 28)
        assert halo.daily == tuple(range(1, 31))
        assert halo_days(timeframe, FEATURES) == max(len(halo.series), 30)


def test_features_of_the_bar_alone_read_no_other_day():
    alone = [one for one in FEATURES if one.name in {"is_weekend", "day_of_week_sin"}]
    assert halo_days(Timeframe.H24, alone) == 0
    assert halo_bars(()) == 0


def test_every_family_is_on_the_page_with_all_its_entries():
    page = mft_dictionary()
    for family in MFT_FAMILIES:
        assert f"\n## {family.title}\n" in page
    for feature in FEATURES:
        assert f"\n### {feature.name}\n\n{feature.formula}\n" in page
