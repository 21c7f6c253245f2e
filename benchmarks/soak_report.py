"""What a soak saw, as lines and tables.

What belongs here: what one look says, all looks together, and how they are shown. What does not:
looking (`soak.py`) and counting (`soak_counts.py`, `soak_numbers.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from soak_counts import percentiles, slope
from soak_exchange import TYPES
from soak_numbers import Arrived, percentile

_MEGA = 1e6
_SHARES = (0.5, 0.9, 0.99, 1.0)
WARM_UP = 1 / 3
"""Share of the time after which memory is to be flat."""


@dataclass
class Minute:
    """What one look said.

    Attributes:
        second: Since the exchange's first message.
        said: Messages the exchange sent.
        spooled: Lines in the spool, ever.
        read: Rows the engine read.
        stored: Ticks the tick sinks have delivered.
        rss: Resident bytes by process, the least of the minute: what it keeps between rounds.
        rss_most: The most of the minute.
        cpu: Processor seconds so far by process.
        spool_bytes: Size of the spool.
        lags_ms: Lags seen in this minute.
        delays_ms: Delays of bars published in this minute.
    """

    second: float
    said: int
    spooled: int
    read: int
    stored: int
    rss: dict[str, int]
    rss_most: dict[str, int]
    cpu: dict[str, float]
    spool_bytes: int
    lags_ms: list[float]
    delays_ms: list[float]


@dataclass
class Soak:
    """Everything that was seen.

    Attributes:
        rate: Messages a second that were asked for.
        instruments: How many instruments.
        minutes: One look a minute.
        said: What the exchange said at last.
        closing: What the command said at its end.
        in_lake: Rows and distinct numbers in the lake, by data type.
        numbers: What became of every message said, by data type.
        events: Lines of the feed's events that are no heartbeats.
    """

    rate: int
    instruments: int
    minutes: list[Minute] = field(default_factory=list)
    said: dict[str, object] = field(default_factory=dict)
    closing: dict[str, object] = field(default_factory=dict)
    in_lake: dict[str, tuple[int, int]] = field(default_factory=dict)
    numbers: dict[str, Arrived] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)


def line(minute: Minute) -> str:
    """One look in a line."""
    rss = ", ".join(
        f"{name} {size / _MEGA:,.0f} to {minute.rss_most[name] / _MEGA:,.0f}"
        for name, size in minute.rss.items()
    )
    cpu = ", ".join(f"{name} {used:,.0f}" for name, used in minute.cpu.items())
    return (
        f"[{minute.second / 60:5.1f} min] said {minute.said:,} spooled {minute.spooled:,} read "
        f"{minute.read:,} in the lake {minute.stored:,} | lag ms {percentiles(minute.lags_ms)} | "
        f"after grace ms {percentiles(minute.delays_ms)} | spool {minute.spool_bytes / _MEGA:,.0f} "
        f"MB | RSS MB {rss} | CPU s {cpu}"
    )


def print_soak(console: Console, seen: Soak) -> None:
    """What was seen, as tables."""
    last = seen.minutes[-1]
    said = sum(seen.said["said"].values())
    console.print(
        f"{seen.instruments} instruments, {seen.rate:,} messages a second asked for, "
        f"{said / max(seen.minutes[-2].second, 1):,.0f} said, "
        f"{last.second / 60:.1f} minutes; held back {seen.said['held_back_s']:.1f} s, "
        f"{seen.said['connections']} connections"
    )
    console.print(_counts(seen))
    console.print(_numbers(seen.numbers))
    console.print(_times(seen))
    console.print(_memory(seen))
    console.print(_costs(seen))
    peak = max(one.spool_bytes for one in seen.minutes) / _MEGA
    console.print(f"spool {peak:,.0f} MB at most, {last.spool_bytes / _MEGA:,.0f} MB at the end")
    console.print(f"bars {seen.closing['bars']}, amended {seen.closing['amended']}")
    console.print(f"feed's events {seen.events}, failure {seen.closing['failure']!r}")


def _counts(seen: Soak) -> Table:
    """Rows at every station."""
    counts = Table("rows", "trades", "books", "tickers", "all", box=box.SIMPLE)
    rows = {
        "said by the exchange": seen.said["said"],
        "read by the engine": seen.closing["feeds"][0]["rows"],
        "stored by the tick sinks": {
            name.rpartition(" ")[2]: count for name, count in seen.closing["ticks_stored"].items()
        },
        "rows in the lake": {name: rows for name, (rows, _) in seen.in_lake.items()},
        "distinct sequence numbers in the lake": {n: many for n, (_, many) in seen.in_lake.items()},
    }
    for name, by_type in rows.items():
        cells = [by_type.get(data_type, 0) for data_type in TYPES]
        counts.add_row(name, *(f"{cell:,}" for cell in [*cells, sum(cells)]))
    counts.add_row("lines in the spool", "", "", "", f"{seen.minutes[-1].spooled:,}")
    return counts


def _numbers(numbers: Mapping[str, Arrived]) -> Table:
    """Every message by the number that the exchange gave it."""
    table = Table("messages by number", "trades", "books", "tickers", "all", box=box.SIMPLE)
    for title, name in (
        ("said", "said"),
        ("missing in the lake", "missing"),
        ("in the lake more than once", "repeated"),
        ("rows of a number never said", "unknown"),
        ("first states of books, without a number", "first_states"),
    ):
        cells = [getattr(numbers[one], name) for one in TYPES]
        table.add_row(title, *(f"{cell:,}" for cell in [*cells, sum(cells)]))
    return table


def _times(seen: Soak) -> Table:
    """How long every stage took."""
    times = Table("stage, ms", "p50", "p90", "p99", "max", box=box.SIMPLE)
    for data_type, found in seen.numbers.items():
        cells = (f"{percentile(found.delays, share):,}" for share in _SHARES)
        times.add_row(f"said to arrival in the sidecar, {data_type}", *cells)
    for name, values in {
        "newest arrival read by the engine to now": [
            one for minute in seen.minutes for one in minute.lags_ms
        ],
        "end of the grace to the subscriber, 15 s bars": [
            one for minute in seen.minutes for one in minute.delays_ms
        ],
    }.items():
        times.add_row(name, *percentiles(values).split(" / "))
    return times


def _memory(seen: Soak) -> Table:
    """What processes keep over time: about ten minutes of it."""
    looks = seen.minutes[:: max(len(seen.minutes) // 10, 1)]
    table = Table(
        "least RSS, MB in minute", *(f"{one.second / 60:.0f}" for one in looks), box=box.SIMPLE
    )
    for name in seen.minutes[-1].cpu:
        cells = (f"{one.rss[name] / _MEGA:,.0f}" if name in one.rss else "" for one in looks)
        table.add_row(name, *cells)
    return table


def _costs(seen: Soak) -> Table:
    """Memory after the warm-up and processor time."""
    last = seen.minutes[-1]
    table = Table(
        "process",
        f"least RSS, MB: from minute {last.second * WARM_UP / 60:.0f}",
        "end",
        "slope, MB/h",
        "most RSS, MB",
        "CPU s",
        "CPU s per s",
        box=box.SIMPLE,
    )
    for name, used in last.cpu.items():
        points = settled(seen.minutes, name)
        if points:
            sizes = [size for _, size in points]
            most = max(minute.rss_most.get(name, 0) for minute in seen.minutes) / _MEGA
            cells = [f"{one:,.0f}" for one in (sizes[0], sizes[-1])]
            cells += [f"{slope(points):+,.1f}", f"{most:,.0f}", f"{used:,.0f}"]
            table.add_row(name, *cells, f"{used / max(last.second, 1):.2f}")
    return table


def settled(minutes: list[Minute], name: str) -> list[tuple[float, float]]:
    """Hours and megabytes of a process after the warm-up."""
    since = minutes[-1].second * WARM_UP
    return [
        (one.second / 3_600, one.rss[name] / _MEGA)
        for one in minutes
        if one.second >= since and name in one.rss
    ]
