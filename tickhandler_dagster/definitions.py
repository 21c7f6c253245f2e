"""The code location: settings in, `Definitions` out. Loading this module builds nothing."""

import logging
import warnings
from collections.abc import Mapping

import dagster as dg

from tickhandler_dagster.assets.bar_audit import build_bar_audit_asset
from tickhandler_dagster.assets.candle_history import build_candle_history
from tickhandler_dagster.assets.candles import build_candles_asset
from tickhandler_dagster.assets.completeness import build_completeness_asset
from tickhandler_dagster.assets.exchange_catalog import build_exchange_catalog
from tickhandler_dagster.assets.information_bars import build_information_bars_asset
from tickhandler_dagster.assets.instruments import build_instruments_asset
from tickhandler_dagster.assets.kline_conformance import build_kline_conformance_asset
from tickhandler_dagster.assets.live_parity import build_live_parity_asset
from tickhandler_dagster.assets.live_tables import build_live_tables
from tickhandler_dagster.assets.mft_features import build_mft_features_asset
from tickhandler_dagster.assets.mft_sets import build_mft_set_assets
from tickhandler_dagster.assets.options_surface import build_options_surface_asset
from tickhandler_dagster.assets.raw_ticks import build_raw_ticks
from tickhandler_dagster.assets.revisions import build_revisions_asset
from tickhandler_dagster.assets.warehouse import build_warehouse_assets
from tickhandler_dagster.automation.alert_sensor import Timing, build_alerts
from tickhandler_dagster.automation.daily import build_daily
from tickhandler_dagster.automation.jobs import build_jobs
from tickhandler_dagster.automation.live_checks import build_live_checks
from tickhandler_dagster.automation.live_schedule import build_live_schedules
from tickhandler_dagster.automation.repair_job import RepairScope
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.partitions.grid import Grid, build_grid
from tickhandler_dagster.pipeline.mft_inputs import MftPlan, mft_plan
from tickhandler_dagster.resources.lake_store import lake_name
from tickhandler_dagster.resources.platform import build_resources
from tickhandler_dagster.resources.run_log import install_console
from tickhandler_dagster.settings import Settings, load_settings
from tickhandler_dagster.settings.forms import NO_KLINES


def build_definitions(
    settings: Settings,
    *,
    resources: Mapping[str, object] | None = None,
    timing: Timing | None = None,
) -> dg.Definitions:
    """Every asset, check, job, sensor and resource of the platform.

    Args:
        settings: Where the lake is, which venues and from which day on.
        resources: Replace the resources of the same keys.
        timing: The time, for alerts and days, and how often they look.
    """
    logging.getLogger("tickhandler_dagster").setLevel(settings.log_level)
    policy = settings.quality_policy or QualityPolicy()
    with warnings.catch_warnings():
        # Partitioned checks and mappings over two dimensions; pinned with Dagster's version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = _assets(settings, policy)
        scope = repair_scope(settings)
        daily = build_daily(settings, assets, scope, timing)
        return dg.Definitions(
            assets=assets,
            asset_checks=build_live_checks(),
            schedules=[*build_live_schedules(settings.download_venues), *daily.schedules],
            jobs=[
                *build_jobs(assets, scope, policy, lake_name=lake_name(settings)),
                *daily.jobs,
            ],
            sensors=[*build_alerts(settings, assets, timing), *daily.sensors],
            resources={**build_resources(settings), **(resources or {})},
            # A process per step costs eight seconds: runs, not steps, go on side by side.
            executor=dg.in_process_executor,
            loggers=install_console(settings),
        )


def _assets(settings: Settings, policy: QualityPolicy) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset, from the venue's catalogue to the warehouse."""
    grid, plan = _grid(settings), _mft_plan(settings)
    return [
        build_exchange_catalog(grid),
        build_instruments_asset(grid),
        *build_raw_ticks(grid, policy),
        build_completeness_asset(grid, policy, settings.downloads),
        build_revisions_asset(grid),
        *build_options_surface_asset(grid),
        build_candles_asset(grid),
        build_bar_audit_asset(grid, policy),
        *build_kline_conformance_asset(
            grid, policy, has_source=settings.klines_source != NO_KLINES
        ),
        build_live_parity_asset(grid, policy),
        *build_live_tables(),
        *build_candle_history(grid, MFT_TIMEFRAMES),
        build_information_bars_asset(grid),
        build_mft_features_asset(grid, plan),
        *build_mft_set_assets(grid, plan, settings.mft_sets or ()),
        *build_warehouse_assets(grid, settings.mft_windows or Windows(), settings.warehouse),
    ]


def repair_scope(settings: Settings) -> RepairScope:
    """What a repair can reach under these settings."""
    return RepairScope(
        _mft_plan(settings), _grid(settings), settings.downloads, settings.mft_sets or ()
    )


def _grid(settings: Settings) -> Grid:
    return build_grid(
        settings.grid_venues, settings.partition_start_date, settings.partition_end_date
    )


def _mft_plan(settings: Settings) -> MftPlan:
    return mft_plan(
        settings.mft_windows or Windows(),
        first_day=settings.partition_start_date,
        venues=settings.grid_venues,
        allow_gaps=settings.mft_allow_gaps,
    )


@dg.definitions
def location() -> dg.Definitions:
    """What Dagster loads: the platform as the environment and its files describe it."""
    return build_definitions(load_settings())
