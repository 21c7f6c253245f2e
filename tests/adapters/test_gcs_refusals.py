"""What a bucket refuses, as an error that says what to do."""

from __future__ import annotations

import pytest

from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_json import GcsJson
from tickhandler_dagster.market.errors import (
    InvalidSetting,
    NoEntitlement,
    StorageDenied,
    StorageUnavailable,
)


def everything(buckets, store):
    return {
        "read": lambda: store.read("x"),
        "write": lambda: store.write("x", b"1"),
        "publish": lambda: buckets.publish(store, "x", b"1" * 300_000),
        "size": lambda: store.size("x"),
        "local": lambda: store.local("x"),
        "list": lambda: list(store.list("")),
        "delete": lambda: store.delete("x"),
    }


OPERATIONS = ("read", "write", "publish", "size", "local", "list", "delete")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bucket_that_does_not_exist_is_named_with_its_setting(buckets, in_parts, operation):
    store = buckets.open("no-such-bucket")
    with pytest.raises(InvalidSetting, match=r"GCS_BUCKET: no such bucket .*no-such-bucket"):
        everything(buckets, store)[operation]()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_missing_permission_fails_at_once_and_names_the_role(buckets, gcs, in_parts, operation):
    store = buckets.open(retries=5)
    gcs.fail(
        status=403, times=None, body=buckets.answer("AccessDenied", "sa does not have storage.x")
    )
    with pytest.raises(StorageDenied, match=r"not permitted.*roles/storage.objectUser"):
        everything(buckets, store)[operation]()
    assert len(gcs.requests) == 1


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        ((401, "AuthenticationRequired"), NoEntitlement, "auth application-default login"),
        ((403, "UserProjectAccountProblem"), StorageDenied, "Enable billing"),
        ((403, "AccessDenied: The billing account is closed"), StorageDenied, "Enable billing"),
        ((400, "UserProjectInvalid"), InvalidSetting, "GCP_PROJECT_ID"),
        ((400, "InvalidArgument"), StorageDenied, "400: InvalidArgument"),
        ((503, "ServiceUnavailable"), StorageUnavailable, "the next try"),
    ],
)
def test_every_refusal_says_what_to_do(buckets, gcs, refusal, kind, text):
    store = buckets.open(retries=0)
    gcs.fail(status=refusal[0], times=None, body=buckets.answer(refusal[1]))
    with pytest.raises(kind, match=text):
        store.read("x")


def test_the_second_interface_refuses_as_clearly(buckets, gcs):
    def ask(bucket=None):
        credentials = load_credentials(None, is_emulated=True)
        return GcsJson(
            bucket or buckets.bucket, credentials, endpoint=gcs.endpoint, retries=1
        ).facts("a")

    assert ask() is None
    gcs.fail(
        status=404,
        body=b'{"error": {"errors": [{"reason": "notFound"}], "message": '
        b'"The specified bucket does not exist."}}',
    )
    with pytest.raises(InvalidSetting, match="GCS_BUCKET"):
        ask()
    gcs.fail(status=403, times=1, body=b"not JSON")
    with pytest.raises(StorageDenied, match="not JSON"):
        ask()
    gcs.fail(status=503, times=2)
    with pytest.raises(StorageUnavailable, match="was 503"):
        ask()
    gcs.fail(times=None)
    with pytest.raises(StorageUnavailable, match="no answer"):
        ask()


def test_the_lake_may_begin_at_the_root_of_the_bucket(buckets, gcs):
    store = buckets.open(prefix="")
    store.write("a/b", b"1")
    assert gcs.names(buckets.bucket) == ["a/b"]
    assert list(store.list("a/")) == ["a/b"]
    assert store.uri == f"gs://{buckets.bucket}"
    assert buckets.open().uri == f"gs://{buckets.bucket}/a/lake"
