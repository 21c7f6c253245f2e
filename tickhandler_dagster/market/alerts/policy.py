"""Who hears of what, and when: notifiers, routes, quiet hours, deadlines.

What belongs here: the policy as a value with its defaults. What does not: reading it from YAML
(`policy_form.py`), building notifiers (`adapters/notifiers`) and the text of a secret, which stands
in an environment variable that the policy names.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from zoneinfo import ZoneInfo

from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.venues import VenueId

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DEFAULT_UI = "http://localhost:3000"
DEFAULT_GROUP_WITHIN_S = 60
DEFAULT_FORGET_AFTER_DAYS = 30

_RANK: Mapping[Urgency, int] = MappingProxyType(
    {urgency: rank for rank, urgency in enumerate(Urgency)}
)
_MINUTES_OF_HOUR = 60


class NotifierType(StrEnum):
    """How messages travel."""

    SLACK = "slack"
    WEBHOOK = "webhook"
    EMAIL = "email"
    FILE = "file"


class MailSecurity(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    SSL = "ssl"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierSpec:
    """A notifier as the policy declares it; fields of other types stay empty.

    Attributes:
        name: Its name in routes, in logs and in the ledger.
        type: How its messages travel.
        url_env: Variable that holds the address (slack, webhook).
        secret_env: Variable that holds the key of the signature (webhook).
        host: Mail server.
        port: Its port; 0 for the usual one of the security.
        security: Protection of the connection to it.
        sender: Address that mails come from.
        recipients: Addresses that they go to.
        user_env: Variable that holds the user's name (email).
        password_env: Variable that holds the password (email).
        path: File that lines are appended to.
        timeout_s: Seconds until an attempt is given up.
    """

    name: str
    type: NotifierType
    url_env: str = ""
    secret_env: str = ""
    host: str = ""
    port: int = 0
    security: MailSecurity = MailSecurity.STARTTLS
    sender: str = ""
    recipients: tuple[str, ...] = ()
    user_env: str = ""
    password_env: str = ""
    path: str = ""
    timeout_s: float = 10.0

    @property
    def secrets(self) -> tuple[str, ...]:
        """Variables that have to be set for it."""
        named = (self.url_env, self.secret_env, self.user_env, self.password_env)
        return tuple(name for name in named if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A line of the routes: empty lists match everything.

    Attributes:
        notify: Names of notifiers; empty silences what it matches.
        kinds: Of these kinds.
        venues: Of these venues: one of them is a word of the group.
        groups: Of groups like these, with `*` and `?`.
        urgency: At least as urgent as this.
    """

    notify: tuple[str, ...]
    kinds: tuple[IncidentKind, ...] = ()
    venues: tuple[VenueId, ...] = ()
    groups: tuple[str, ...] = ()
    urgency: Urgency = Urgency.WARNING

    def takes(self, kind: IncidentKind, group: str, urgency: Urgency) -> bool:
        """It speaks of such incidents."""
        words = set(group.replace("|", " ").split())
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.venues or any(venue.value in words for venue in self.venues))
            and (not self.groups or any(fnmatchcase(group, like) for like in self.groups))
            and is_at_least(urgency, self.urgency)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Hours in which only what is urgent is told; the rest waits for their end.

    Attributes:
        timezone: Name of the time zone that the hours are of.
        start: Local time at which they begin.
        end: Local time at which they end; on the next day where it is not after the start.
        weekdays: Days on which they begin, as in `WEEKDAYS`.
        breaks_through: Least urgency that is told all the same; None for nothing.
    """

    timezone: str
    start: dt.time
    end: dt.time
    weekdays: tuple[str, ...] = WEEKDAYS
    breaks_through: Urgency | None = Urgency.ERROR

    def holds(self, urgency: Urgency, now_us: int) -> bool:
        """Something as urgent waits now.

        Example:
            >>> quiet = QuietHours(timezone="Asia/Kolkata", start=dt.time(22), end=dt.time(7))
            >>> quiet.holds(Urgency.WARNING, 0), quiet.holds(Urgency.ERROR, 0)
            (True, False)
        """
        if self.breaks_through is not None and is_at_least(urgency, self.breaks_through):
            return False
        return self.is_quiet(now_us)

    def is_quiet(self, now_us: int) -> bool:
        """Now is within the hours."""
        utc = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=now_us)
        local = utc.astimezone(ZoneInfo(self.timezone))
        now = local.time().replace(tzinfo=None)
        is_today = WEEKDAYS[local.weekday()] in self.weekdays
        if self.start < self.end:
            return is_today and self.start <= now < self.end
        is_yesterday = WEEKDAYS[local.weekday() - 1] in self.weekdays
        return (is_today and now >= self.start) or (is_yesterday and now < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When yesterday's partitions of some assets have to be there.

    Attributes:
        assets: Asset keys like these, with `*` and `?`.
        by: UTC time of day.
    """

    assets: tuple[str, ...]
    by: dt.time

    def is_about(self, asset: str) -> bool:
        """The asset, written with slashes, is one of them."""
        return any(fnmatchcase(asset, like) for like in self.assets)


