"""The checks of the platform: name, severity, and whether a failure stops what is downstream.

A check is named for what is true when it passes. An asset has at most two, since Dagster's status
of partitioned checks grows with the square of the cells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import dagster as dg


class CheckName(StrEnum):
    """What is true when the check passes."""

    SCHEMA_HOLDS = "schema_holds"
    COMPLETE = "complete"
    CONSERVES_TRADES = "conserves_trades"
    HALO_IS_COMPLETE = "halo_is_complete"
    PLAUSIBLE = "plausible"
    ROLLS_UP = "rolls_up"
    PRICES_AGREE = "prices_agree"
    CONFORMS = "conforms"
    UNREVISED = "unrevised"
    PUBLISHED = "published"
    AGREES = "agrees"
    FED = "fed"
    IN_TIME = "in_time"


@dataclass(frozen=True)
class CheckPolicy:
    """How a check is taken.

    Attributes:
        severity: Where the quality policy does not decide; ERROR fails the step where the check
            blocks, WARN colours the cell and alerts.
        is_blocking: Nothing downstream runs in the same run when it fails.
        description: For the catalogue.
    """

    severity: dg.AssetCheckSeverity
    is_blocking: bool
    description: str


POLICY: Mapping[CheckName, CheckPolicy] = MappingProxyType(
    {
        CheckName.SCHEMA_HOLDS: CheckPolicy(
            dg.AssetCheckSeverity.ERROR,
            is_blocking=True,
            description="Every stored row obeys its table: types, nulls, bounds, order (Pandera).",
        ),
        CheckName.COMPLETE: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="Everything expected is there; the metadata lists what is not and why.",
        ),
        CheckName.CONSERVES_TRADES: CheckPolicy(
            dg.AssetCheckSeverity.ERROR,
            is_blocking=True,
            description="Every trade of the day is in exactly one bar, or in quarantine.",
        ),
        CheckName.HALO_IS_COMPLETE: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="The candles of all earlier days that windows reach into are in the lake.",
        ),
        CheckName.PLAUSIBLE: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="The data breaks no rule that the quality policy does not ignore.",
        ),
        CheckName.ROLLS_UP: CheckPolicy(
            dg.AssetCheckSeverity.ERROR,
            is_blocking=False,
            description="Every bar of 1m to 24h is what the stored 15 s bars inside it add up to.",
        ),
        CheckName.PRICES_AGREE: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description=(
                "Closes of spot, perpetual and index of one asset stay near each other; trades "
                "beyond the quotes are counted."
            ),
        ),
        CheckName.CONFORMS: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="Final bars of 1m are the venue's own klines: prices, volumes, trades.",
        ),
        CheckName.UNREVISED: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="The vendor's files of today are the ones that were taken.",
        ),
        CheckName.PUBLISHED: CheckPolicy(
            dg.AssetCheckSeverity.ERROR,
            is_blocking=True,
            description="The table has, of every venue, the rows that the lake's manifests name.",
        ),
        CheckName.AGREES: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="Live bars are the batch's bars; what differs has a known cause.",
        ),
        CheckName.FED: CheckPolicy(
            dg.AssetCheckSeverity.ERROR,
            is_blocking=False,
            description="The feed of every venue of the session is connected and loses no rows.",
        ),
        CheckName.IN_TIME: CheckPolicy(
            dg.AssetCheckSeverity.WARN,
            is_blocking=False,
            description="Rows are read, and bars published, within the limit after their time.",
        ),
    }
)


def check_specs(
    key: dg.AssetKey, names: Iterable[CheckName], partitions_def: dg.PartitionsDefinition
) -> list[dg.AssetCheckSpec]:
    """The specs of an asset's checks, on the asset's own partitions."""
    return [
        dg.AssetCheckSpec(
            name=name.value,
            asset=key,
            description=POLICY[name].description,
            blocking=POLICY[name].is_blocking,
            partitions_def=partitions_def,
        )
        for name in names
    ]
