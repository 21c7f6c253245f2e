"""What the trades of a span add to the memory of their day.

What belongs here: counts and sums that are the same in any grouping. What does not: the memory
itself (`trade_memory.py`) and putting families together (`day_tally.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.exact_totals import exact_total, rounded_total
from tickhandler_dagster.market.bars.trade_memory import TradeDay, bucket_counts
from tickhandler_dagster.market.bars.trade_slice import TradeSlice


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeTally:
    """The trades of a span.

    Attributes:
        trades: Number of trades.
        volume: Base asset traded, in units of `exact_total`; None where it is unknown.
        notional: Quote asset traded; None likewise.
        buckets: Histogram of the notional of single trades (`bucket_counts`).
        last_arrival_us: Latest arrival; None where there were no trades.
    """

    trades: int
    volume: int | None
    notional: int | None
    buckets: Counts
    last_arrival_us: int | None

    @classmethod
    def none(cls, *, is_sized: bool) -> TradeTally:
        """No trades.

        Args:
            is_sized: Base quantities and quote values can be computed.
        """
        nothing = 0 if is_sized else None
        return cls(
            trades=0, volume=nothing, notional=nothing, buckets=Counts.none(), last_arrival_us=None
        )

    @classmethod
    def of(cls, part: TradeSlice) -> TradeTally:
        """Of a slice.

        A bar's trades are added as floats, as its volume is: a bar is never cut.
        """
        sizes, arrival = part.sizes, int(part.ticks.local_timestamp.max())
        if sizes is None:
            return cls(
                trades=len(part.ticks),
                volume=None,
                notional=None,
                buckets=Counts.none(),
                last_arrival_us=arrival,
            )
        return cls(
            trades=len(part.ticks),
            volume=exact_total(np.add.reduceat(sizes.base, part.starts)),
            notional=exact_total(np.add.reduceat(sizes.quote, part.starts)),
            buckets=Counts.of(bucket_counts(sizes.quote)),
            last_arrival_us=arrival,
        )

    @classmethod
    def total(cls, parts: Sequence[TradeTally]) -> TradeTally:
        """The sum."""
        arrivals = [one.last_arrival_us for one in parts if one.last_arrival_us is not None]
        return cls(
            trades=sum(one.trades for one in parts),
            volume=_sum([one.volume for one in parts]),
            notional=_sum([one.notional for one in parts]),
            buckets=Counts.total([one.buckets for one in parts]),
            last_arrival_us=max(arrivals, default=None),
        )

    def day(self, start_us: int) -> TradeDay:
        """What is remembered of the day, of which these are all trades."""
        return TradeDay(
            start_us=start_us,
            trades=self.trades,
            volume=None if self.volume is None else rounded_total(self.volume),
            notional=None if self.notional is None else rounded_total(self.notional),
            buckets=self.buckets.items(),
            last_arrival_us=self.last_arrival_us,
        )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [one for one in numbers if one is not None]
    return sum(known) if len(known) == len(numbers) else None
