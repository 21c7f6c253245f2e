"""What a subscriber asks for over the wire, read strictly and answered in sentences.

What belongs here: fields of a JSON message or of an address to values. What does not: what is done
with them (`streams.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE, LiveStage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.serving.bar_filter import BarFilter
from tickhandler_dagster.streaming.serving.broadcast import StartFrom
from tickhandler_dagster.streaming.serving.subscription import OnOverflow

FIELD_MEANINGS: dict[str, str] = {
    "instruments": "keys or patterns such as BINANCE*:PERPETUAL:BTC-*",
    "timeframes": "lengths of bars such as 15s",
    "columns": "columns of the data dictionary; all where left out",
    "stages": "provisional, complete, amended; all where left out",
    "since": "bars that open at this time or later, ISO 8601 with an offset",
    "newest": "at most so many of the newest bars of each instrument and timeframe",
    "resume": "the id of the last message received: everything after it",
    "on_overflow": "drop_oldest or disconnect",
}
_Name = TypeVar("_Name", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for.

    Attributes:
        wanted: Which bars.
        start: How much of the past.
        on_overflow: What to do when the subscriber is slow.
    """

    wanted: BarFilter
    start: StartFrom
    on_overflow: OnOverflow


def read_wish(fields: Mapping[str, object], *, boot: str) -> Wish:
    """The wish in a message's or an address's fields; lists may be texts with commas.

    Args:
        fields: By names of `FIELD_MEANINGS`.
        boot: The broadcast's own; a token of another one starts with all that is remembered.

    Raises:
        InvalidInput: a field or value is not known; the message lists what is.

    Example:
        >>> wish = read_wish({"timeframes": "1m,15s", "newest": "5"}, boot="ab12")
        >>> sorted(wish.wanted.timeframes), wish.start.newest
        ([<Timeframe.S15: '15s'>, <Timeframe.M1: '1m'>], 5)
    """
    unknown = sorted(set(fields) - set(FIELD_MEANINGS))
    if unknown:
        raise InvalidInput(
            f"field '{unknown[0]}'",
            "not known",
            expected=f"some of {', '.join(FIELD_MEANINGS)}",
            remedy="Leave it out",
        )
    columns = _texts("columns", fields.get("columns"))
    return Wish(
        BarFilter(
            instruments=_texts("instruments", fields.get("instruments")) or ("*",),
            timeframes=_names("timeframes", fields.get("timeframes"), Timeframe),
            columns=None if columns is None else _known_columns(columns),
            stages=_names("stages", fields.get("stages"), LiveStage),
        ),
        _start(fields, boot),
        _overflow(fields.get("on_overflow")),
    )


def token(boot: str, sequence: int) -> str:
    """What a subscriber resumes with; tells one process's numbers from another's."""
    return f"{boot}-{sequence}"


def _start(fields: Mapping[str, object], boot: str) -> StartFrom:
    resume = fields.get("resume")
    if resume not in (None, ""):
        return StartFrom(after=_sequence(resume, boot))
    return StartFrom(
        since=_moment(fields.get("since")),
        newest=_count(fields.get("newest")),
    )


def _sequence(resume: object, boot: str) -> int:
    name, _, number = str(resume).rpartition("-")
    if not name or not number.isascii() or not number.isdigit():
        raise _wrong("resume", resume, "the id of a message")
    return int(number) if name == boot else 0


def _moment(value: object) -> dt.datetime | None:
    if value in (None, ""):
        return None
    try:
        moment = dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise _wrong("since", value, "a time such as 2024-08-08T12:00:00Z") from None
    if moment.tzinfo is None:
        raise _wrong("since", value, "a time with its offset, such as 2024-08-08T12:00:00Z")
    return moment


def _count(value: object) -> int | None:
    if value in (None, ""):
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _wrong("newest", value, "a whole number above 0")
    return int(text)


def _overflow(value: object) -> OnOverflow:
    if value in (None, ""):
        return OnOverflow.DROP_OLDEST
    if value not in set(OnOverflow):
        raise _wrong("on_overflow", value, f"one of {', '.join(OnOverflow)}")
    return OnOverflow(str(value))


def _texts(field: str, value: object) -> tuple[str, ...] | None:
    if value in (None, "", []):
        return None
    parts: Iterable[object] = value.split(",") if isinstance(value, str) else _listed(field, value)
    texts = tuple(part.strip() for part in parts if isinstance(part, str) and part.strip())
    if not texts or (isinstance(value, list) and len(texts) < len(value)):
        raise _wrong(field, value, FIELD_MEANINGS[field])
    return texts


def _listed(field: str, value: object) -> Iterable[object]:
    if not isinstance(value, list):
        raise _wrong(field, value, FIELD_MEANINGS[field])
    return value


def _names(field: str, value: object, names: type[_Name]) -> frozenset[_Name]:
    texts = _texts(field, value)
    if texts is None:
        return frozenset(names)
    _require_known(field, texts, [str(name) for name in names], ", ".join)
    return frozenset(names(text) for text in texts)


def _known_columns(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = LIVE_CANDLE_TABLE.names
    _require_known("columns", texts, names, lambda _: "a column of the data dictionary")
    return texts


def _require_known(
    field: str, texts: Iterable[str], known: list[str], expected: Callable[[list[str]], str]
) -> None:
    known_ones = set(known)
    for text in texts:
        if text not in known_ones:
            raise _wrong(field, text, expected(known))


def _wrong(field: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(
        f"field '{field}'",
        "cannot be used",
        was=repr(value)[:200],
        expected=expected,
        remedy="Ask again with such a value",
    )
