"""The derivative ticker as arrays: funding, open interest, index, mark and last price.

What belongs here: the arrays and their construction from stored columns. What does not: the state
of the ticker at a bar's end (`ticker.py`) and the times of funding (`funding.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms

TICKER_FIELDS = (
    "funding_timestamp",
    "funding_rate",
    "predicted_funding_rate",
    "open_interest",
    "last_price",
    "index_price",
    "mark_price",
)
TICKER_COLUMNS = ("timestamp", "local_timestamp", *TICKER_FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class TickerTicks:
    """Rows of one instrument's derivative ticker, in order of arrival; NaN where a cell is empty.

    Attributes:
        timestamp: Exchange time, microseconds since the epoch.
        local_timestamp: Arrival, microseconds since the epoch.
        funding_timestamp: Time of the next funding, microseconds since the epoch.
        funding_rate: Rate of that funding, a fraction.
        predicted_funding_rate: Estimate for the funding after it.
        open_interest: What the open contracts are worth by their fixed side: base asset for linear
            contracts, quote asset for inverse ones; NaN where the contract's units are unknown.
        last_price: Price of the last trade.
        index_price: Index price.
        mark_price: Mark price.
    """

    timestamp: Int64Array
    local_timestamp: Int64Array
    funding_timestamp: Float64Array
    funding_rate: Float64Array
    predicted_funding_rate: Float64Array
    open_interest: Float64Array
    last_price: Float64Array
    index_price: Float64Array
    mark_price: Float64Array

    def __len__(self) -> int:
        return len(self.timestamp)

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> TickerTicks:
        """The rows at these positions, in that order."""
        return TickerTicks(*(getattr(self, field.name)[index] for field in fields(self)))


def ticker_ticks(frame: pl.DataFrame, terms: ContractTerms) -> TickerTicks:
    """The rows of a stored derivative_ticker table (`TICKER_COLUMNS`), in order of arrival.

    Open interest is turned into money or coins only as far as the contract's terms alone allow: an
    inverse contract's base quantity would move with the price while nobody opens or closes any.
    """
    columns = frame.select(
        pl.col("timestamp", "local_timestamp").to_physical(),
        pl.col("funding_timestamp").to_physical().cast(pl.Float64),
        *TICKER_FIELDS[1:],
    )
    arrays = {name: columns[name].to_numpy() for name in TICKER_COLUMNS}
    size = terms.contract_size if terms.has_known_units else None
    arrays["open_interest"] = arrays["open_interest"] * (np.nan if size is None else size)
    return TickerTicks(**arrays)


def ticker_by_arrival(ticks: TickerTicks) -> TickerTicks:
    """The rows by arrival and position; as they are where they come so, as nearly all files do."""
    if not bool((np.diff(ticks.local_timestamp) < 0).any()):
        return ticks
    return ticks.take(np.argsort(ticks.local_timestamp, kind="stable"))
