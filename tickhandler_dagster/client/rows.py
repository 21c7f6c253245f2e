"""What a question gives: rows that are read when they are asked for, in the form that is asked for.

What belongs here: forms of an answer and what reading it will cost. What does not: the rules
(`bars.py`, `ticks.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.market.errors import InvalidInput

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What reading an answer takes.

    Attributes:
        files: Data files that are opened.
        row_groups: Row groups that are read.
        row_groups_skipped: Row groups of these files whose times say that they are not needed.
        rows: Rows in the row groups that are read, before the exact bounds are applied.
        bytes: Compressed bytes of their columns that are read, footers apart.
        paths: Where the files are in the lake.
    """

    files: int
    row_groups: int
    row_groups_skipped: int
    rows: int
    bytes: int
    paths: tuple[str, ...]


class Rows:
    """Rows that were asked for. Nothing of them is read before one of the methods is called.

    Args:
        lazy: Checks what has to be checked, over its few columns, and gives the lazy rows.
        plan: Says what reading takes.
        collect: Reads and checks in one go, where that is cheaper than `lazy().collect()`.
    """

    def __init__(
        self,
        lazy: Callable[[], pl.LazyFrame],
        plan: Callable[[], ReadPlan],
        *,
        collect: Callable[[], pl.DataFrame] | None = None,
    ) -> None:
        self._lazy = lazy
        self._plan = plan
        self._collect = collect

    def lazy(self) -> pl.LazyFrame:
        """A lazy frame; filters and columns that are added to it reach the files.

        The rules on gaps and versions are checked now, over the few columns they need.

        Raises:
            TickhandlerError: what the question's rules refuse.
        """
        return self._lazy()

    def collect(self) -> pl.DataFrame:
        """The rows as a Polars frame.

        Raises:
            TickhandlerError: what the question's rules refuse.
        """
        return self._lazy().collect() if self._collect is None else self._collect()

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table; no copy."""
        return self.collect().to_arrow()

    def pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame, times aware in UTC.

        Raises:
            InvalidInput: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: F401, PLC0415  (optional: nothing here needs it)
        except ImportError:
            raise InvalidInput(
                "pandas",
                "not installed",
                remedy="Install pandas, or take .collect() (Polars) or .arrow()",
            ) from None
        return self.collect().to_pandas()

    def duckdb(
        self, name: str = "rows", connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """The rows as a relation of DuckDB, whose times are in UTC.

        Args:
            name: What SQL over `relation.query(name, …)` calls it.
            connection: Yours; a new one in memory where there is none.
        """
        import duckdb  # noqa: PLC0415  (slow import)

        if connection is None:
            connection = duckdb.connect()
            connection.execute("SET TimeZone = 'UTC'")
        return connection.from_arrow(self.arrow()).set_alias(name)

    def plan(self) -> ReadPlan:
        """What reading takes: files, row groups, bytes. Reads footers and no data."""
        return self._plan()

    def known_with(
        self, other: Rows, columns: list[str], *, suffix: str, by: str = "instrument_key"
    ) -> Rows:
        """These rows, each with the latest row of `other` that was known when it was known itself.

        The join goes backward over `available_at` and never over the bar's times: the hour that
        contains a minute is not known in that minute. A column that is known later than its bar is
        null until it is.

        Args:
            other: Bars of another timeframe, or features.
            columns: Columns of `other`.
            suffix: Added to their names.
            by: Column that says what belongs together.
        """
        from tickhandler_dagster.client.joining import known_join  # noqa: PLC0415  (a cycle)

        return Rows(
            lambda: known_join(self.lazy(), other.lazy(), columns, suffix=suffix, by=by),
            self.plan,
        )
