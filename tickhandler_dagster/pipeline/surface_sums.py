"""An option surface partition in a few numbers, and the rows worth looking at, from its manifest.

What does not belong here: building surfaces (`options_surface.py`) and drawing them (`reporting`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.options_surface_manifest_table import surface_manifest_rows
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.pipeline.surface_files import surface_file

SHOWN = 6
# Fine enough to see a day's shape, coarse enough for a small picture.
_PICTURED = Timeframe.M5


@dataclass(frozen=True, slots=True)
class SurfaceSums:
    """Sums over the surfaces of a partition.

    Attributes:
        rows: Rows of all files.
        raw_rows: Raw rows of the day.
        bytes: Size of the files.
        by_underlying: A row per underlying: options, expiries, and shares of the 15 s rows that
            have a volatility, in percent.
        data_version: Changes when and only when a file does.
        is_simulated: A source came from the sandbox.
    """

    rows: int
    raw_rows: int
    bytes: int
    by_underlying: pl.DataFrame
    data_version: str
    is_simulated: bool


def surface_sums(manifest: pl.DataFrame) -> SurfaceSums:
    """The sums of a frame of `OPTIONS_SURFACE_MANIFEST_TABLE`."""
    base = manifest.filter(pl.col("timeframe") == BASE_TIMEFRAME.value)
    hashes = "".join(manifest["content_sha256"].to_list())
    return SurfaceSums(
        rows=int(manifest["rows"].sum()),
        raw_rows=int(base["raw_rows"].sum()),
        bytes=int(manifest["bytes"].sum()),
        by_underlying=base.select(
            "underlying",
            "options",
            pl.col("missing_options").alias("missing"),
            "expiries",
            *(
                (100 * pl.col(f"rows_with_{part}") / pl.col("rows")).round(1).alias(title)
                for part, title in (
                    ("front", "% with front"),
                    ("30d", "% with 30 days"),
                    ("model_free", "% model-free"),
                )
            ),
        ),
        data_version=hashlib.sha256(hashes.encode()).hexdigest(),
        is_simulated=bool(manifest["is_simulated"].any()),
    )


def drawn_surfaces(lake: Lake, manifest: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Surfaces of the underlyings with the most options: (name, rows of `SurfaceChart`) pairs.

    Raises:
        CorruptData: a file is not readable.
    """
    rows = [row for row in surface_manifest_rows(manifest) if row.timeframe is _PICTURED]
    rows.sort(key=lambda row: (-row.options, row.underlying))
    return [
        (row.underlying, frame)
        for row in rows[:SHOWN]
        if (frame := lake.read_table(surface_file(row))) is not None
    ]
