"""A file of klines: Binance's public dumps, with or without a header, or any named columns.

What belongs here: cells of one file, plain or packed. What does not: which file is whose
(`kline_folder.py`).
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.klines import COUNT, PRICES, RAW_VALUES

SYMBOL = "symbol"

DUMP_COLUMNS = (
    "open_time", *PRICES, "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
"""Columns of a dump in their order; those of spot come without a header."""

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ts_open": ("ts_open", "open_time", "opentime", "timestamp", "time", "date", "datetime"),
        **{name: (name,) for name in PRICES},
        "volume": ("volume", "base_volume"),
        "quote_volume": ("quote_volume", "quote_asset_volume", "notional"),
        "buy_volume": ("buy_volume", "taker_buy_volume", "taker_buy_base_asset_volume"),
        "buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
        COUNT: (COUNT, "count", "number_of_trades", "num_trades", "trades"),
        SYMBOL: (SYMBOL,),
    }
)
"""The names a column may have, in lower case."""

_NEEDED = ("ts_open", *PRICES, "volume")
# Times of the years 2001 to 2286 by their size: seconds, milliseconds, microseconds, nanoseconds.
_UNITS_US: Sequence[tuple[int, int, int, int]] = (
    (10**9, 10**10, 1_000_000, 1),
    (10**12, 10**13, 1_000, 1),
    (10**15, 10**16, 1, 1),
    (10**18, 9 * 10**18, 1, 1_000),
)


def read_kline_csv(path: Path) -> pl.DataFrame:
    """The klines of a file, not yet cut to a day.

    Shape: `ts_open` in microseconds since the epoch, `RAW_VALUES`, and `symbol` where the file has
    that column; quote volume and trades are null where it does not.

    Raises:
        CorruptData: the file cannot be unpacked, lacks a column, has a line of another length or a
            cell that is no number.
    """
    data = _unpacked(path)
    texts = _texts(path, data)
    columns = _mapped(path, texts)
    first_line = 2 if _has_header(data) else 1
    chosen = {
        name: texts[column] if name == SYMBOL else _cast(path, texts[column], name, first_line)
        for name, column in columns.items()
    }
    absent = [name for name in RAW_VALUES if name not in chosen]
    return pl.DataFrame(chosen).with_columns(pl.lit(None).alias(name) for name in absent)


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return archive.read(archive.namelist()[0])
    except (OSError, EOFError, IndexError, zlib.error, zipfile.BadZipFile) as error:
        raise _wrong(path, "cannot be unpacked", was=str(error), expected="gzip or zip") from None
    return data


def _texts(path: Path, data: bytes) -> pl.DataFrame:
    """Every cell as text, under the header or under the names of a dump."""
    has_header, width = _has_header(data), data.split(b"\n", 1)[0].count(b",") + 1
    if not has_header and width != len(DUMP_COLUMNS):
        raise _wrong(
            path, "line 1 has no header", was=f"{width} columns",
            expected=f"{len(DUMP_COLUMNS)} columns, or a header",
        )  # fmt: skip
    names = None if has_header else list(DUMP_COLUMNS)
    try:
        return pl.read_csv(data, has_header=has_header, infer_schema=False, new_columns=names)
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError) as error:
        reason = str(error).partition("\n")[0]
        raise _wrong(path, "is no CSV", was=reason, expected="lines of equal length") from None


def _has_header(data: bytes) -> bool:
    return not data.split(b",", 1)[0].strip().isdigit()


def _mapped(path: Path, texts: pl.DataFrame) -> Mapping[str, str]:
    """Our names to the file's."""
    lower = {column.strip().lower().replace(" ", "_"): column for column in texts.columns}
    found = {
        name: next(lower[one] for one in names if one in lower)
        for name, names in NAMES.items()
        if any(one in lower for one in names)
    }
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise _wrong(
            path,
            f"lacks the columns {', '.join(missing)}",
            was=", ".join(texts.columns),
            expected=", ".join(_NEEDED),
        )
    return found


def _cast(path: Path, texts: pl.Series, name: str, first_line: int) -> pl.Series:
    if name == "ts_open":
        return _moments(path, texts, first_line)
    dtype = pl.Int64() if name == COUNT else pl.Float64()
    return _checked(path, texts, texts.str.strip_chars().cast(dtype, strict=False), first_line)


def _moments(path: Path, texts: pl.Series, first_line: int) -> pl.Series:
    """Microseconds since the epoch: of whole numbers by their size, else of ISO 8601 text."""
    numbers = texts.str.strip_chars().cast(pl.Int64(), strict=False)
    if texts.is_empty() or numbers.null_count() == texts.len():
        moments = texts.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        return _checked(path, texts, moments.to_physical(), first_line)
    checked = _checked(path, texts, numbers, first_line)
    for low, high, factor, divisor in _UNITS_US:
        if bool(checked.is_between(low, high).all()):
            return checked * factor // divisor
    raise _wrong(
        path,
        f"column {texts.name} is not one unit of time",
        was=f"{min(checked.to_list())} to {max(checked.to_list())}",
        expected="seconds, milliseconds, microseconds or nanoseconds since 1970",
    )


def _checked(path: Path, texts: pl.Series, values: pl.Series, first_line: int) -> pl.Series:
    broken = values.is_null().arg_max()
    if broken is not None and values.is_null().any():
        raise _wrong(
            path,
            f"line {broken + first_line}, column {texts.name}",
            was=repr(texts[broken]),
            expected="a number, or a time in the first column",
        )
    return values.alias(texts.name)


def _wrong(path: Path, fact: str, *, was: str, expected: str) -> CorruptData:
    return CorruptData(
        str(path), fact, was=was, expected=expected, remedy="Correct the file or KLINES_SOURCE"
    )
