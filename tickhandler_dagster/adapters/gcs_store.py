"""The lake in a Cloud Storage bucket, behind the Protocol of `object_store.py`.

What belongs here: one bucket through one object client, writes that take effect as a whole or not
at all, and on the condition that nobody else wrote in between. What does not: answers of the
service as errors (`gcs_errors.py`), copies on this machine (`object_cache.py`), which version this
process knows (`object_versions.py`).

How a write is verified: a CRC-32C of what is sent is compared with what the service computed of
what it stored. Of a small object the service's entity tag is the MD5, which spares a request; where
it is not, and for every object sent in parts, the JSON interface says the CRC-32C. The checksum is
stored with the object too, so that a reader verifies what it got.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import mmap
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.counted_file import ObjectRanges
from tickhandler_dagster.adapters.crc32c import Crc32c, crc32c_of
from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.adapters.gcs_bucket import RETRIES, GcsBucket, broken
from tickhandler_dagster.adapters.gcs_errors import concurrent_write, refusal
from tickhandler_dagster.adapters.gcs_uploads import CHECKSUM, PartedUploads, file_checksum
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.adapters.object_store import is_temporary
from tickhandler_dagster.adapters.object_versions import ABSENT, VersionMemory
from tickhandler_dagster.market.errors import ConcurrentWrite

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode

WHOLE_BYTES = 32 * 1024 * 1024
"""Up to this size an object is one request: fewer calls than parts, and conditional by itself."""

_READ_BYTES = 8 * 1024 * 1024


class GcsObjectStore:
    """Objects of a bucket under a prefix.

    Args:
        bucket: The bucket's name.
        prefix: Where in the bucket the lake begins; empty: at its root.
        credentials: Of `load_credentials`.
        cache: Where copies for readers stand, and where uploads are prepared.
        endpoint: An emulator's address; None: the service's.
        retries: Further tries of a request that met a transient fault.
    """

    requests_at_once = 16

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        credentials: GcpCredentials,
        cache: ObjectCache,
        endpoint: str | None = None,
        retries: int = RETRIES,
    ) -> None:
        self._gcs = GcsBucket(
            bucket, prefix=prefix, credentials=credentials, endpoint=endpoint, retries=retries
        )
        self._uploads = PartedUploads(self._gcs)
        self._cache = cache
        self._versions = VersionMemory()

    @property
    def uri(self) -> str:
        """Where the lake begins, as other services of Google address it."""
        return self._gcs.uri

    @property
    def location(self) -> str | None:
        """Where the bucket is, such as EU; None where these credentials may not ask."""
        return self._gcs.json.location()

    def read(self, path: str) -> bytes | None:
        """The object's bytes; None where there is none.

        Raises:
            StorageDenied: the bucket may not be read.
            StorageUnavailable: no answer, or bytes that are not those stored.
        """
        import obstore  # noqa: PLC0415  (slow import)

        try:
            with self._gcs.errors(path):
                result = obstore.get(self._gcs.client, path)
                data = bytes(result.bytes())
        except FileNotFoundError:
            self._versions.remember(path, ABSENT)
            return None
        self._require_whole(path, result, len(data), crc32c_of(data))
        self._versions.remember(path, str(result.meta["version"]))
        return data

    def write(self, path: str, data: bytes) -> None:
        """Store `data` under `path` as a whole, if nobody else wrote there since it was read.

        Raises:
            ConcurrentWrite: somebody else did.
            StorageDenied: the bucket may not be written.
            StorageUnavailable: no answer; the object is the old one or the new one.
        """
        self._put(path, data, crc32c_of(data))

    def publish(self, local_file: Path, path: str) -> None:
        """Upload a finished local file to `path` as a whole; the file is gone afterwards.

        Raises:
            ConcurrentWrite: somebody else wrote there since it was read; the file stays.
            StorageDenied: the bucket may not be written.
            StorageUnavailable: no answer; the object is the old one or the new one.
        """
        size = local_file.stat().st_size
        if size > WHOLE_BYTES:
            self._publish_in_parts(local_file, path)
        elif size == 0:
            self.write(path, b"")
        else:
            with (
                local_file.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                self._put(path, data, crc32c_of(data))
        local_file.unlink()

    def size(self, path: str) -> int | None:
        """The object's size in bytes; None where there is none."""
        meta = self._head(path)
        return None if meta is None else meta["size"]

    def written_at(self, path: str) -> dt.datetime | None:
        """When the present object was written; None where there is none."""
        meta = self._head(path)
        return None if meta is None else meta["last_modified"]

    def ranges(self, path: str) -> ObjectRanges | None:
        """The present object by ranges, each of the version that was present; None without one."""
        import obstore  # noqa: PLC0415  (slow import)

        meta = self._head(path)
        if meta is None:
            return None

        def read(start: int, end: int) -> bytes:
            with self._gcs.errors(path):
                options: GetOptions = {"range": (start, end), "version": meta["version"]}
                return bytes(obstore.get(self._gcs.client, path, options=options).bytes())

        return ObjectRanges(meta["size"], read)

    def delete(self, path: str) -> None:
        """Remove the object; nothing happens where there is none."""
        import obstore  # noqa: PLC0415  (slow import)

        with contextlib.suppress(FileNotFoundError), self._gcs.errors(path):
            obstore.delete(self._gcs.client, path)
        self._versions.remember(path, ABSENT)

    def list(self, prefix: str) -> Iterator[str]:
        """Paths of all objects that begin with `prefix`, sorted: the order of the service."""
        import obstore  # noqa: PLC0415  (slow import)

        folder = prefix.rpartition("/")[0]
        with self._gcs.errors(prefix):
            for page in obstore.list(self._gcs.client, folder or None, chunk_size=1000):
                for meta in page:
                    path = str(meta["path"])
                    if path > prefix and not path.startswith(prefix):
                        return
                    if path.startswith(prefix) and not is_temporary(path):
                        yield path

    def local(self, path: str) -> Path | None:
        """A copy on this machine of the present object; None where there is none.

        One request says which version is the present one; it is fetched where it is not here yet.

        Raises:
            StorageFull: the device of the copies has no space left.
            StorageUnavailable: no answer, or bytes that are not those stored.
        """
        meta = self._head(path)
        if meta is None:
            return None
        copy = self._cache.find(self._key(path, meta["version"]), meta["size"])
        if copy is None:
            return self._fetch(path)
        self._versions.remember(path, str(meta["version"]))
        return copy

    def scratch(self) -> AbstractContextManager[Path]:
        """A private folder on this machine, removed at the end; its files are uploaded from it."""
        return self._cache.scratch()

    def _head(self, path: str) -> ObjectMeta | None:
        import obstore  # noqa: PLC0415  (slow import)

        try:
            with self._gcs.errors(path):
                return obstore.head(self._gcs.client, path)
        except FileNotFoundError:
            self._gcs.require()
            self._versions.remember(path, ABSENT)
            return None

    def _fetch(self, path: str) -> Path | None:
        import obstore  # noqa: PLC0415  (slow import)

        def fill(file: Path) -> None:
            checksum, size = Crc32c(), 0
            with file.open("wb") as copy:
                for chunk in _chunks(result, self._gcs.errors(path)):
                    checksum.update(chunk)
                    size += copy.write(chunk)
            self._require_whole(path, result, size, checksum.text)

        try:
            with self._gcs.errors(path):
                result = obstore.get(self._gcs.client, path)
        except FileNotFoundError:
            self._versions.remember(path, ABSENT)
            return None
        version = str(result.meta["version"])  # newer than the one asked for, perhaps
        copy = self._cache.add(self._key(path, version), fill)
        self._versions.remember(path, version)
        return copy

    def _put(self, path: str, data: bytes | mmap.mmap, checksum: str) -> None:
        import obstore  # noqa: PLC0415  (slow import)
        from obstore.exceptions import (  # noqa: PLC0415  (slow import)
            AlreadyExistsError,
            PreconditionError,
        )

        try:
            with self._gcs.errors(path):
                result = obstore.put(
                    self._gcs.client,
                    path,
                    data,
                    mode=self._mode(path),
                    use_multipart=False,
                    attributes={CHECKSUM: checksum},
                )
        except (AlreadyExistsError, PreconditionError):
            self._settle(path, checksum)
            return
        except FileNotFoundError as error:
            raise refusal(self._gcs.name, self._gcs.full_name(path), None) from error
        tag = str(result["e_tag"]).strip('"')
        if tag != hashlib.md5(data, usedforsecurity=False).hexdigest():
            self._versions.forget(path)  # of what was there before, and is not any more
            self._gcs.require_stored(path, str(result["version"]), checksum)
        self._versions.remember(path, str(result["version"]))

    def _publish_in_parts(self, local_file: Path, path: str) -> None:
        checksum = file_checksum(local_file)
        try:
            version = self._uploads.upload(
                local_file, path, checksum=checksum, seen=self._versions.version(path)
            )
        except ConcurrentWrite:
            self._settle(path, checksum)
        else:
            self._versions.remember(path, version)

    def _mode(self, path: str) -> PutMode:
        version = self._versions.version(path)
        if version is None:
            return "overwrite"
        if version == ABSENT:
            return "create"
        return {"version": version}

    def _settle(self, path: str, checksum: str) -> None:
        """A write was refused: its bytes are there already, or somebody else's are.

        They are its own where an answer was lost and the request sent again, and as good as its own
        where another process made the same object of the same inputs.
        """
        stored = self._gcs.json.facts(self._gcs.full_name(path))
        if stored is None or stored.crc32c != checksum:
            self._versions.forget(path)
            raise concurrent_write(f"{self._gcs.uri}/{path}")
        self._versions.remember(path, stored.generation)

    def _require_whole(self, path: str, result: GetResult, size: int, checksum: str) -> None:
        sent = result.attributes.get(CHECKSUM, checksum)  # absent where others made the object
        if size != result.meta["size"] or sent != checksum:
            raise broken(f"{self._gcs.uri}/{path}", "received with other bytes than are stored")

    def _key(self, path: str, version: object) -> str:
        return f"{self._gcs.endpoint or ''} {self._gcs.uri} {path} {version}"


def _chunks(result: GetResult, errors: AbstractContextManager[None]) -> Iterator[bytes]:
    with errors:
        for chunk in result.stream(min_chunk_size=_READ_BYTES):
            yield bytes(chunk)
