"""A Feast feature repository: the definitions, and one Parquet file for each moment of knowing.

What belongs here: its files. What does not: the features (`docs/feature-dictionary.md`). Checked
with feast 0.67.0.

`event_timestamp` is when a value could first be known. Some features look past their bar's end and
are known 1, 5 or 30 s later: each of these delays has a file and a feature view of its own, as a
view has one time for all of its fields. `created_timestamp`, which decides between rows that became
known together, is the bar's end: the later bar wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tickhandler_dagster.client.exports.placing import replaced
from tickhandler_dagster.client.joining import KNOWN, delayed_columns
from tickhandler_dagster.client.market_data import Instruments, MarketData
from tickhandler_dagster.client.spans import Moment
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import parse_timeframe

_IDENTITY = ("instrument_key", "ts_open", "ts_close", KNOWN)
_TYPES: Mapping[pl.DataType, str] = {
    pl.Float64(): "Float64",
    pl.Float32(): "Float32",
    pl.Int64(): "Int64",
    pl.Int32(): "Int32",
    pl.Int8(): "Int32",
    pl.UInt32(): "Int64",
    pl.String(): "String",
    pl.Boolean(): "Bool",
    pl.Datetime("us", "UTC"): "UnixTimestamp",
    pl.Date(): "String",
}
_BARS_REMEMBERED = 2


@dataclass(frozen=True, slots=True)
class _View:
    """A feature view.

    Attributes:
        name: Of the view and of its file.
        known: The column that says when its fields are known.
        fields: Their names.
    """

    name: str
    known: str
    fields: tuple[str, ...]


def export_feast(
    data: MarketData,
    instruments: Instruments,
    timeframe: str,
    start: Moment,
    end: Moment,
    *,
    folder: Path,
    names: Sequence[str],
    source: str = "candles",
    **options: Any,  # noqa: ANN401  (those of `MarketData.features`)
) -> list[Path]:
    """Write a feature repository over the bars that open in `[start, end)`; its files.

    Args:
        data: The lake.
        instruments: Keys or patterns; None where attributes say which.
        timeframe: 15s to 24h.
        start: First moment.
        end: First moment after.
        folder: The repository; files of the same names are replaced.
        names: Features.
        source: `candles`, `mft` or the name of a set.
        options: Those of `MarketData.features`, attributes of instruments among them.

    Raises:
        InvalidInput: no features, or one that Feast has no type for.
    """
    length = parse_timeframe(timeframe)
    rows = data.features(
        instruments, timeframe, start, end, names=names, source=source, **options
    ).lazy()
    schema = rows.collect_schema()
    views = _views(f"{source}_{timeframe}", schema.names())
    files = []
    for view in views:
        file = folder / "data" / f"{view.name}.parquet"
        with replaced(file) as made:
            _view_rows(rows, schema, view).sink_parquet(made)
        files.append(file)
    texts = {
        "feature_store.yaml": _STORE,
        "definitions.py": _definitions(views, schema, length.us),
    }
    for name, text in texts.items():
        with replaced(folder / name) as made:
            made.write_text(text, encoding="utf-8")
        files.append(folder / name)
    return files


def _views(stem: str, columns: Sequence[str]) -> list[_View]:
    delayed = delayed_columns(columns)
    late = {name for names in delayed.values() for name in names}
    plain = [name for name in columns if name not in late and name not in {*_IDENTITY, *delayed}]
    found = [_View(stem, KNOWN, tuple(plain))] if plain else []
    found += [
        _View(f"{stem}_{known.removeprefix(f'{KNOWN}_')}", known, tuple(names))
        for known, names in sorted(delayed.items())
    ]
    if not found:
        raise InvalidInput("names", "no features", remedy="Name some of the dictionary's")
    return found


def _view_rows(rows: pl.LazyFrame, schema: pl.Schema, view: _View) -> pl.LazyFrame:
    dates = [pl.col(name).cast(pl.String()) for name in view.fields if schema[name] == pl.Date]
    return rows.select(
        "instrument_key",
        pl.col(view.known).alias("event_timestamp"),
        pl.col("ts_close").alias("created_timestamp"),
        "ts_open",
        *view.fields,
    ).with_columns(dates)


_STORE = """\
project: tickhandler
provider: local
registry: data/registry.db
online_store:
  type: sqlite
  path: data/online_store.db
offline_store:
  type: file
entity_key_serialization_version: 3
"""

_HEAD = '''\
"""Features of bars, made by `tickhandler export feast`; `feast apply` reads this file."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.types import {types}
from feast.value_type import ValueType

instrument = Entity(
    name="instrument", join_keys=["instrument_key"], value_type=ValueType.STRING
)
'''

_VIEW = """
{name} = FeatureView(
    name="{name}",
    entities=[instrument],
    # where a bar is missing, the one before it may stand for it, and no older one
    ttl=timedelta(microseconds={ttl}),
    schema=[
{fields}
    ],
    source=FileSource(
        name="{name}_file",
        path="data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
)
"""


def _definitions(views: Sequence[_View], schema: pl.Schema, length_us: int) -> str:
    types = {name: _type(name, schema[name]) for view in views for name in view.fields}
    text = _HEAD.format(types=", ".join(sorted(set(types.values()))))
    for view in views:
        fields = "\n".join(
            f'        Field(name="{name}", dtype={types[name]}),' for name in view.fields
        )
        text += _VIEW.format(name=view.name, ttl=_BARS_REMEMBERED * length_us, fields=fields)
    return text


def _type(name: str, dtype: pl.DataType) -> str:
    for known, text in _TYPES.items():
        if dtype == known:
            return text
    raise InvalidInput(
        f"'{name}'", "no type of Feast", was=str(dtype), remedy="Leave it out of the names"
    )
