"""What the vendor has today of a file that was taken: the comparison, and what a change touches.

What belongs here: values in, a state out. What does not: asking the vendor
(`adapters/tardis_revisions.py`), the stored table (`revisions_table.py`) and what has to run again
(`repair_plan.py`).

The vendor publishes no list of corrections. Sizes are sure; a digest or a date in a header is worth
what it was when the content was last known, so that the first look remembers them and later looks
compare. Only reading the file again proves that it is the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId


class RevisionState(StrEnum):
    """How the vendor's file of today stands to the one that was taken."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    APPEARED = "appeared"
    ABSENT = "absent"
    UNKNOWN = "unknown"

    @property
    def is_repairable(self) -> bool:
        """Fetching the file again brings what the lake does not have."""
        return self in {RevisionState.CHANGED, RevisionState.APPEARED}

    @property
    def is_as_taken(self) -> bool:
        """The lake has what the vendor has."""
        return self in {RevisionState.SAME, RevisionState.ABSENT}


REVISION_STATE_MEANINGS: Mapping[RevisionState, str] = MappingProxyType(
    {
        RevisionState.SAME: "nothing that was compared differs from the file that was taken",
        RevisionState.CHANGED: "the vendor's file is another one than the one that was taken",
        RevisionState.GONE: "a file was taken and the vendor has none today",
        RevisionState.APPEARED: "no file was taken and the vendor has one today",
        RevisionState.ABSENT: "no file was taken and the vendor still has none",
        RevisionState.UNKNOWN: "no answer, or headers that differ and do not say what changed",
    }
)

NEVER_PROBED = frozenset({DataState.NOT_EXPORTED_YET})
"""States of a manifest whose files nobody asks for: the catalogue says when they come."""


_STILL = "it had changed at an earlier look, and nothing says that it is back"


