"""The schedule that compares yesterday's live bars with the batch, switched on by whoever is live.

What belongs here: when, and of which venues. What does not: the job (`jobs.py`).
"""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from tickhandler_dagster.automation.jobs import COMPARE_LIVE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VenueId

EVERY_DAY_AT = "0 12 * * *"
"""Noon UTC: the vendor's files of a day are there in the morning after, and candles after them."""


def build_live_schedules(venues: Sequence[VenueId]) -> list[dg.ScheduleDefinition]:
    """One run per venue for the day before; a venue that was not live is an empty cell.

    It is off until somebody switches it on, for most installations are never live. Requests carry
    the day in their key, so that no day is done twice.

    Args:
        venues: Venues that are downloaded.
    """

    @dg.schedule(
        name="live_parity_daily",
        job_name=COMPARE_LIVE,
        cron_schedule=EVERY_DAY_AT,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Yesterday's live bars against the batch, every venue, at noon UTC.",
    )
    def live_parity_daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        day = context.scheduled_execution_time.date() - dt.timedelta(days=1)
        cells = [VenueDay(day, venue) for venue in venues]
        return [dg.RunRequest(run_key=str(cell), partition_key=str(cell)) for cell in cells]

    return [live_parity_daily]
