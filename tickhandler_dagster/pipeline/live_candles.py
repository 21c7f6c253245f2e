"""Live bars in the lake: written round by round, put together hour by hour, read as one table.

What belongs here: the files of live bars. What does not: when they are written
(`streaming/sinks/parquet_bars.py`) and how they compare with the batch (`live_parity.py`).

A round's bars are a file of their own, so that they are there at once and nothing is rewritten. An
hour's files then become one. A bar may be in several of them, after a restart or beside the hour's
own file while that is made; every reader here takes each publication once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.adapters.parquet import ParquetTableWriter
from tickhandler_dagster.market.errors import ConcurrentWrite
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_files import LiveCandlesFile
from tickhandler_dagster.market.paths import parse_path
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake

WHOLE_HOUR = "bars"
"""What the name of the file begins with that an hour's files become. Each time it gets another: a
file that is replaced while it is opened cannot be read."""

_KEY = list(LIVE_CANDLE_TABLE.key)
_BAR = [name for name in _KEY if name != "revision"]
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class LiveHour:
    """The bars of a timeframe and venue that open in an hour.

    Attributes:
        start: First moment of the hour, UTC.
        timeframe: Their length.
        venue: Whose.
    """

    start: dt.datetime
    timeframe: Timeframe
    venue: VenueId

    def file(self, name: str) -> LiveCandlesFile:
        """One of its files."""
        return LiveCandlesFile(
            self.start.date(), self.timeframe, self.venue, f"{self.start:%H}", name
        )

    @property
    def last_close(self) -> dt.datetime:
        """The moment after the last bar that opens in it."""
        return self.start + max(dt.timedelta(hours=1), dt.timedelta(microseconds=self.timeframe.us))


def write_live_candles(lake: Lake, bars: pl.DataFrame) -> list[LiveHour]:
    """Store what was published together; the hours that got a file.

    Args:
        lake: Where to.
        bars: Rows of `LIVE_CANDLE_TABLE`, of any venue, timeframe and hour.

    Raises:
        StorageFull: the device has no space left.
        StorageUnavailable: the bucket does not answer.
    """
    groups = bars.with_columns(pl.col("ts_open").dt.truncate("1h").alias("_hour")).partition_by(
        "_hour", "timeframe", "venue", as_dict=True, include_key=True
    )
    written = []
    for (start, timeframe, venue), rows in sorted(groups.items()):
        hour = LiveHour(start, Timeframe(timeframe), VenueId(venue))
        lake.write_table(_new_part(lake, hour, rows), rows.drop("_hour"), LIVE_CANDLE_TABLE)
        written.append(hour)
    return written


def read_live_candles(
    lake: Lake,
    day: dt.date,
    timeframe: Timeframe,
    venue: VenueId,
    *,
    latest_only: bool = True,
    columns: Sequence[str] | None = None,
    instrument_keys: Collection[str] | None = None,
) -> pl.DataFrame:
    """The live bars of a day.

    Args:
        lake: Where from.
        day: UTC day of `ts_open`.
        timeframe: Their length.
        venue: Whose.
        latest_only: The highest revision of each bar alone, else every publication once.
        columns: These alone; all of `LIVE_CANDLE_TABLE` where None.
        instrument_keys: Of these alone; of all where None.

    Shape:
        By instrument, `ts_open` and revision; no rows where nothing was published.

    Raises:
        CorruptData: a file cannot be read.
        ConcurrentWrite: files keep being put together while they are read.
    """
    empty = pl.DataFrame(schema=LIVE_CANDLE_TABLE.polars_schema)
    wanted = list(LIVE_CANDLE_TABLE.names if columns is None else columns)
    hours = live_candles_by_hour(
        lake,
        day,
        timeframe,
        venue,
        latest_only=latest_only,
        columns=[*wanted, *_KEY],
        instrument_keys=instrument_keys,
    )
    bars = pl.concat([empty.select(list(dict.fromkeys([*wanted, *_KEY]))), *hours])
    return bars.sort(_KEY).select(wanted)


def live_candles_by_hour(
    lake: Lake,
    day: dt.date,
    timeframe: Timeframe,
    venue: VenueId,
    *,
    latest_only: bool = True,
    columns: Sequence[str],
    instrument_keys: Collection[str] | None = None,
) -> Iterator[pl.DataFrame]:
    """The live bars of a day, an hour of openings at a time and no more in memory.

    Shape:
        The columns, each once; by instrument, `ts_open` and revision.

    Raises:
        CorruptData: a file cannot be read.
        ConcurrentWrite: files keep being put together while they are read.
    """
    wanted = list(dict.fromkeys(columns))
    asked = _Asked(
        tuple(dict.fromkeys([*wanted, *_KEY])),
        latest_only=latest_only,
        instrument_keys=None if instrument_keys is None else frozenset(instrument_keys),
    )
    # A bar is in its hour's files alone.
    for hour in _hours(_files(lake, _day_prefix(day, timeframe, venue))):
        found = _present(lake, hour, asked)
        if found:
            yield pl.concat(found).sort(_KEY).select(wanted)


def live_hours(lake: Lake, day: dt.date, timeframe: Timeframe, venue: VenueId) -> list[LiveHour]:
    """The hours of a day whose bars are in several files."""
    files = _files(lake, _day_prefix(day, timeframe, venue))
    return _hours(item for item in files if not _is_whole(item))


def _hours(files: Iterable[LiveCandlesFile]) -> list[LiveHour]:
    found = {LiveHour(_start_of(item), item.timeframe, item.venue) for item in files}
    return sorted(found, key=lambda hour: hour.start)


def compact_hour(lake: Lake, hour: LiveHour) -> int:
    """Put an hour's files together into one; the rows it has then.

    A reader meets the old files, or the new one beside some of them, never less. Killed at any
    moment and run again, the result is the same.

    Raises:
        StorageFull: the device has no space left.
    """
    files = list(_files(lake, _hour_prefix(hour)))
    if not files or (len(files) == 1 and _is_whole(files[0])):
        return 0
    number = 1 + max((_number(item) for item in files if _is_whole(item)), default=0)
    with lake.store.scratch() as folder:
        local = folder / "hour.parquet"
        with ParquetTableWriter(local, LIVE_CANDLE_TABLE) as writer:
            for item, places in _first_places(lake, files):
                rows = lake.read_table(item)
                if rows is not None:
                    writer.write(rows[places])
            stored = writer.finish()
        lake.publish(local, hour.file(f"{WHOLE_HOUR}_{number:06d}"))
    for item in files:
        lake.delete(item)
    return stored.rows


def _first_places(
    lake: Lake, files: Sequence[LiveCandlesFile]
) -> Iterator[tuple[LiveCandlesFile, pl.Series]]:
    """Per file the places of the publications that no file before it has; bars stay unread.

    An hour of two hundred instruments at once would be more than half a gigabyte.
    """
    keys = [frame for frame in _keys(lake, files) if frame is not None]
    first = pl.concat(keys).unique(_KEY, keep="first", maintain_order=True)
    for (number,), rows in first.group_by("_file", maintain_order=True):
        yield files[int(str(number))], rows.get_column("_place")


def _keys(lake: Lake, files: Sequence[LiveCandlesFile]) -> Iterator[pl.DataFrame | None]:
    """Per file which publication each row is, and its place; None where the file went away."""
    for number, item in enumerate(files):
        frame = _read(lake, item, _KEY)
        yield (
            None
            if frame is None
            else frame.with_columns(
                pl.lit(number, dtype=pl.Int32).alias("_file"),
                pl.int_range(pl.len(), dtype=pl.UInt32).alias("_place"),
            )
        )


def _is_whole(item: LiveCandlesFile) -> bool:
    return item.name.startswith(WHOLE_HOUR)


def _number(item: LiveCandlesFile) -> int:
    return int(item.name.rpartition("_")[2])


def _new_part(lake: Lake, hour: LiveHour, rows: pl.DataFrame) -> LiveCandlesFile:
    """A name no file has: clocks are set back, and an older file must not be written over."""
    published: dt.datetime = rows.get_column("published_at").max()  # type: ignore[assignment]
    number = int(published.timestamp() * 1_000_000)
    while lake.exists(hour.file(f"part_{number:016d}")):
        number += 1
    return hour.file(f"part_{number:016d}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is wanted of every hour."""

    columns: tuple[str, ...]
    latest_only: bool
    instrument_keys: frozenset[str] | None


