"""The feature dictionary: the registry as a Markdown page.

What belongs here: how an entry reads. What does not: anything said about a single feature, which is
its entry's business, and the other stored tables (`market/data_dictionary.py`).

A block per feature and not one wide table: a formula, a null rule and a source do not fit into
cells, neither on a page nor in a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tickhandler_dagster.market.bars.exact import WATERMARK_US
from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.feature import (
    CHANNEL_MEANINGS,
    MERGE_MEANINGS,
    Feature,
    Merge,
)
from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE
from tickhandler_dagster.market.features.registry import (
    FAMILIES,
    FEATURES,
    Family,
    delayed_name,
)
from tickhandler_dagster.market.tables import Bounds

_STATE_AGE_S = STATE_AGE_US // US_PER_SECOND
_WATERMARK_MS = WATERMARK_US // 1_000
_INTRODUCTION = f"""\
# Feature dictionary

Every column that is computed for a bar of `candles`, and those of `options_surface`: what it is,
when it is null, when it is known. Generated from the registry
(`tickhandler_dagster/market/features/`) by `make dictionary`; schemas, checks and tests come from
the same entries. The columns that say which bar it is and how far it can be trusted are in
`data-dictionary.md`.

## What holds for all of them

- **Bars** are `[ts_open, ts_close)`, cut by the exchange's clock. What joins two channels (a
  trade and the mid before it) goes by the recorder's clock, because one recorder stamped both
  while a venue stamps its channels by different clocks.
- **State at the end** of a bar is the last state before `ts_close`: a row stamped exactly there
  belongs to the next bar.
- **Units**: sizes are in base asset and money in quote asset for linear and inverse contracts
  alike (`volume`, `notional`). What stands on sizes is null while the contract's size is unknown.
- **Undefined is null**, never NaN and never 0. Sums and counts of an observed bar in which
  nothing happened are 0. A bar of which nothing was observed, and a channel that was not
  ingested, are null throughout; no entry repeats that.
- **A book state** is normal where bid < ask; only then has it a mid. Locked, crossed and
  one-sided states stay out of every mean and their time is a column of its own. A state is
  believed for {_STATE_AGE_S} s: after that an outage would look like calm.
- **Known at** `available_at`: the bar's end, or the arrival of the last row the bar stands on,
  the later, plus {_WATERMARK_MS} ms. A feature that looks past the bar's end has a delay here and
  an `available_at_…` of its own: leave it out of what is trained on the same bar.
- **Larger bars** come from stored 15 s statistics where that gives what the ticks would give;
  what does not merge is computed from the ticks for every timeframe. No ratio, mean or quantile
  is ever averaged.
- **Annual** means 365 days.
"""

_SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


_SURFACE_ALONE = Family(
    "options_surface",
    "Option surface: what the table `options_surface` has besides",
    tuple(entry for entry in OPTION_SURFACE if entry.name not in FEATURES),
)
ALL_FAMILIES = (*FAMILIES, _SURFACE_ALONE)


def feature_dictionary(families: Sequence[Family] = ALL_FAMILIES) -> str:
    """The page, the same text for the same registry."""
    families = [family for family in families if family.features]
    parts = [
        _INTRODUCTION,
        _meanings("Inputs", "input", {str(key): text for key, text in CHANNEL_MEANINGS.items()}),
        _meanings("Larger bars", "rule", {str(key): text for key, text in MERGE_MEANINGS.items()}),
        _index(families),
        *(_family(family) for family in families),
    ]
    return "\n".join(parts)


def bounds_text(bounds: Bounds) -> str:
    """The rule of a value in signs; empty where there is none.

    Example:
        >>> bounds_text(Bounds(ge=0, le=1))
        '≥ 0, ≤ 1'
    """
    limits = ((sign, getattr(bounds, name)) for name, sign in _SIGNS)
    texts = [f"{sign} {limit:.10g}" for sign, limit in limits if limit is not None]
    if bounds.one_of is not None:
        texts.append(f"one of {', '.join(bounds.one_of)}")
    return ", ".join(texts)


def _meanings(title: str, header: str, meanings: dict[str, str]) -> str:
    rows = [f"| {name} | {text} |" for name, text in meanings.items()]
    return "\n".join([f"## {title}", "", f"| {header} | meaning |", "|---|---|", *rows, ""])


def _index(families: Sequence[Family]) -> str:
    names = sorted(feature.name for family in families for feature in family.features)
    lines = [
        f"- {', '.join(f'[{name}](#{name})' for name in group)}"
        for _, group in groupby(names, key=lambda name: name[0])
    ]
    return "\n".join(["## Index", "", f"{len(names)} columns.", "", *lines, ""])


def _family(family: Family) -> str:
    rows = [
        f"| [{one.name}](#{one.name}) | {one.unit.label} | {one.merge} | {_delay(one)} |"
        for one in family.features
    ]
    table = ["| column | unit | larger bars | known |", "|---|---|---|---|", *rows, ""]
    blocks = [line for one in family.features for line in _block(one)]
    return "\n".join([f"## {family.title}", "", *table, *blocks])


def _block(feature: Feature) -> Iterator[str]:
    yield from (f"### {feature.name}", "", feature.formula, "")
    for title, text in _facts(feature):
        if text:
            yield f"- **{title}**: {text}"
    yield ""


def _facts(feature: Feature) -> Iterator[tuple[str, str]]:
    """What a block says below the formula; an empty text is left out."""
    yield "Unit", ", ".join(filter(None, (feature.unit.label, bounds_text(feature.bounds))))
    yield "Type", "" if feature.dtype.is_float() else _type_text(feature)
    yield "From", ", ".join(feature.inputs)
    yield "Null", _null(feature)
    yield "Smallest sample", feature.minimum
    yield "Looks back", feature.look_back.text
    yield "Carried in", feature.carry_in
    yield "Larger bars", _merge(feature)
    yield "Known", "" if not feature.delay_us else _delay(feature)
    yield "Buy and sell swapped", _mirror(feature)
    yield "Source", feature.source
    yield "Held against", feature.oracle
    yield "Differs from the earlier system", feature.earlier_meaning


def _null(feature: Feature) -> str:
    if feature.null_rule:
        return feature.null_rule
    return "below the smallest sample" if feature.minimum else "only where nothing was observed"


def _type_text(feature: Feature) -> str:
    return "UTC timestamp" if feature.dtype.is_temporal() else str(feature.dtype)


def _merge(feature: Feature) -> str:
    """The rule, and for a derived column what it follows from."""
    if feature.merge is not Merge.DERIVED or feature.expression is None:
        return MERGE_MEANINGS[feature.merge]
    roots = sorted(set(feature.expression.meta.root_names()))
    return f"from {', '.join(f'`{name}`' for name in roots)} of the same bar"


def _delay(feature: Feature) -> str:
    if not feature.delay_us:
        return "with the bar"
    return f"{feature.delay_us / US_PER_SECOND:g} s after (`{delayed_name(feature.delay_us)}`)"


def _mirror(feature: Feature) -> str:
    sign, name = ("-", feature.mirror[1:]) if feature.mirror[:1] == "-" else ("", feature.mirror)
    if name:
        return f"becomes {sign}`{name}`"
    return "opposite sign" if sign else ""
