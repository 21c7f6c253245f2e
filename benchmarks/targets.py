"""The three targets and whether they hold in this run.

What does not belong here: why they are what they are (the project's measured facts, README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contenders import LIMIT, OURS, PANDAS2, PANDAS3, Contender, Task
from rounds import Row, found


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the CPU-seconds of ours against another's.

    Attributes:
        task: Of what.
        other: Against whom.
        at_most: Bound of ours / other; None where the other side is bounded.
        at_least: Bound of other / ours.
        is_goal: It is one of the three; the others are told beside them.
    """

    task: Task
    other: Contender
    at_most: float | None = None
    at_least: float | None = None
    is_goal: bool = True


TARGETS = (
    Target(Task.INGEST, LIMIT, at_most=14),
    Target(Task.INGEST, PANDAS2, at_least=3),
    Target(Task.CANDLES, PANDAS2, at_least=8),
    Target(Task.INGEST, PANDAS3, at_least=3, is_goal=False),
    Target(Task.CANDLES, PANDAS3, at_least=8, is_goal=False),
)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A sentence per target: the bound, the measured value, whether it holds."""
    return [_verdict(target, rows) for target in TARGETS]


def _verdict(target: Target, rows: Sequence[Row]) -> str:
    ours, other = found(rows, OURS, target.task), found(rows, target.other, target.task)
    if ours is None or other is None:
        return f"  ?    {target.task} against {target.other.label}: not measured"
    ratio = ours.median("cpu_s") / other.median("cpu_s")
    if target.at_most is not None:
        text = f"{ratio:.1f} x {other.label} (target: at most {target.at_most:g} x)"
        holds = ratio <= target.at_most
    else:
        bound = target.at_least or 0.0
        text = f"{1 / ratio:.1f} x less than {other.label} (target: at least {bound:g} x)"
        holds = 1 / ratio >= bound
    mark = "holds" if holds else "MISSED"
    aside = "" if target.is_goal else " - not one of the three"
    return f"  {mark:7}{target.task}: {text}{aside}"
