"""Credentials: found, sent, and where they are not right, answered with what to do; never shown."""

from __future__ import annotations

import json
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.market.errors import InvalidSetting, NoEntitlement, StorageUnavailable

CANARY = json.dumps(
    {
        "type": "service_account",
        "private_key": "canary-key",
        "client_email": "a@b",
        "token_uri": "http://x",
    }
)


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def key_file(tmp_path, private_key, vendor):
    """The key of a service account whose tokens come from the server on loopback."""

    def write(*answers, token_uri=None, **more):
        path = "/v1/token"
        vendor.answers[path] = list(answers)
        vendor._counts[path] = 0
        content = {
            "type": "service_account",
            "project_id": "project-of-the-key",
            "private_key_id": "1",
            "private_key": private_key,
            "client_email": "lake@project-of-the-key.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": token_uri or f"http://127.0.0.1:{vendor.port}{path}",
        }
        file = tmp_path / "key.json"
        file.write_text(json.dumps(content | more))
        return file

    return write


@pytest.fixture
def store(gcs, tmp_path):
    def make(credentials):
        return GcsObjectStore(
            gcs.bucket(),
            credentials=credentials,
            cache=ObjectCache(tmp_path / "cache", 10**9),
            endpoint=gcs.endpoint,
            retries=1,
        )

    return make


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without application default credentials."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "")


def token(answer, text="the-token", status=200):
    body = {"access_token": text, "expires_in": 3600, "token_type": "Bearer"}
    return answer(json.dumps(body).encode(), status, {"Content-Type": "application/json"})


def test_a_key_is_turned_into_a_token_that_is_sent_and_kept(key_file, store, gcs, vendor, answer):
    credentials = load_credentials(key_file(token(answer)))
    assert credentials.project == "project-of-the-key"
    lake = store(credentials)
    lake.write("a", b"1")
    lake.write("b", b"1")
    assert gcs.tokens == ["Bearer the-token"] * 2
    assert vendor.paths.count("/v1/token") == 1


@pytest.mark.parametrize("operation", ["read", "facts"])
def test_a_key_that_is_refused_names_the_fix(key_file, store, answer, private_key, operation):
    refused = answer(b'{"error": "invalid_grant", "error_description": "expired"}', 400)
    lake = store(load_credentials(key_file(refused)))
    with pytest.raises(NoEntitlement, match=r"expired, revoked.*GCP_CREDENTIALS_PATH") as caught:
        lake.read("a") if operation == "read" else lake._gcs.json.facts("a")
    shown = "".join(traceback.format_exception(caught.value))
    assert private_key.splitlines()[1] not in shown
    assert "assertion" not in shown


def test_a_token_endpoint_that_does_not_answer_is_worth_another_try(key_file, monkeypatch):
    credentials = load_credentials(key_file(token_uri="http://127.0.0.1:9/token"))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(StorageUnavailable, match="no answer to the request for a token"):
        credentials.token()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "{}",
        '{"type": "service_account"}',
        '{"type": "of another kind"}',
        CANARY,
    ],
)
def test_a_file_that_is_no_key_is_named_without_its_content(tmp_path, text):
    file = tmp_path / "key.json"
    file.write_text(text)
    with pytest.raises(
        InvalidSetting, match=r"GCP_CREDENTIALS_PATH: not a credentials file .*Download"
    ) as caught:
        load_credentials(file)
    assert "canary-key" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_missing_or_unreadable_is_named(tmp_path):
    with pytest.raises(InvalidSetting, match=r"GCP_CREDENTIALS_PATH: no such file .*gone.json"):
        load_credentials(tmp_path / "gone.json")
    with pytest.raises(InvalidSetting, match=r"cannot be read .*Correct the path"):
        load_credentials(tmp_path)


def test_a_machine_without_default_credentials_is_told_what_to_do(nowhere):
    with pytest.raises(InvalidSetting, match=r"no application default .*gcloud auth application"):
        load_credentials(None)


def test_default_credentials_of_the_machine_are_taken(
    nowhere, monkeypatch, key_file, vendor, answer
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file(token(answer))))
    credentials = load_credentials(None)
    assert credentials.project == "project-of-the-key"
    assert credentials.token()["token"] == "the-token"


@pytest.mark.parametrize(
    "content",
    [
        {
            "type": "authorized_user",
            "client_id": "a",
            "client_secret": "b",
            "refresh_token": "c",
        },
        {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": "/var/run/token"},
        },
    ],
)
def test_other_files_of_google_are_taken_too(tmp_path, content):
    file = tmp_path / "c.json"
    file.write_text(json.dumps(content))
    assert load_credentials(file).google is not None


def test_an_emulator_is_sent_nothing_that_means_anything():
    credentials = load_credentials(None, is_emulated=True)
    assert credentials.token() == {"token": "anonymous", "expires_at": None}
