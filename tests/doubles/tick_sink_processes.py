"""Tick sinks in processes that are killed: a nursery imports once, and forks one per line of stdin.

`python -m doubles.tick_sink_processes <spool> <lake> <endpoint or ->`: each line is the number of
seconds after which the child is killed with SIGKILL; the nursery answers with `killed` or `done`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import google.cloud.bigquery_storage_v1  # noqa: F401  (imported once for all children)

from tickhandler_dagster.adapters.bigquery_storage_write import StorageWriter
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.sinks.bigquery_ticks import BigQueryTickTarget
from tickhandler_dagster.streaming.sinks.cursor import CursorFile
from tickhandler_dagster.streaming.sinks.tick_sink import TickSink, TickStream
from tickhandler_dagster.streaming.sinks.tick_sinks import cursor_path
from tickhandler_dagster.streaming.sinks.tick_target import DeliveryPolicy, LakeTickTarget

STREAM = TickStream(VenueId.BINANCE, DataType.TRADES)
POLICY = DeliveryPolicy(seconds=0.0, rows=40, bytes=10**9)


class _Clock:
    def now_us(self):
        return time.time_ns() // 1000

    def elapsed_us(self):
        return time.monotonic_ns() // 1000


def small_sink(spool, lake_root, endpoint):
    """A sink of small deliveries, and small reads whose ends are none of the deliveries'."""
    lake = Lake(LocalObjectStore(lake_root))
    if endpoint == "-":
        target = LakeTickTarget(lake, POLICY)
    else:
        nobody = load_credentials(None, is_emulated=True)
        writer = StorageWriter(nobody, project="p", dataset="live", endpoint=endpoint, timeout_s=5)
        target = BigQueryTickTarget(writer, lake, policy=POLICY)
    return TickSink(
        STREAM,
        SpoolReader(spool, batch_bytes=5000),
        target,
        CursorFile(cursor_path(spool, "ticks", STREAM)),
        keys=lambda: {"btcusdt": "BINANCE:SPOT_PAIR:BTC-USDT"},
        clock=_Clock(),
    )


def main():
    spool, lake_root, endpoint = sys.argv[1:]
    for line in sys.stdin:
        child = os.fork()
        if not child:
            small_sink(Path(spool), Path(lake_root), endpoint).step(is_last=True)
            os._exit(0)
        deadline = time.monotonic() + float(line)
        while not os.waitpid(child, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                print("killed", flush=True)  # noqa: T201  (the protocol)
                break
            time.sleep(0.001)
        else:
            print("done", flush=True)  # noqa: T201  (the protocol)


if __name__ == "__main__":
    main()
