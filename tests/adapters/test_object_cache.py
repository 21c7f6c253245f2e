"""Copies on this machine of a bucket's objects: fetched once, never stale, bounded."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.market.errors import InvalidSetting, StorageFull, StorageUnavailable


@pytest.fixture
def store(buckets):
    return buckets.open()


def test_a_copy_that_is_the_present_object_is_not_fetched_again(store, gcs):
    store.write("a", b"1")
    assert store.local("a") == store.local("a")
    assert (gcs.count("HEAD"), gcs.count("GET")) == (2, 1)


def test_a_copy_is_shared_by_the_stores_of_a_machine(buckets, gcs):
    buckets.open().write("a", b"1")
    assert buckets.open().local("a") == buckets.open().local("a")
    assert gcs.count("GET") == 1


def test_an_object_that_changed_is_fetched_and_the_old_copy_stays_for_its_reader(buckets):
    store = buckets.open()
    store.write("a", b"1")
    old = store.local("a")
    buckets.open().write("a", b"2")
    assert store.local("a").read_bytes() == b"2"
    assert old.read_bytes() == b"1"


def test_a_copy_of_another_size_is_not_trusted(store):
    store.write("a", b"123")
    store.local("a").write_bytes(b"12")
    assert store.local("a").read_bytes() == b"123"


def test_the_least_recently_used_copies_are_evicted_but_none_in_use(buckets):
    cache = ObjectCache(buckets.folder / "small", 3000)
    store = buckets.open(cache=cache)
    for name in "abc":
        store.write(name, b"x" * 1000)
        os.utime(store.local(name), (time.time() - 3600 + ord(name),) * 2)
    kept = store.local("a")
    store.write("d", b"x" * 1000)
    assert store.local("d").exists()
    store.write("e", b"x" * 2500)
    assert store.local("e").exists()
    left = {file.stat().st_size for file in cache.folder.glob("??/*")}
    assert kept.exists()
    assert sum(1 for _ in cache.folder.glob("??/*")) == 3  # a was just used, d and e are new
    assert left == {1000, 2500}


def test_eviction_frees_no_more_than_it_must(tmp_path):
    roomy, cache = ObjectCache(tmp_path, 10**9), ObjectCache(tmp_path, 3000)
    for number in range(5):
        file = roomy.add(str(number), lambda file: file.write_bytes(b"x" * 1000) and None)
        os.utime(file, (1_000_000_000 + number,) * 2)
    assert cache.evict() == 2000
    assert [cache.find(str(number), 1000) is not None for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip


def test_an_object_deleted_between_the_question_and_the_download_is_not_there(buckets, store, gcs):
    store.write("a", b"1")
    gcs.fail(method="GET", status=404, body=buckets.answer("NoSuchKey"))
    assert store.local("a") is None


def test_a_download_that_fails_leaves_nothing_in_the_cache(buckets, gcs):
    buckets.open().write("a", b"1")
    store = buckets.open(retries=0)
    gcs.fail(method="GET", status=500)
    with pytest.raises(StorageUnavailable):
        store.local("a")
    assert [f for f in (buckets.folder / "cache").rglob("*") if f.is_file()] == []
    assert store.local("a").read_bytes() == b"1"


def test_a_full_device_of_the_copies_is_named_with_its_setting(buckets):
    store = buckets.open()
    store.write("a", b"1" * 10**6)

    class Full(ObjectCache):
        def add(self, key, fill):
            def fails(_file):
                fill(Path("/dev/full"))

            return super().add(key, fails)

    with pytest.raises(StorageFull, match="CACHE_FOLDER"):
        buckets.open(cache=Full(buckets.folder / "full", 10**9)).local("a")


def test_a_cache_folder_that_may_not_be_written_is_named_with_its_setting(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(InvalidSetting, match="CACHE_FOLDER"),
        ObjectCache(tmp_path / "file" / "cache", 1).scratch(),
    ):
        pass


def test_many_readers_of_one_object_at_once_agree(store):
    store.write("a", os.urandom(500_000))
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda _: store.local("a").read_bytes(), range(24)))
    assert set(copies) == {store.read("a")}
