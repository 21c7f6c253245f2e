"""The report as one HTML text: the template filled, style and scripts inside.

What belongs here: putting together. A strict content policy allows the page's own style and script
by their hashes and nothing else, so that a text that got past the escaping would still not run.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from tickhandler_dagster.market.quality.rules import RULES, RuleName
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.pipeline.completeness_reading import WHOLE_CELL
from tickhandler_dagster.pipeline.completeness_report import CompletenessReport
from tickhandler_dagster.reporting.completeness_page import figures
from tickhandler_dagster.reporting.completeness_page.payload import (
    BADNESS,
    MAX_WORST,
    head_json,
    packed,
    state_title,
)
from tickhandler_dagster.reporting.pictures import STATE_COLOURS

STATIC_WORST = 20
"""Instruments in the table that is there without scripts."""

_SCRIPTS = ("data.js", "heatmap.js", "drilldown.js", "tables.js", "main.js")


def render_page(report: CompletenessReport, *, lake: str) -> str:
    """The page; the same report and lake give the same text.

    Args:
        report: The numbers.
        lake: What to call the lake they are from, such as its root.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  (slow import)

    style = _state_colours() + _file("page.css")
    script = "\n".join(map(_file, _SCRIPTS))
    environment = Environment(
        loader=PackageLoader("tickhandler_dagster.reporting", "completeness_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=figures.count,
        large=figures.large,
        percent=figures.percent,
        size=figures.size,
        duration=figures.duration,
        title=state_title,
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        lake=lake,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        head=head_json(report),
        data=packed(report),
        states=BADNESS[::-1],
        meanings=STATE_MEANINGS,
        streams=figures.stream_rows(report),
        trend=figures.trend(report),
        worst=report.worst.head(STATIC_WORST).to_dicts(),
        max_worst=MAX_WORST,
        whole_cell=WHOLE_CELL,
        broken=[
            row | {"rule": RuleName(row["rule"]), "about": RULES[RuleName(row["rule"])]}
            for row in report.broken_rules.to_dicts()
        ],
        width=figures.TREND_WIDTH,
        height=figures.TREND_HEIGHT,
    )


def _state_colours() -> str:
    return "".join(f".s-{state} {{ --state: {STATE_COLOURS[state]}; }}\n" for state in DataState)


def _file(name: str) -> str:
    folder = resources.files("tickhandler_dagster.reporting.completeness_page")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
