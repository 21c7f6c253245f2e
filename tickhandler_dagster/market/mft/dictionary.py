"""The dictionary of mid-frequency features: the catalogue as a Markdown page.

What belongs here: how an entry reads, and what holds for all of them. What does not: anything said
about a single feature, which is its entry's business, and the features of a bar
(`features/dictionary.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from tickhandler_dagster.market.features.dictionary import bounds_text
from tickhandler_dagster.market.mft.catalog import (
    MFT_FAMILIES,
    MFT_TIMEFRAMES,
    MftFamily,
    mft_features,
)
from tickhandler_dagster.market.mft.entry import SCOPE_MEANINGS, MftFeature, Scope
from tickhandler_dagster.market.mft.halo import halo_of
from tickhandler_dagster.market.mft.joined import JOINED_COLUMNS
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_table import MFT_IDENTITY, mft_table

_INTRODUCTION = """\
# Dictionary of mid-frequency features

Every column of `mft_features/{1m,5m,15m,1h,4h,24h}` for the usual windows: what it is, how far it
looks back, when it is null. Generated from the catalogue (`tickhandler_dagster/market/mft/`) by
`make dictionary`; the stored table, its check and Dagster's column descriptions come from the same
entries. Other windows (`MFT_WINDOWS`) make other columns: a name carries its window in bars.

## What holds for all of them

- **Only final bars** have values. The row of a provisional bar is there, its features are null.
- **A window is whole or the value is null.** A bar that is missing, provisional, in a gap the
  vendor reports or not ingested is a gap, and a window over it is null, not shorter
  (`MFT_ALLOW_GAPS` makes bars that touch a gap count like bars without trades). A bar without
  trades has return 0, range 0, volume 0 and the last close; a feature that needs trades is null
  over it.
- **Looks back** is the number of bars before the bar itself that have to be whole. A recursion
  (exponential, Wilder) starts at midnight, as many days before the day as the longest look-back
  has.
- **Known**: `available_at` of a row is no earlier than that of any bar its values can stand on.
- **The universe** of a comparison is the instruments of the venue that are final at the same bar.
- Options are left out.
"""

_SCOPES: dict[str, str] = {str(scope): text for scope, text in SCOPE_MEANINGS.items()}


def mft_dictionary(windows: Windows | None = None) -> str:
    """The page, the same text for the same catalogue and windows."""
    windows = windows or Windows()
    parts = [_INTRODUCTION, *_halo(windows), *_identity(), *_joined(), *_scopes()]
    for family in MFT_FAMILIES:
        parts += _family(family, windows)
    return "\n".join(parts)


def _halo(windows: Windows) -> Iterator[str]:
    features = mft_features(windows)
    yield from ("## Days before its own that a day reads", "")
    yield from ("| timeframe | one series | whole weeks back | 24 h candles |", "|---|---|---|---|")
    for timeframe in MFT_TIMEFRAMES:
        halo = halo_of(features, timeframe)
        weeks = ", ".join(str(day) for day in halo.slots)
        yield f"| {timeframe} | {len(halo.series)} | {weeks} | {halo.daily_days} |"
    yield ""


def _identity() -> Iterator[str]:
    yield from ("## Which bar a row is", "", "| column | unit | rule | null | meaning |")
    yield "|---|---|---|---|---|"
    for column in MFT_IDENTITY:
        null = "may be" if column.is_nullable else ""
        cells = (f"`{column.name}`", column.unit, bounds_text(column.bounds), null)
        yield f"| {' | '.join((*cells, column.description))} |"
    yield from ("", *(f"- Rule: {rule.name}" for rule in mft_table(Windows()).rules), "")


def _joined() -> Iterator[str]:
    yield from ("## Columns that are joined before", "", "| column | from | meaning |")
    yield "|---|---|---|"
    for column in JOINED_COLUMNS:
        yield f"| `{column.name}` | {column.origin} | {column.definition} |"
    yield ""


def _scopes() -> Iterator[str]:
    yield from ("## Scopes", "", "| scope | computed from |", "|---|---|")
    yield from (f"| {scope} | {text} |" for scope, text in _SCOPES.items())
    yield ""


def _family(family: MftFamily, windows: Windows) -> Iterator[str]:
    yield from (f"## {family.title}", "")
    for feature in family.features(windows):
        yield from (f"### {feature.name}", "", feature.formula, "")
        yield from (f"- **{title}**: {text}" for title, text in _facts(feature) if text)
        yield ""


def _facts(feature: MftFeature) -> Iterator[tuple[str, str]]:
    """What a block says below the formula; an empty text is left out."""
    yield "Unit", ", ".join(filter(None, (feature.unit.label, bounds_text(feature.bounds))))
    yield "Type", "" if feature.dtype.is_float() else str(feature.dtype)
    yield "From", ", ".join(f"`{name}`" for name in feature.inputs)
    yield "Scope", "" if feature.scope is Scope.INSTRUMENT else str(feature.scope)
    yield "Looks back", f"{feature.look_back} bars" if feature.look_back else "the bar alone"
    yield "Needs trades", "in every bar of the window" if feature.needs_trades else ""
    yield "Null", feature.null_rule
    yield "Source", feature.source
    yield "Held against", feature.oracle
