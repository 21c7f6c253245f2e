"""The work of a backfill's cells without Dagster: the same calls, one after the other, one process.

What belongs here: what `benchmarks/backfill.py` takes off to see what Dagster adds. Run as a
program in the environment of an installation; it prints seconds of processor time as JSON. What is
loaded first is loaded by a cell that is not counted, as a run's start is part of what is added.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Sequence
from typing import cast

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.exchange_catalog import fetch_exchange_catalog, stored_catalog
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks
from tickhandler_dagster.pipeline.tick_audits import audit_raw_ticks
from tickhandler_dagster.pipeline.universe import build_instruments, read_instruments
from tickhandler_dagster.pipeline.verification import verify_instruments
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.platform import build_resources, build_vendor
from tickhandler_dagster.settings import Settings, load_settings

PASSES = 2


def work_through(settings: Settings, days: Sequence[dt.date]) -> list[float]:
    """Seconds of processor time of each pass over all cells of these days; the first fetches."""
    lake, vendor = build_lake(settings), build_vendor(settings)
    limits = cast("IngestLimits", build_resources(settings)["limits"])
    for venue in settings.download_venues:
        fetch_exchange_catalog(vendor.metadata, lake, venue)

    def work(cell: VenueDay) -> None:
        build_instruments(lake, cell)
        verify_instruments(lake, cell)
        for data_type in settings.download_data_types:
            catalog, universe = stored_catalog(lake, cell.venue), read_instruments(lake, cell)
            result = ingest_raw_ticks(
                *(cell, data_type),
                lake=lake,
                catalog=catalog,
                universe=universe,
                datasets=vendor.datasets,
                limits=limits,
            )
            audit_raw_ticks(
                *(lake, cell, data_type), rows=result.rows, universe=universe, catalog=catalog
            )

    work(VenueDay(days[0] - dt.timedelta(days=1), VenueId(settings.download_venues[0])))
    found = []
    for _ in range(PASSES):
        began = time.process_time()
        for venue in settings.download_venues:
            for day in days:
                work(VenueDay(day, venue))
        found.append(time.process_time() - began)
    return found


if __name__ == "__main__":
    read = load_settings()
    span = [read.partition_start_date + dt.timedelta(days=day) for day in range(int(sys.argv[1]))]
    print(json.dumps(work_through(read, span)))
