"""A small picture of a day's option surfaces: the term structure of volatility over the day.

What belongs here: drawing. Which surfaces are drawn is decided by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.reporting.pictures import MAX_CHARTS, as_png, blank_figure, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "atm_mark_iv": ("front expiry", "#999999"),
        "atm_iv_7d": ("7 days", "#56B4E9"),
        "atm_iv_30d": ("30 days", "#0072B2"),
        "atm_iv_60d": ("60 days", "#009E73"),
        "atm_iv_90d": ("90 days", "#E69F00"),
        "put_iv_25d_30d": ("25 delta put, 30 days", "#D55E00"),
        "call_iv_25d_30d": ("25 delta call, 30 days", "#CC79A7"),
    }
)
"""Drawn columns, each with its meaning and colour."""


@dataclass(frozen=True, slots=True)
class SurfaceChart:
    """The surface of one underlying to be drawn.

    Attributes:
        title: Name of the underlying.
        rows: Column ts_open and those of `LINES`, in time order; nulls are not drawn.
    """

    title: str
    rows: pl.DataFrame


def draw_surfaces(title: str, charts: Sequence[SurfaceChart]) -> bytes:
    """Volatilities over the day for up to `MAX_CHARTS` underlyings, as PNG."""
    from matplotlib.lines import Line2D  # noqa: PLC0415  (slow import)

    shown = list(charts[:MAX_CHARTS])
    height = 1.3 + 1.9 * math.ceil(len(shown) / 2)
    figure, all_axes = blank_figure(width=8.0, height=height, charts=len(shown))
    for axes, chart in zip(all_axes, shown, strict=False):
        _draw_chart(axes, chart)
    figure.suptitle(title, fontsize=10)
    figure.legend(
        handles=[Line2D([], [], color=colour, label=label) for label, colour in LINES.values()],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    return as_png(figure)


def _draw_chart(axes: Axes, chart: SurfaceChart) -> None:
    opens = chart.rows.get_column("ts_open").dt.epoch("us").to_numpy()
    for name, (_, colour) in LINES.items():
        axes.plot(
            opens / 3_600e6 % 24, 100 * numbers(chart.rows, name), color=colour, linewidth=0.9
        )
    axes.set_title(chart.title, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set(xlim=(0, 24), xticks=range(0, 25, 6))
    axes.set_xlabel("hour, UTC", fontsize=7)
    axes.set_ylabel("% a year", fontsize=7)