DEFAULT_DEADLINES = (Deadline(assets=("raw_ticks/*", "candles/*"), by=dt.time(10)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """Everything an installation decides about alerts; without notifiers nobody is told.

    Attributes:
        notifiers: By name.
        routes: In order: the first that takes an incident decides. What none takes goes to all
            notifiers: something forgotten in the routes is heard too loud rather than not at all.
        quiet_hours: When to be quiet; None for never.
        group_within_s: Seconds to wait for more of the same group.
        remind_after_s: Seconds after which what is still wrong is told again; None for never.
        deadlines: In order: the first about an asset decides; what none is about is never late.
        forget_after_days: Days that a closed incident is remembered, so that a late signal does
            not open it again.
        ui: Where the pages are that links lead to.

    Example:
        >>> AlertPolicy().deadline("candles/1m"), AlertPolicy().deadline("instruments")
        (datetime.time(10, 0), None)
    """

    notifiers: Mapping[str, NotifierSpec] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    quiet_hours: QuietHours | None = None
    group_within_s: int = DEFAULT_GROUP_WITHIN_S
    remind_after_s: int | None = None
    deadlines: tuple[Deadline, ...] = DEFAULT_DEADLINES
    forget_after_days: int = DEFAULT_FORGET_AFTER_DAYS
    ui: str = DEFAULT_UI

    def recipients(self, kind: IncidentKind, group: str, urgency: Urgency) -> tuple[str, ...]:
        """Names of the notifiers that hear of such an incident."""
        for route in self.routes:
            if route.takes(kind, group, urgency):
                return route.notify
        return tuple(self.notifiers)

    def holds(self, urgency: Urgency, now_us: int) -> bool:
        """Quiet hours make it wait now."""
        return self.quiet_hours is not None and self.quiet_hours.holds(urgency, now_us)

    def deadline(self, asset: str) -> dt.time | None:
        """UTC time of day by which yesterday's partitions have to be there; None for none."""
        return next((line.by for line in self.deadlines if line.is_about(asset)), None)

    def address(self, link: str) -> str:
        """The address of a page; empty where there is none."""
        return f"{self.ui.rstrip('/')}/{link.lstrip('/')}" if link else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every environment variable that it names."""
        named = (name for spec in self.notifiers.values() for name in spec.secrets)
        return tuple(dict.fromkeys(named))

    @property
    def text(self) -> str:
        """The policy as the text that the variable takes; empty for the default."""
        if self == AlertPolicy():
            return ""
        return json.dumps(_record(self))


def is_at_least(urgency: Urgency, least: Urgency) -> bool:
    """The first is as urgent as the second, or more."""
    return _RANK[urgency] >= _RANK[least]


def more_urgent(first: Urgency, second: Urgency) -> Urgency:
    """The higher of the two."""
    return first if is_at_least(first, second) else second


def _record(policy: AlertPolicy) -> dict[str, object]:
    record: dict[str, object] = {
        "notifiers": {name: _notifier(spec) for name, spec in policy.notifiers.items()},
        "routes": [_route(route) for route in policy.routes],
        "group_within_s": policy.group_within_s,
        "remind_after_s": policy.remind_after_s,
        "deadlines": [
            {"assets": list(line.assets), "by": f"{line.by:%H:%M}"} for line in policy.deadlines
        ],
        "forget_after_days": policy.forget_after_days,
        "ui": policy.ui,
    }
    if policy.quiet_hours is not None:
        record["quiet_hours"] = _quiet(policy.quiet_hours)
    return record


def _notifier(spec: NotifierSpec) -> dict[str, object]:
    named: dict[str, object] = {
        "url_env": spec.url_env,
        "secret_env": spec.secret_env,
        "host": spec.host,
        "port": spec.port,
        "from": spec.sender,
        "to": list(spec.recipients),
        "user_env": spec.user_env,
        "password_env": spec.password_env,
        "path": spec.path,
    }
    if spec.type is NotifierType.EMAIL:
        named["security"] = spec.security.value
    if spec.type is not NotifierType.FILE:
        named["timeout_s"] = spec.timeout_s
    return {"type": spec.type.value} | {name: value for name, value in named.items() if value}


def _route(route: Route) -> dict[str, object]:
    lists: dict[str, Sequence[str]] = {
        "kinds": route.kinds,
        "venues": route.venues,
        "groups": route.groups,
    }
    named = {name: [str(item) for item in items] for name, items in lists.items() if items}
    return {**named, "urgency": route.urgency.value, "notify": list(route.notify)}


def _quiet(quiet: QuietHours) -> dict[str, object]:
    return {
        "timezone": quiet.timezone,
        "from": f"{quiet.start:%H:%M}",
        "to": f"{quiet.end:%H:%M}",
        "weekdays": list(quiet.weekdays),
        "breaks_through": quiet.breaks_through.value if quiet.breaks_through else "nothing",
    }
