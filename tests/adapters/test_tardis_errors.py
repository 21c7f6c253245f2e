"""The meaning of every refusal, and texts that give no secret away."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from tickhandler_dagster.adapters.tardis_errors import Refusal, clean, refused
from tickhandler_dagster.market.errors import (
    InvalidInput,
    KeyLocked,
    NoEntitlement,
    NotAvailable,
    QuotaExhausted,
    RateLimited,
    TickhandlerError,
    VendorUnavailable,
)


def body(code=None, message="text", **more):
    return json.dumps({"code": code, "message": message} | more)


@pytest.mark.parametrize(
    ("refusal", "kind", "wait"),
    [
        (Refusal(401, body(10)), NoEntitlement, None),
        (Refusal(400, body(140)), NotAvailable, None),
        (Refusal(400, body(300)), NotAvailable, None),
        (Refusal(400, body(100)), InvalidInput, None),
        (Refusal(400, "must be in ISO 8601 format"), VendorUnavailable, None),
        (Refusal(403, body(274, retryAfterSeconds=893)), KeyLocked, 893),
        (Refusal(403, "<?xml?><Error>SignatureDoesNotMatch</Error>"), VendorUnavailable, None),
        (Refusal(403, body(11)), NoEntitlement, None),
        (Refusal(404, ""), VendorUnavailable, None),
        (Refusal(429, "", "1"), RateLimited, 1),
        (Refusal(429, "", "300"), RateLimited, 300),
        (Refusal(429, "", "301"), QuotaExhausted, 301),
        (Refusal(429, "", "Wed, 21 Oct 2026"), RateLimited, None),
        (Refusal(429, ""), RateLimited, None),
        (Refusal(500, ""), VendorUnavailable, None),
        (Refusal(502, "[1]"), VendorUnavailable, None),
        (Refusal(503, "", "9"), VendorUnavailable, 9),
        (Refusal(504, ""), VendorUnavailable, None),
        (Refusal(418, ""), InvalidInput, None),
    ],
)
def test_every_refusal_has_one_meaning(refusal, kind, wait):
    error = refused("file", refusal)
    assert type(error) is kind
    assert getattr(error, "retry_after_s", None) == wait


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\x00", body(274), body("x")])
def test_no_answer_is_without_a_meaning(text):
    for status in range(300, 600):
        error = refused("the file", Refusal(status, text))
        assert isinstance(error, TickhandlerError)
        assert "the file" in str(error)


def test_a_key_and_a_signature_do_not_reach_the_text():
    key = SecretStr("an-odd-key-of-another-form")
    text = (
        "Bearer TD.secretsecret and TD.secretsecret2 of an-odd-key-of-another-form at "
        "https://s3.example.com/x.csv.gz?X-Amz-Signature=deadbeef&X-Amz-Credential=cred"
    )
    error = str(refused("file", Refusal(403, json.dumps({"code": 1, "message": text})), secret=key))
    for secret in ("secretsecret", "an-odd-key", "deadbeef", "cred"):
        assert secret not in error
        assert secret not in clean(text, key)
    assert "https://s3.example.com/x.csv.gz" in error
