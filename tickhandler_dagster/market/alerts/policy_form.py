"""The alert policy from what YAML gives, or from the JSON text of the variable.

What belongs here: forms and the sentences that wrong ones are answered with. What does not: what
the policy means (`policy.py`). No value of a notifier's secret is ever repeated: a policy names
environment variables, and whoever wrote an address in their place must not find it in a log.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from tickhandler_dagster.market.alerts.policy import (
    WEEKDAYS,
    AlertPolicy,
    Deadline,
    MailSecurity,
    NotifierSpec,
    NotifierType,
    QuietHours,
    Route,
)
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.venues import parse_venue

VARIABLE = "ALERTS"

_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_NOTIFIER_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_HOUR = 60
_LAST_HOUR = 23
_MAX_PORT = 65_535


def parse_alerts(value: object) -> AlertPolicy:
    """The policy of a YAML mapping or of the JSON text of a variable; nothing is the default.

    Raises:
        InvalidSetting: a part of it has a wrong form, names something unknown, or lacks something.
    """
    if isinstance(value, AlertPolicy):
        return value
    if value is None or value == "":
        return AlertPolicy()
    given = _mapping("the policy", _decoded(value) if isinstance(value, str) else value, _PARTS)
    policy = AlertPolicy(**{name: _PARTS[name](name, part) for name, part in given.items()})
    for number, route in enumerate(policy.routes, start=1):
        unknown = [name for name in route.notify if name not in policy.notifiers]
        if unknown:
            known = ", ".join(policy.notifiers) or "a name under notifiers, of which there are none"
            _fail(f"routes line {number}: notify {unknown[0]}", known)
    return policy


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        # Without its cause, whose text repeats the variable's.
        _fail("a text", "a YAML mapping in the file, or JSON in the variable")


def _fail(was: str, expected: str) -> NoReturn:
    raise InvalidSetting(
        VARIABLE, "not valid", was=was, expected=expected, remedy="See docs/alerts.md"
    ) from None


def _mapping(place: str, value: object, known: Mapping[str, object]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _fail(f"{place}: {type(value).__name__}", f"a mapping with {', '.join(known)}")
    unknown = [str(name) for name in value if name not in known]
    if unknown:
        _fail(f"{place}: unknown name {unknown[0]}", f"one of {', '.join(known)}")
    return value


def _lines(place: str, value: object) -> list[tuple[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        _fail(f"{place}: {type(value).__name__}", "a list of mappings")
    return [(f"{place} line {number}", line) for number, line in enumerate(value, start=1)]


def _names(place: str, value: object) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        _fail(f"{place}: {type(value).__name__}", "a name or a list of names")
    return list(items)


def _each(place: str, value: object, read: Callable[[str], Any], known: str) -> tuple[Any, ...]:
    found = []
    for name in _names(place, value):
        try:
            found.append(read(name))
        except (ValueError, InvalidInput):
            _fail(f"{place}: {name}", known)
    return tuple(found)


def _number(place: str, value: object, least: float, most: float = 1e9) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        _fail(f"{place}: {value}", f"a number from {least:g} to {most:g}")
    return value


def _whole(place: str, value: object, least: int) -> int:
    number = _number(place, value, least)
    if not isinstance(number, int):
        _fail(f"{place}: {value}", "a whole number")
    return number


def _text(place: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        _fail(f"{place}: {type(value).__name__}", "a text")
    return value


def _time(place: str, value: object) -> dt.time:
    """A time of day. YAML reads an unquoted 22:00 as the number 1320: 22 sixties and 0."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value // _HOUR}:{value % _HOUR:02d}"
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) > _LAST_HOUR or int(found[2]) >= _HOUR:
        _fail(f"{place}: {value}", 'a time of day from "00:00" to "23:59"')
    return dt.time(int(found[1]), int(found[2]))


def _one_of(place: str, value: object, known: Sequence[str]) -> str:
    if value not in known:
        _fail(f"{place}: {value}", f"one of {', '.join(known)}")
    return str(value)


def _ui(place: str, value: object) -> str:
    address = _text(place, value)
    if not address.startswith(("http://", "https://")):
        _fail(f"{place}: {address}", "an http or https address")
    return address


_OPTIONS: Mapping[NotifierType, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        NotifierType.SLACK: (("url_env",), ("timeout_s",)),
        NotifierType.WEBHOOK: (("url_env",), ("secret_env", "timeout_s")),
        NotifierType.EMAIL: (
            ("host", "from", "to"),
            ("port", "security", "user_env", "password_env", "timeout_s"),
        ),
        NotifierType.FILE: (("path",), ()),
    }
)
"""Options of each type: those it must have, those it may have."""

_FIELD_OF = {"from": "sender", "to": "recipients"}


def _variable(place: str, value: object) -> str:
    if not isinstance(value, str) or not _ENVIRONMENT_NAME.fullmatch(value):
        _fail(
            f"{place}: a text that is not shown",
            "the name of an environment variable, such as SLACK_WEBHOOK_URL",
        )
    return value


def _recipients(place: str, value: object) -> tuple[str, ...]:
    return _each(place, value, _address, "addresses such as team@example.com") or _fail(
        f"{place}: nobody", "at least one address"
    )


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError(text)
    return text


