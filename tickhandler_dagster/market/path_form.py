"""A path of the lake as a value: the fields of an object are the parts of its path.

What belongs here: how an object writes its path. Which objects there are, and reading a path back,
is `paths.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class PathForm:
    """An object whose fields are the parts of its form."""

    form: ClassVar[str]

    @property
    def path(self) -> str:
        """Path under the lake's root."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return self.form.format_map(parts)
