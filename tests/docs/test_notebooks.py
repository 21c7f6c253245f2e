"""The notebooks run from top to bottom over a demo's lake, and are kept without what they gave."""

import ast
import json
from pathlib import Path

import polars as pl
import pytest

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.reporting.plots import (
    Plot,
    plot_candles,
    plot_completeness,
    plot_smile,
)

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def run(notebook):
    """What the last line of each cell gives, as a notebook would show it."""
    names, shown = {"__name__": notebook.stem}, []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook.name, "exec"), names)  # noqa: S102  (the repository's own)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), notebook.name, "eval"), names))  # noqa: S307  (the same)
    return shown


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_a_notebook_runs_and_shows_tables_and_a_plot(notebook, desk):
    (desk / "elsewhere").mkdir()
    shown = run(notebook)
    assert all(isinstance(one, (Plot, pl.DataFrame)) for one in shown)
    (plot,) = (one for one in shown if isinstance(one, Plot))
    assert plot._repr_png_().startswith(b"\x89PNG")
    plot.save(desk / "plot.svg")
    assert (desk / "plot.svg").stat().st_size > 10_000


def test_there_are_three_without_outputs():
    cells = [
        cell
        for file in NOTEBOOKS
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert len(NOTEBOOKS) == 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def bars(**changes):
    times = pl.datetime_range(
        pl.datetime(2024, 8, 8, time_zone="UTC"),
        pl.datetime(2024, 8, 8, 3, time_zone="UTC"),
        interval="1h",
        closed="left",
        eager=True,
    )
    frame = pl.DataFrame(
        {
            "instrument_key": ["A:SPOT_PAIR:B-C"] * 3,
            "ts_open": times,
            "open": [1.0, None, 2.0],
            "high": [3.0, None, 2.0],
            "low": [1.0, None, 1.0],
            "close": [2.0, None, 1.0],
            "volume": [5.0, 0.0, None],
            "gap_ms": [0.0, 0.0, 60_000.0],
            "is_final": [True, True, False],
        }
    )
    return frame.with_columns(ts_close=pl.col("ts_open") + pl.duration(hours=1), **changes)


def test_candles_have_a_body_for_a_trade_and_a_shade_for_a_hole():
    prices, volume = plot_candles(bars()).figure.axes
    bodies = [patch for patch in prices.patches if patch.get_width() < 0.03]
    shades = [patch for patch in prices.patches if patch.get_width() > 0.04]
    assert sorted((body.get_y(), body.get_height()) for body in bodies) == [(1.0, 1.0), (2.0, -1.0)]
    assert {body.get_alpha() for body in bodies} == {1.0, 0.35}
    assert len(shades) == 1
    assert max(patch.get_height() for patch in volume.patches) == 5.0


def test_a_feature_has_a_panel_and_a_break_where_it_is_null():
    plot = plot_candles(bars(x=pl.Series([1.0, None, 3.0])), features=["x"], title="T")
    (line,) = plot.figure.axes[1].lines
    assert line.get_ydata().tolist()[::2] == [1.0, 3.0]
    assert str(line.get_ydata()[1]) == "nan"
    assert plot.figure.get_suptitle() == "T"


def test_candles_of_two_instruments_are_refused():
    with pytest.raises(InvalidInput, match="of several instruments"):
        plot_candles(bars(instrument_key=pl.Series(["a", "b", "b"])))


def test_completeness_counts_listed_instruments_alone():
    day = pl.date(2024, 8, 8)
    states = ["present", "partial", "failed", "not_listed", "not_listed"]
    rows = pl.DataFrame({"state": states, "data_type": ["trades"] * 4 + ["quotes"]})
    axes = plot_completeness(rows.with_columns(date=day)).figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["2/3"]
    assert axes.images[0].get_array().filled(-1).ravel().tolist() == [0.5, -1]


def test_a_smile_takes_the_last_row_and_options_out_of_the_money():
    moment = pl.datetime(2024, 8, 8, time_zone="UTC")
    chain = pl.DataFrame(
        [
            ("a", "call", 110.0, 60.0, 1),
            ("a", "call", 110.0, 70.0, 2),
            ("b", "put", 90.0, 80.0, 1),
            ("c", "put", 120.0, 99.0, 1),
            ("d", "call", 130.0, 0.0, 1),
        ],
        schema=["instrument_key", "type", "strike_price", "mark_iv", "second"],
        orient="row",
    ).with_columns(
        local_timestamp=moment + pl.duration(seconds="second"),
        expiration=moment + pl.duration(days=7),
        underlying_price=pl.lit(100.0),
    )
    axes = plot_smile(chain).figure.axes[0]
    assert axes.lines[0].get_ydata().tolist() == [80.0, 70.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2024-08-15"]
    assert plot_smile(chain.clear()).figure.axes[0].get_legend() is None
