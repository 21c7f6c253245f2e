"""A catalog of nautilus_trader: instruments, bars and trades, in the files it keeps them in.

What belongs here: the catalog's layout and its numbers. What does not: instruments
(`nautilus_instruments.py`). Checked with nautilus_trader 1.231.0, whose numbers have 16 decimals.

`ts_event` is a bar's end, or the exchange's time of a trade; `ts_init`, the moment at which a
backtest sees it, is `available_at`, or the arrival. Files are named after the first and last of
these, as the catalog wants it: a span that overlaps what is there would be read twice and is
refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tickhandler_dagster.client.exports.nautilus_instruments import (
    NautilusInstrument,
    instrument_class,
    instrument_table,
    nautilus_instrument,
)
from tickhandler_dagster.client.exports.placing import replaced
from tickhandler_dagster.client.market_data import Instruments, MarketData
from tickhandler_dagster.client.spans import (
    Moment,
    by_day,
    days_of,
    moment_of,
    parts_of,
    utc_span,
)
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe

DECIMALS = 16
"""Decimals of the catalog's integers of 128 bits."""

_PART = dt.timedelta(hours=1)  # rows take twice what they take in the catalog
_DIGITS = 38
_NS = 1000
_STEPS = {
    Timeframe.S15: "15-SECOND",
    Timeframe.M1: "1-MINUTE",
    Timeframe.M5: "5-MINUTE",
    Timeframe.M15: "15-MINUTE",
    Timeframe.H1: "1-HOUR",
    Timeframe.H4: "4-HOUR",
    Timeframe.H24: "1-DAY",
}
_TAKERS = {"buy": 1, "sell": 2}
_SNAKE = {
    "CurrencyPair": "currency_pair",
    "CryptoPerpetual": "crypto_perpetual",
    "CryptoFuture": "crypto_future",
    "CryptoOption": "crypto_option",
}


def export_nautilus(
    data: MarketData,
    instruments: Instruments,
    start: Moment,
    end: Moment,
    *,
    folder: Path,
    timeframes: Sequence[str] = ("1m",),
    has_trades: bool = False,
    on_gap: str = "raise",
    as_of: Moment | None = None,
    on_revised: str = "raise",
    **attributes: Any,  # noqa: ANN401  (each has its type)
) -> list[Path]:
    """Write instruments, their bars and their trades into a catalog; its files.

    Bars in which nobody traded are left out, since a bar of the catalog has prices; so are bars
    that are masked. Volumes are in base asset, those of inverse contracts in quote asset.

    Args:
        data: The lake.
        instruments: Keys or patterns; None where attributes say which.
        start: First moment; of bars' opening, of trades' arrival.
        end: First moment after.
        folder: The catalog; other spans can be there already.
        timeframes: Of the bars; none for no bars.
        has_trades: Trades as well.
        on_gap: As for `MarketData.candles`; trades are masked nowhere.
        as_of: Only what was known at that moment.
        on_revised: As for `MarketData.candles`.
        attributes: As for `MarketData.candles`.

    Raises:
        InvalidInput: an instrument's steps are not known, or the catalog has a part of the span.
    """
    span = utc_span(start, end)
    rules: dict[str, Any] = {"as_of": as_of, "on_revised": on_revised, "on_gap": on_gap}
    listed = data.instruments(start, end, instruments, **attributes).collect()
    files = []
    for rows in listed.partition_by("instrument_key", maintain_order=True):
        instrument = nautilus_instrument(rows)
        files += _written(
            folder / "data" / _SNAKE[instrument_class(instrument)] / _folder(instrument.id),
            instrument_table(instrument, span.start),
        )
        for timeframe in timeframes:
            files += _bars(data, instrument, span, timeframe, folder=folder, rules=rules)
        if has_trades:
            files += _trades(data, instrument, span, folder, rules)
    return files


_COLUMNS = ("open", "high", "low", "close", "volume", "notional")


def bar_table(bars: pl.DataFrame, instrument: NautilusInstrument, kind: str) -> pa.Table:
    """Bars as the catalog has them, by the moment they were known.

    Raises:
        InvalidInput: a bar has prices and no volume.
    """
    known = bars.filter(pl.col("close").is_not_null()).sort("available_at", maintain_order=True)
    volume = "notional" if instrument.is_inverse else "volume"
    if known[volume].null_count():
        raise InvalidInput(
            instrument.key,
            f"{known[volume].null_count()} bars have prices and no {volume}",
            remedy="They were made when the contract's size was not known: make the candles again",
        )
    price, size = instrument.price_precision, instrument.size_precision
    columns = {
        **{name: fixed(known[name], price) for name in ("open", "high", "low", "close")},
        "volume": fixed(known[volume], size),
        "ts_event": _nanoseconds(known["ts_close"]),
        "ts_init": _nanoseconds(known["available_at"]),
    }
    return _table(columns, instrument, {"bar_type": kind})


