"""Faults on demand: each has a name, and a plan says which requests meet it.

What belongs here: what a fault is and what it does to the true bytes. Sending the result is
`server.py`.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from isal import igzip

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.sandbox.dataset_gate import DatasetRequest, Refusal
from tickhandler_dagster.sandbox.revised_files import of_the_same_size, with_fewer_rows


class Fault(StrEnum):
    """A way in which a vendor's answer goes wrong."""

    MISSING_FILE = "missing_file"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    SERVER_ERROR = "server_error"
    IP_LOCKED = "ip_locked"
    TRUNCATED_BODY = "truncated_body"
    CORRUPT_GZIP = "corrupt_gzip"
    CUT_LAST_ROW = "cut_last_row"
    WRONG_HEADER = "wrong_header"
    HTML_NOT_GZIP = "html_not_gzip"
    EMPTY_BODY = "empty_body"
    EMPTY_GZIP = "empty_gzip"
    HEADER_ONLY = "header_only"
    DUPLICATES = "duplicates"
    OUT_OF_ORDER = "out_of_order"
    ZERO_VALUES = "zero_values"
    NEGATIVE_VALUES = "negative_values"


class Revised(StrEnum):
    """A way in which a vendor exports a file again: an answer with nothing wrong in it."""

    FEWER_ROWS = "fewer_rows"
    SAME_SIZE = "same_size"
    UPLOADED_AGAIN = "uploaded_again"


Deviation: TypeAlias = Fault | Revised


FIRST_EXPORT = "Thu, 01 Aug 2024 06:00:00 GMT"
LATER_EXPORT = "Sun, 01 Sep 2024 06:00:00 GMT"

SHORT_WAIT_S = 1
LONG_WAIT_S = 3_600
LOCK_WAIT_S = 893

REFUSALS: Mapping[Fault, Refusal] = MappingProxyType(
    {
        Fault.MISSING_FILE: Refusal(404, 404, "Not Found"),
        Fault.RATE_LIMITED: Refusal(
            429, 429, "Too many requests.", headers={"Retry-After": str(SHORT_WAIT_S)}
        ),
        Fault.QUOTA_EXHAUSTED: Refusal(
            429, 429, "Transfer quota exceeded.", headers={"Retry-After": str(LONG_WAIT_S)}
        ),
        Fault.SERVER_ERROR: Refusal(500, 500, "Internal Server Error"),
        Fault.IP_LOCKED: Refusal(
            403,
            274,
            "This Data API key is already active from another IP address. "
            "Use one API key from one IP address at a time.",
            extra={"retryAfterSeconds": LOCK_WAIT_S},
        ),
    }
)
"""Faults that are an answer other than 200."""


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Which requests meet a fault.

    Attributes:
        fault: Which fault, or how the file is revised.
        exchange: Pattern of the exchange id; `*` and `?` as in a shell.
        data_type: Pattern of the data type.
        date: Pattern of the date, written YYYY-MM-DD.
        symbol: Pattern of the symbol.
        times: How many requests for each file meet the fault before it heals; None is all.
    """

    fault: Deviation
    exchange: str = "*"
    data_type: str = "*"
    date: str = "*"
    symbol: str = "*"
    times: int | None = None

    def matches(self, request: DatasetRequest) -> bool:
        """Whether the request is one of this rule's."""
        pairs = (
            (request.exchange, self.exchange),
            (request.data_type.value, self.data_type),
            (request.day.isoformat(), self.date),
            (request.symbol, self.symbol),
        )
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


class FaultPlan:
    """The rules in force and how often each was met; the first unhealed match wins.

    Args:
        rules: Rules in order of precedence.
    """

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._rules = list(rules)
        self._met: Counter[tuple[FaultRule, DatasetRequest]] = Counter()
        self._lock = threading.Lock()

    def add(self, rule: FaultRule) -> None:
        """Put a rule into force, after the others."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Heal everything."""
        with self._lock:
            self._rules.clear()
            self._met.clear()

    def take(self, request: DatasetRequest) -> Deviation | None:
        """The fault this request meets, counted; None where it meets none."""
        with self._lock:
            for rule in self._rules:
                if not rule.matches(request):
                    continue
                if rule.times is None or self._met[rule, request] < rule.times:
                    self._met[rule, request] += 1
                    return rule.fault
        return None


@dataclass(frozen=True, slots=True)
class Payload:
    """A body and what the headers claim about it.

    Attributes:
        body: What is sent.
        declared_length: Content-Length.
        content_type: Content-Type.
        md5: Digest in `x-md5` and ETag; empty for that of the true body.
        modified: Last-Modified.
    """

    body: bytes
    declared_length: int
    content_type: str = "text/csv"
    md5: str = ""
    modified: str = FIRST_EXPORT


def _payload(body: bytes) -> Payload:
    return Payload(body, len(body))


def _packed(lines: list[bytes]) -> Payload:
    return _payload(igzip.compress(b"".join(lines), 1, mtime=0))


def _lines(body: bytes) -> list[bytes]:
    # gzip, not igzip: decompress of the latter has no types and this is not a hot path
    return gzip.decompress(body).splitlines(keepends=True)


