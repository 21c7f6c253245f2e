"""What an instrument remembers from day to day, as one text.

What belongs here: putting the families' memories together. What does not: what each holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tickhandler_dagster.market.bars.flow_loading import OrderFlowMemory
from tickhandler_dagster.market.bars.flow_toxicity import VpinMemory
from tickhandler_dagster.market.bars.funding import TickerMemory
from tickhandler_dagster.market.bars.micro_price_fit import MicroPriceMemory
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.json_fields import fields_by_name

Memory = TypeVar("Memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMemory:
    """The state of an instrument at midnight; None where a family has nothing to remember.

    Attributes:
        trades: Volumes and sizes of the last days.
        flow_toxicity: Buckets of equal volume.
        micro_price: The fitted table.
        order_flow: The fitted weights of the levels.
        ticker: Funding that was seen.
    """

    trades: TradeMemory | None = None
    flow_toxicity: VpinMemory | None = None
    micro_price: MicroPriceMemory | None = None
    order_flow: OrderFlowMemory | None = None
    ticker: TickerMemory | None = None

    def to_json(self) -> str:
        """The memory as text; equal memories, equal texts.

        Example:
            >>> DayMemory.from_json(DayMemory().to_json()) == DayMemory()
            True
        """
        return json.dumps(self, default=fields_by_name, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DayMemory:
        """The memory that `to_json` wrote."""
        found = json.loads(text)
        return cls(
            trades=_read(TradeMemory.from_json, found["trades"]),
            flow_toxicity=_read(VpinMemory.from_json, found["flow_toxicity"]),
            micro_price=_read(MicroPriceMemory.from_json, found["micro_price"]),
            order_flow=_read(OrderFlowMemory.from_json, found["order_flow"]),
            ticker=_read(TickerMemory.from_json, found["ticker"]),
        )


def _read(
    from_json: Callable[[Mapping[str, Any]], Memory], found: Mapping[str, Any] | None
) -> Memory | None:
    return None if found is None else from_json(found)