def trade_table(
    trades: pl.DataFrame, instrument: NautilusInstrument, contract_size: float
) -> pa.Table:
    """Trades as the catalog has them, in the order of arrival."""
    numbers = trades.with_row_index("number")
    made = pl.format("{}-{}", pl.col("local_timestamp").to_physical(), "number")
    ids = numbers.select(pl.coalesce("id", made).alias("id"))["id"]
    sides = trades["side"].replace_strict(_TAKERS, default=0, return_dtype=pl.UInt8())
    columns = {
        "price": fixed(trades["price"], instrument.price_precision),
        "size": fixed(trades["amount"] * contract_size, instrument.size_precision),
        "aggressor_side": sides.to_arrow(),
        "trade_id": ids.to_arrow().cast(pa.string()),
        "ts_event": _nanoseconds(trades["timestamp"]),
        "ts_init": _nanoseconds(trades["local_timestamp"]),
    }
    return _table(columns, instrument, {})


def fixed(values: pl.Series, precision: int) -> pa.Array[Any]:
    """Numbers as the catalog's integers, rounded to so many decimals first.

    Example:
        >>> number = fixed(pl.Series([0.1 + 0.2]), 1)[0].as_py()
        >>> int.from_bytes(number, "little", signed=True) == 3 * 10**15
        True
    """
    rounded = values.cast(pl.Float64()).to_arrow().cast(pa.decimal128(_DIGITS, precision))
    whole = rounded.cast(pa.decimal128(_DIGITS, DECIMALS))
    return pa.Array.from_buffers(pa.binary(DECIMALS), len(whole), whole.buffers())


def _bars(
    data: MarketData,
    instrument: NautilusInstrument,
    span: Span,
    timeframe: str,
    *,
    folder: Path,
    rules: dict[str, Any],
) -> list[Path]:
    kind = f"{instrument.id}-{_STEPS[parse_timeframe(timeframe)]}-LAST-EXTERNAL"
    start, end = moment_of(span.start), moment_of(span.end)
    bars = data.candles(
        instrument.key, timeframe, start, end, fill="drop", columns=_COLUMNS, **rules
    )
    place = folder / "data" / "bar" / _folder(kind)
    return _written(place, bar_table(bars.collect(), instrument, kind))


def _trades(
    data: MarketData,
    instrument: NautilusInstrument,
    span: Span,
    folder: Path,
    rules: dict[str, Any],
) -> list[Path]:
    """A file for each day, cut by arrival: that is the order of the catalog."""
    files = []
    for part in by_day(span):
        size = instrument.contract_sizes[days_of(part)[0]]
        tables = []
        for hour in parts_of(part, _PART):
            rows = data.ticks(
                instrument.key,
                moment_of(hour.start),
                moment_of(hour.end),
                data_type=DataType.TRADES.value,
                clock="local",
                **rules,
            )
            tables.append(trade_table(rows.collect(), instrument, size))
        folder_of_trades = folder / "data" / "trade_tick" / _folder(instrument.id)
        files += _written(folder_of_trades, pa.concat_tables(tables))
    return files


def _table(
    columns: dict[str, pa.Array[Any]],
    instrument: NautilusInstrument,
    more: dict[str | bytes, str | bytes],
) -> pa.Table:
    metadata: dict[str | bytes, str | bytes] = {
        **more,
        "instrument_id": instrument.id,
        "price_precision": str(instrument.price_precision),
        "size_precision": str(instrument.size_precision),
    }
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata=metadata))


def _written(folder: Path, table: pa.Table) -> list[Path]:
    if not table.num_rows:
        return []
    times = table["ts_init"]
    first, last = (_moment_text(times[place].as_py()) for place in (0, -1))
    file = folder / f"{first}_{last}.parquet"
    for other in sorted(folder.glob("*.parquet")):
        start, _, end = other.stem.partition("_")
        if other != file and start <= last and first <= end:
            raise InvalidInput(
                str(other),
                "holds a part of the span",
                remedy="Export another span, or into another folder: what is in two files is read "
                "twice",
            )
    with replaced(file) as made:
        pq.write_table(table, made)
    return [file]


def _moment_text(ns: int) -> str:
    """A moment as the catalog's files spell it.

    Example:
        >>> _moment_text(1_700_000_000_200_000_001)
        '2023-11-14T22-13-20-200000001Z'
    """
    return f"{moment_of(ns // _NS):%Y-%m-%dT%H-%M-%S}-{ns % 1_000_000_000:09}Z"


def _folder(name: str) -> str:
    return name.replace("/", "")


def _nanoseconds(times: pl.Series) -> pa.Array[Any]:
    return (times.to_physical() * _NS).cast(pl.UInt64()).to_arrow()
