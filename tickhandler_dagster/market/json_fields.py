"""Reading a vendor's JSON with errors that name the field, and writing JSON as canonical bytes.

What belongs here: types of fields. What does not: what any field means (`catalog.py`,
`contract_terms.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from tickhandler_dagster.market.errors import CorruptData


def canonical_json(value: object) -> bytes:
    """The value as UTF-8 JSON with sorted keys and no spaces: equal values give equal bytes.

    Example:
        >>> canonical_json({"b": 1, "a": [2]})
        b'{"a":[2],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fields_by_name(part: Any) -> dict[str, object]:  # noqa: ANN401  (json hands over whatever it has)
    """A dataclass's fields, for `json.dumps(..., default=fields_by_name)`.

    `dataclasses.asdict` would copy every value in it before.
    """
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}


class JsonObject:
    """A JSON object and its place in the reply, `exchange reply, datasets.symbols[3]`.

    Args:
        subject: What the reply is.
        value: The decoded JSON.
        path: The object's place in the reply; empty for the reply itself.

    Raises:
        CorruptData: the value is no object. Every reading method raises it where the field is
            missing or of another type.
    """

    def __init__(self, subject: str, value: object, path: str = "") -> None:
        self._subject = subject
        self._path = path
        if not _is_object(value):
            raise CorruptData(
                f"{subject}{f', {path}' if path else ''}",
                "not a JSON object",
                was=type(value).__name__,
                expected="an object",
                remedy="Fetch it again; if it stays, the vendor has changed the reply",
            )
        self._fields = value

    def has(self, field: str) -> bool:
        """The field is there and not null."""
        return self._fields.get(field) is not None

    def text(self, field: str) -> str:
        """A text that is not empty."""
        value = self._required(field)
        if not isinstance(value, str) or not value:
            raise self.broken(field, value, "a text")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts."""
        items = self._list(field)
        texts = tuple(item for item in items if isinstance(item, str))
        if len(texts) != len(items):
            raise self.broken(field, items, "a list of texts")
        return texts

    def time(self, field: str) -> dt.datetime:
        """A moment in ISO 8601 with its offset, as UTC."""
        value = self.text(field)
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise self.broken(field, value, "a time in ISO 8601") from None
        if moment.tzinfo is None:
            raise self.broken(field, value, "a time with its offset from UTC")
        return moment.astimezone(dt.UTC)

    def number(self, field: str) -> float | None:
        """A finite number, also one written as text; None where missing, null or empty."""
        value = self._fields.get(field)
        if value is None or value == "":
            return None
        if not isinstance(value, bool) and isinstance(value, int | float | str):
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                return number
        raise self.broken(field, value, "a number")

    def flag(self, field: str) -> bool:
        """A boolean; a missing or null one is false."""
        value = self._fields.get(field)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.broken(field, value, "true or false")
        return value

    def child(self, field: str) -> JsonObject:
        """An object."""
        return JsonObject(self._subject, self._required(field), self._place(field))

    def children(self, field: str) -> Iterator[JsonObject]:
        """A list of objects."""
        for index, item in enumerate(self._list(field)):
            yield JsonObject(self._subject, item, f"{self._place(field)}[{index}]")

    def broken(self, field: str, value: object, expected: str) -> CorruptData:
        """The error that says what is wrong with a field."""
        shown = repr(value)
        return CorruptData(
            f"{self._subject}, {self._place(field)}",
            "not as expected",
            was=shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…",
            expected=expected,
            remedy="Fetch it again; if it stays, the vendor has changed the reply",
        )

    def _required(self, field: str) -> object:
        value = self._fields.get(field)
        if value is None:
            raise CorruptData(
                f"{self._subject}, {self._place(field)}",
                "missing",
                remedy="Fetch it again; if it stays, the vendor has changed the reply",
            )
        return value

    def _list(self, field: str) -> list[object]:
        value = self._required(field)
        if not isinstance(value, list):
            raise self.broken(field, value, "a list")
        return value

    def _place(self, field: str) -> str:
        return f"{self._path}.{field}" if self._path else field


_SHOWN_CHARACTERS = 80


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
