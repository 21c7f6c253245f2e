"""Small pictures of a day: which instruments are there, and what their prices did.

What belongs here: drawing. Which numbers are drawn is decided by the caller. Matplotlib is imported
where it is used and driven through figures alone, so that threads of one process do not share a
drawing state.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.states import DataState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELLED = 48
MAX_CHARTS = 6
# Inches of a picture of states: its width, what is free at both sides and above the tiles.
_STATES_WIDTH, _MARGIN, _HEADING = 7.0, 0.1, 0.35
# Inches of a picture of prices: free at each side, and between charts for their labels.
_PRICES_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 8.0, 0.7, 0.15, 0.5, 0.75
_BETWEEN_COLUMNS, _BETWEEN_ROWS = 0.8, 0.65
# Share of bars with a trade below which each close is marked: steps alone would hide how few.
SPARSE = 0.5

PRICE_COLOUR = "#0072B2"
VOLUME_COLOUR = "#A9C1D6"

# Okabe and Ito's palette: told apart with any colour vision. Green is the state nobody has to look
# at.
STATE_COLOURS: Mapping[DataState, str] = MappingProxyType(
    {
        DataState.PRESENT: "#009E73",
        DataState.EMPTY: "#B8E0D2",
        DataState.NOT_LISTED: "#E5E5E5",
        DataState.NOT_EXPORTED_YET: "#56B4E9",
        DataState.NO_ENTITLEMENT: "#F0E442",
        DataState.INCIDENT: "#E69F00",
        DataState.FAILED: "#D55E00",
        DataState.QUARANTINED: "#CC79A7",
        DataState.PARTIAL: "#9AD14B",
        DataState.NOT_INGESTED: "#FFFFFF",
    }
)


@dataclass(frozen=True, slots=True)
class PriceChart:
    """The bars of one instrument to be drawn.

    Attributes:
        title: The instrument's key.
        bars: Columns ts_open, close, notional and gap_ms, in time order; nulls are not drawn.
    """

    title: str
    bars: pl.DataFrame


def draw_states(title: str, states: Sequence[tuple[str, DataState]]) -> bytes:
    """A tile per instrument in the colour of its state, with a legend of counts, as PNG.

    Args:
        title: Heading.
        states: (label, state) pairs; with more than `MAX_LABELLED` of them the tiles carry no text.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow import)
    from matplotlib.patches import Patch, Rectangle  # noqa: PLC0415  (slow import)

    is_labelled = len(states) <= MAX_LABELLED
    columns = 3 if is_labelled else max(24, math.ceil(math.sqrt(len(states) * 3)))
    rows = max(1, math.ceil(len(states) / columns))
    width, height = _STATES_WIDTH, 1.2 + rows * (0.28 if is_labelled else 0.16)
    # No axes and no layout: a backfill draws thousands of these, and both take longer than tiles.
    figure = Figure(figsize=(width, height), dpi=80)
    step = (1 - 2 * _MARGIN / width) / columns
    tile = (height - 1.2) / rows / height
    for place, (label, state) in enumerate(states):
        row, column = divmod(place, columns)
        left = _MARGIN / width + column * step
        bottom = 1 - _HEADING / height - (row + 1) * tile
        figure.add_artist(
            Rectangle(
                *((left + 0.02 * step, bottom + 0.06 * tile), 0.96 * step, 0.88 * tile),
                color=STATE_COLOURS[state],
                transform=figure.transFigure,
            )
        )
        if is_labelled:
            figure.text(left + 0.05 * step, bottom + 0.5 * tile, label, fontsize=7, va="center")
    figure.text(0.5, 1 - 0.5 * _HEADING / height, title, fontsize=12, ha="center", va="center")
    counts = Counter(state for _, state in states)
    figure.legend(
        handles=[
            Patch(color=STATE_COLOURS[state], label=f"{state} {counts[state]}")
            for state in DataState
            if counts[state]
        ],
        loc="lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    return as_png(figure)


def draw_prices(title: str, charts: Sequence[PriceChart]) -> bytes:
    """Price line over notional bars for up to `MAX_CHARTS` instruments, gaps shaded, as PNG."""
    from matplotlib.patches import Patch  # noqa: PLC0415  (slow import)

    shown = list(charts[:MAX_CHARTS])
    height = 1.1 + 1.8 * math.ceil(len(shown) / 2)
    figure, all_axes = blank_figure(
        width=_PRICES_WIDTH, height=height, charts=len(shown), layout=None
    )
    for axes, chart in zip(all_axes, shown, strict=True):
        _draw_chart(axes, chart)
    _arrange(figure, len(shown))
    figure.suptitle(title, fontsize=10, y=1 - 0.04 / height, va="top")
    meanings = {
        PRICE_COLOUR: "close, in the price unit of the instrument",
        VOLUME_COLOUR: "notional per bar, own scale",
        STATE_COLOURS[DataState.INCIDENT]: "vendor gap",
    }
    figure.legend(
        handles=[Patch(color=colour, label=label) for colour, label in meanings.items()],
        loc="lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return as_png(figure)


def _arrange(figure: Figure, charts: int) -> None:
    """Charts at places that are known: a layout that looks for them draws everything twice."""
    width, height = figure.get_size_inches()
    rows, columns = _rows_and_columns(charts)
    free = width - _LEFT - _RIGHT - (columns - 1) * _BETWEEN_COLUMNS
    high = height - _TOP - _BOTTOM - (rows - 1) * _BETWEEN_ROWS
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1 - _RIGHT / width,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        wspace=_BETWEEN_COLUMNS / (free / columns),
        hspace=_BETWEEN_ROWS / (high / rows),
    )


def _draw_chart(axes: Axes, chart: PriceChart) -> None:
    hours = chart.bars.get_column("ts_open").dt.epoch("us").to_numpy() / 3_600e6 % 24
    width = 0.8 * (hours[1] - hours[0]) if len(hours) > 1 else 0.8
    volume = axes.twinx()
    # One filled outline: a rectangle per bar takes a second for six charts.
    volume.fill_between(
        hours, numbers(chart.bars, "notional"), step="post", color=VOLUME_COLOUR, lw=0, zorder=1
    )
    volume.set_yticks([])
    # Bars without a trade have no close, and a line with holes shows nothing where no two closes
    # are neighbours: the line steps from one trade to the next.
    close = numbers(chart.bars, "close")
    is_traded = np.isfinite(close)
    axes.plot(
        *(hours[is_traded], close[is_traded]),
        color=PRICE_COLOUR,
        linewidth=0.9,
        drawstyle="steps-post",
        marker="." if is_traded.mean() < SPARSE else None,
        markersize=3,
        zorder=3,
    )
    for hour in hours[numbers(chart.bars, "gap_ms") > 0]:
        axes.axvspan(hour, hour + width, color=STATE_COLOURS[DataState.INCIDENT], alpha=0.3, lw=0)
    axes.set_zorder(volume.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.set_title(chart.title, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set(xlim=(0, 24), xticks=range(0, 25, 6))
    axes.set_xlabel("hour, UTC", fontsize=7)


def numbers(bars: pl.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column to be drawn, nulls as NaN: they are not drawn."""
    return bars.get_column(column).cast(pl.Float64).fill_null(float("nan")).to_numpy()


def blank_figure(
    *,
    width: float,
    height: float,
    charts: int,
    layout: Literal["constrained"] | None = "constrained",
) -> tuple[Figure, list[Axes]]:
    """A figure with room for that many charts, two side by side, and their axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow import)

    figure = Figure(figsize=(width, height), dpi=80, layout=layout)
    grid = figure.subplots(*_rows_and_columns(charts), squeeze=False)
    flat = list(grid.flat)
    for axes in flat[charts:]:
        axes.axis("off")
    return figure, flat[:charts]


def _rows_and_columns(charts: int) -> tuple[int, int]:
    return (math.ceil(charts / 2), 2) if charts > 1 else (1, 1)


def as_png(figure: Figure) -> bytes:
    """The figure as PNG with 64 colours: an event row of the database carries the picture.

    Chosen for coverage: the median cut takes a colour that only the legend has for its neighbour.
    """
    from PIL import Image  # noqa: PLC0415  (slow import)

    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png")
    with Image.open(full) as image:
        image.convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE).save(
            small, format="png", optimize=True
        )
    return small.getvalue()
