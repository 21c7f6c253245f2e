"""A bucket's patience, its uploads in parts, and that bytes are those that were meant."""

from __future__ import annotations

import base64
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tickhandler_dagster.adapters import gcs_bucket
from tickhandler_dagster.adapters.crc32c import Crc32c, crc32c_of
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidInput,
    StorageUnavailable,
)


@pytest.fixture
def store(buckets):
    return buckets.open()


# --- patience -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, 500, 429, 408])
def test_a_transient_answer_is_asked_again_with_waits_that_differ(buckets, gcs, status):
    store = buckets.open(retries=3)
    gcs.fail(status=status, times=2, method="PUT")
    started = time.monotonic()
    store.write("a", b"1")
    assert gcs.count("PUT") == 3
    assert 0.2 < time.monotonic() - started < 5
    assert store.read("a") == b"1"


def test_writers_that_meet_the_same_fault_do_not_come_back_together(buckets, gcs):
    gcs.fail(status=503, times=16, method="PUT")  # two for each of eight
    moments, real = [], gcs.put

    def put(*some, **more):
        moments.append(time.monotonic())
        return real(*some, **more)

    gcs.put = put
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: buckets.open(retries=9).write(f"a/{n}", b"1"), range(8)))
    finally:
        gcs.put = real
    assert max(moments) - min(moments) > 0.05


def test_patience_ends_and_the_error_is_worth_another_try(buckets, gcs):
    store = buckets.open(retries=1)
    gcs.fail(status=503, times=None)
    with pytest.raises(StorageUnavailable, match=r"a/lake/x: not served .*\(was 503\)"):
        store.read("x")
    assert gcs.count("GET") == 2


def test_cut_connections_are_made_again(store, gcs):
    gcs.fail(times=1)
    store.write("a", b"1")
    gcs.fail(times=1)
    assert store.read("a") == b"1"
    gcs.fail(times=None)
    with pytest.raises(StorageUnavailable, match="no answer"):
        store.size("a")


@pytest.mark.parametrize("is_known", [True, False])
def test_a_write_whose_answer_is_lost_is_recognised_as_done(store, gcs, is_known):
    if is_known:
        assert store.read("a") is None
    gcs.fail(times=1, is_done=True, method="PUT")
    store.write("a", b"1")
    assert store.read("a") == b"1"
    store.write("a", b"2")
    assert store.read("a") == b"2"


def test_a_rename_whose_answer_is_lost_is_recognised_as_done(buckets, store, gcs, in_parts):
    assert store.read("a") is None
    gcs.fail(times=1, is_done=True, method="POST", contains="rewriteTo")
    buckets.publish(store, "a", b"1" * 300_000)
    assert gcs.count("POST", "rewriteTo") == 2
    assert store.read("a") == b"1" * 300_000


def test_parts_are_sent_again_one_by_one(buckets, store, gcs, in_parts):
    gcs.fail(status=503, times=2, method="PUT", contains="partNumber=2")
    buckets.publish(store, "a", b"1" * 1_000_000)
    assert gcs.count("PUT", "partNumber") == 7
    assert store.read("a") == b"1" * 1_000_000


def test_one_connection_serves_many_requests(store, gcs):
    opened = []
    real = gcs._server.process_request
    gcs._server.process_request = lambda *some: (opened.append(1), real(*some))
    try:
        for number in range(40):
            store.write(f"a/{number}", b"1")
    finally:
        gcs._server.process_request = real
    assert len(opened) <= 8  # as many as were on the way at a time, not one per request


def test_a_process_forked_after_the_first_request_is_told_instead_of_waiting(store, monkeypatch):
    store.write("a", b"1")
    monkeypatch.setattr(gcs_bucket.os, "getpid", lambda: -1)
    with pytest.raises(InvalidInput, match=r"forked.*by spawn"):
        store.read("a")


def test_a_slow_answer_is_waited_for(store, gcs):
    store.write("a", b"1")
    gcs.fail(is_slow=True, delay_s=0.5, method="GET")
    assert store.read("a") == b"1"
    assert gcs.count("GET") == 1


# --- in parts -----------------------------------------------------------------------------------


def test_an_upload_in_parts_leaves_nothing_beside_the_object(store, gcs, buckets, in_parts):
    data = os.urandom(1_000_000)
    buckets.publish(store, "a", data)
    assert gcs.names(buckets.bucket) == ["a/lake/a"]
    assert gcs.count("PUT", "partNumber") == 5
    assert gcs.uploads == {}
    assert store.read("a") == data
    assert store.local("a").read_bytes() == data