@dataclass(frozen=True, slots=True)
class VendorFile:
    """What an answer of the vendor says about a file.

    Attributes:
        bytes: Size by Content-Length; None where the header is missing.
        md5: `x-md5` in its plain form, lower case; None for any other form.
        etag: ETag without its quotes.
        last_modified: Last-Modified.
        sha256: Hash of the content; None where only headers were read.
    """

    bytes: int | None = None
    md5: str | None = None
    etag: str | None = None
    last_modified: dt.datetime | None = None
    sha256: str | None = None

    @property
    def headers(self) -> tuple[object, ...]:
        """Everything but the content."""
        return (self.bytes, self.md5, self.etag, self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenFile:
    """A vendor file as the manifest of a partition knows it.

    Attributes:
        date: Its UTC day.
        venue: Exchange id.
        data_type: Its type.
        source_symbol: Symbol of the file: an instrument's, or a group.
        instrument_keys: Whose rows it holds or should hold, ordered.
        is_simulated: It came from the sandbox.
        bytes: Its size; 0 where none was taken.
        sha256: Its hash; None where none was taken.
        rows_before_day: Rows stamped before its day: bars of the day before hold them.
        rows_after_day: Rows stamped after its day: bars of the day after hold them.
    """

    date: dt.date
    venue: VenueId
    data_type: DataType
    source_symbol: str
    instrument_keys: tuple[str, ...]
    is_simulated: bool
    bytes: int = 0
    sha256: str | None = None
    rows_before_day: int = 0
    rows_after_day: int = 0

    @property
    def key(self) -> tuple[DataType, str]:
        """What tells it from other files of its day and venue."""
        return self.data_type, self.source_symbol

    @property
    def cell(self) -> VenueDay:
        """Its day and venue."""
        return VenueDay(self.date, self.venue)

    @property
    def days_with_its_rows(self) -> tuple[dt.date, ...]:
        """Days whose bars hold rows of the file that was taken, its own among them."""
        offsets = (-1,) * bool(self.rows_before_day) + (0,) + (1,) * bool(self.rows_after_day)
        return tuple(self.date + dt.timedelta(days=days) for days in offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The result for one file.

    Attributes:
        taken: What was taken.
        state: How the vendor's file of today stands to it.
        reason: What differs or went wrong; None where nothing did.
        vendor: What the vendor says today, or said when it last answered; else without values.
        known: Headers of a file that was, as far as can be told, the one that was taken.
    """

    taken: TakenFile
    state: RevisionState
    reason: str | None = None
    vendor: VendorFile = VendorFile()
    known: VendorFile = VendorFile()


def taken_files(rows: Iterable[ManifestRow]) -> list[TakenFile]:
    """The files behind the manifests of a cell, ordered by type and symbol.

    Rows of one grouped file become one. A file that was set aside counts as taken.
    """
    groups: dict[tuple[DataType, str], list[ManifestRow]] = {}
    for row in rows:
        if row.state not in NEVER_PROBED:
            groups.setdefault((row.data_type, row.source_symbol), []).append(row)
    return [_taken(groups[key]) for key in sorted(groups)]


def _taken(rows: Sequence[ManifestRow]) -> TakenFile:
    source = next((row for row in rows if row.source_sha256 is not None), rows[0])
    return TakenFile(
        date=source.date,
        venue=source.venue,
        data_type=source.data_type,
        source_symbol=source.source_symbol,
        instrument_keys=tuple(sorted(row.instrument_key for row in rows)),
        is_simulated=source.is_simulated,
        bytes=source.source_bytes,
        sha256=source.source_sha256,
        rows_before_day=sum(row.rows_before_day for row in rows),
        rows_after_day=sum(row.rows_after_day for row in rows),
    )


def compare(
    taken: TakenFile, vendor: VendorFile | None, previous: Revision | None = None
) -> Revision:
    """How the vendor's file of today stands to the one that was taken.

    Args:
        taken: What was taken.
        vendor: What the vendor says today; None where it has no such file.
        previous: The last result for the file; ignored where another file was taken since.
    """
    if vendor is None:
        return _without_file(taken, previous)
    if taken.sha256 is None:
        return Revision(
            taken=taken,
            state=RevisionState.APPEARED,
            reason=f"the vendor has a file of {_size(vendor.bytes)}, none was taken",
            vendor=vendor,
        )
    last = _about_the_same(taken, previous)
    known = VendorFile() if last is None else last.known
    seen = _with_known_hash(vendor, last)
    state, reason = _verdict(taken, seen, known)
    had_changed = last is not None and last.state is RevisionState.CHANGED
    if had_changed and state is RevisionState.SAME and not _is_proven(seen, known):
        state, reason = RevisionState.CHANGED, _STILL
    if state is RevisionState.SAME:
        known = _remembered(seen, known)
    return Revision(taken=taken, state=state, reason=reason, vendor=seen, known=known)


def unanswered(taken: TakenFile, reason: str, previous: Revision | None = None) -> Revision:
    """The result where the vendor gave no answer: what was known stays known."""
    last = _about_the_same(taken, previous)
    if last is None:
        return Revision(taken=taken, state=RevisionState.UNKNOWN, reason=reason)
    if last.state is RevisionState.CHANGED:
        return Revision(
            taken=taken,
            state=RevisionState.CHANGED,
            reason=_STILL,
            vendor=last.vendor,
            known=last.known,
        )
    return Revision(
        taken=taken,
        state=RevisionState.UNKNOWN,
        reason=reason,
        vendor=last.vendor,
        known=last.known,
    )


def _without_file(taken: TakenFile, previous: Revision | None) -> Revision:
    if taken.sha256 is None:
        return Revision(taken=taken, state=RevisionState.ABSENT)
    last = _about_the_same(taken, previous)
    return Revision(
        taken=taken,
        state=RevisionState.GONE,
        reason="the vendor has no such file today; what was taken is kept",
        known=VendorFile() if last is None else last.known,
    )


def _about_the_same(taken: TakenFile, previous: Revision | None) -> Revision | None:
    """The last result, unless the file was fetched again since and became another one."""
    is_of_it = previous is not None and previous.taken.sha256 == taken.sha256 is not None
    return previous if is_of_it else None


def _with_known_hash(vendor: VendorFile, last: Revision | None) -> VendorFile:
    """A hash that was read once holds as long as no header moves."""
    if vendor.sha256 is not None or last is None or last.vendor.headers != vendor.headers:
        return vendor
    return replace(vendor, sha256=last.vendor.sha256)


def _remembered(seen: VendorFile, known: VendorFile) -> VendorFile:
    """Headers to compare from now on: today's where the content was read, else the first ones."""
    today = replace(seen, sha256=None)
    if seen.sha256 is not None:
        return today
    return VendorFile(
        bytes=today.bytes if known.bytes is None else known.bytes,
        md5=known.md5 or today.md5,
        etag=known.etag or today.etag,
        last_modified=known.last_modified or today.last_modified,
    )


def _is_proven(seen: VendorFile, known: VendorFile) -> bool:
    """More than the size says that the file is the one that was taken."""
    digests = ((seen.md5, known.md5), (seen.etag, known.etag))
    return seen.sha256 is not None or any(now is not None and now == was for now, was in digests)


def _verdict(
    taken: TakenFile, seen: VendorFile, known: VendorFile
) -> tuple[RevisionState, str | None]:
    """The first thing that can be compared and decides does."""
    if seen.sha256 is not None:
        if seen.sha256 == taken.sha256:
            return RevisionState.SAME, None
        return RevisionState.CHANGED, f"SHA-256 was {taken.sha256}, is {seen.sha256}"
    if seen.bytes is not None and seen.bytes != taken.bytes:
        was, now = _size(taken.bytes), _size(seen.bytes)
        return RevisionState.CHANGED, f"the size was {was}, is {now}"
    if known.md5 is not None and seen.md5 is not None:
        if known.md5 == seen.md5:
            return RevisionState.SAME, None
        return RevisionState.CHANGED, f"x-md5 was {known.md5}, is {seen.md5}"
    return _by_weak_headers(seen, known)


def _by_weak_headers(seen: VendorFile, known: VendorFile) -> tuple[RevisionState, str | None]:
    """By headers that can change while the content does not."""
    if seen.bytes is None:
        return RevisionState.UNKNOWN, "the answer has no Content-Length; only its content can tell"
    pairs = (
        ("ETag", known.etag, seen.etag),
        ("Last-Modified", known.last_modified, seen.last_modified),
    )
    for name, was, now in pairs:
        if was is not None and now is not None:
            if was == now:
                return RevisionState.SAME, None
            moved = f"the size is the same, but {name} was {was}, is {now}"
            return RevisionState.UNKNOWN, f"{moved}; only its content can tell"
    return RevisionState.SAME, None


def _size(size: int | None) -> str:
    return "unknown size" if size is None else f"{size:,} bytes"