def _truncated(body: bytes, _: DataType) -> Payload:
    return Payload(body[: max(len(body) // 2, 1)], len(body))


def _corrupt(body: bytes, _: DataType) -> Payload:
    """Bits flipped in the middle and in the checksum, so that even the smallest file is wrong."""
    damaged = bytearray(body)
    for position in (len(damaged) // 2, len(damaged) - 6):
        damaged[position] ^= 0xFF
    return _payload(bytes(damaged))


def _cut_last_row(body: bytes, data_type: DataType) -> Payload:
    lines = _lines(body) or [_header(data_type)]
    lines[-1] = lines[-1][: len(lines[-1]) // 2]
    return _packed(lines)


def _wrong_header(body: bytes, data_type: DataType) -> Payload:
    wrong = _header(data_type).replace(b"local_timestamp", b"localTimestamp")
    return _packed([wrong, *_lines(body)[1:]])


def _header(data_type: DataType) -> bytes:
    return (",".join(RAW_TABLES[data_type].header) + "\n").encode()


def _html(_: bytes, __: DataType) -> Payload:
    page = (
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>\n"
    )
    return Payload(page, len(page), "text/html")


def _duplicates(body: bytes, _: DataType) -> Payload:
    """Every tenth row twice in a row, the first one at least."""
    lines = _lines(body)
    doubled = [
        line for number, line in enumerate(lines[1:]) for line in [line] * (1 + (number % 10 == 0))
    ]
    return _packed([*lines[:1], *doubled])


def _out_of_order(body: bytes, _: DataType) -> Payload:
    """The first and the last row change places."""
    lines = _lines(body)
    if len(lines) > 2:  # noqa: PLR2004  (a header and two rows)
        lines[1], lines[-1] = lines[-1], lines[1]
    return _packed(lines)


def _rewritten(rewrite: Callable[[bytes], bytes]) -> Callable[[bytes, DataType], Payload]:
    """A fault that rewrites one price or amount in three rows of the file."""

    def apply(body: bytes, data_type: DataType) -> Payload:
        lines = _lines(body)
        columns = [
            number
            for number, name in enumerate(RAW_TABLES[data_type].header)
            if name.endswith(("price", "amount"))
        ]
        rows = len(lines) - 1
        for turn, row in enumerate(
            sorted({rows // 4, rows // 2, 3 * rows // 4}) if rows > 0 else ()
        ):
            cells = lines[row + 1].rstrip(b"\n").split(b",")
            filled = [column for column in columns if cells[column]]
            if filled:
                column = filled[turn % len(filled)]
                cells[column] = rewrite(cells[column])
            lines[row + 1] = b",".join(cells) + b"\n"
        return _packed(lines)

    return apply


DAMAGES: Mapping[Fault, Callable[[bytes, DataType], Payload]] = MappingProxyType(
    {
        Fault.TRUNCATED_BODY: _truncated,
        Fault.CORRUPT_GZIP: _corrupt,
        Fault.CUT_LAST_ROW: _cut_last_row,
        Fault.WRONG_HEADER: _wrong_header,
        Fault.HTML_NOT_GZIP: _html,
        Fault.EMPTY_BODY: lambda _, __: _payload(b""),
        Fault.EMPTY_GZIP: lambda _, __: _packed([]),
        Fault.HEADER_ONLY: lambda _, data_type: _packed([_header(data_type)]),
        Fault.DUPLICATES: _duplicates,
        Fault.OUT_OF_ORDER: _out_of_order,
        Fault.ZERO_VALUES: _rewritten(lambda _: b"0"),
        Fault.NEGATIVE_VALUES: _rewritten(lambda cell: b"-" + cell.lstrip(b"-")),
    }
)
"""Faults that are a 200 with something wrong in it."""


def _revised(body: bytes) -> Payload:
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return Payload(body, len(body), md5=digest, modified=LATER_EXPORT)


def _uploaded_again(body: bytes, _: DataType) -> Payload:
    """The same bytes, uploaded in parts: the digest in the headers is none of the file."""
    parts = (body[: len(body) // 2], body[len(body) // 2 :])
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    digest = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    return Payload(body, len(body), md5=f"{digest}-2", modified=LATER_EXPORT)


REVISIONS: Mapping[Revised, Callable[[bytes, DataType], Payload]] = MappingProxyType(
    {
        Revised.FEWER_ROWS: lambda body, type_: _revised(with_fewer_rows(body, type_)),
        Revised.SAME_SIZE: lambda body, type_: _revised(of_the_same_size(body, type_)),
        Revised.UPLOADED_AGAIN: _uploaded_again,
    }
)
"""What is sent of a file that was exported again."""


def payload(body: bytes, data_type: DataType, fault: Deviation | None) -> Payload:
    """What is sent instead of the true body; the true body where there is no fault."""
    if isinstance(fault, Revised):
        return REVISIONS[fault](body, data_type)
    change = DAMAGES.get(fault) if fault is not None else None
    return _payload(body) if change is None else change(body, data_type)
