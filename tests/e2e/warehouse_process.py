"""Runs of assets in a process of its own, which a test starts by path and may kill at any time.

Not a test: `ORDER` is given by whoever starts it, through `runpy`.
"""

from __future__ import annotations

import sys
import time
import warnings

import dagster as dg

from tickhandler_dagster.adapters.duckdb_warehouse import open_for_reading
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.settings import Settings

ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def run_assets(order):
    """Every run in turn over the instance of that home; the error of the first that fails."""
    warnings.simplefilter("ignore")
    settings = Settings(**order["settings"])
    repository = build_definitions(settings).get_repository_def()
    with dg.DagsterInstance.from_config(order["home"]) as instance:
        order["begun"].touch()
        for assets, first, last in order["runs"]:
            keys = [dg.AssetKey(asset.split("/")) for asset in assets]
            result = repository.get_implicit_job_def_for_assets(keys).execute_in_process(
                instance=instance,
                partition_key=None if last else first,
                tags=dict(zip(ENDS, (first, last), strict=True)) if last else {},
                asset_selection=keys,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            if not result.success:
                failed = [event.message for event in result.all_events if event.is_failure]
                sys.exit(f"{assets} {first}: {failed}")


def read_on(order):
    """Ask the same question until the file `stop` is there; every answer is a whole day or none."""
    asked = 0
    while not order["stop"].exists() or not asked:
        with open_for_reading(order["folder"]) as connection:
            for count, venues in connection.execute(order["question"]).fetchall():
                if (count, venues) not in order["answers"]:
                    sys.exit(f"a reader saw {count} rows of {venues} venues")
        asked += 1
        time.sleep(0.01)
    order["asked"].write_text(str(asked))


if __name__ == "child":
    {"run": run_assets, "read": read_on}[ORDER["what"]](ORDER)  # noqa: F821  (see the charter)
