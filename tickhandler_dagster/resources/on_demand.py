"""Something that is built when it is first used, so that what is wrong is the user's to hear.

What belongs here: the delay. Dagster wraps an error of a resource in its own words, and a step
never begins; the same error where a partition's work begins is a sentence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class OnDemand:
    """Stands for what `build` gives, which is called once, when an attribute is first asked for.

    Args:
        build: May raise; the next use then tries again.

    Example:
        >>> OnDemand(lambda: "built").upper()
        'BUILT'
    """

    def __init__(self, build: Callable[[], object]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: object | None = None

    def __getattr__(self, name: str) -> object:
        with self._lock:  # two object stores would each know half of the versions
            if self._built is None:
                self._built = self._build()
        return getattr(self._built, name)
