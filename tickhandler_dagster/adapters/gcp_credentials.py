"""Who this process is to Google Cloud: one object, made in one place, for every client.

What belongs here: finding credentials, handing them to clients, and saying what to do where there
are none. What does not: what a bucket or a dataset answers to them (`gcs_errors.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from tickhandler_dagster.market.errors import (
    InvalidSetting,
    NoEntitlement,
    StorageUnavailable,
    TickhandlerError,
)

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_SETTING = "GCP_CREDENTIALS_PATH"
_LOGIN = "run: gcloud auth application-default login"


class Token(TypedDict):
    """A bearer token in the form the object client takes."""

    token: str
    expires_at: datetime | None


class GcpCredentials:
    """Credentials of Google's library, and the same as tokens for the object client.

    Args:
        google: What Google's own clients take.
        project: The project that the credentials name, where they do.
        is_anonymous: An emulator is asked; nothing is sent that means anything.
    """

    def __init__(
        self, google: Credentials, project: str | None = None, *, is_anonymous: bool = False
    ) -> None:
        self.google = google
        self.project = project
        self.is_anonymous = is_anonymous
        self.failure: TickhandlerError | None = None

    def token(self) -> Token:
        """A valid token.

        A client turns an error of this call into a text of its own, so the error is kept in
        `failure` as well, for whoever translates that text.

        Raises:
            NoEntitlement: the credentials expired, were revoked or are not known.
            StorageUnavailable: nobody answers who could say so.
        """
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  (slow import)

        if self.is_anonymous:
            return Token(token="anonymous", expires_at=None)  # noqa: S106  (no secret)
        try:
            token = self._provider()()
        except GoogleAuthError as error:
            self.failure = credential_error(error)
            raise self.failure from None  # the chained text may repeat what was sent
        self.failure = None
        return Token(token=token["token"], expires_at=token["expires_at"])

    def _provider(self) -> Any:  # noqa: ANN401  (typed by a library imported when used)
        from obstore.auth.google import GoogleCredentialProvider  # noqa: PLC0415  (slow import)

        return GoogleCredentialProvider(self.google)


def load_credentials(path: Path | None, *, is_emulated: bool = False) -> GcpCredentials:
    """The credentials of a file, else the application default ones of this machine.

    Args:
        path: A service account's key, or the configuration of a workload identity.
        is_emulated: An emulator is asked: no credentials are looked for and none are sent.

    Raises:
        InvalidSetting: the file is missing, unreadable or of another kind, or there is no file and
            no default.
    """
    import google.auth  # noqa: PLC0415  (slow import)
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  (slow import)
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415  (slow import)

    if is_emulated:
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
        return GcpCredentials(nobody, is_anonymous=True)
    if path is not None:
        return _from_file(path)
    try:
        found, project = google.auth.default(scopes=SCOPES)
    except DefaultCredentialsError:
        raise InvalidSetting(
            _SETTING,
            "not set, and this machine has no application default credentials",
            remedy=f"Set it to a service account's key file, or {_LOGIN}",
        ) from None
    return GcpCredentials(found, project)


def credential_error(error: Exception) -> TickhandlerError:
    """The error of ours for one of Google's while a token was asked for; no text of theirs is kept.

    Theirs can hold the request's body, which is signed with the key.
    """
    from google.auth.exceptions import TransportError  # noqa: PLC0415  (slow import)

    if isinstance(error, TransportError) or getattr(error, "retryable", False):
        return StorageUnavailable(
            "Google Cloud credentials",
            "no answer to the request for a token",
            remedy="Check the network; the next try goes on from here",
        )
    return NoEntitlement(
        "Google Cloud credentials",
        "refused: expired, revoked or unknown",
        remedy=f"Make a new key and set {_SETTING}, or {_LOGIN}",
    )


def _from_file(path: Path) -> GcpCredentials:
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  (slow import)

    try:
        content = json.loads(path.read_bytes())
        found = _of_content(content)
    except OSError as error:
        fact = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise InvalidSetting(
            _SETTING, fact, was=path, remedy="Correct the path or its permissions"
        ) from error
    except (ValueError, TypeError, AttributeError, LookupError, GoogleAuthError):
        raise InvalidSetting(
            _SETTING,
            "not a credentials file",
            was=path,
            expected="the JSON key of a service account",
            remedy="Download the key again, or leave it out for the application default",
        ) from None  # the chained text could repeat parts of the key
    return GcpCredentials(found, content.get("project_id"))


def _of_content(content: Mapping[str, Any]) -> Credentials:
    """By the kind that the file says it is of; Google advises against taking whatever comes."""
    from google.auth import identity_pool  # noqa: PLC0415  (slow import)
    from google.oauth2 import credentials, service_account  # noqa: PLC0415  (slow import)

    makers: dict[str, Callable[..., Credentials]] = {
        "service_account": service_account.Credentials.from_service_account_info,
        "external_account": identity_pool.Credentials.from_info,
        "authorized_user": credentials.Credentials.from_authorized_user_info,
    }
    return makers[content["type"]](content, scopes=SCOPES)
