"""A block of days and venues, started as the page starts it: real services, real runs, exact cells.

The three services of an installation are started apart, as on a server: the code location, the page
and the daemon. The only difference to an installation is how often the daemon looks for work.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from doubles.installation import new_home, settings_over
from doubles.small_market import SmallMarket

from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

VENUES = ("binance", "deribit")
# Options belong to it, or there is no chain: one that trades on the first day, one on the second.
OPTIONS = ("BTC-27SEP24-60000-P", "BTC-27SEP24-47000-P")
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-PERPETUAL", *OPTIONS)
DAYS = ("2024-08-08", "2024-08-09")
BLOCK = {(day, venue) for day in DAYS for venue in VENUES}
CHAIN_BLOCK = {(day, "deribit") for day in DAYS}
# Two of the seven timeframes: a selection, as a person makes one, and a fraction of the time.
CANDLES = ["candles/1h", "candles/24h"]
FEATURES = ["mft_features/1h", "mft_features/24h"]
CORE = ["instruments", "raw_ticks/trades", *CANDLES, *FEATURES]
CHECKS = {
    "instruments": {"complete", "schema_holds"},
    "raw_ticks/trades": {"complete", "schema_holds"},
    "raw_ticks/options_chain": {"complete", "schema_holds"},
    **{candles: {"conserves_trades", "schema_holds"} for candles in CANDLES},
    **{features: {"halo_is_complete", "schema_holds"} for features in FEATURES},
}
LIMIT_S = 480

LAUNCH = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }"""
PROGRESS = """
query($id: String!, $filter: RunsFilter!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
  runsOrError(filter: $filter) { ... on Runs { results { runId status tags { key value }
    stepStats { stepKey status } } } }
}"""
STATUSES = """
query($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { assetKey { path }
  assetPartitionStatuses {
    ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
    ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey
      secondaryDim { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions } } } }
  }
  assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
    ... on AssetCheckMultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey
      secondaryDim { ... on AssetCheckDefaultPartitionStatuses { succeededPartitions
        failedPartitions inProgressPartitions skippedPartitions executionFailedPartitions } } } }
  } } } }
} }"""
EVENTS = """
query($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { assetKey { path }
  assetMaterializations { partition runId metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } }
} }"""


