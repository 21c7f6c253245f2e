"""Plots for notebooks of what the reader gives: candles, completeness, a volatility smile.

What belongs here: drawing the reader's frames at a size for a person. What does not: the small
pictures in a partition's metadata (`pictures.py` and its like), reading.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.reporting.pictures import (
    PRICE_COLOUR,
    STATE_COLOURS,
    VOLUME_COLOUR,
    numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RISING, FALLING = "#009E73", "#D55E00"

_PRICES = ("open", "high", "low", "close")
_CHAIN = ("instrument_key", "local_timestamp", "type", "strike_price", "expiration", "mark_iv")
# Share of the panel's height that volume takes, below the prices.
_VOLUME_SHARE = 0.25


class Plot:
    """A figure that notebooks show by themselves; `figure` is Matplotlib's, to be changed.

    Args:
        figure: What was drawn.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def png(self) -> bytes:
        """The picture as PNG."""
        held = io.BytesIO()
        self.figure.savefig(held, format="png")
        return held.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it in the format that the file's name ends with."""
        self.figure.savefig(path)

    _repr_png_ = png  # the name by which notebooks ask for it


def plot_candles(bars: pl.DataFrame, *, features: Sequence[str] = (), title: str = "") -> Plot:
    """Candles of one instrument over their volume, and a panel for each feature below.

    Bars with a hole in their data are shaded, provisional ones are pale; bars without a trade have
    no body. A feature that is null is not drawn, so that a line with a break is a fact.

    Args:
        bars: What `MarketData.candles` gives: prices, `ts_open`, `ts_close`; `volume`, `gap_ms` and
            `is_final` are drawn where they are there.
        features: Columns of `bars`, a panel each.
        title: Heading; the instrument's key where it is empty.

    Raises:
        InvalidInput: a column is missing, or there are several instruments.

    Example:
        >>> plot_candles(pl.DataFrame({"ts_open": []}))
        Traceback (most recent call last):
        ...
        tickhandler_dagster.market.errors.InvalidInput: columns to be plotted: not there \
(was ts_open; expected ts_open, ts_close, open, high, low, close). Ask the reader for them.
    """
    _require(bars, ("ts_open", "ts_close", *_PRICES, *features))
    keys = bars["instrument_key"].unique().to_list() if "instrument_key" in bars.columns else []
    if len(keys) > 1:
        raise InvalidInput(
            "bars to be plotted",
            "of several instruments",
            was=len(keys),
            expected="one",
            remedy="Filter them by instrument_key",
        )
    figure, panels = _panels([4.0, *(1.2 for _ in features)])
    _draw_candles(panels[0], bars)
    middle = (_days(bars["ts_open"]) + _days(bars["ts_close"])) / 2
    for axes, name in zip(panels[1:], features, strict=True):
        axes.plot(middle, numbers(bars, name), color=PRICE_COLOUR, linewidth=0.9)
        axes.set_title(name, fontsize=9, loc="left")
    panels[-1].set_xlabel("time, UTC", fontsize=9)
    figure.suptitle(title or " ".join(keys), fontsize=11)
    return Plot(figure)


def _draw_candles(axes: Axes, bars: pl.DataFrame) -> None:
    opened, closed = _days(bars["ts_open"]), _days(bars["ts_close"])
    middle, width = (opened + closed) / 2, 0.7 * (closed - opened)
    first, high, low, last = (numbers(bars, name) for name in _PRICES)
    is_traded = np.isfinite(last)
    colours = np.where(last >= first, RISING, FALLING)[is_traded]
    is_final = bars["is_final"].to_numpy() if "is_final" in bars.columns else True
    strength = np.where(is_final, 1.0, 0.35)[is_traded] if np.ndim(is_final) else 1.0
    place = middle[is_traded]
    axes.vlines(place, low[is_traded], high[is_traded], colors=colours.tolist(), linewidth=0.8)
    for part in np.unique(strength):
        some = strength == part if np.ndim(strength) else slice(None)
        axes.bar(
            place[some],
            (last - first)[is_traded][some],
            width[is_traded][some],
            bottom=first[is_traded][some],
            color=colours[some].tolist(),
            alpha=float(part),
        )
    if "gap_ms" in bars.columns:
        has_hole = numbers(bars, "gap_ms") > 0
        for start, end in zip(opened[has_hole], closed[has_hole], strict=True):
            axes.axvspan(start, end, color=STATE_COLOURS[DataState.INCIDENT], alpha=0.3, lw=0)
    axes.xaxis_date()
    axes.set_ylabel("price", fontsize=9)
    if "volume" in bars.columns:
        below = axes.twinx()
        volume = numbers(bars, "volume")
        below.bar(middle, np.nan_to_num(volume), width, color=VOLUME_COLOUR, zorder=0)
        below.set(ylim=(0, (np.nanmax(volume, initial=0.0) or 1.0) / _VOLUME_SHARE), yticks=[])
        axes.set_zorder(below.get_zorder() + 1)
        axes.patch.set_visible(False)


