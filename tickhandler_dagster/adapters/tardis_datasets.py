"""One dataset file of the vendor, fetched by the vendor's own client into a local folder.

What belongs here: the request and the meaning of its failure. What does not: which files are wanted
and what is in them.

The vendor's client asks again up to thirty times with growing pauses, whatever the reason, for up
to 48 minutes: also where the disk is full and where it cannot read the text of a refusal. It takes
no limit, but it logs every attempt that failed before it pauses; a filter on that log ends the
attempts that are of no use. Were the log to change, the time limit of a file would still hold.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import aiohttp
from tardis_dev import download_datasets_async

from tickhandler_dagster.adapters.object_store import DEVICE_ERRNOS, storage_error
from tickhandler_dagster.adapters.tardis_errors import Refusal, Secret, no_answer, refused
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.errors import TickhandlerError, VendorUnavailable

_LOGGER = logging.getLogger("tardis_dev._http")
_ASKED_AGAIN = frozenset({403, 404})


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How long a file may take.

    Attributes:
        file_timeout_s: All attempts of a file together.
        silence_timeout_s: Without a byte, in one attempt.
        attempts: Tries of the vendor's client before its last error counts.
        repeats: Further requests after an answer that the client does not repeat itself.
        repeat_pause_s: Least pause between them.
    """

    file_timeout_s: float = 3600.0
    silence_timeout_s: int = 60
    attempts: int = 5
    repeats: int = 2
    repeat_pause_s: float = 1.0


class TardisDatasets:
    """The vendor's dataset service.

    Args:
        endpoint: Its address.
        api_key: The key; None asks for the free days only.
        limits: How long a file may take.
    """

    def __init__(
        self, endpoint: str, *, api_key: Secret | None = None, limits: RequestLimits | None = None
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._key = api_key
        self._limits = limits or RequestLimits()

    async def fetch(self, file: DatasetFile, folder: Path) -> Path:
        """Download a file into `folder`, whatever is in it.

        Raises:
            NotAvailable: the vendor says there is no such file.
            NoEntitlement: the key does not cover it.
            KeyLocked: the key is in use from another address.
            QuotaExhausted: the transfer quota is used up.
            RateLimited: too many requests.
            VendorUnavailable: no answer, a broken one or a server's error, after all attempts.
            StorageFull: the device has no space left.
        """
        repeats = 0
        while True:
            try:
                return await self._fetch_once(file, folder)
            except _RepeatableError as error:
                repeats += 1
                if repeats > self._limits.repeats:
                    raise error.meaning from None
            pause = self._limits.repeat_pause_s * repeats
            await asyncio.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311  (jitter)

    async def _fetch_once(self, file: DatasetFile, folder: Path) -> Path:
        local = folder / "download.csv.gz"
        try:
            with _ATTEMPTS.limited(local, self._limits.attempts):
                async with asyncio.timeout(self._limits.file_timeout_s):
                    await self._request(file, local)
        except _AttemptsEndedError as ended:
            raise self._meaning(file, ended.last, local) from None
        except (OSError, aiohttp.ClientError, UnicodeDecodeError) as error:
            raise self._meaning(file, error, local) from None
        finally:
            sweep_litter(folder)
        return local

    async def _request(self, file: DatasetFile, local: Path) -> None:
        await download_datasets_async(
            exchange=file.venue,
            data_types=[file.data_type],
            symbols=[file.symbol],
            from_date=file.date.isoformat(),
            to_date=(file.date + dt.timedelta(days=1)).isoformat(),
            api_key="" if self._key is None else self._key.get_secret_value(),
            download_dir=str(local.parent),
            endpoint=self._endpoint,
            timeout=self._limits.silence_timeout_s,
            get_filename=lambda *_: local.name,
            skip_if_exists=False,
        )

    def _meaning(self, file: DatasetFile, error: Exception, local: Path) -> Exception:
        if isinstance(error, urllib.error.HTTPError):
            return self._refused(file, error)
        if _is_of_the_device(error):
            return storage_error(error, local)
        return no_answer(str(file), error, secret=self._key, waited_s=self._limits.file_timeout_s)

    def _refused(self, file: DatasetFile, error: urllib.error.HTTPError) -> Exception:
        retry_after = None if error.headers is None else error.headers.get("Retry-After")
        refusal = Refusal(error.code, str(error.msg), retry_after)
        meaning = refused(str(file), refusal, secret=self._key)
        if error.code in _ASKED_AGAIN and isinstance(meaning, VendorUnavailable):
            return _RepeatableError(meaning)
        return meaning


def sweep_litter(folder: Path) -> None:
    """Remove what the vendor's client left of attempts that did not end."""
    for litter in folder.glob("*.unconfirmed"):
        litter.unlink(missing_ok=True)


class _RepeatableError(Exception):
    """An answer the vendor's client does not repeat, though another request can succeed."""

    def __init__(self, meaning: TickhandlerError) -> None:
        super().__init__()
        self.meaning = meaning


class _AttemptsEndedError(Exception):
    """The last attempt's error, when no further attempt is made."""

    def __init__(self, last: Exception) -> None:
        super().__init__()
        self.last = last


class _AttemptFilter(logging.Filter):
    """Reads the client's log of failed attempts and raises where another is of no use.

    The client logs inside its own handling of the error, so what is raised here leaves it. Its
    lines never go further: they hold addresses with signatures.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: dict[str, int] = {}

    @contextmanager
    def limited(self, local: Path, attempts: int) -> Iterator[None]:
        """While the block runs, attempts to write `local` are counted."""
        self._left[str(local)] = attempts
        _LOGGER.addFilter(self)
        _LOGGER.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            del self._left[str(local)]

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        error = args[-1] if args else None
        local = str(args[0]) if args else ""
        if not isinstance(error, Exception) or local not in self._left:
            return record.levelno > logging.DEBUG
        self._left[local] -= 1
        is_hopeless = isinstance(error, UnicodeDecodeError) or _is_of_the_device(error)
        if self._left[local] <= 0 or is_hopeless:
            raise _AttemptsEndedError(error)
        return False


_ATTEMPTS = _AttemptFilter()


def _is_of_the_device(error: Exception) -> TypeGuard[OSError]:
    return (
        isinstance(error, OSError)
        and not isinstance(error, aiohttp.ClientError | urllib.error.HTTPError | TimeoutError)
        and error.errno in DEVICE_ERRNOS
    )
