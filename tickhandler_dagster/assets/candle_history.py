"""The assets `candle_history/<timeframe>`: candles as the days after them read them.

What belongs here: the graph's knowledge that features of a day stand on candles of many days. They
are no data of their own and nobody materializes them: every run of candles observes its cell here
with the data version of the candles, and features whose day reads that cell show as out of date.

Not an edge with an offset from candles to features: a backfill of both would follow it and ask for
features of all the days after the chosen ones. Over an asset that is not in the selection it asks
for the chosen cells, and the edge of the same cell puts candles before features.
"""

from collections.abc import Iterable

import dagster as dg

from tickhandler_dagster.assets.events import Outcomes
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import DATE, VENUE, Grid

MOST_DAYS = 90
"""Dagster looks at no more than 99 upstream partitions for what is out of date, else at none."""

_DATA_VERSION = "dagster/data_version"


def history_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset's key, `candle_history/<timeframe>`."""
    return dg.AssetKey(["candle_history", timeframe.value])


def build_candle_history(grid: Grid, timeframes: Iterable[Timeframe]) -> list[dg.AssetSpec]:
    """One asset without a computation per timeframe, over the core grid."""
    return [
        dg.AssetSpec(
            history_key(timeframe),
            deps=[dg.AssetKey(["candles", timeframe.value])],
            description=(
                f"The candles of {timeframe} as later days read them: observed by every run of "
                "candles, never materialized. Through it features show as out of date when "
                "candles of a day that they read have changed."
            ),
            group_name="candles",
            partitions_def=grid.core,
        )
        for timeframe in timeframes
    ]


def reading_days(timeframe: Timeframe, days: int) -> dg.AssetDep:
    """The dependency of a day on the candles of so many days before it; none need exist."""
    date = dg.TimeWindowPartitionMapping(
        start_offset=-min(days, MOST_DAYS), allow_nonexistent_upstream_partitions=True
    )
    mapping = dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, date),
            VENUE: dg.DimensionPartitionMapping(VENUE, dg.IdentityPartitionMapping()),
        }
    )
    return dg.AssetDep(history_key(timeframe), partition_mapping=mapping)


def observe(context: dg.AssetExecutionContext, cell: VenueDay, outcomes: Outcomes) -> None:
    """Say which candles the cell has now; `outcomes` are those of `candles/<timeframe>`."""
    for key, outcome in outcomes.items():
        timeframe = Timeframe(key.path[-1])
        if outcome.has_data and timeframe is not Timeframe.S15:
            context.log_event(
                dg.AssetObservation(
                    history_key(timeframe),
                    partition=str(cell),
                    tags={_DATA_VERSION: outcome.data_version},
                )
            )
