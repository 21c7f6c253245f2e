"""The marts of the demo: one dbt run through Dagster, and what they are asked afterwards.

What belongs here: that run and the question. What does not: filling the warehouse (`demo.py`) and
printing (`demo_screen.py`). dbt is imported when the run begins: it takes seconds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io

import dagster as dg

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.cli.demo_screen import DemoScreen
from tickhandler_dagster.cli.demo_warehouse import Answer, answer_of
from tickhandler_dagster.settings import Settings

TITLE = "marts dbt"
_SPREADS = """\
SELECT date, instrument_key, ROUND(spread_bps, 2) AS spread_bps, minutes, spread_rank
FROM spread_depth_days
WHERE base_asset = 'BTC' AND instrument_type = 'PERPETUAL'
ORDER BY date, spread_rank
LIMIT 12"""
_SHARES = """\
SELECT date, venue, instrument_type, ROUND(volume, 1) AS btc,
       ROUND(100 * share_of_base, 1) AS percent
FROM venue_share
WHERE base_asset = 'BTC'
ORDER BY date, venue, instrument_type
LIMIT 12"""
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def make_marts(
    settings: Settings,
    instance: dg.DagsterInstance,
    screen: DemoScreen,
    *,
    first: dt.date,
    last: dt.date,
) -> bool:
    """Make every mart of these days in one run.

    Returns:
        Whether the run succeeded, and with it every dbt test; what failed is on the screen.
    """
    from tickhandler_dagster.dbt_assets.location import (  # noqa: PLC0415  (see the charter)
        build_marts_definitions,
    )

    screen.say("Marts: dbt over the warehouse, its tests as checks")
    screen.start(TITLE)
    repository = build_marts_definitions(settings).get_repository_def()
    job = repository.get_implicit_global_asset_job_def()
    with contextlib.redirect_stdout(io.StringIO()):  # dbt's log, which Dagster keeps
        result = job.execute_in_process(
            instance=instance,
            tags=dict(zip(_RANGE_TAGS, (first.isoformat(), last.isoformat()), strict=True)),
            run_config={"loggers": {"console": {"config": {"log_level": settings.log_level}}}},
            raise_on_error=False,
        )
    screen.finish(TITLE, result)
    return result.success


def ask_marts(settings: Settings, *, is_long: bool) -> Answer:
    """Where bitcoin has the smallest spread, or how its volume is shared out over venues.

    Shares are of whole days. Of a day at an end of the demo the bar is provisional, and a short
    demo has no others; a long one has no minutes, which spreads are weighted by.
    """
    import duckdb  # noqa: PLC0415  (see the charter)

    folder = settings.warehouse_folder.absolute()
    # Whoever reads the file itself keeps its writer out.
    with (
        exclusive_lock(folder / "marts.duckdb.lock"),
        duckdb.connect(folder / "marts.duckdb", read_only=True) as marts,
    ):
        question = _SHARES if is_long else _SPREADS
        return answer_of(question, marts.execute(question).to_arrow_table())