def plot_completeness(rows: pl.DataFrame, *, title: str = "completeness") -> Plot:
    """A heat map of days and data types: which share of the listed instruments is there.

    A cell says how many of how many; it is grey where nothing was listed. "There" is a verified
    file or a file that the vendor says holds no rows; one with holes is not whole and counts as
    half.

    Args:
        rows: What `MarketData.completeness` gives.
        title: Heading.

    Raises:
        InvalidInput: a column is missing.
    """
    _require(rows, ("date", "data_type", "state"))
    weight = {
        DataState.PRESENT.value: 1.0,
        DataState.EMPTY.value: 1.0,
        DataState.PARTIAL.value: 0.5,
    }
    listed = rows.filter(pl.col("state") != DataState.NOT_LISTED.value)
    worth = pl.col("state").replace_strict(weight, default=0.0, return_dtype=pl.Float64)
    cells = listed.group_by("date", "data_type").agg(
        worth.mean().alias("share"), (worth > 0).sum().alias("there"), pl.len().alias("listed")
    )
    days = rows["date"].unique().sort().to_list()
    types = rows["data_type"].unique().sort(descending=True).to_list()
    figure, (axes,) = _panels([0.9 + 0.34 * max(len(types), 2)])
    shares = np.full((len(types), len(days)), np.nan)
    for cell in cells.iter_rows(named=True):
        row, column = types.index(cell["data_type"]), days.index(cell["date"])
        shares[row, column] = cell["share"]
        if len(days) * len(types) <= 600:  # noqa: PLR2004  (more would not be legible)
            words = f"{cell['there']}/{cell['listed']}"
            is_dark = not 0.1 < cell["share"] < 0.9  # noqa: PLR2004  (the ends of the map)
            ink = "white" if is_dark else "black"
            axes.text(column, row, words, ha="center", va="center", fontsize=8, color=ink)
    axes.set_facecolor(STATE_COLOURS[DataState.NOT_LISTED])
    # Told apart with any colour vision, which red and green are not.
    image = axes.imshow(shares, cmap="RdYlBu", vmin=0, vmax=1, aspect="auto", origin="lower")
    axes.set_yticks(range(len(types)), types, fontsize=8)
    shown = range(0, len(days), max(1, len(days) // 12))
    axes.set_xticks(shown, [f"{days[place]:%Y-%m-%d}" for place in shown], fontsize=8)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0 %", "50 %", "100 %"], fontsize=8)
    figure.suptitle(title, fontsize=11)
    return Plot(figure)


def plot_smile(chain: pl.DataFrame, *, expiries: int = 6, title: str = "") -> Plot:
    """Implied volatility over moneyness, a line per expiry: the options out of the money.

    Args:
        chain: Rows of `options_chain` of one underlying, as `MarketData.ticks` gives them; of each
            instrument the last one counts, and only those with a mark volatility above 0.
        expiries: So many of them, the nearest first.
        title: Heading.

    Raises:
        InvalidInput: a column is missing.
    """
    from matplotlib.cm import viridis  # noqa: PLC0415  (slow import)

    _require(chain, (*_CHAIN, "underlying_price"))
    last = chain.sort("local_timestamp").group_by("instrument_key", maintain_order=True).last()
    moneyness = (pl.col("strike_price") / pl.col("underlying_price")).log()
    outside = ((pl.col("type") == "call") & (pl.col("money") >= 0)) | (
        (pl.col("type") == "put") & (pl.col("money") < 0)
    )
    points = (
        last.with_columns(moneyness.alias("money"))
        .filter(outside, pl.col("mark_iv") > 0, pl.col("money").is_finite())
        .sort("expiration", "money")
    )
    figure, (axes,) = _panels([4.5])
    groups = points.partition_by("expiration", maintain_order=True)[:expiries]
    for place, group in enumerate(groups):
        axes.plot(
            100 * numbers(group, "money"),
            numbers(group, "mark_iv"),
            color=viridis(place / max(1, len(groups) - 1) * 0.85),
            marker="o",
            markersize=3,
            linewidth=1.1,
            label=f"{group['expiration'][0]:%Y-%m-%d}",
        )
    axes.axvline(0, color="#8c959f", linewidth=0.8, linestyle="--")
    axes.set_xlabel("log of strike over underlying, %", fontsize=9)
    axes.set_ylabel("mark volatility, % a year", fontsize=9)
    if groups:
        axes.legend(title="expiry", fontsize=8, title_fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    return Plot(figure)


def _days(times: pl.Series) -> npt.NDArray[np.float64]:
    """Days since 1970, which is how Matplotlib counts time."""
    return times.dt.epoch("us").to_numpy() / 86_400e6


def _panels(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with panels one below the other, of these heights in inches, times in common."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow import)

    figure = Figure(figsize=(9.0, sum(heights) + 0.6), dpi=100, layout="constrained")
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
    panels = list(grid.flat)
    for axes in panels:
        axes.tick_params(labelsize=8)
    return figure, panels


def _require(frame: pl.DataFrame, names: Iterable[str]) -> None:
    wanted = list(names)
    if not set(wanted) <= set(frame.columns):
        raise InvalidInput(
            "columns to be plotted",
            "not there",
            was=", ".join(frame.columns),
            expected=", ".join(wanted),
            remedy="Ask the reader for them",
        )