@dataclass
class Page:
    """The page's API, and the lake behind it."""

    client: Callable
    port: int
    lake_root: Path

    def ask(self, query, **variables):
        return self.client(self.port, query, **variables)

    def backfill(self, assets, partitions):
        """Select the assets, choose the block, press the button; wait for the end."""
        launched = self.ask(
            LAUNCH,
            params={
                "assetSelection": [{"path": asset.split("/")} for asset in assets],
                "partitionNames": partitions,
                "title": "a block of days and venues",
            },
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        name = launched["backfillId"]
        tags = [{"key": "dagster/backfill", "value": name}]
        deadline = time.monotonic() + LIMIT_S
        while True:
            answer = self.ask(PROGRESS, id=name, filter={"tags": tags})
            status = answer["partitionBackfillOrError"]["status"]
            runs = answer["runsOrError"]["results"]
            if status not in {"REQUESTED", "COMPLETING"}:
                return status, [_Run(run) for run in runs]
            assert time.monotonic() < deadline, f"{status} {runs}"
            time.sleep(0.5)

    def cells(self, *assets):
        """Per asset the cells that are materialized, and per check the cells of each status."""
        keys = [{"path": asset.split("/")} for asset in assets]
        found = {}
        for node in self.ask(STATUSES, keys=keys)["assetNodes"]:
            statuses = node["assetPartitionStatuses"]
            materialized, failed = (
                _cells(statuses, f"{name}Partitions") for name in ("materialized", "failed")
            )
            assert not failed
            checks = {
                check["name"]: {
                    status: cells
                    for status in (
                        "succeeded",
                        "failed",
                        "inProgress",
                        "skipped",
                        "executionFailed",
                    )
                    if (cells := _cells(check["partitionStatuses"], f"{status}Partitions"))
                }
                for check in node["assetChecksOrError"].get("checks", [])
            }
            found["/".join(node["assetKey"]["path"])] = (materialized, checks)
        return found

    def materializations(self, *assets):
        """Per asset and cell the metadata of every materialization, latest first."""
        keys = [{"path": asset.split("/")} for asset in assets]
        found = {}
        for node in self.ask(EVENTS, keys=keys)["assetNodes"]:
            by_cell = found.setdefault("/".join(node["assetKey"]["path"]), {})
            for event in node["assetMaterializations"]:
                values = {
                    entry["label"]: entry.get("intValue", entry.get("mdStr"))
                    for entry in event["metadataEntries"]
                }
                by_cell.setdefault(event["partition"], []).append(values)
        return found


class _Run:
    def __init__(self, run):
        self.status = run["status"]
        self.steps = {step["stepKey"]: step["status"] for step in run["stepStats"]}
        self._tags = {tag["key"]: tag["value"] for tag in run["tags"]}

    @property
    def cells(self):
        """The box that the run's range spans."""
        (first, low), (last, high) = (
            self._tags[f"dagster/asset_partition_range_{end}"].split("|")
            for end in ("start", "end")
        )
        return [
            (day, venue)
            for day, venue in sorted(BLOCK)
            if first <= day <= last and low <= venue <= high
        ]


def _cells(statuses, field):
    if statuses is None:
        return set()
    if "ranges" not in statuses:
        return set(statuses[field])
    cells = set()
    for part in statuses["ranges"]:
        span = pl.date_range(
            pl.lit(part["primaryDimStartKey"]).str.to_date(),
            pl.lit(part["primaryDimEndKey"]).str.to_date(),
            eager=True,
        )
        cells |= {(str(day), venue) for day in span for venue in part["secondaryDim"][field]}
    return cells


@pytest.fixture
def page(tmp_path, ask_page, open_services):
    """Code location, page and daemon over an empty lake, the sandbox in the vendor's place."""
    with SandboxServer(SmallMarket(*MARKET)) as vendor:
        settings = settings_over(
            vendor,
            tmp_path,
            VENUES,
            partition_start_date="2024-08-07",
            dagster_home=new_home(tmp_path),
            log_level="INFO",
        )
        with open_services(child_environment(settings), tmp_path) as services:
            location = services.start_code("-m", "tickhandler_dagster.definitions")
            port = services.free_port()
            services.start("page", "-m", "dagster_webserver", "-p", str(port), *location)
            services.start_daemon(location)
            services.wait_for(port)
            yield Page(ask_page, port, settings.lake_root)


def test_a_block_of_days_and_venues_is_exactly_what_was_chosen(page):
    status, _ = page.backfill(["exchange_catalog"], list(VENUES))
    assert status == "COMPLETED_SUCCESS"
    assert page.cells("exchange_catalog")["exchange_catalog"][0] == set(VENUES)

    block = [f"{day}|{venue}" for day, venue in sorted(BLOCK)]
    assets = [*CORE, "raw_ticks/options_chain"]
    status, runs = page.backfill(assets, block)
    assert status == "COMPLETED_SUCCESS"
    assert {run.status for run in runs} == {"SUCCESS"}
    chains = [run for run in runs if "candles" in run.steps]
    assert len(chains) == len(DAYS), "Dagster makes a run of each of the fewer: day or venue"
    assert sorted(cell for run in chains for cell in run.cells) == sorted(BLOCK)
    assert all("mft_features" in run.steps for run in chains)
    assert {status for run in runs for status in run.steps.values()} == {"SUCCESS"}

    for asset, (materialized, checks) in page.cells(*assets).items():
        chosen = CHAIN_BLOCK if asset == "raw_ticks/options_chain" else BLOCK
        assert materialized == chosen, asset
        assert checks == {name: {_status(name): chosen} for name in CHECKS[asset]}, asset
    _assert_every_cell_has_metadata_of_its_own(page, assets)

    status, runs = page.backfill(assets, block)
    assert status == "COMPLETED_SUCCESS"
    assert {run.status for run in runs} == {"SUCCESS"}
    for asset in ("raw_ticks/trades", "raw_ticks/options_chain"):
        for again, first in page.materializations(asset)[asset].values():
            assert again["files fetched"] == 0
            assert again["instruments kept"] == again["instruments"] == first["instruments"] > 0
            assert again["dagster/partition_row_count"] == first["dagster/partition_row_count"]


def _status(check):
    """The grid begins a day before the block: what the features read of it was never made."""
    return "failed" if check == "halo_is_complete" else "succeeded"


def _assert_every_cell_has_metadata_of_its_own(page, assets):
    for asset, by_cell in page.materializations(*assets).items():
        assert {len(events) for events in by_cell.values()} == {1}, asset
        rows = {cell: events[0]["dagster/partition_row_count"] for cell, events in by_cell.items()}
        assert rows == _rows_on_disk(page.lake_root, asset, by_cell), asset


def _rows_on_disk(root, asset, cells):
    kind, _, name = asset.partition("/")
    folder = {
        "instruments": "instrument_availability/by_date/day-{day}/venue-{venue}/*.parquet",
        "raw_ticks": f"raw_tick_data/by_date/day-{{day}}/data_type-{name}/{{VENUE}}:*.parquet",
        "mft_features": f"mft_features/by_date/day-{{day}}/timeframe-{name}/{{VENUE}}:*.parquet",
        "candles": f"processed_candles/by_date/day-{{day}}/timeframe-{name}/{{VENUE}}:*.parquet",
    }[kind]
    rows = {}
    for cell in cells:
        day, venue = cell.split("|")
        files = sorted(root.glob(folder.format(day=day, venue=venue, VENUE=venue.upper())))
        assert files, cell
        rows[cell] = sum(
            pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in files
        )
    return rows
