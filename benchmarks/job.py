"""What a contender is told: the files of one measurement.

What does not belong here: how a contender is run (`measure.py`) and which there are
(`contenders/__init__.py`). Runs in every environment, so it imports the standard library alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The files of one measurement.

    Attributes:
        source: The vendor's `.csv.gz`.
        catalog: The vendor's exchange reply that lists its instruments.
        venue: Venue of the file.
        symbol: What the file's address says: an instrument's symbol, or a group.
        date: Day of the file.
        lake: For candles: a lake into which the file was ingested.
        ticks: For candles: the Parquet file of the ingested ticks, in that lake.
        folder: Empty, for the results.
        channels: Where several data types are read: the file of each; of the vendor before the
            ingest, of the lake after it.
    """

    source: Path
    catalog: Path
    venue: str
    symbol: str
    date: str
    lake: Path
    ticks: Path
    folder: Path
    channels: Mapping[str, Path] = field(default_factory=dict)

    def after_ingest(self, ticks: str, folder: Path) -> Self:
        """The job that reads the lake into which this project's run of this job ingested."""
        return dataclasses.replace(
            self,
            lake=self.folder / "lake",
            ticks=Path(ticks),
            folder=folder,
            channels={
                name: Path(ticks.replace("data_type-trades", f"data_type-{name}"))
                for name in self.channels
            },
        )

    def to_json(self) -> str:
        """The job as text for a command line."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        paths = ("source", "catalog", "lake", "ticks", "folder")
        channels = {name: Path(path) for name, path in fields["channels"].items()}
        plain = {name: Path(fields[name]) for name in paths}
        return cls(**fields | plain | {"channels": channels})
