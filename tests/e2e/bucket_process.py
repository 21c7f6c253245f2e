"""Makes a cell without Dagster, here or in a process of its own: what tests of kills need often.

As a program it is started once, so that twenty killed runs pay for the imports once: one process is
forked for every line of JSON, which is the environment of its run. It answers with a line for the
process id and one for how the process ended.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys

from tickhandler_dagster.adapters.tick_conversion import convert_tick_file  # noqa: F401  (slow)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.candles import build_candles
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks
from tickhandler_dagster.pipeline.tick_audits import audit_raw_ticks
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.platform import build_vendor
from tickhandler_dagster.settings import load_settings

CELL = VenueDay.parse("2024-08-08|binance")
TIMEFRAMES = (Timeframe.M1, Timeframe.H1)


def make_cell(settings):
    """Trades and candles as the assets `raw_ticks/trades`, `candles/1m` and `candles/1h` do."""
    lake = build_lake(settings)
    catalog, universe = stored_catalog(lake, CELL.venue), read_instruments(lake, CELL)
    result = ingest_raw_ticks(
        CELL,
        DataType.TRADES,
        lake=lake,
        catalog=catalog,
        universe=universe,
        datasets=build_vendor(settings).datasets,
        limits=IngestLimits(),
    )
    assert result.problem is None
    audit_raw_ticks(
        lake, CELL, DataType.TRADES, rows=result.rows, universe=universe, catalog=catalog
    )
    build_candles(CELL, lake=lake, catalog=catalog, universe=universe, timeframes=TIMEFRAMES)


def main():
    """A process for every line, until there are no more lines."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            faulthandler.dump_traceback_later(120, exit=True)  # instead of waiting for ever
            os.environ.update(json.loads(line))
            make_cell(load_settings())
            os._exit(0)
        print(pid, flush=True)  # noqa: T201  (the answer)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