_READ: Mapping[str, Callable[[str, object], object]] = MappingProxyType(
    {
        "url_env": _variable,
        "secret_env": _variable,
        "user_env": _variable,
        "password_env": _variable,
        "host": _text,
        "port": lambda place, value: int(_number(place, value, 1, _MAX_PORT)),
        "security": lambda place, value: MailSecurity(_one_of(place, value, list(MailSecurity))),
        "from": lambda place, value: _recipients(place, value)[0],
        "to": _recipients,
        "path": _text,
        "timeout_s": lambda place, value: float(_number(place, value, 0.1, 60)),
    }
)


def _notifiers(place: str, value: object) -> Mapping[str, NotifierSpec]:
    if not isinstance(value, Mapping):
        _fail(f"{place}: {type(value).__name__}", "a mapping of names to notifiers")
    return {str(name): _notifier(str(name), one) for name, one in value.items()}


def _notifier(name: str, value: object) -> NotifierSpec:
    place = f"notifiers: {name}"
    if not _NOTIFIER_NAME.fullmatch(name):
        _fail(place, "a name of lower-case letters, digits, _ and -")
    given = _mapping(place, value, dict.fromkeys(("type", *_READ)))
    kind = NotifierType(_one_of(f"{place}: type", given.get("type"), list(NotifierType)))
    required, optional = _OPTIONS[kind]
    _mapping(f"{place} of type {kind}", value, dict.fromkeys(("type", *required, *optional)))
    missing = [option for option in required if option not in given]
    if missing:
        _fail(f"{place}: no {missing[0]}", f"{', '.join(required)} for type {kind}")
    if ("user_env" in given) != ("password_env" in given):
        _fail(f"{place}: one of user_env and password_env", "both or none")
    fields: dict[str, Any] = {
        _FIELD_OF.get(option, option): _READ[option](f"{place}: {option}", given[option])
        for option in given
        if option != "type"
    }
    return NotifierSpec(name=name, type=kind, **fields)


def _routes(place: str, value: object) -> tuple[Route, ...]:
    return tuple(_route(place, line) for place, line in _lines(place, value))


def _route(place: str, value: object) -> Route:
    known = ("notify", "kinds", "venues", "groups", "urgency")
    given = _mapping(place, value, dict.fromkeys(known))
    if "notify" not in given:
        _fail(f"{place}: no notify", "notify: names of notifiers, or [] for nobody")
    return Route(
        notify=tuple(dict.fromkeys(_names(f"{place}: notify", given["notify"]))),
        kinds=_each(
            f"{place}: kinds", given.get("kinds", ()), IncidentKind, ", ".join(IncidentKind)
        ),
        venues=_each(f"{place}: venues", given.get("venues", ()), parse_venue, "known venues"),
        groups=tuple(_names(f"{place}: groups", given.get("groups", ()))),
        urgency=Urgency(
            _one_of(f"{place}: urgency", given.get("urgency", Urgency.WARNING), list(Urgency))
        ),
    )


def _quiet_hours(place: str, value: object) -> QuietHours | None:
    if value is None:
        return None
    known = ("timezone", "from", "to", "weekdays", "breaks_through")
    given = _mapping(place, value, dict.fromkeys(known))
    missing = [name for name in ("timezone", "from", "to") if name not in given]
    if missing:
        _fail(f"{place}: no {missing[0]}", "timezone, from and to")
    least = _one_of(
        f"{place}: breaks_through",
        given.get("breaks_through", Urgency.ERROR),
        [*Urgency, "nothing"],
    )
    weekdays = _names(f"{place}: weekdays", given.get("weekdays", WEEKDAYS))
    return QuietHours(
        timezone=_timezone(f"{place}: timezone", given["timezone"]),
        start=_time(f"{place}: from", given["from"]),
        end=_time(f"{place}: to", given["to"]),
        weekdays=tuple(_one_of(f"{place}: weekdays", name, WEEKDAYS) for name in weekdays),
        breaks_through=None if least == "nothing" else Urgency(least),
    )


def _timezone(place: str, value: object) -> str:
    name = _text(place, value)
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        _fail(f"{place}: {name}", "the name of a time zone, such as Europe/Berlin or UTC")
    return name


def _deadlines(place: str, value: object) -> tuple[Deadline, ...]:
    return tuple(_deadline(place, line) for place, line in _lines(place, value))


def _deadline(place: str, value: object) -> Deadline:
    given = _mapping(place, value, dict.fromkeys(("assets", "by")))
    if set(given) != {"assets", "by"}:
        _fail(f"{place}: {', '.join(given) or 'nothing'}", "assets and by")
    return Deadline(
        assets=tuple(_names(f"{place}: assets", given["assets"])),
        by=_time(f"{place}: by", given["by"]),
    )


def _reminder(place: str, value: object) -> int | None:
    return None if value is None else _whole(place, value, 60)


_PARTS: Mapping[str, Callable[[str, object], Any]] = MappingProxyType(
    {
        "notifiers": _notifiers,
        "routes": _routes,
        "quiet_hours": _quiet_hours,
        "group_within_s": lambda place, value: _whole(place, value, 0),
        "remind_after_s": _reminder,
        "deadlines": _deadlines,
        "forget_after_days": lambda place, value: _whole(place, value, 1),
        "ui": _ui,
    }
)
