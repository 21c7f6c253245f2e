"""A run that takes some of a raw partition's instruments, and leaves the others visibly missing.

What belongs here: which instruments such a run takes, and what the manifest says of the others.
What does not: the plan of files (`planning.py`). A file that holds several instruments comes whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.nearest import did_you_mean

ALIASES = {"PERP": InstrumentType.PERPETUAL, "SPOT": InstrumentType.SPOT_PAIR}
"""Other names that people give to instrument types."""


class _Instrument(Protocol):
    @property
    def instrument_key(self) -> str: ...

    @property
    def instrument_type(self) -> str: ...


_T = TypeVar("_T", bound=_Instrument)


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a run takes of a raw partition.

    Attributes:
        instrument_types: Types that are taken; all where empty.
        max_instruments: The first so many of them in the order of their keys; 0 for all. The
            choice depends on the universe alone, so that a second run takes the same ones.
    """

    instrument_types: frozenset[InstrumentType] = frozenset()
    max_instruments: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative number.

        Raises:
            InvalidInput: it is one.
        """
        if self.max_instruments < 0:
            raise InvalidInput(
                "the number of instruments",
                "negative",
                was=self.max_instruments,
                expected="1 or more, or 0 for all",
                remedy="Leave it out for all",
            )

    @property
    def is_none(self) -> bool:
        """Everything is taken."""
        return not (self.instrument_types or self.max_instruments)

    @property
    def reason(self) -> str:
        """What the manifest says of an instrument that was left out.

        Example:
            >>> Restriction(frozenset({InstrumentType.OPTION}), 5).reason
            'left out by a run that was restricted to OPTION, 5 instruments'
        """
        parts = [", ".join(sorted(self.instrument_types))] if self.instrument_types else []
        if self.max_instruments:
            parts.append(f"{self.max_instruments} instruments")
        return f"left out by a run that was restricted to {', '.join(parts)}"

    def chosen(self, instruments: Iterable[_T]) -> Sequence[_T]:
        """The instruments that are taken, in the order of their keys."""
        some = [
            item
            for item in instruments
            if not self.instrument_types or item.instrument_type in self.instrument_types
        ]
        some.sort(key=lambda item: item.instrument_key)
        return some[: self.max_instruments] if self.max_instruments else some


def parse_instrument_type(text: str) -> InstrumentType:
    """The instrument type of that name, in any letter case; `PERP` is `PERPETUAL`.

    Raises:
        InvalidInput: no such type; the message lists them all.

    Example:
        >>> parse_instrument_type("perp"), parse_instrument_type("option")
        (<InstrumentType.PERPETUAL: 'PERPETUAL'>, <InstrumentType.OPTION: 'OPTION'>)
    """
    names = {kind.value: kind for kind in InstrumentType} | ALIASES
    found = names.get(text.strip().upper())
    if found is None:
        raise InvalidInput(
            f"'{text}'",
            "not an instrument type",
            expected=f"one of {', '.join(InstrumentType)}",
            remedy=did_you_mean(text, names, otherwise="Use a name from the list"),
        )
    return found
