"""What a soak counts from outside: lines of the spool, rows of the lake, bars at a subscriber.

What belongs here: counting and simple statistics. What does not: when (`soak.py`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import aiohttp
import numpy as np
import pyarrow.parquet as pq

GRACE_MS = 1_000
_BLOCK = 1 << 22


class SpooledLines:
    """Counts lines of data as they come, so that retention may delete them.

    Args:
        folder: A venue's part of the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes: dict[Path, int] = {}
        self._lines = 0

    def count(self) -> int:
        """Lines ever seen, headers apart."""
        for file in self._folder.glob("*/*.csv"):
            at = self._bytes.get(file, 0)
            try:
                self._take(file, at)
            except FileNotFoundError:  # retention was here
                continue
        return self._lines

    def size(self) -> int:
        """Bytes of the spool now."""
        total = 0
        for file in self._folder.glob("*/*"):
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def _take(self, file: Path, at: int) -> None:
        with file.open("rb") as data:
            data.seek(at)
            while block := data.read(_BLOCK):
                self._lines += block.count(b"\n") - (at == 0)
                at += len(block)
                self._bytes[file] = at


def stored(lake: Path) -> dict[str, tuple[int, int]]:
    """Ticks in the lake by data type: rows, and how many numbers they have among them.

    Rows of a file are numbered one by one: more rows than numbers are rows stored twice, fewer are
    numbers without a row.
    """
    runs: dict[str, list[tuple[int, int]]] = {}
    rows: dict[str, int] = {}
    for file in (lake / "live_ticks").rglob("*.parquet"):
        data_type = next(part[10:] for part in file.parts if part.startswith("data_type-"))
        rows[data_type] = rows.get(data_type, 0) + pq.read_metadata(file).num_rows
        runs.setdefault(data_type, []).extend(_runs(file))
    return {data_type: (count, _covered(runs[data_type])) for data_type, count in rows.items()}


def _runs(file: Path) -> Iterator[tuple[int, int]]:
    """First and last number of each row group, from its statistics."""
    found = pq.read_metadata(file)
    place = found.schema.names.index("sequence")
    for group in range(found.num_row_groups):
        statistics = found.row_group(group).column(place).statistics
        yield statistics.min, statistics.max


def _covered(runs: Sequence[tuple[int, int]]) -> int:
    """How many numbers lie in at least one of the runs."""
    total, upto = 0, -1
    for first, last in sorted(runs):
        total += max(last - max(first, upto + 1) + 1, 0)
        upto = max(upto, last)
    return total


class Listener:
    """A subscriber of 15 s and 1m bars, in a thread of its own.

    Args:
        port: Of the server.
        note: Told of each first publication of a 15 s bar: milliseconds after its grace.
    """

    def __init__(self, port: int, note: Callable[[float], None]) -> None:
        self._url = f"ws://127.0.0.1:{port}/ws"
        self._note = note
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    async def _listen(self) -> None:
        wanted = {"type": "subscribe", "timeframes": "15s,1m", "columns": "close,volume"}
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(self._url, max_msg_size=0) as socket,
        ):
            await socket.send_json(wanted)
            while not self._stop.is_set():
                try:
                    text = await socket.receive_str(timeout=1.0)
                except TimeoutError:
                    continue
                self._take(json.loads(text))

    def _take(self, message: dict[str, object]) -> None:
        if message["type"] != "bars" or message["timeframe"] != "15s" or message["is_history"]:
            return
        now_ms = time.time_ns() / 1e6
        for bar in message["bars"]:
            if bar["revision"] == 1:
                end = dt.datetime.fromisoformat(bar["ts_close"]).replace(tzinfo=dt.UTC)
                self._note(now_ms - end.timestamp() * 1_000 - GRACE_MS)


def percentiles(values: Sequence[float]) -> str:
    """50th, 90th and 99th percentile and greatest, as text."""
    if not values:
        return " / ".join(["none"] * 4)
    return " / ".join(f"{one:,.0f}" for one in np.percentile(np.array(values), (50, 90, 99, 100)))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through points by least squares; 0 where there are too few."""
    if len(points) < 3:
        return 0.0
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])
