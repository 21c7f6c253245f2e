"""A manifest row as text for the footer of the file it describes, so that a file explains itself.

What does not belong here: the file's own size and digest, which cannot stand inside it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.manifest_table import MANIFEST_TABLE, ManifestRow
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId

FOOTER_KEY = "tickhandler.manifest"

_MOMENTS = tuple(column.name for column in MANIFEST_TABLE.columns if column.dtype == TIMESTAMP)


def row_to_json(row: ManifestRow) -> str:
    """The row as JSON; times in ISO 8601."""
    return json.dumps(dataclasses.asdict(row), default=_iso, sort_keys=True)


def row_from_json(text: str) -> ManifestRow | None:
    """The inverse of `row_to_json`; None where the text is of another version of the row."""
    record: dict[str, Any] = json.loads(text)
    if set(record) != {field.name for field in dataclasses.fields(ManifestRow)}:
        return None
    moments = {name: record[name] and dt.datetime.fromisoformat(record[name]) for name in _MOMENTS}
    return ManifestRow(
        **record
        | moments
        | {
            "date": dt.date.fromisoformat(record["date"]),
            "venue": VenueId(record["venue"]),
            "data_type": DataType(record["data_type"]),
            "state": DataState(record["state"]),
        }
    )


def _iso(value: dt.date) -> str:
    return value.isoformat()
