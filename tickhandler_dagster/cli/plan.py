"""`tickhandler plan`: what a selection would fetch, make, store, load and cost, before it does.

What belongs here: from the request to an estimate. What does not: the plan itself
(`pipeline/plan.py`), showing it (`plan_screen.py`) and running it (`run_plan.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from tickhandler_dagster.cli.plan_screen import (
    Estimate,
    estimate_json,
    screen_for,
    show_estimate,
)
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.market.costs.plan import PlanPart, Selection, parse_part
from tickhandler_dagster.market.costs.plan_json import plan_json
from tickhandler_dagster.market.costs.prices import Prices, prices_with
from tickhandler_dagster.market.costs.quantities import Machine
from tickhandler_dagster.market.costs.warnings import plan_warnings
from tickhandler_dagster.market.data_types import parse_data_type
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.halo import halo_of
from tickhandler_dagster.market.venues import parse_venue
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.plan import PlanScope, plan_selection


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What the command was told, as text.

    Attributes:
        start: First day.
        end: Last day.
        venues: Venues; those that are downloaded where empty.
        data_types: Data types; those that are downloaded where empty.
        assets: Parts of a plan; all where empty.
        is_forced: Also what is there.
        max_instruments: Files per partition at most; 0 for all.
        prices: File that replaces numbers of the price table.
        cores: Cores that compute; all of this machine where 0.
        download_rate: Megabytes per second; that of the price table where 0.
    """

    start: str
    end: str
    venues: list[str]
    data_types: list[str]
    assets: list[str]
    is_forced: bool = False
    max_instruments: int = 0
    prices: Path | None = None
    cores: int = 0
    download_rate: float = 0.0


def run_plan_command(
    platform: Platform, request: PlanRequest, *, as_json: bool, save: Path | None
) -> None:
    """Plan, show, and keep the plan in a file if asked.

    Raises:
        InvalidInput: a date, a name or a price is wrong, or the plan could not be run as it is.
        MissingUpstream: the catalogue of a venue was never fetched.
    """
    if save is not None and request.max_instruments:
        raise InvalidInput(
            "--max-instruments",
            "together with --save",
            was=request.max_instruments,
            expected="an estimate alone: a run takes whole partitions",
            remedy="Leave one of the two out",
        )
    estimate = estimated(platform, selection_of(platform, request), prices_of(request), request)
    if as_json:
        sys.stdout.write(json.dumps(estimate_json(estimate), indent=1) + "\n")
    else:
        show_estimate(screen_for(is_error=False), estimate)
    if save is not None:
        save_json(save, plan_json(estimate.plan))


def selection_of(platform: Platform, request: PlanRequest) -> Selection:
    """The selection that a request means: days and venues that the grid has.

    Raises:
        InvalidInput: a date or a name is wrong, or none of it is in the grid.
    """
    settings = platform.settings
    layout = platform.scope.layout()
    start, end = parse_date(request.start), parse_date(request.end)
    named = tuple(map(parse_venue, request.venues)) or tuple(settings.download_venues)
    types = tuple(map(parse_data_type, request.data_types)) or tuple(settings.download_data_types)
    asked = Selection(
        start=start,
        end=end,
        venues=tuple(venue for venue in layout.venues if venue in named),
        data_types=types,
        parts=tuple(dict.fromkeys(map(parse_part, request.assets))) or tuple(PlanPart),
        is_forced=request.is_forced,
        max_files=request.max_instruments,
    )
    first, last = max(start, layout.first_day), min(end, layout.last_day)
    if first > last or not set(named) <= set(layout.venues):
        raise InvalidInput(
            f"{start} to {end} of {', '.join(named)}",
            "not in the partition grid",
            expected=f"days from {layout.first_day} to {layout.last_day}, "
            f"venues {', '.join(layout.venues)}",
            remedy="Set PARTITION_START_DATE and DOWNLOAD_VENUES, or name other days",
        )
    return replace(asked, start=first, end=last)


def prices_of(request: PlanRequest) -> Prices:
    """The price table with what the request replaces.

    Raises:
        InvalidInput: the file cannot be read, or a number is wrong.
    """
    changes: dict[object, object] = {}
    if request.prices is not None:
        changes = _read_prices(request.prices)
    if request.download_rate:
        changes["download_rate"] = request.download_rate
    return prices_with(changes)


def _read_prices(file: Path) -> dict[object, object]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInput(
            str(file),
            "not a price file",
            was=type(error).__name__,
            expected="YAML with a name and a number per line",
            remedy="Correct the file or its path",
        ) from error
    if not isinstance(found, dict):
        raise InvalidInput(
            str(file),
            "not a price file",
            was=type(found).__name__,
            expected="YAML with a name and a number per line",
            remedy="Write it as in `bigquery_query: 5.0`",
        )
    return dict(found)


def estimated(
    platform: Platform, selection: Selection, prices: Prices, request: PlanRequest | None = None
) -> Estimate:
    """The plan of a selection on this installation.

    Raises:
        MissingUpstream: the catalogue of a venue was never fetched.
    """
    settings, mft = platform.settings, platform.scope.plan
    has_bigquery = settings.warehouse is WarehouseKind.BIGQUERY
    plan = plan_selection(
        platform.lake,
        selection,
        PlanScope(
            place=place_of(platform),
            prices=prices,
            machine=Machine(
                cores=(request.cores if request else 0) or os.cpu_count() or 1,
                downloads=settings.max_concurrent_requests,
            ),
            halos={timeframe: halo_of(mft.features, timeframe) for timeframe in MFT_TIMEFRAMES},
            tables=warehouse_tables(mft.windows),
            has_bigquery=has_bigquery,
        ),
    )
    has_bucket = settings.gcs_bucket is not None
    free = None if has_bucket else _free_bytes(settings.lake_root)
    warnings = plan_warnings(plan, prices, free_bytes=free)
    return Estimate(plan, prices, has_bucket, has_bigquery, tuple(warnings))


def place_of(platform: Platform) -> str:
    """Which lake it is."""
    settings = platform.settings
    if settings.gcs_bucket is not None:
        return f"gs://{settings.gcs_bucket}/{settings.gcs_prefix}"
    return str(settings.lake_root.absolute())


def _free_bytes(root: Path) -> int:
    """Space on the device of a folder that need not exist yet."""
    folder = root.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def save_json(file: Path, document: object) -> None:
    """Write a document so that nobody reads half of it.

    Raises:
        InvalidInput: the file cannot be written.
    """
    text = json.dumps(document, indent=1) + "\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.absolute().parent, delete=False
        ) as temporary:
            temporary.write(text)
        Path(temporary.name).replace(file)
    except OSError as error:
        with contextlib.suppress(OSError, UnboundLocalError):
            Path(temporary.name).unlink()
        raise InvalidInput(
            str(file),
            "cannot be written",
            was=os.strerror(error.errno) if error.errno else str(error),
            remedy="Name a file in a folder that exists and can be written",
        ) from error
