"""Where the server gets its answers from: a Protocol that simulator and folder implement.

What belongs here: the Protocol. What does not: HTTP.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Protocol, TypeAlias

from tickhandler_dagster.market.data_types import DataType

Json: TypeAlias = dict[str, Any]


class Source(Protocol):
    """A catalogue and the files it promises. Called from several threads."""

    @property
    def is_simulated(self) -> bool:
        """Whether the data were made up; the server says so wherever they show."""
        ...

    def exchanges(self) -> list[Json]:
        """The reply to `/v1/exchanges`."""
        ...

    def exchange(self, exchange: str) -> Json | None:
        """The reply to `/v1/exchanges/{exchange}`; None where there is no such exchange."""
        ...

    def instruments(self, exchange: str) -> list[Json] | None:
        """All records of `/v1/instruments/{exchange}`; None where there are none to give."""
        ...

    def dataset(
        self, exchange: str, data_type: DataType, day: dt.date, symbol: str
    ) -> bytes | None:
        """The file as the vendor stores it; None where the catalogue promises it in vain."""
        ...
