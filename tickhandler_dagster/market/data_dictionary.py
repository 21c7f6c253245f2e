"""The data dictionary: every stored table as a Markdown page.

What belongs here: how a table reads. What does not: the tables, and the features of a bar
(`features/dictionary.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_state_table import CANDLE_STATE_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE
from tickhandler_dagster.market.features.dictionary import bounds_text
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.information_bar_manifest_table import INFORMATION_BAR_MANIFEST_TABLE
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.kline_differences_table import KLINE_DIFFERENCES_TABLE
from tickhandler_dagster.market.live.dead_letters_table import DEAD_LETTERS_TABLE
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_differences_table import LIVE_DIFFERENCES_TABLE
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES
from tickhandler_dagster.market.manifest_table import MANIFEST_TABLE
from tickhandler_dagster.market.mft_manifest_table import MFT_MANIFEST_TABLE
from tickhandler_dagster.market.mft_set_table import MFT_SET_MANIFEST_TABLE
from tickhandler_dagster.market.options_surface_manifest_table import OPTIONS_SURFACE_MANIFEST_TABLE
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE
from tickhandler_dagster.market.quality.quote_audit_table import QUOTE_AUDIT_TABLE
from tickhandler_dagster.market.quality.tick_audit_table import TICK_AUDIT_TABLE
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.revisions_table import REVISIONS_TABLE
from tickhandler_dagster.market.tables import Column, Table

_INTRODUCTION = """\
# Data dictionary

Every table in the lake: what a row is, and the name, type, unit and rule of each column.
Generated from the tables the code writes by (`make dictionary`). Paths are in `architecture.md`;
the features of a bar are in `feature-dictionary.md`, the table `mft_features` in
`mft-dictionary.md`.

Times are `timestamp[us, UTC]`. A column may be null only where its row says so; null is
"undefined", never a zero and never NaN.
"""


_BARS = (CANDLE_TABLE, INFORMATION_BAR_TABLE)
_WITH_FEATURES = (*_BARS, LIVE_CANDLE_TABLE)


def stored_tables() -> tuple[Table, ...]:
    """The tables in the order in which they come to be."""
    return (
        INSTRUMENTS_TABLE,
        *(table.stored for table in RAW_TABLES.values()),
        MANIFEST_TABLE,
        TICK_AUDIT_TABLE,
        GAPS_TABLE,
        QUOTE_AUDIT_TABLE,
        FINDINGS_TABLE,
        COMPLETENESS_TABLE,
        REVISIONS_TABLE,
        OPTIONS_SURFACE_TABLE,
        OPTIONS_SURFACE_MANIFEST_TABLE,
        *_BARS,
        CANDLE_STATE_TABLE,
        CANDLE_MANIFEST_TABLE,
        KLINE_DIFFERENCES_TABLE,
        INFORMATION_BAR_MANIFEST_TABLE,
        MFT_MANIFEST_TABLE,
        MFT_SET_MANIFEST_TABLE,
        *LIVE_TICK_TABLES.values(),
        LIVE_CANDLE_TABLE,
        LIVE_DIFFERENCES_TABLE,
        DEAD_LETTERS_TABLE,
    )


def data_dictionary() -> str:
    """The page, the same text for the same tables."""
    return "\n".join([_INTRODUCTION, *("\n".join(_section(table)) for table in stored_tables())])


def _section(table: Table) -> Iterator[str]:
    shown_elsewhere = FEATURES if table in _WITH_FEATURES else ()
    own = [column for column in table.columns if column.name not in shown_elsewhere]
    yield from (f"## {table.name}", "", f"One row is {table.grain}.", "")
    if table.key:
        yield f"- Key: {', '.join(f'`{name}`' for name in table.key)}"
    if table.sorted_by:
        yield f"- Order: `{table.sorted_by}` never decreases"
    for rule in table.rules:
        yield f"- Rule: {rule.name}"
    if len(own) < len(table.columns):
        rest = len(table.columns) - len(own)
        yield f"- And {rest} features, each in `feature-dictionary.md`"
    yield from ("", "| column | type | unit | rule | null | meaning |", "|---|---|---|---|---|---|")
    yield from (_row(column) for column in own)
    yield ""


def _row(column: Column) -> str:
    null = "may be" if column.is_nullable else ""
    cells = (
        f"`{column.name}`",
        str(column.dtype).replace("Datetime(time_unit='us', time_zone='UTC')", "UTC time"),
        column.unit,
        bounds_text(column.bounds),
        null,
        column.description,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
