"""Windows and named sets of features as a YAML file or a variable gives them.

What belongs here: from texts and mappings to values, and back to the text that a child process is
given. What does not: reading files and the environment (`settings/`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe

WINDOWS_VARIABLE = "MFT_WINDOWS"
SETS_VARIABLE = "MFT_SETS"

SET_TIMEFRAMES: tuple[Timeframe, ...] = tuple(
    timeframe for timeframe in Timeframe if timeframe is not Timeframe.S15
)

_SET_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MOST_BARS = 100_000
_DEFAULTS = Windows()
_FAMILIES = tuple(field.name for field in dataclasses.fields(Windows))


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A named choice of features.

    Attributes:
        name: Part of the asset's key and of paths.
        patterns: Names of features, or patterns with `*` and `?`, in the order of the columns.
        timeframes: Timeframes it is made for.
    """

    name: str
    patterns: tuple[str, ...]
    timeframes: tuple[Timeframe, ...] = SET_TIMEFRAMES

    def choose(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names that it chooses, each once.

        Raises:
            InvalidSetting: a pattern chooses none.

        Example:
            >>> FeatureSet("a", ("rsi_*", "adx_14")).choose(["adx_14", "rsi_5", "rsi_14"])
            ('rsi_5', 'rsi_14', 'adx_14')
        """
        chosen: list[str] = []
        for pattern in self.patterns:
            found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
            if not found:
                raise InvalidSetting(
                    f"{SETS_VARIABLE}: {self.name}",
                    "no feature has this name",
                    was=f"'{pattern}'",
                    expected="a name of docs/mft-dictionary.md or a pattern with * or ?",
                    remedy="Correct the name; names carry their window",
                )
            chosen += found
        return tuple(dict.fromkeys(chosen))


def parse_windows(value: object) -> Windows | None:
    """Windows from a mapping or from JSON text; None for nothing.

    Raises:
        InvalidSetting: an unknown name, or a value that is no list of bars.

    Example:
        >>> parse_windows({"rsi": [14]}).rsi
        (14,)
    """
    if value is None or isinstance(value, Windows):
        return value
    given = _mapping(value, WINDOWS_VARIABLE)
    _refuse_unknown(given, _FAMILIES, WINDOWS_VARIABLE)
    return Windows(**{name: _bars_of(name, listed) for name, listed in given.items()})


def windows_text(windows: Windows) -> str:
    """The JSON text that `parse_windows` reads back."""
    return json.dumps(dataclasses.asdict(windows))


def parse_sets(value: object) -> tuple[FeatureSet, ...] | None:
    """Named sets from a mapping or from JSON text; None for nothing.

    A set is a list of names or patterns, or a mapping of `features` and `timeframes`.

    Raises:
        InvalidSetting: a name, a list or a timeframe breaks its rule.

    Example:
        >>> parse_sets({"core": {"features": ["rsi_14"], "timeframes": ["1h"]}})[0].timeframes
        (<Timeframe.H1: '1h'>,)
    """
    if value is None or isinstance(value, tuple):
        return value
    return tuple(_set_of(str(name), body) for name, body in _mapping(value, SETS_VARIABLE).items())


def sets_text(sets: Sequence[object]) -> str:
    """The JSON text that `parse_sets` reads back; empty where these are no sets."""
    found = [one for one in sets if isinstance(one, FeatureSet)]
    texts = {one.name: {"features": one.patterns, "timeframes": one.timeframes} for one in found}
    return json.dumps(texts) if texts else ""


def _mapping(value: object, variable: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # the same answer as for JSON that is no mapping
            value = json.loads(value)
    if not isinstance(value, Mapping):
        raise InvalidSetting(
            variable,
            "not a mapping",
            was=f"'{value}'",
            expected="a mapping in YAML, or its JSON text in a variable",
            remedy="Write it as in docs/settings.md",
        )
    return value


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], subject: str) -> None:
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise InvalidSetting(
            subject,
            f"unknown name {unknown[0]}",
            expected=f"one of {', '.join(known)}",
            remedy="Correct the name",
        )


def _bars_of(name: str, listed: object) -> tuple[Any, ...]:
    """Numbers, or tuples of as many numbers as the default has."""
    first = getattr(_DEFAULTS, name)[0]
    width = len(first) if isinstance(first, tuple) else 1
    items = _list_of(listed)
    rows = [_list_of(item) if width > 1 else [item] for item in items]
    is_right = bool(rows) and all(
        len(row) == width and all(type(bars) is int and 1 <= bars <= _MOST_BARS for bars in row)
        for row in rows
    )
    if not is_right:
        form = "whole numbers" if width == 1 else f"lists of {width} whole numbers"
        raise InvalidSetting(
            f"{WINDOWS_VARIABLE}: {name}",
            "not windows",
            was=f"'{listed}'",
            expected=f"a list of {form} from 1 to {_MOST_BARS:,}",
            remedy=f"Write it as in {name}: {json.dumps(getattr(_DEFAULTS, name))}",
        )
    return tuple(tuple(row) if width > 1 else row[0] for row in rows)


def _list_of(value: object) -> list[Any]:
    """The list; empty for what is none."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _set_of(name: str, body: object) -> FeatureSet:
    subject = f"{SETS_VARIABLE}: {name}"
    if not _SET_NAME.fullmatch(name):
        raise InvalidSetting(
            subject,
            "not a name",
            expected="lower-case letters, digits and _, a letter first",
            remedy="Rename the set",
        )
    parts = body if isinstance(body, Mapping) else {"features": body}
    _refuse_unknown(parts, ("features", "timeframes"), subject)
    timeframes = tuple(
        _timeframe(subject, text) for text in _texts(parts.get("timeframes"), subject)
    )
    return FeatureSet(
        name,
        tuple(_texts(parts.get("features"), subject, is_needed=True)),
        timeframes or SET_TIMEFRAMES,
    )


def _texts(value: object, subject: str, *, is_needed: bool = False) -> list[str]:
    if value is None and not is_needed:
        return []
    texts = _list_of(value)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidSetting(
            subject,
            "not a list of names",
            was=f"'{value}'",
            expected="a list of texts that is not empty",
            remedy="Write it as in docs/settings.md",
        )
    return texts


def _timeframe(subject: str, text: str) -> Timeframe:
    try:
        timeframe = parse_timeframe(text)
    except InvalidInput:
        timeframe = Timeframe.S15
    if timeframe not in SET_TIMEFRAMES:
        raise InvalidSetting(
            subject,
            "not a timeframe of mft_features",
            was=f"'{text}'",
            expected=f"one of {', '.join(SET_TIMEFRAMES)}",
            remedy="Use a name from the list",
        )
    return timeframe
