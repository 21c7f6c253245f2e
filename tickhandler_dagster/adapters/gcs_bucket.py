"""A bucket under a prefix: its clients, their patience, and what they have stored.

What belongs here: how requests are sent and sent again, and whether what arrived is what was sent.
What does not: which requests an operation takes (`gcs_store.py`, `gcs_uploads.py`). Sent again are
requests that met 408, 429, 5xx or a refused or broken connection, with waits that grow and are
drawn at random; anything else fails at once.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.adapters.gcs_errors import gcs_errors
from tickhandler_dagster.adapters.gcs_json import GcsJson
from tickhandler_dagster.market.errors import InvalidInput, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import GCSStore

RETRIES = 6
"""Further tries after a transient fault: together about a quarter of a minute."""

_FIRST_WAIT, _LONGEST_WAIT = dt.timedelta(milliseconds=200), dt.timedelta(seconds=15)
_GIVE_UP = dt.timedelta(minutes=3)
_REQUEST, _SILENCE = dt.timedelta(minutes=5), dt.timedelta(minutes=1)


class GcsBucket:
    """A bucket, from the prefix on.

    Args:
        name: The bucket's name.
        prefix: Where in the bucket the lake begins; empty: at its root.
        credentials: Asked for a token whenever the last one runs out.
        endpoint: An emulator's address; None: the service's.
        retries: Further tries of a request that met a transient fault.
    """

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        credentials: GcpCredentials,
        endpoint: str | None,
        retries: int,
    ) -> None:
        self.name = name
        self.endpoint = endpoint and endpoint.rstrip("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._credentials = credentials
        self._retries = retries
        self._process = os.getpid()
        self._is_known = False
        self.json = GcsJson(name, credentials, endpoint=self.endpoint, retries=retries)

    @property
    def uri(self) -> str:
        """Where the lake begins, as other services of Google address it."""
        return f"gs://{self.name}/{self._prefix}".rstrip("/")

    @property
    def client(self) -> GCSStore:
        """The object client, whose connections are kept and shared by all threads.

        Raises:
            InvalidInput: this process is a fork of one that had opened it; the client's threads
                are not here, and it would wait for them for ever.
        """
        if os.getpid() != self._process and "_opened" in self.__dict__:
            raise InvalidInput(
                self.uri,
                "opened before this process was forked",
                remedy="Start processes by spawn",
            )
        self._process = os.getpid()
        return self._opened

    @cached_property
    def _opened(self) -> GCSStore:
        from obstore.store import GCSStore  # noqa: PLC0415  (slow import)

        return GCSStore(
            self.name,
            prefix=self._prefix or None,
            config={"base_url": self.endpoint} if self.endpoint else None,
            client_options={
                "allow_http": self.endpoint is not None and self.endpoint.startswith("http://"),
                "timeout": _REQUEST,
                "read_timeout": _SILENCE,
            },
            retry_config={
                "max_retries": self._retries,
                "retry_timeout": _GIVE_UP,
                "backoff": {"init_backoff": _FIRST_WAIT, "max_backoff": _LONGEST_WAIT, "base": 2},
            },
            credential_provider=self._credentials.token,
        )

    def full_name(self, path: str) -> str:
        """The name in the bucket of a path in the lake."""
        return self._prefix + path

    def errors(self, path: str) -> AbstractContextManager[None]:
        """Errors of the object client inside the block become errors of ours; see `gcs_errors`."""
        return gcs_errors(self.name, self.full_name(path), self._credentials)

    def require(self) -> None:
        """The bucket exists: asked once, when an object is first missed.

        A request for an object's facts alone answers a missing bucket like a missing object.

        Raises:
            InvalidSetting: it does not.
        """
        import obstore  # noqa: PLC0415  (slow import)

        if not self._is_known:
            with self.errors(""):
                next(iter(obstore.list(self.client, chunk_size=1)), None)
            self._is_known = True

    def require_stored(self, path: str, version: str, checksum: str) -> None:
        """What the service stored is what was sent; else it is removed again.

        Args:
            path: Where it was sent.
            version: What was made there.
            checksum: CRC-32C of what was sent.

        Raises:
            StorageUnavailable: it was not.
        """
        name = self.full_name(path)
        stored = self.json.facts(name)
        if stored is not None and stored.generation == version and stored.crc32c != checksum:
            self.json.delete(name, version=version)
            raise broken(f"{self.uri}/{path}", "arrived with other bytes and was removed")


def broken(subject: str, fact: str) -> StorageUnavailable:
    """The error for bytes that a transfer changed."""
    return StorageUnavailable(subject, fact, remedy="The next try transfers it again")
