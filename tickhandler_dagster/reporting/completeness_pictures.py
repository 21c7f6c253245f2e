"""The picture of a cell's completeness: instruments down, data types across, states as colours.

What belongs here: drawing. Which instruments come first is the caller's choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.reporting.pictures import (
    MAX_LABELLED,
    STATE_COLOURS,
    as_png,
    blank_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DRAWN = 1000
"""Instruments that get a line of pixels of their own; further ones are not drawn."""

NOT_OFFERED = "#C8C8C8"
"""Neither state nor white: white is the colour of data that nobody asked for."""

_LINE = 0.0135  # inches: a little more than one pixel, so that no line falls between two


def draw_completeness(
    title: str,
    data_types: Sequence[str],
    instruments: Sequence[tuple[str, Sequence[DataState | None]]],
) -> bytes:
    """A matrix in the colours of the states, with a legend of counts, as PNG.

    Args:
        title: Heading.
        data_types: Columns.
        instruments: A label and a state per column; None where the vendor offers no such data. Up
            to `MAX_LABELLED` of them are labelled, the first `MAX_DRAWN` are drawn, all are
            counted.
    """
    drawn = instruments[:MAX_DRAWN]
    is_labelled = len(instruments) <= MAX_LABELLED
    height = max(len(drawn) * (0.17 if is_labelled else _LINE), 1.0)
    figure, (axes,) = blank_figure(width=7.0, height=1.6 + height, charts=1)
    if drawn:
        pixels = [[_rgb(state) for state in states] for _, states in drawn]
        axes.imshow(np.array(pixels, dtype=np.uint8), aspect="auto", interpolation="nearest")
    # Outside, or the frame would lie over the first and worst line.
    axes.spines[:].set_position(("outward", 2))
    axes.set_title(title, fontsize=10)
    axes.set_xticks(range(len(data_types)), data_types, fontsize=7, rotation=20, ha="right")
    if is_labelled:
        labels = [label for label, _ in drawn]
        axes.set_yticks(range(len(drawn)), labels, fontsize=7)
    else:
        hidden = len(instruments) - len(drawn)
        rest = f", {hidden:,} more not drawn" if hidden else ""
        axes.set_yticks([])
        axes.set_ylabel(f"{len(drawn):,} instruments, the worst on top{rest}", fontsize=8)
    # Lines between the columns: a state that all columns share is still a matrix.
    for edge in range(1, len(data_types)):
        axes.axvline(edge - 0.5, color="#FFFFFF", linewidth=2)
    _add_legend(figure, Counter(state for _, states in instruments for state in states))
    return as_png(figure)


def _add_legend(figure: Figure, counts: Mapping[DataState | None, int]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415  (slow import)

    shown = [state for state in (*DataState, None) if counts[state]]
    figure.legend(
        handles=[
            Patch(
                facecolor=NOT_OFFERED if state is None else STATE_COLOURS[state],
                edgecolor="#808080",
                linewidth=0.5,
                label=f"{state or 'not offered'} {counts[state]:,}",
            )
            for state in shown
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )


def _rgb(state: DataState | None) -> tuple[int, int, int]:
    text = NOT_OFFERED if state is None else STATE_COLOURS[state]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
