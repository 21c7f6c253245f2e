"""What assets are given: lake, vendor, limits of a process, a listener for progress.

What belongs here: building adapters from `Settings`, each when a run first asks for it. The
vendor's clients are imported then, not before: reading definitions must not pay for an HTTP
library.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.adapters.warehouse import Warehouse
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.pipeline.admission import MemoryGate
from tickhandler_dagster.pipeline.exchange_catalog import MetadataSource
from tickhandler_dagster.pipeline.kline_conformance import KlineSource, NoKlines
from tickhandler_dagster.pipeline.raw_ticks import DatasetSource, IngestLimits
from tickhandler_dagster.pipeline.recheck import RevisionSource
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.warehouse import build_warehouse
from tickhandler_dagster.settings import Settings
from tickhandler_dagster.settings.forms import NO_KLINES, VENUE_KLINES

LOG_INTERVAL_S = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vendor:
    """The vendor's two services.

    Attributes:
        metadata: What is listed.
        datasets: The files.
    """

    metadata: MetadataSource
    datasets: DatasetSource


class ProgressListener:
    """Takes steps forward; without a listener of its own it writes a log line now and then.

    Args:
        listen: Called with every step instead of the log.
    """

    def __init__(self, listen: OnProgress | None = None) -> None:
        self._listen = listen
        self._logged_at: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        """Pass the step on."""
        if self._listen is not None:
            self._listen(progress)
        elif progress.is_finished or self._is_due(progress.task):
            _LOG.info(
                "%s: %s of %s %s, %s rows",
                progress.task,
                f"{progress.done:,}",
                f"{progress.total:,}",
                progress.unit,
                f"{progress.rows:,}",
            )

    def _is_due(self, task: str) -> bool:
        now = time.monotonic()
        is_due = now - self._logged_at.setdefault(task, now) >= LOG_INTERVAL_S
        if is_due:
            self._logged_at[task] = now
        return is_due


def build_resources(settings: Settings) -> Mapping[str, object]:
    """Every resource of the platform under its key, built from these settings."""
    return {
        "lake": _lazy(lambda: build_lake(settings)),
        "vendor": _lazy(lambda: build_vendor(settings)),
        "klines": _lazy(lambda: build_kline_source(settings)),
        "revision_source": _lazy(lambda: build_revision_source(settings)),
        "warehouse": _warehouse(settings),
        "limits": _limits(settings),
        "memory": MemoryGate(MemoryLedger(settings.memory_threshold_percent)),
        "progress": ProgressListener(),
    }


def build_vendor(settings: Settings) -> Vendor:
    """Clients of the vendor's services at the addresses and with the key of the settings."""
    from tickhandler_dagster.adapters.tardis_datasets import (  # noqa: PLC0415  (see the charter)
        TardisDatasets,
    )
    from tickhandler_dagster.adapters.tardis_metadata import (  # noqa: PLC0415  (see the charter)
        TardisMetadata,
    )

    key = settings.tardis_api_key
    return Vendor(
        metadata=TardisMetadata(str(settings.tardis_endpoint), api_key=key),
        datasets=TardisDatasets(str(settings.tardis_datasets_endpoint), api_key=key),
    )


def build_revision_source(settings: Settings) -> RevisionSource:
    """Who says what the vendor has today."""
    from tickhandler_dagster.adapters.tardis_revisions import (  # noqa: PLC0415  (see the charter)
        TardisRevisions,
    )

    return TardisRevisions(str(settings.tardis_datasets_endpoint), api_key=settings.tardis_api_key)


def build_kline_source(settings: Settings) -> KlineSource:
    """Where klines come from by the settings."""
    if settings.klines_source == NO_KLINES:
        return NoKlines()
    if settings.klines_source == VENUE_KLINES:
        from tickhandler_dagster.adapters.klines.binance_rest import (  # noqa: PLC0415  (see the charter)
            BinanceKlines,
        )

        endpoint = settings.klines_endpoint
        return BinanceKlines(None if endpoint is None else str(endpoint))
    from tickhandler_dagster.adapters.klines.kline_folder import (  # noqa: PLC0415  (see the charter)
        KlineFolder,
    )

    return KlineFolder(Path(settings.klines_source))


def _warehouse(settings: Settings) -> dg.ResourceDefinition:
    """Over the lake of the run, whatever it was replaced by."""

    def build(context: dg.InitResourceContext) -> Warehouse:
        lake: Lake = context.resources.lake
        return build_warehouse(settings, lake.store)

    return dg.ResourceDefinition(build, required_resource_keys={"lake"})


def _limits(settings: Settings) -> IngestLimits:
    return IngestLimits(
        max_concurrent_requests=settings.max_concurrent_requests,
        max_workers=settings.download_max_workers,
        max_parallel_uploads=settings.max_parallel_uploads,
        batch_size=settings.batch_size,
        memory_threshold_percent=settings.memory_threshold_percent,
    )


def _lazy(build: Callable[[], object]) -> dg.ResourceDefinition:
    return dg.ResourceDefinition(lambda _context: build())
