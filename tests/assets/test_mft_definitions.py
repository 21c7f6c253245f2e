"""Assets of mid-frequency features as settings describe them."""

from __future__ import annotations

import dagster as dg
import pytest

from tickhandler_dagster.assets.candle_history import MOST_DAYS
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.settings import Settings

ONE = {"instrument_exchanges": ("binance",), "download_venues": ("binance",)}


def graph(**settings):
    definitions = build_definitions(Settings(**ONE, **settings))
    return definitions.get_repository_def().asset_graph


def key(text):
    return dg.AssetKey(text.split("/"))


def columns(found, asset):
    schema = found.get(key(asset)).metadata["dagster/column_schema"]
    return [column.name for column in schema.columns]


def test_there_is_an_asset_per_timeframe_and_none_for_fifteen_seconds():
    names = {one.to_user_string() for one in graph().materializable_asset_keys}
    assert {name for name in names if name.startswith("mft_")} == {
        f"mft_features/{timeframe}" for timeframe in MFT_TIMEFRAMES
    }


def test_history_is_nobodys_to_materialize():
    found = graph()
    history = {
        one.to_user_string()
        for one in found.external_asset_keys
        if one.path[0] not in {"__unused", "live"}
    }
    assert history == {f"candle_history/{timeframe}" for timeframe in MFT_TIMEFRAMES}


@pytest.mark.parametrize(("timeframe", "days"), [("1m", 28), ("1h", 28), ("4h", 44), ("24h", 30)])
def test_a_day_reads_the_history_that_its_features_declare(timeframe, days):
    found = graph(partition_start_date="2024-01-01", partition_end_date="2024-06-01")
    upstream = found.get_parent_partition_keys_for_child(
        "2024-05-31|binance", key(f"candle_history/{timeframe}"), key(f"mft_features/{timeframe}")
    ).partitions_subset.get_partition_keys()
    assert len(list(upstream)) == days + 1
    assert days <= MOST_DAYS


def test_the_first_day_of_the_grid_reads_no_day_that_does_not_exist():
    found = graph(partition_start_date="2024-01-01", partition_end_date="2024-06-01")
    result = found.get_parent_partition_keys_for_child(
        "2024-01-01|binance", key("candle_history/1h"), key("mft_features/1h")
    )
    assert list(result.partitions_subset.get_partition_keys()) == ["2024-01-01|binance"]
    assert result.required_but_nonexistent_subset.is_empty


def test_other_windows_are_other_columns():
    assert "rsi_7" not in columns(graph(), "mft_features/1h")
    assert "rsi_7" in columns(graph(mft_windows={"rsi": [7]}), "mft_features/1h")


def test_a_set_is_an_asset_of_its_columns():
    sets = {"core": {"features": ["rsi_14"], "timeframes": ["1h", "4h"]}}
    found = graph(mft_sets=sets)
    assert columns(found, "mft_sets/core")[-1] == "rsi_14"
    parents = found.get(key("mft_sets/core")).parent_keys
    assert {one.to_user_string() for one in parents} == {"mft_features/1h", "mft_features/4h"}


def test_a_set_of_nothing_and_a_window_too_short_are_refused():
    with pytest.raises(InvalidSetting, match=r"MFT_SETS: core: no feature .*was 'rsi_99'"):
        graph(mft_sets={"core": ["rsi_99"]})
    with pytest.raises(InvalidInput, match="the window is too short"):
        graph(mft_windows={"hurst": [20]})
