"""Buckets of the emulator, for the tests of what is in them."""

from __future__ import annotations

import pytest

from tickhandler_dagster.adapters import gcs_store, gcs_uploads
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.object_cache import ObjectCache


class Buckets:
    def __init__(self, gcs, folder):
        self.gcs, self.folder = gcs, folder
        self.bucket = gcs.bucket()

    def open(self, bucket=None, *, prefix="a/lake", cache=None, retries=2):
        return GcsObjectStore(
            bucket or self.bucket,
            prefix=prefix,
            credentials=load_credentials(None, is_emulated=True),
            cache=cache or ObjectCache(self.folder / "cache", 10**9),
            endpoint=f"{self.gcs.endpoint}/",
            retries=retries,
        )

    @staticmethod
    def publish(store, path, data):
        with store.scratch() as folder:
            (folder / "x").write_bytes(data)
            store.publish(folder / "x", path)

    @staticmethod
    def answer(code, message="no"):
        return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture
def buckets(gcs, tmp_path):
    return Buckets(gcs, tmp_path)


@pytest.fixture
def in_parts(monkeypatch):
    """Everything larger than 100 kB goes up in parts of 200 kB."""
    monkeypatch.setattr(gcs_store, "WHOLE_BYTES", 100_000)
    monkeypatch.setattr(gcs_uploads, "PART_BYTES", 200_000)
