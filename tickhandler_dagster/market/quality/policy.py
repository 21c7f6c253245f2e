"""How an installation takes states and broken rules: error, warning, or not at all.

What belongs here: the policy as a value, its defaults, and reading it from what YAML gives. What
does not: states (`market/states.py`), rules (`rules.py`) and what a check does with a verdict
(`checks/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.quality.rules import RULES, RuleName, Severity
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId, parse_venue

VARIABLE = "QUALITY_POLICY"


class Verdict(StrEnum):
    """How something is taken."""

    ERROR = "error"
    WARNING = "warning"
    IGNORE = "ignore"


DEFAULT_OF_STATE: Mapping[DataState, Verdict] = MappingProxyType(
    {
        DataState.PRESENT: Verdict.IGNORE,
        DataState.EMPTY: Verdict.IGNORE,
        DataState.NOT_LISTED: Verdict.IGNORE,
        DataState.NOT_EXPORTED_YET: Verdict.WARNING,
        DataState.NO_ENTITLEMENT: Verdict.WARNING,
        DataState.INCIDENT: Verdict.WARNING,
        DataState.FAILED: Verdict.ERROR,
        DataState.QUARANTINED: Verdict.ERROR,
        DataState.PARTIAL: Verdict.WARNING,
        DataState.NOT_INGESTED: Verdict.WARNING,
    }
)

DEFAULT_OF_SEVERITY: Mapping[Severity, Verdict] = MappingProxyType(
    {
        Severity.FAIL: Verdict.ERROR,
        Severity.QUARANTINE: Verdict.WARNING,
        Severity.WARN: Verdict.WARNING,
        Severity.INFO: Verdict.IGNORE,
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a verdict is about; None where it is about no single type.

    Attributes:
        venue: Tardis exchange id.
        data_type: Data type; None for universes and bars.
        instrument_type: Class of the instrument; None for what concerns all of them.
    """

    venue: VenueId
    data_type: DataType | None = None
    instrument_type: InstrumentType | None = None


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A line of the policy: empty lists match everything, and states and rules one another not.

    Attributes:
        verdict: How it is taken.
        venues: On these venues.
        data_types: For these data types.
        instrument_types: For these classes of instruments.
        states: For these states.
        rules: For these rules.
    """

    verdict: Verdict
    venues: tuple[VenueId, ...] = ()
    data_types: tuple[DataType, ...] = ()
    instrument_types: tuple[InstrumentType, ...] = ()
    states: tuple[DataState, ...] = ()
    rules: tuple[RuleName, ...] = ()

    def is_about(self, subject: Subject) -> bool:
        """The subject is one of its venues, data types and instrument types."""
        return (
            _matches(self.venues, subject.venue)
            and _matches(self.data_types, subject.data_type)
            and _matches(self.instrument_types, subject.instrument_type)
        )

    def takes_state(self, state: DataState) -> bool:
        """It speaks of the state: lists it, or lists neither states nor rules."""
        return state in self.states or not (self.states or self.rules)

    def takes_rule(self, rule: RuleName) -> bool:
        """It speaks of the rule: lists it, or lists neither states nor rules."""
        return rule in self.rules or not (self.states or self.rules)


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """The lines in order: the first that speaks of something decides, else the default does.

    Example:
        >>> policy = parse_policy([{"venues": "deribit", "states": "partial", "verdict": "error"}])
        >>> policy.of_state(Subject(VenueId.DERIBIT, DataType.TRADES), DataState.PARTIAL).value
        'error'
    """

    rules: tuple[PolicyRule, ...] = ()

    def of_state(self, subject: Subject, state: DataState) -> Verdict:
        """How the state is taken there."""
        for rule in self.rules:
            if rule.is_about(subject) and rule.takes_state(state):
                return rule.verdict
        return DEFAULT_OF_STATE[state]

    def of_rule(self, subject: Subject, broken: RuleName) -> Verdict:
        """How a broken rule is taken there."""
        for rule in self.rules:
            if rule.is_about(subject) and rule.takes_rule(broken):
                return rule.verdict
        return DEFAULT_OF_SEVERITY[RULES[broken].severity]

    @property
    def text(self) -> str:
        """The policy as the text that the variable takes; empty for the default."""
        lines = [
            {
                name: [str(item) for item in getattr(rule, name)]
                for name in _LISTS
                if getattr(rule, name)
            }
            | {"verdict": rule.verdict.value}
            for rule in self.rules
        ]
        return json.dumps(lines) if lines else ""


_LISTS: Mapping[str, Any] = MappingProxyType(
    {
        "venues": parse_venue,
        "data_types": parse_data_type,
        "instrument_types": InstrumentType,
        "states": DataState,
        "rules": RuleName,
    }
)


def parse_policy(value: object) -> QualityPolicy:
    """The policy of a YAML list or of the JSON text of a variable; nothing is the default.

    Raises:
        InvalidSetting: a line is no mapping, names something unknown, or has no verdict.
    """
    if isinstance(value, QualityPolicy):
        return value
    if value is None or value == "":
        return QualityPolicy()
    lines = _decoded(value) if isinstance(value, str) else value
    if not isinstance(lines, Sequence) or isinstance(lines, str):
        raise _wrong(str(value), "a list of mappings")
    return QualityPolicy(tuple(_line(number, line) for number, line in enumerate(lines, start=1)))


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _wrong(text, "a YAML list in the file, or JSON in the variable") from error


def _line(number: int, line: object) -> PolicyRule:
    known = (*_LISTS, "verdict")
    if not isinstance(line, Mapping) or not set(line) <= set(known):
        raise _wrong(f"line {number}: {line}", f"a mapping with {', '.join(known)}")
    if line.get("verdict") not in set(Verdict):
        raise _wrong(f"line {number}: {line.get('verdict')}", f"verdict: {', '.join(Verdict)}")
    lists = {name: tuple(_items(number, name, line[name])) for name in _LISTS if name in line}
    return PolicyRule(verdict=Verdict(line["verdict"]), **lists)


def _items(number: int, name: str, value: object) -> Sequence[Any]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence):
        raise _wrong(f"line {number}: {name} {value}", "a name or a list of names")
    try:
        return [_LISTS[name](item) for item in items]
    except (ValueError, InvalidInput) as error:
        raise _wrong(f"line {number}: {name} {items}", f"known {name}") from error


def _wrong(was: str, expected: str) -> InvalidSetting:
    return InvalidSetting(
        VARIABLE, "not valid", was=was, expected=expected, remedy="See docs/completeness.md"
    )


def _matches(listed: Sequence[object], value: object) -> bool:
    return not listed or value in listed
