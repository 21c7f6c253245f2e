"""Where the lake is by the settings: objects of a bucket, or files of a folder.

What belongs here: building the store when somebody first asks for it, naming it, and asking it
whether it can be used. What does not: what is stored in it (`adapters/lake.py`), the warehouse
(`warehouse.py`). A bucket wins over a folder: LAKE_ROOT has a default, so that "both are set" could
not be told from "one is", and a process that inherits every setting of another has to see the lake
of that other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.leftovers import owner_tag
from tickhandler_dagster.adapters.object_store import (
    SCRATCH_FOLDER,
    LocalObjectStore,
    ObjectStore,
)
from tickhandler_dagster.market.errors import InvalidSetting, StorageUnavailable
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.resources.on_demand import OnDemand
from tickhandler_dagster.settings import Settings

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.gcs_store import GcsObjectStore

_PROBE = b"Written, read and removed by: tickhandler settings --check\n"
_MULTI_REGIONS = {"EU": "europe-", "US": "us-"}
_BYTES_PER_GB = 10**9


def build_lake(settings: Settings) -> Lake:
    """The lake that the settings name."""
    return Lake(build_store(settings))


def build_store(settings: Settings) -> ObjectStore:
    """The objects of the lake: of GCS_BUCKET where that is set, else of LAKE_ROOT.

    Credentials are looked for when an object is first asked for: what is wrong with them is then
    the error of a partition, which says it in a sentence, and not one of Dagster's of a resource.
    """
    name = settings.gcs_bucket
    if name is None:
        return LocalObjectStore(settings.lake_root)
    return cast("ObjectStore", OnDemand(lambda: _bucket(settings, name)))


def lake_name(settings: Settings) -> str:
    """Where the lake is, for people: `gs://bucket/prefix`, or the folder.

    Example:
        >>> lake_name(Settings(gcs_bucket="market-data", gcs_prefix="v1"))
        'gs://market-data/v1'
    """
    return bucket_uri(settings) or str(settings.lake_root)


def bucket_uri(settings: Settings) -> str | None:
    """Where the lake is, to a service that reads it by itself; None where it is a folder."""
    if settings.gcs_bucket is None:
        return None
    return "/".join(filter(None, (f"gs://{settings.gcs_bucket}", settings.gcs_prefix)))


def check_lake(settings: Settings) -> str:
    """Write, read and remove a small object; what was found, as a sentence.

    Raises:
        InvalidSetting: there is no such bucket or folder, no usable credentials, or the bucket is
            not where BigQuery reads it from.
        NoEntitlement: the credentials are not accepted.
        StorageDenied: they do not permit to read and write.
        StorageUnavailable: nobody answers.
    """
    path = f"{SCRATCH_FOLDER}/{owner_tag()}-check"
    store = build_store(settings)
    store.write(path, _PROBE)
    found = store.read(path)
    store.delete(path)
    if found != _PROBE:
        raise StorageUnavailable(
            lake_name(settings), "gave other bytes than were written", remedy="Try again"
        )
    return f"{lake_name(settings)} can be written and read{_place(settings)}."


def _place(settings: Settings) -> str:
    """Where the bucket is; the warehouse that loads from it has to be there too."""
    if settings.gcs_bucket is None:
        return ""
    place = _bucket(settings, settings.gcs_bucket).location
    if place is None:
        return ", location not known to these credentials"
    if settings.warehouse is WarehouseKind.BIGQUERY and not _can_load(
        place, settings.bigquery_location
    ):
        raise InvalidSetting(
            "BIGQUERY_LOCATION",
            "not where the bucket is",
            was=settings.bigquery_location,
            expected=place,
            remedy=f"Set it to {place}, or GCS_BUCKET to a bucket there",
        )
    return f", location {place}"


def _can_load(bucket: str, dataset: str) -> bool:
    """A load job reads buckets of its own place, and of the regions that its multi-region spans."""
    bucket, dataset = bucket.lower(), dataset.lower()
    region = _MULTI_REGIONS.get(dataset.upper())
    return bucket == dataset or (region is not None and bucket.startswith(region))


def _bucket(settings: Settings, name: str) -> GcsObjectStore:
    from tickhandler_dagster.adapters.gcp_credentials import (  # noqa: PLC0415  (slow import)
        load_credentials,
    )
    from tickhandler_dagster.adapters.gcs_store import (  # noqa: PLC0415  (slow import)
        GcsObjectStore,
    )
    from tickhandler_dagster.adapters.object_cache import (  # noqa: PLC0415  (slow import)
        ObjectCache,
        default_cache_folder,
    )

    endpoint = settings.gcs_endpoint
    return GcsObjectStore(
        name,
        prefix=settings.gcs_prefix,
        credentials=load_credentials(
            settings.gcp_credentials_path, is_emulated=endpoint is not None
        ),
        cache=ObjectCache(
            settings.cache_folder or default_cache_folder(),
            int(settings.lake_cache_gb * _BYTES_PER_GB),
        ),
        endpoint=None if endpoint is None else str(endpoint),
    )
