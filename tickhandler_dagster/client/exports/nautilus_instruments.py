"""Instruments as nautilus_trader's catalog has them, and the steps prices and sizes are counted in.

What belongs here: from rows of the universe to rows of the catalog. What does not: bars and trades
(`nautilus.py`).

Sizes are in the base asset, those of inverse contracts in the quote asset, so that a contract's
size is one whatever the venue counts in. Fees and margins are not in a lake: they are zero, and
whoever needs them sets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
import pyarrow as pa

from tickhandler_dagster.market.errors import InvalidInput

_TEXT = pa.dictionary(pa.int16(), pa.string())
_CLASSES = {
    "SPOT_PAIR": "CurrencyPair",
    "PERPETUAL": "CryptoPerpetual",
    "FUTURE": "CryptoFuture",
    "OPTION": "CryptoOption",
}
_NS = 1000
_LIMITS = ("max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price")
_FREE = ("margin_init", "margin_maint", "maker_fee", "taker_fee")


@dataclass(frozen=True, slots=True)
class NautilusInstrument:
    """What an instrument is called there, and how its numbers are counted.

    Attributes:
        key: Canonical key.
        id: The venue's symbol and the venue.
        terms: The newest row of the universe.
        price_step: Smallest price step of the days.
        size_step: Smallest size step of the days, in base asset (quote asset where inverse).
        contract_sizes: By day, what an amount is worth in these.
    """

    key: str
    id: str
    terms: Mapping[str, object]
    price_step: Decimal
    size_step: Decimal
    contract_sizes: Mapping[object, float]

    @property
    def is_inverse(self) -> bool:
        """Sizes are in the quote asset."""
        return bool(self.terms["is_inverse"])

    @property
    def price_precision(self) -> int:
        """Decimals of prices."""
        return decimals(self.price_step)

    @property
    def size_precision(self) -> int:
        """Decimals of sizes."""
        return decimals(self.size_step)


def decimals(step: Decimal) -> int:
    """Decimals that a multiple of the step can have.

    Example:
        >>> decimals(Decimal("0.250")), decimals(Decimal("10"))
        (2, 0)
    """
    return max(0, -int(step.normalize().as_tuple().exponent))


def nautilus_instrument(rows: pl.DataFrame) -> NautilusInstrument:
    """The instrument of these rows of the universe, one for each day.

    Raises:
        InvalidInput: its steps or the size of its contracts are not known.
    """
    terms = rows.row(-1, named=True)
    key = str(terms["instrument_key"])
    needed = ("tick_size", "amount_step", "contract_size")
    unknown = [name for name in needed if rows[name].null_count()]
    if unknown or terms["is_quanto"]:
        raise InvalidInput(
            key,
            f"cannot be counted in steps: {', '.join(unknown) or 'a quanto contract'}"
            f"{' is not known on every day' if unknown else ''}",
            remedy="Leave it out, or make its days of instruments again: they say what is known",
        )
    amounts = rows.select("amount_step", "contract_size").iter_rows()
    return NautilusInstrument(
        key,
        f"{terms['exchange_raw_symbol']}.{str(terms['venue']).upper()}",
        terms,
        min(_decimal(step) for step in rows["tick_size"]),
        min(_decimal(step) * _decimal(size) for step, size in amounts),
        dict(rows.select("date", "contract_size").iter_rows()),
    )


def instrument_class(instrument: NautilusInstrument) -> str:
    """The class of nautilus_trader that it is."""
    return _CLASSES[str(instrument.terms["instrument_type"])]


def instrument_table(instrument: NautilusInstrument, known_us: int) -> pa.Table:
    """The instrument's row, known from a moment on."""
    row = _row(instrument) | {
        "info": b"null",
        "ts_event": known_us * _NS,
        "ts_init": known_us * _NS,
    }
    kind = instrument_class(instrument)
    fields = [(name, _field_type(name, row[name])) for name in row]
    schema = pa.schema(fields, metadata={"class": kind})
    return pa.Table.from_pylist([row], schema=schema)


def _row(instrument: NautilusInstrument) -> dict[str, object]:
    terms, kind = instrument.terms, instrument_class(instrument)
    row: dict[str, object] = {"id": instrument.id, "raw_symbol": terms["exchange_raw_symbol"]}
    quote = {"quote_currency": terms["quote_asset"]}
    settle = {"settlement_currency": terms["settle_asset"], "is_inverse": instrument.is_inverse}
    if kind == "CurrencyPair":
        row |= {"base_currency": terms["base_asset"], **quote}
    elif kind == "CryptoPerpetual":
        row |= {"base_currency": terms["base_asset"], **quote, **settle}
    else:
        row |= {"underlying": terms["base_asset"], **quote, **settle}
    if kind == "CryptoOption":
        row |= {
            "option_kind": terms["option_type"],
            "strike_price": _text(_decimal(terms["strike"]), instrument.price_precision),
        }
    if kind in {"CryptoFuture", "CryptoOption"}:
        row |= {
            "activation_ns": _ns(terms["available_from"]),
            "expiration_ns": _ns(terms["expiry"]),
        }
    price, size = instrument.price_precision, instrument.size_precision
    row |= {
        "price_precision": price,
        "size_precision": size,
        "price_increment": _text(instrument.price_step, price),
        "size_increment": _text(instrument.size_step, size),
        "multiplier": "1",
        "lot_size": None,
    }
    return row | dict.fromkeys(_LIMITS) | dict.fromkeys(_FREE, "0")


def _field_type(name: str, value: object) -> pa.DataType:
    if name == "id":
        return pa.dictionary(pa.int64(), pa.string())
    if name == "option_kind":
        return pa.dictionary(pa.int8(), pa.string())
    if name in {"raw_symbol", "strike_price", *_FREE}:
        return pa.string()
    by_kind: Sequence[tuple[type, pa.DataType]] = (
        (bool, pa.bool_()),
        (int, pa.uint8() if name.endswith("precision") else pa.uint64()),
        (bytes, pa.binary()),
    )
    return next((dtype for kind, dtype in by_kind if isinstance(value, kind)), _TEXT)


def _decimal(value: object) -> Decimal:
    return Decimal(repr(value))


def _text(value: Decimal, precision: int) -> str:
    return f"{value:.{precision}f}"


def _ns(moment: object) -> int:
    return int(pl.Series([moment], dtype=pl.Datetime("us", "UTC")).to_physical()[0]) * _NS
