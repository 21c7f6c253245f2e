"""Large files into a bucket: sent in parallel parts, verified, and only then put into their place.

What belongs here: uploads in parts and what dead writers left of them. What does not: objects that
are one request (`gcs_store.py`). The service takes no condition for an upload in parts. So the
parts go to a name of their own, and the finished object is renamed on the condition; within a
bucket that is an operation on metadata. The road not taken is one request for any size: conditional
by itself, but one stream, and a fault at its end sends all of it again.
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from pathlib import Path

from tickhandler_dagster.adapters.crc32c import Crc32c
from tickhandler_dagster.adapters.gcs_bucket import GcsBucket
from tickhandler_dagster.adapters.leftovers import owner_tag
from tickhandler_dagster.adapters.object_store import SCRATCH_FOLDER
from tickhandler_dagster.adapters.object_versions import ABSENT

PART_BYTES = 8 * 1024 * 1024
PARALLEL_PARTS = 8
"""Parts of one upload on the way at the same time: 64 MiB of memory."""

PARALLEL_UPLOADS = 4
"""Uploads in parts at the same time: 256 MiB of memory, and more streams than a line needs."""

CHECKSUM = "crc32c"
"""The key under which an object's checksum is stored with it."""

_READ_BYTES = 8 * 1024 * 1024
_ABANDONED = dt.timedelta(days=1)
_NO_GENERATION = "0"


class PartedUploads:
    """Uploads in parts into one bucket.

    Args:
        bucket: Where.
    """

    def __init__(self, bucket: GcsBucket) -> None:
        self._bucket = bucket
        self._places = threading.BoundedSemaphore(PARALLEL_UPLOADS)
        self._is_swept = False

    def upload(self, local_file: Path, path: str, *, checksum: str, seen: str | None) -> str:
        """Send the file and put it into its place; the version it has there.

        Args:
            local_file: Stays as it is.
            path: Its place.
            checksum: CRC-32C of the file.
            seen: The version that the place has to have, or `ABSENT`; None: any.

        Raises:
            ConcurrentWrite: the place has another version.
            StorageUnavailable: no answer, or the parts arrived with other bytes.
        """
        aside = f"{SCRATCH_FOLDER}/{owner_tag()}-{secrets.token_hex(8)}"
        with self._places:
            self._sweep()
            version = self._send(local_file, aside, checksum)
        self._bucket.require_stored(aside, version, checksum)
        try:
            return self._bucket.json.rename(
                self._bucket.full_name(aside),
                self._bucket.full_name(path),
                source_version=version,
                target_version=_NO_GENERATION if seen == ABSENT else seen,
            ).generation
        finally:
            self._bucket.json.delete(self._bucket.full_name(aside), version=version)

    def _send(self, local_file: Path, aside: str, checksum: str) -> str:
        import obstore  # noqa: PLC0415  (slow import)

        with self._bucket.errors(aside):
            result = obstore.put(
                self._bucket.client,
                aside,
                local_file,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARALLEL_PARTS,
                attributes={CHECKSUM: checksum},
            )
        return str(result["version"])

    def _sweep(self) -> None:
        """Once per process: uploads of dead writers, older than any upload takes."""
        import obstore  # noqa: PLC0415  (slow import)

        if self._is_swept:
            return
        self._is_swept = True
        oldest = dt.datetime.now(dt.UTC) - _ABANDONED
        with self._bucket.errors(SCRATCH_FOLDER):
            for page in obstore.list(self._bucket.client, SCRATCH_FOLDER):
                for meta in page:
                    if meta["last_modified"] < oldest:
                        obstore.delete(self._bucket.client, meta["path"])


def file_checksum(file: Path) -> str:
    """CRC-32C of a file, read in blocks."""
    checksum = Crc32c()
    with file.open("rb") as reader:
        while block := reader.read(_READ_BYTES):
            checksum.update(block)
    return checksum.text
