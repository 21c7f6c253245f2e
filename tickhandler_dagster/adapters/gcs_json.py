"""The few requests that the object client cannot make: what is stored, and a conditional rename.

What belongs here: Cloud Storage's JSON interface, for checksums and for putting a large upload into
its place on a condition. What does not: bytes; they go through the object client in `gcs_store.py`.
An upload in parts takes no condition, so it goes to a name of its own and is renamed, which for the
service is one operation on metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials, credential_error
from tickhandler_dagster.adapters.gcs_errors import NO_BUCKET, concurrent_write, refusal
from tickhandler_dagster.market.errors import StorageDenied

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

_SERVICE = "https://storage.googleapis.com"
_FIELDS = "size,crc32c,generation"
_TIMEOUT_S = (5.0, 60.0)
_BACKOFF_S, _JITTER_S, _LONGEST_S = 0.2, 0.3, 15.0
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_NOT_FOUND, _PRECONDITION = 404, 412


@dataclass(frozen=True)
class ObjectFacts:
    """What the service says of a stored object.

    Attributes:
        size: Bytes.
        crc32c: Checksum of the content, base64.
        generation: The version.
    """

    size: int
    crc32c: str
    generation: str


class GcsJson:
    """Requests to the JSON interface of one bucket.

    Args:
        bucket: Whose objects.
        credentials: Sent with every request.
        endpoint: An emulator's address; None: the service's.
        retries: Further tries of a request that met a transient fault.
    """

    def __init__(
        self, bucket: str, credentials: GcpCredentials, *, endpoint: str | None, retries: int
    ) -> None:
        self._bucket = bucket
        self._credentials = credentials
        self._base = (endpoint or _SERVICE).rstrip("/")
        self._retries = retries

    def location(self) -> str | None:
        """Where the bucket is, such as EU; None where these credentials may not ask.

        Raises:
            InvalidSetting: there is no such bucket.
        """
        url = f"{self._base}/storage/v1/b/{self._bucket}"
        try:
            answer = self._ask("GET", url, {"fields": "location"}, "")
        except StorageDenied:  # roles that suffice for objects do not cover the bucket itself
            return None
        if answer is None:
            raise refusal(self._bucket, "", _NOT_FOUND, NO_BUCKET)
        return str(answer["location"])

    def facts(self, name: str) -> ObjectFacts | None:
        """What is stored under the full name; None where nothing is."""
        answer = self._ask("GET", self._url(name), {"fields": _FIELDS}, name)
        return None if answer is None else _facts(answer)

    def rename(
        self, source: str, target: str, *, source_version: str, target_version: str | None
    ) -> ObjectFacts:
        """Put the object `source` in the place of `target`; `source` stays.

        Args:
            source: A full name.
            target: A full name.
            source_version: Has to be that of the source.
            target_version: Has to be that of the target, `0` where there is none; None: any.

        Raises:
            ConcurrentWrite: one of them is not.
        """
        url = f"{self._url(source)}/rewriteTo/b/{self._bucket}/o/{quote(target, safe='')}"
        query = {"ifSourceGenerationMatch": source_version}
        if target_version is not None:
            query["ifGenerationMatch"] = target_version
        while True:
            answer = self._ask("POST", url, query, target)
            if answer is None:
                raise concurrent_write(f"gs://{self._bucket}/{source}")
            if answer["done"]:
                return _facts(answer["resource"])
            query["rewriteToken"] = answer["rewriteToken"]

    def delete(self, name: str, *, version: str) -> None:
        """Remove this version of an object; nothing happens where it is gone."""
        self._ask("DELETE", self._url(name), {"ifGenerationMatch": version}, name)

    def _url(self, name: str) -> str:
        return f"{self._base}/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}"

    @cached_property
    def _session(self) -> AuthorizedSession:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415  (slow)
        from requests.adapters import HTTPAdapter  # noqa: PLC0415  (slow import)
        from urllib3.util.retry import Retry  # noqa: PLC0415  (slow import)

        retry = Retry(
            total=self._retries,
            status_forcelist=_TRANSIENT,
            allowed_methods=None,  # each request carries its condition: twice is as good as once
            backoff_factor=_BACKOFF_S,
            backoff_jitter=_JITTER_S,
            backoff_max=_LONGEST_S,
            raise_on_status=False,
        )
        session = AuthorizedSession(self._credentials.google)  # type: ignore[no-untyped-call]
        session.mount(self._base, HTTPAdapter(max_retries=retry))
        return session

    def _ask(self, method: str, url: str, query: dict[str, str], name: str) -> Any | None:  # noqa: ANN401  (any JSON)
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  (slow import)
        from requests import RequestException  # noqa: PLC0415  (slow import)

        try:
            answer = self._session.request(  # type: ignore[no-untyped-call]
                method, url, params=query, timeout=_TIMEOUT_S
            )
        except GoogleAuthError as error:
            raise credential_error(error) from None  # the chained text may repeat what was sent
        except RequestException:
            raise refusal(self._bucket, name, None) from None  # its text shows how it was sent
        if answer.ok:
            return answer.json() if answer.content else {}
        self._require_absence(answer, name)
        return None

    def _require_absence(self, answer: Any, name: str) -> None:  # noqa: ANN401  (of an untyped library)
        if answer.status_code == _PRECONDITION:
            raise concurrent_write(f"gs://{self._bucket}/{name}")
        try:
            error = answer.json()["error"]
            code, message = str(error["errors"][0]["reason"]), str(error["message"])
        except (ValueError, LookupError, TypeError):
            code, message = "", str(answer.text)
        if answer.status_code == _NOT_FOUND and "bucket does not exist" not in message:
            return
        code = NO_BUCKET if answer.status_code == _NOT_FOUND else code
        raise refusal(self._bucket, name, answer.status_code, code, message)


def _facts(answer: Any) -> ObjectFacts:  # noqa: ANN401  (any JSON)
    return ObjectFacts(int(answer["size"]), answer["crc32c"], str(answer["generation"]))
