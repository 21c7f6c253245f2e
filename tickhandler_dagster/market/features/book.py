"""The book at the bar's end and on average over it.

What belongs here: the family's order. What does not: entries (`book_top.py`, `book_levels.py`,
`book_depth.py`) and the arithmetic (`market/bars`).
"""

from __future__ import annotations

from tickhandler_dagster.market.features.book_depth import DEPTH
from tickhandler_dagster.market.features.book_levels import RATIOS, STATE, TOUCH
from tickhandler_dagster.market.features.book_top import TOP_BOOK
from tickhandler_dagster.market.features.feature import Feature

LEVEL_BOOK: tuple[Feature, ...] = (*STATE, *TOUCH, *RATIOS, *DEPTH)
"""What `BookLevels` gives and what follows from it."""

BOOK: tuple[Feature, ...] = (*TOP_BOOK, *LEVEL_BOOK)
