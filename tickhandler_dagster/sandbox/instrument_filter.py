"""The `filter` of an instruments request: which records it lets through.

What belongs here: the vendor's filter keys. What does not: HTTP.

Source: https://docs.tardis.dev/api/instruments-metadata-api
"""

from __future__ import annotations

from collections.abc import Mapping

from tickhandler_dagster.sandbox.source import Json

_EQUAL = frozenset(
    {"baseCurrency", "quoteCurrency", "type", "contractType", "underlyingType", "active"}
)


def matches_filter(record: Json, wanted: Mapping[str, object]) -> bool:
    """Whether a record meets every condition; a list asks for any of its values.

    Example:
        >>> matches_filter({"type": "option"}, {"type": ["option", "future"]})
        True
    """
    return all(_meets(record, name, value) for name, value in wanted.items())


def _meets(record: Json, name: str, value: object) -> bool:
    if name in _EQUAL:
        return record.get(name) in (value if isinstance(value, list) else [value])
    if name == "availableSince":
        return bool(record["availableSince"] >= str(value))
    if name == "availableTo":
        return "availableTo" in record and bool(record["availableTo"] <= str(value))
    return False
