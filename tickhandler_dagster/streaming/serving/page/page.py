"""The page as one HTML text: the template filled, style and scripts inside.

What belongs here: putting together. A strict content policy allows the page's own style and script
by their hashes and talking to the server it came from, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources

from tickhandler_dagster.market.bars.status import BAR_STATUS_MEANINGS
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE, STAGE_MEANINGS
from tickhandler_dagster.market.timeframes import Timeframe

SHOWN = (
    "status", "open", "high", "low", "close", "volume", "trade_count", "spread_tw_bps",
    "queue_imbalance_tw", "coverage", "gap_ms", "rows_after_first", "published_at",
)  # fmt: skip
"""Columns the page asks for; all of them are remembered, so that it starts with history."""

NEWEST = 120
_SCRIPTS = ("words.js", "chart.js", "feeds.js", "main.js")


def render_page() -> str:
    """The page; always the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  (slow import)

    style = _file("page.css")
    script = "\n".join(map(_file, _SCRIPTS))
    environment = Environment(
        loader=PackageLoader("tickhandler_dagster.streaming.serving", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        facts=_facts_json(),
        timeframes=list(Timeframe),
    )


def _facts_json() -> str:
    """What the scripts know of bars, from the tables, as JSON for a script element."""
    facts = {
        "columns": list(SHOWN),
        "newest": NEWEST,
        "units": {name: LIVE_CANDLE_TABLE.column(name).unit for name in SHOWN},
        "lengths": {timeframe.value: timeframe.us for timeframe in Timeframe},
        "stages": {stage.value: text for stage, text in STAGE_MEANINGS.items()},
        "statuses": {status.value: text for status, text in BAR_STATUS_MEANINGS.items()},
    }
    return json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")


def _file(name: str) -> str:
    folder = resources.files("tickhandler_dagster.streaming.serving.page")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
