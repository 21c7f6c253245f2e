"""The second code location: settings in, marts out.

It has the platform's days and the keys of the platform's assets, and shares nothing else with the
first location: Dagster draws the edges between them by key.
"""

import warnings
from collections.abc import Iterator

import dagster as dg
from dagster_dbt import dbt_assets

from tickhandler_dagster.assets.retries import as_dagster
from tickhandler_dagster.dbt_assets.after_tables import build_after_tables
from tickhandler_dagster.dbt_assets.invocation import Event, Marts
from tickhandler_dagster.dbt_assets.marts import MartsTranslator
from tickhandler_dagster.dbt_assets.project import PROJECT_FOLDER, load_project
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.partitions.grid import build_grid
from tickhandler_dagster.resources.run_log import install_console
from tickhandler_dagster.settings import Settings, load_settings

POOL = "marts_writer"
"""Runs that make marts: the file has one writer, and a second run would hold a place to wait."""


def build_marts_definitions(settings: Settings) -> dg.Definitions:
    """The marts of the warehouse that the settings name, a run making any number of days.

    Raises:
        InvalidSetting: there is no dbt project, or dbt does not compile it.
    """
    with warnings.catch_warnings():
        # Pinned with the versions of dagster and dagster-dbt.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        marts = _build_marts(settings)
        job, sensor = build_after_tables(marts, is_on=settings.daily)
        return dg.Definitions(
            assets=[marts],
            jobs=[job],
            sensors=[sensor],
            # dbt is a process of its own already.
            executor=dg.in_process_executor,
            loggers=install_console(settings),
        )


def _build_marts(settings: Settings) -> dg.AssetsDefinition:
    grid = build_grid(
        settings.grid_venues, settings.partition_start_date, settings.partition_end_date
    )
    translator = MartsTranslator(grid.days, settings.mft_windows or Windows())
    made = Marts(settings, PROJECT_FOLDER, load_project(settings), translator)

    @dbt_assets(
        manifest=made.project.manifest,
        exclude="config.materialized:view",
        name="marts",
        dagster_dbt_translator=translator,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def marts(context: dg.AssetExecutionContext) -> Iterator[Event]:
        try:
            yield from made.build(context)
        except TickhandlerError as error:
            raise as_dagster(error) from error

    return marts


@dg.definitions
def location() -> dg.Definitions:
    """What Dagster loads: the marts as the environment and its files describe them."""
    return build_marts_definitions(load_settings())