def test_an_upload_in_parts_is_conditional_too(buckets, gcs, in_parts):
    first, second = buckets.open(), buckets.open()
    assert first.read("a") is None
    second.write("a", b"2")
    with pytest.raises(ConcurrentWrite):
        buckets.publish(first, "a", b"1" * 300_000)
    assert (first.read("a"), gcs.names(buckets.bucket)) == (b"2", ["a/lake/a"])


def test_an_upload_that_fails_in_the_middle_leaves_the_old_object(buckets, gcs, in_parts):
    store = buckets.open(retries=0)
    store.write("a", b"old")
    gcs.fail(status=500, method="PUT", contains="partNumber=3")
    with pytest.raises(StorageUnavailable):
        buckets.publish(store, "a", b"1" * 1_000_000)
    assert store.read("a") == b"old"
    assert gcs.names(buckets.bucket) == ["a/lake/a"]


def test_uploads_of_dead_writers_are_removed_after_a_day(buckets, gcs, in_parts):
    for name, changed in (("old", "2020-01-01T00:00:00.000000Z"), ("young", None)):
        made = gcs.put(buckets.bucket, f"a/lake/_scratch/{name}", b"")
        made["updated"] = changed or made["updated"]
    buckets.publish(buckets.open(), "a", b"1" * 300_000)
    assert gcs.names(buckets.bucket) == ["a/lake/_scratch/young", "a/lake/a"]
    assert list(buckets.open().list("")) == ["a"]


def test_a_rename_that_the_service_does_in_steps_is_followed_to_its_end(
    buckets, store, gcs, in_parts
):
    step = b'{"done": false, "rewriteToken": "next"}'
    gcs.fail(status=200, times=2, method="POST", contains="rewriteTo", body=step)
    buckets.publish(store, "a", b"1" * 300_000)
    assert gcs.count("POST", "rewriteToken=next") == 2
    assert store.read("a") == b"1" * 300_000


def test_an_upload_that_somebody_removed_before_its_rename_is_told(buckets, store, gcs, in_parts):
    gcs.fail(status=404, method="POST", contains="rewriteTo")
    with pytest.raises(ConcurrentWrite):
        buckets.publish(store, "a", b"1" * 300_000)
    assert store.read("a") is None


# --- verification -------------------------------------------------------------------------------


@pytest.fixture
def damaged(gcs, monkeypatch):
    """The service stores other bytes than it was sent."""
    real = gcs.put

    def put(bucket, name, data, **more):
        return real(bucket, name, data[:-1] + b"!", **more)

    monkeypatch.setattr(gcs, "put", put)
    return monkeypatch


def test_bytes_that_arrive_damaged_are_removed_and_sent_again(store, gcs, buckets, damaged):
    assert store.read("a") is None
    with pytest.raises(StorageUnavailable, match="arrived with other bytes"):
        store.write("a", b"12345")
    assert gcs.names(buckets.bucket) == []
    damaged.undo()
    buckets.open().write("a", b"other")
    store.write("a", b"12345")
    assert store.read("a") == b"12345"


def test_parts_that_arrive_damaged_never_take_the_objects_place(
    store, gcs, buckets, in_parts, damaged
):
    with pytest.raises(StorageUnavailable, match="arrived with other bytes"):
        buckets.publish(store, "a", b"1" * 300_000)
    assert gcs.names(buckets.bucket) == []


def test_bytes_that_are_received_damaged_are_not_given_to_the_reader(store, gcs, buckets):
    store.write("a", b"12345")
    (gcs.folder / buckets.bucket / "a/lake/a").write_bytes(b"1234!")
    with pytest.raises(StorageUnavailable, match="received with other bytes"):
        store.read("a")
    with pytest.raises(StorageUnavailable, match="received with other bytes"):
        store.local("a")


def test_an_object_that_others_made_has_no_checksum_and_is_read(store, gcs, buckets):
    gcs.put(buckets.bucket, "a/lake/a", b"1")
    assert store.read("a") == b"1"
    assert store.local("a").read_bytes() == b"1"


def test_the_checksum_of_parts_is_that_of_the_whole():
    data, parts = os.urandom(20 * 2**20 + 3), Crc32c()
    for start in range(0, len(data), 777_777):
        parts.update(data[start : start + 777_777])
    assert parts.text == crc32c_of(data)
    assert len(base64.b64decode(parts.text)) == 4
