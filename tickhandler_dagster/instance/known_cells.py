"""Cells of a grid, told from other texts: each day and each venue is looked at once.

What belongs here: whether a text names a cell. What does not: what is known of the cell
(`check_states`, `grid_states`).

Dagster reads a day's text and walks its calendar for every cell, fourteen times for as many venues.
Taking all texts apart first and looking at the set of days was tried: as many lists alive at once
cost the garbage collector four times what the looks take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg
from dagster._core.definitions.partitions.utils.multi import MULTIPARTITION_KEY_DELIMITER


class Verdicts:
    """What was said of each day and each venue so far, by the definition that said it.

    Made anew for each question, as days are added; shared by the grids that are asked about at
    once, which have their days in common.
    """

    def __init__(self) -> None:
        self._of: dict[dg.PartitionsDefinition, _Verdict] = {}

    def of(self, definition: dg.PartitionsDefinition) -> Mapping[str, bool]:
        """Whether a text is one of its keys; it is asked once for each."""
        if definition not in self._of:
            self._of[definition] = _Verdict(definition.has_partition_key)
        return self._of[definition]


class KnownCells:
    """The cells of a grid as they are now.

    Args:
        grid: Of two dimensions, as every grid of Dagster's.
        verdicts: What was said already.
    """

    def __init__(self, grid: dg.MultiPartitionsDefinition, verdicts: Verdicts) -> None:
        self._first, self._second = (
            verdicts.of(one.partitions_def) for one in grid.partitions_defs
        )

    def __contains__(self, text: str) -> bool:
        first, delimiter, second = text.partition(MULTIPARTITION_KEY_DELIMITER)
        return bool(delimiter) and self._first[first] and self._second[second]


class _Verdict(dict[str, bool]):
    """Asks where nothing was said yet."""

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_known = is_known

    def __missing__(self, text: str) -> bool:
        verdict = self[text] = self._is_known(text)
        return verdict
