"""Finding a lake by its name: a folder, or `gs://bucket/prefix`.

What belongs here: from a name to a store. What does not: settings; whoever has them builds the
store and gives it to `MarketData`.
"""

from __future__ import annotations

from pathlib import Path

from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.client.market_data import MarketData
from tickhandler_dagster.market.errors import InvalidInput

_CACHE_BYTES = 20e9


def open_market_data(
    where: str | Path,
    *,
    credentials: Path | None = None,
    cache: Path | None = None,
    endpoint: str | None = None,
) -> MarketData:
    """The lake in a folder or in a bucket of Cloud Storage.

    Args:
        where: A folder, or `gs://bucket/prefix`.
        credentials: A service account's key file; None for the machine's default credentials.
        cache: Where copies of a bucket's objects stand; None for a folder of this user's. Ticks are
            read by ranges and are not copied.
        endpoint: An emulator's address; None for the service.

    Raises:
        InvalidInput: there is no such folder, or an address of another kind.

    Example:
        >>> open_market_data("s3://bucket")
        Traceback (most recent call last):
        ...
        tickhandler_dagster.market.errors.InvalidInput: 's3://bucket': not a place of a lake \
(expected a folder or gs://bucket/prefix). Copy the lake to one of these.
    """
    text = str(where)
    if text.startswith("gs://"):
        return _of_bucket(text, credentials=credentials, cache=cache, endpoint=endpoint)
    if "://" in text:
        raise InvalidInput(
            f"'{text}'",
            "not a place of a lake",
            expected="a folder or gs://bucket/prefix",
            remedy="Copy the lake to one of these",
        )
    folder = Path(where).expanduser()
    if not folder.is_dir():
        raise InvalidInput(
            f"'{text}'",
            "no such folder",
            remedy="Give LAKE_ROOT's folder; `tickhandler settings` shows it",
        )
    return MarketData(LocalObjectStore(folder))


def _of_bucket(
    address: str, *, credentials: Path | None, cache: Path | None, endpoint: str | None
) -> MarketData:
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

    bucket, _, prefix = address.removeprefix("gs://").partition("/")
    store = GcsObjectStore(
        bucket,
        prefix=prefix,
        credentials=load_credentials(credentials, is_emulated=endpoint is not None),
        cache=ObjectCache(cache or default_cache_folder(), _CACHE_BYTES),
        endpoint=endpoint,
    )
    return MarketData(store)
