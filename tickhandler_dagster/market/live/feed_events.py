"""What a feed says besides ticks: connections made and lost, rows given up, signs of life.

What belongs here: the event as a value, its JSON line, and the holes that events tell of. What does
not: the files events are kept in (`adapters/spool_reader.py`) and what a bar makes of a hole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.venues import VenueId, parse_venue


class FeedEventKind(StrEnum):
    """What happened."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    OVERFLOW = "overflow"
    HEARTBEAT = "heartbeat"
    SPOOL_FULL = "spool_full"
    FAILED = "failed"


FEED_EVENT_MEANINGS: dict[FeedEventKind, str] = {
    FeedEventKind.CONNECTED: "rows come from here on: the first one after a start or an "
    "interruption",
    FeedEventKind.DISCONNECTED: "no rows come any more; the last one is named",
    FeedEventKind.OVERFLOW: "the disk did not keep up and rows were given up",
    FeedEventKind.HEARTBEAT: "the feed is alive, whether rows come or not",
    FeedEventKind.SPOOL_FULL: "the spool has reached its limit and capture has stopped",
    FeedEventKind.FAILED: "the feed met an error; it goes on where it can",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """One word of a feed.

    Attributes:
        kind: What happened.
        venue: Whose feed.
        at_us: When, by the clock that stamps arrivals; of `CONNECTED` the arrival of the first row.
        connection: Name of the connection it is about; empty for all connections of the venue.
        data_types: Types the connection carries; empty for all.
        symbols: Symbols the connection carries; empty for all.
        last_arrival_us: Arrival of the last row before an interruption; None where there was none.
        rows: Rows given up (`OVERFLOW`) or received since the start (`HEARTBEAT`).
        text: An explanation for people.
    """

    kind: FeedEventKind
    venue: VenueId
    at_us: int
    connection: str = ""
    data_types: tuple[DataType, ...] = ()
    symbols: tuple[str, ...] = ()
    last_arrival_us: int | None = None
    rows: int = 0
    text: str = ""

    def as_line(self) -> bytes:
        """The event as one line of JSON, with its end.

        Example:
            >>> event = FeedEvent(kind=FeedEventKind.HEARTBEAT, venue=VenueId.DERIBIT, at_us=5)
            >>> event.as_line().decode().rstrip()
            '{"at_us":5,"kind":"heartbeat","venue":"deribit"}'
        """
        fields: dict[str, object] = {"kind": self.kind, "venue": self.venue, "at_us": self.at_us}
        if self.last_arrival_us is not None:
            fields["last_arrival_us"] = self.last_arrival_us
        others = {
            "connection": self.connection,
            "data_types": list(self.data_types),
            "symbols": list(self.symbols),
            "rows": self.rows,
            "text": self.text,
        }
        said = {name: value for name, value in others.items() if value}
        return canonical_json(fields | said) + b"\n"


def parse_feed_event(line: bytes) -> FeedEvent:
    """The event a line of JSON says.

    Raises:
        CorruptData: it says none.

    Example:
        >>> parse_feed_event(b'{"at_us":5,"kind":"heartbeat","venue":"deribit"}').at_us
        5
    """
    try:
        fields = json.loads(line)
        return _event(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptData(
            "feed event",
            "not an event",
            was=line[:200].decode(errors="replace"),
            remedy="Look at the program that wrote the spool",
        ) from error


def _event(fields: Mapping[str, object]) -> FeedEvent:
    last = fields.get("last_arrival_us")
    return FeedEvent(
        kind=FeedEventKind(str(fields["kind"])),
        venue=parse_venue(str(fields["venue"])),
        at_us=_whole(fields["at_us"]),
        connection=str(fields.get("connection", "")),
        data_types=tuple(parse_data_type(name) for name in _texts(fields.get("data_types", []))),
        symbols=_texts(fields.get("symbols", [])),
        last_arrival_us=None if last is None else _whole(last),
        rows=_whole(fields.get("rows", 0)),
        text=str(fields.get("text", "")),
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(str(item) for item in value)


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A span of arrival in which a connection brought nothing because it was not there.

    Attributes:
        start_us: Arrival of the last row before; None where nothing came before it.
        end_us: Arrival of the first row after; None while it lasts.
        data_types: Types it touches; empty for all.
        symbols: Symbols it touches; empty for all.
        is_overflow: It brought rows, which were given up.
    """

    start_us: int | None
    end_us: int | None
    data_types: tuple[DataType, ...] = ()
    symbols: tuple[str, ...] = ()
    is_overflow: bool = False

    def touches(self, data_type: DataType, symbol: str) -> bool:
        """Rows of that type and symbol may be missing."""
        return (not self.data_types or data_type in self.data_types) and (
            not self.symbols or symbol in self.symbols
        )


def feed_gaps(events: Iterable[FeedEvent]) -> list[FeedGap]:
    """The holes that one venue's events tell of, in the order they began.

    A connection that starts has a hole before it, open to the left. A word about all connections
    (an empty name, as after a killed feed) opens a hole in each that was up. Rows given up are a
    hole from the last row that was kept on, unless they are part of an interruption that was said.
    A word said twice counts once.

    Example:
        >>> def event(kind, at, last=None):
        ...     return FeedEvent(
        ...         kind=kind, venue=VenueId.DERIBIT, at_us=at, connection="a", last_arrival_us=last
        ...     )
        >>> lost, found = FeedEventKind.DISCONNECTED, FeedEventKind.CONNECTED
        >>> [(gap.start_us, gap.end_us) for gap in feed_gaps(
        ...     [event(found, 10), event(lost, 60, last=55), event(found, 70)])]
        [(None, 10), (55, 70)]
    """
    up: dict[str, FeedEvent] = {}
    down: dict[str, FeedGap] = {}
    gaps: list[FeedGap] = []
    for event in events:
        if event.kind is FeedEventKind.CONNECTED and event.connection not in up:
            gap = down.pop(event.connection, None) or _gap_before(event)
            gaps.append(FeedGap(gap.start_us, event.at_us, gap.data_types, gap.symbols))
            up[event.connection] = event
        elif event.kind is FeedEventKind.DISCONNECTED:
            names = [event.connection] if event.connection else sorted(up)
            for name in names:
                known = up.pop(name, event)
                down.setdefault(
                    name,
                    FeedGap(event.last_arrival_us, None, known.data_types, known.symbols),
                )
        elif event.kind is FeedEventKind.OVERFLOW and not down:
            start_us, end_us = event.last_arrival_us, event.at_us
            gaps.append(
                FeedGap(start_us, end_us, event.data_types, event.symbols, is_overflow=True)
            )
    return sorted(
        [*gaps, *down.values()], key=lambda gap: -1 if gap.start_us is None else gap.start_us
    )


def _gap_before(event: FeedEvent) -> FeedGap:
    return FeedGap(None, None, event.data_types, event.symbols)