def _present(lake: Lake, hour: LiveHour, asked: _Asked) -> list[pl.DataFrame]:
    """An hour's rows as they are at one moment: looked up anew where it was put together meanwhile.

    A look itself takes time, in which an hour's file can come where it has looked already and the
    parts go where it has not.
    """
    prefix = _hour_prefix(hour)
    for _ in range(_LOOKS):
        looked = list(_files(lake, prefix))
        found = _of_files(lake, looked, asked)
        whole = {item for item in _files(lake, prefix) if _is_whole(item)}
        if found is not None and whole <= set(looked):
            return found
    raise ConcurrentWrite(
        prefix,
        "files keep going away while they are read",
        remedy="Run one live engine per venue; the next try reads anew",
    )


def _of_files(
    lake: Lake, files: Sequence[LiveCandlesFile], asked: _Asked
) -> list[pl.DataFrame] | None:
    """The rows asked for, each publication once; None where a file went away.

    Keys alone settle which rows these are, before a column of a bar is read: of an hour of two
    hundred instruments with three publications of each bar, a third is ever held.
    """
    present = [frame for frame in _keys(lake, files) if frame is not None]
    if len(present) < len(files) or not files:
        return None if files else []
    keys = pl.concat(present)
    if asked.instrument_keys is not None:
        keys = keys.filter(pl.col("instrument_key").is_in(list(asked.instrument_keys)))
    keys = keys.unique(_KEY, keep="first", maintain_order=True)
    if asked.latest_only:
        keys = keys.sort("revision").unique(_BAR, keep="last", maintain_order=True)
    found = []
    for (number,), rows in keys.group_by("_file"):
        bars = _read(lake, files[int(str(number))], asked.columns)
        if bars is None:
            return None
        found.append(bars[rows["_place"]])
    return found


def _read(lake: Lake, item: LiveCandlesFile, columns: Sequence[str]) -> pl.DataFrame | None:
    try:
        return lake.read_table(item, columns=columns)
    except FileNotFoundError:  # between the look for its place and its opening
        return None


def _files(lake: Lake, prefix: str) -> Iterator[LiveCandlesFile]:
    """The hour's own file before its parts: what it holds counts first."""
    for path in lake.store.list(prefix):
        item = parse_path(path)
        if isinstance(item, LiveCandlesFile):
            yield item


def _day_prefix(day: dt.date, timeframe: Timeframe, venue: VenueId) -> str:
    path = LiveCandlesFile(day, timeframe, venue, "00", WHOLE_HOUR).path
    return path.partition("hour-")[0]


def _hour_prefix(hour: LiveHour) -> str:
    return hour.file(WHOLE_HOUR).path.rpartition("/")[0] + "/"


def _start_of(item: LiveCandlesFile) -> dt.datetime:
    return dt.datetime.combine(item.date, dt.time(int(item.hour)), dt.UTC)
