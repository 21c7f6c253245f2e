"""A vendor file of one instrument becomes one Parquet file, block by block.

What does not belong here: files that hold many instruments (`grouped_conversion.py`) and the
network.
"""

from __future__ import annotations

from pathlib import Path

from tickhandler_dagster.adapters.tick_files import BLOCK_BYTES, TickFile
from tickhandler_dagster.adapters.tick_writer import (
    ConvertedTicks,
    SourceFile,
    TickIdentity,
    TickWriter,
)
from tickhandler_dagster.adapters.verified_blocks import verified_frames
from tickhandler_dagster.market.errors import TickhandlerError


def convert_tick_file(
    source: Path, folder: Path, identity: TickIdentity, *, block_bytes: int = BLOCK_BYTES
) -> ConvertedTicks:
    """Convert a downloaded file.

    The bytes of the result depend on the rows alone, not on the size of the blocks.

    Args:
        source: The `.csv.gz`.
        folder: Where the result goes.
        identity: Whose ticks the file must hold.
        block_bytes: Uncompressed bytes read at once.

    Raises:
        CorruptData: the file breaks a rule of severity `fail`; nothing is left in `folder`.
        StorageFull: the device has no space left.
    """
    subject = f"{identity.venue} {identity.data_type} {identity.date} {identity.source_symbol}"
    file = TickFile(source, subject=subject, block_bytes=block_bytes)
    writer = TickWriter(folder, "ticks", identity)
    try:
        for frame in verified_frames(file, identity=identity, symbol=identity.tardis_symbol):
            writer.write(frame)
        return writer.finish(SourceFile.of(file))
    except TickhandlerError:
        writer.abandon()
        raise
