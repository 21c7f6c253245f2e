"""The jobs a person starts from the page: look for gaps, validate, report, repair, recheck.

What belongs here: which jobs there are and which assets they run. What does not: assets, and what
runs by itself.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from tickhandler_dagster.automation.repair_job import RepairScope, build_repair_job
from tickhandler_dagster.automation.report_job import build_report_job
from tickhandler_dagster.market.quality.policy import QualityPolicy

COMPLETENESS = dg.AssetKey("completeness")
REVISIONS = dg.AssetKey("revisions")
QUALITY_GROUP = "quality"
VALIDATE = "validate"
RECHECK = "recheck"
LIVE_PARITY = dg.AssetKey("live_parity")
# Not the asset's name: Dagster takes the job and the asset's op for two graphs of one name.
COMPARE_LIVE = "compare_live"


def build_jobs(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
    scope: RepairScope,
    policy: QualityPolicy,
    *,
    lake_name: str,
) -> list[dg.JobDefinition | UnresolvedAssetJobDefinition]:
    """Every job over these assets.

    Args:
        assets: What the code location has.
        scope: What can be repaired.
        policy: How states are taken.
        lake_name: How the report calls the lake.
    """
    return [
        dg.define_asset_job(
            "check_gaps",
            selection=dg.AssetSelection.assets(COMPLETENESS),
            description=(
                "What should be there and is not: the completeness of a day and venue again, from "
                "manifests and audits. Its check `complete` is the answer."
            ),
        ),
        *_validations(list(assets)),
        build_report_job(scope, policy, lake_name=lake_name),
        build_repair_job(scope, partitions_of(assets)),
        dg.define_asset_job(
            RECHECK,
            selection=dg.AssetSelection.assets(REVISIONS),
            description=(
                "Compare the files that were taken of a day and venue with the vendor's files of "
                "today. Asks the vendor once per file; fetches nothing again."
            ),
        ),
        dg.define_asset_job(
            COMPARE_LIVE,
            selection=dg.AssetSelection.assets(LIVE_PARITY),
            description=(
                "Live bars of a day and venue against the batch's, once its candles are there. "
                "Changes no bar."
            ),
        ),
    ]


def _validations(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
) -> list[UnresolvedAssetJobDefinition]:
    """The job `validate`, and one more for each check that only some venues can have.

    A job holds assets of one grid. Those that some venues lack have a grid of their own.
    """
    partitions = partitions_of(assets)
    core = partitions[COMPLETENESS]
    quality = [
        key
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        for key in sorted(asset.keys)
        if asset.group_names_by_key.get(key) == QUALITY_GROUP
    ]
    return [
        dg.define_asset_job(
            VALIDATE,
            selection=dg.AssetSelection.assets(
                *(key for key in quality if partitions[key] == core)
            ),
            description=(
                "Every check of a day and venue that stands apart from the data's own run: "
                "completeness, and what compares bars with each other and with other prices."
            ),
        ),
        *(
            dg.define_asset_job(
                f"{VALIDATE}_{key.to_python_identifier()}",
                selection=dg.AssetSelection.assets(key),
                description=f"The checks of {key.to_user_string()}, where a venue can have them.",
            )
            for key in quality
            if partitions[key] != core
        ),
    ]


def partitions_of(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
) -> Mapping[dg.AssetKey, dg.PartitionsDefinition]:
    """The partitions definition of every asset that a run can make."""
    return {
        key: asset.partitions_def
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition) and asset.partitions_def is not None
        for key in asset.keys
    }
