"""The tables in the graph: days alone, the edges to their cells, and what a backfill asks for."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.execution.asset_backfill import AssetBackfillData

from tickhandler_dagster.assets.warehouse import tables_of, warehouse_key
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.instance.pools import WAREHOUSE_WRITER
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.partitions.grid import build_grid
from tickhandler_dagster.settings import Settings

DAYS = ("2024-08-01", "2024-08-02", "2024-08-03")
CANDLES, TABLE = dg.AssetKey(["candles", "1m"]), dg.AssetKey(["warehouse", "candles_1m"])


def definitions(*venues):
    return build_definitions(
        Settings(
            instrument_exchanges=venues,
            download_venues=venues,
            partition_start_date=DAYS[0],
            partition_end_date=DAYS[-1],
        )
    )


@pytest.fixture(scope="module")
def graph():
    return definitions("binance", "deribit", "okex-swap").get_repository_def().asset_graph


def test_every_table_is_an_asset_over_days_with_a_check(graph):
    for table in warehouse_tables(Windows()):
        node = graph.get(warehouse_key(table))
        assert node.partitions_def.get_partition_keys() == list(DAYS)
        assert node.group_name == "warehouse"
        assert node.metadata["dagster/table_name"] == table.name
        assert [key.path for key in node.parent_keys] == [list(table.asset_path)]
        assert [key.name for key in node.check_keys] == ["published"]
        assert node.pools == {WAREHOUSE_WRITER}


def test_a_grid_without_options_has_no_table_of_surfaces():
    names = [
        table.name
        for table in tables_of(
            build_grid([VenueId.BINANCE], Settings().partition_start_date), Windows()
        )
    ]
    assert "options_surface" not in names
    assert "candles_1m" in names
    assert definitions("binance").get_repository_def().asset_graph.has(TABLE)


@pytest.mark.parametrize(
    ("table", "source", "venues"),
    [
        ("candles_1m", ["candles", "1m"], ["binance", "deribit", "okex-swap"]),
        ("options_surface", ["options_surface"], ["deribit"]),
    ],
)
def test_a_day_follows_its_cells_on_every_venue_and_each_of_them_alone_finds_its_day(
    graph, table, source, venues
):
    table, source = dg.AssetKey(["warehouse", table]), dg.AssetKey(source)
    mapping = graph.get_partition_mapping(table, source)
    upstream, downstream = graph.get(source).partitions_def, graph.get(table).partitions_def
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        downstream.subset_with_partition_keys([DAYS[1]]), downstream, upstream
    )
    assert set(found.partitions_subset.get_partition_keys()) == {
        f"{DAYS[1]}|{venue}" for venue in venues
    }
    assert not set(found.required_but_nonexistent_subset.get_partition_keys())
    back = mapping.get_downstream_partitions_for_partitions(
        upstream.subset_with_partition_keys([f"{DAYS[2]}|{venues[0]}"]), upstream, downstream
    )
    assert set(back.get_partition_keys()) == {DAYS[2]}


# Dagster's own.
@pytest.mark.filterwarnings("ignore:Function .AssetSelection.sources. is deprecated")
def test_a_backfill_of_cells_and_tables_asks_for_these_cells_and_their_days(graph):
    chosen = [f"{day}|binance" for day in DAYS[:2]]
    with dg.DagsterInstance.ephemeral() as instance:
        data = AssetBackfillData.from_asset_partitions(
            asset_graph=graph,
            partition_names=chosen,
            asset_selection=[CANDLES, TABLE],
            dynamic_partitions_store=instance,
            backfill_start_timestamp=1725148800.0,  # after the last day
            all_partitions=False,
        )
    asked = {
        key: set(some.get_partition_keys())
        for key, some in data.target_subset.partitions_subsets_by_asset_key.items()
    }
    assert asked == {CANDLES: set(chosen), TABLE: set(DAYS[:2])}
