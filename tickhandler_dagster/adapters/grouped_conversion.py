"""A vendor file of many instruments becomes one Parquet file per instrument, in one pass over it.

What does not belong here: where rows wait between reading and writing (`symbol_buckets.py`) and
what happens to the rows of one instrument (`tick_writer.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.symbol_buckets import CODE, BucketLimits, SymbolBuckets
from tickhandler_dagster.adapters.tick_files import BLOCK_BYTES, TickFile
from tickhandler_dagster.adapters.tick_writer import (
    ConvertedTicks,
    QuarantineWriter,
    SourceFile,
    TickIdentity,
    TickWriter,
)
from tickhandler_dagster.adapters.verified_blocks import verified_frames
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.quality.row_rules import REASON, SYMBOL
from tickhandler_dagster.market.quality.rules import RuleName

GROUP_FOOTER_KEY = "tickhandler.group_files"
"""Footer text: how many instruments of the grouped file had rows."""

_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedGroup:
    """Finished local files of a grouped vendor file.

    Attributes:
        ticks: One per expected instrument, in the order given.
        unexpected: Rows of symbols nobody expected; None where there are none.
        unexpected_rows: How many.
    """

    ticks: tuple[ConvertedTicks, ...]
    unexpected: Path | None
    unexpected_rows: int


def convert_grouped_file(
    source: Path,
    folder: Path,
    identities: Sequence[TickIdentity],
    *,
    limits: BucketLimits | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> ConvertedGroup:
    """Convert a downloaded grouped file.

    The bytes of the results depend on the rows alone, not on the size of blocks or buckets.

    Args:
        source: The `.csv.gz`.
        folder: Where the results go.
        identities: The instruments the file may hold; all of one day, venue, type and source.
        limits: How much lies in memory.
        block_bytes: Uncompressed bytes read at once.

    Raises:
        CorruptData: the file breaks a rule of severity `fail`; no result is left.
        StorageFull: the device has no space left.
    """
    identity = identities[0]
    subject = f"{identity.venue} {identity.data_type} {identity.date} {identity.source_symbol}"
    file = TickFile(source, subject=subject, block_bytes=block_bytes)
    unexpected = QuarantineWriter(folder / "unexpected.parquet", identity.data_type)
    buckets = SymbolBuckets(folder, limits or BucketLimits())
    try:
        for rows in _expected_rows(file, identities, unexpected):
            buckets.add(rows, share_read=max(file.bytes_read / file.bytes_total, _LEAST_SHARE))
        ticks = _write_all(buckets, folder, identities, SourceFile.of(file))
    except TickhandlerError:
        unexpected.abandon()
        raise
    finally:
        buckets.close()
    return ConvertedGroup(
        ticks=ticks, unexpected=unexpected.finish(), unexpected_rows=unexpected.rows
    )


def group_files(footer: Mapping[str, str]) -> int | None:
    """How many instruments of a grouped file had rows, from the footer of any of their files."""
    text = footer.get(GROUP_FOOTER_KEY)
    return None if text is None else int(text)


def _expected_rows(
    file: TickFile, identities: Sequence[TickIdentity], unexpected: QuarantineWriter
) -> Iterator[pl.DataFrame]:
    """The rows of expected instruments with their instrument's number; all others are kept out."""
    symbols = pl.Enum([identity.tardis_symbol for identity in identities])
    for frame in verified_frames(file, identity=identities[0], symbol=None):
        codes = frame.get_column(SYMBOL).cast(symbols, strict=False).to_physical().cast(pl.UInt32)
        is_expected = codes.is_not_null()
        if not is_expected.all():
            unexpected.write(
                frame.filter(~is_expected).with_columns(
                    pl.lit(str(RuleName.UNEXPECTED_SYMBOL)).alias(REASON)
                )
            )
        yield frame.drop(SYMBOL).with_columns(codes.alias(CODE)).filter(is_expected)


def _write_all(
    buckets: SymbolBuckets, folder: Path, identities: Sequence[TickIdentity], source: SourceFile
) -> tuple[ConvertedTicks, ...]:
    footer = {GROUP_FOOTER_KEY: str(len(buckets.codes))}
    written: dict[int, ConvertedTicks] = {}
    for code, frames in buckets.groups():
        writer = TickWriter(folder, f"ticks-{code}", identities[code])
        try:
            for frame in frames:
                writer.write(frame)
            written[code] = writer.finish(source, footer)
        except TickhandlerError:
            writer.abandon()
            raise
    return tuple(
        written[code] if code in written else ConvertedTicks.of_no_rows(identity, source)
        for code, identity in enumerate(identities)
    )
