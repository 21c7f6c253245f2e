"""What the vendor says today about a dataset file: its headers, or the hash of its content.

What belongs here: one request and the reading of its headers. What does not: what follows from them
(`market/revisions.py`) and how many files are asked about at once (`pipeline/recheck.py`).

HEAD is not used: it was seen to give 404 and to hang where GET answers. A GET whose body is not
read costs a connection, since what already comes cannot be called back.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDictProxy

from tickhandler_dagster.adapters.tardis_datasets import RequestLimits
from tickhandler_dagster.adapters.tardis_errors import (
    QUOTA_WAIT_S,
    Refusal,
    Secret,
    no_answer,
    refused,
)
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.errors import KeyLocked, NotAvailable, TransientError
from tickhandler_dagster.market.revisions import VendorFile

Ask: TypeAlias = Callable[[DatasetFile], Awaitable[VendorFile | None]]

_BLOCK = 1 << 18
_READ_AHEAD = 1 << 12
"""Small: headers are wanted, and what the client buffers of a body is transferred for nothing."""
_NOT_FOUND = 404
_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")


class TardisRevisions:
    """The vendor's dataset service, asked what it has.

    Args:
        endpoint: Its address.
        api_key: The key; None asks for the free days only.
        limits: How long and how often to ask.
    """

    def __init__(
        self, endpoint: str, *, api_key: Secret | None = None, limits: RequestLimits | None = None
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._key = api_key
        self._limits = limits or RequestLimits()

    @asynccontextmanager
    async def opened(self, *, content: bool = False) -> AsyncIterator[Ask]:
        """A function that asks about a file, over connections that are closed at the end.

        It gives None where the vendor has no such file, and raises `NoEntitlement`, `KeyLocked`,
        `QuotaExhausted`, `RateLimited` or `VendorUnavailable` where it cannot say.

        Args:
            content: Read the body too, for its hash; nothing is stored.
        """
        headers = {"Accept-Encoding": "gzip"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        silence = self._limits.silence_timeout_s
        async with aiohttp.ClientSession(
            # The header goes to the vendor alone: the client drops it where a redirect leads to
            # another host, which refuses a request that is signed twice.
            headers=headers,
            auto_decompress=False,
            read_bufsize=_BLOCK if content else _READ_AHEAD,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence),
            trust_env=True,
        ) as session:

            async def ask(file: DatasetFile) -> VendorFile | None:
                return await self._repeated(session, file, content=content)

            yield ask

    async def _repeated(
        self, session: aiohttp.ClientSession, file: DatasetFile, *, content: bool
    ) -> VendorFile | None:
        for repeat in range(1, self._limits.repeats + 2):
            is_last = repeat > self._limits.repeats
            try:
                async with asyncio.timeout(self._limits.file_timeout_s):
                    found = await self._once(session, file, content=content)
            except NotAvailable:
                return None
            except TransientError as error:
                wait = error.retry_after_s or self._limits.repeat_pause_s * repeat
                if is_last or isinstance(error, KeyLocked) or wait > QUOTA_WAIT_S:
                    raise
            except TimeoutError as error:
                raise no_answer(
                    str(file), error, secret=self._key, waited_s=self._limits.file_timeout_s
                ) from None
            else:
                # A 404 is seen now and then for files that are there.
                if found is not None or is_last:
                    return found
                wait = self._limits.repeat_pause_s * repeat
            await asyncio.sleep(wait * random.uniform(1.0, 1.5))  # noqa: S311  (jitter)
        raise AssertionError(file)  # the last repeat returns or raises

    async def _once(
        self, session: aiohttp.ClientSession, file: DatasetFile, *, content: bool
    ) -> VendorFile | None:
        url = (
            f"{self._endpoint}/{file.venue}/{file.data_type}/{file.date:%Y/%m/%d}"
            f"/{quote(file.symbol, safe='')}.csv.gz"
        )
        try:
            response = await session.get(url)
            try:
                return await self._read(response, file, content=content)
            finally:
                # Not released: that would read the rest of the body to keep the connection.
                response.close()
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise no_answer(
                str(file), error, secret=self._key, waited_s=self._limits.silence_timeout_s
            ) from None

    async def _read(
        self, response: aiohttp.ClientResponse, file: DatasetFile, *, content: bool
    ) -> VendorFile | None:
        if response.status == _NOT_FOUND:
            return None
        if response.status != 200:  # noqa: PLR2004  (OK)
            refusal = Refusal(
                response.status, await response.text(), response.headers.get("Retry-After")
            )
            raise refused(str(file), refusal, secret=self._key)
        if not content:
            return vendor_file(response.headers)
        digest = hashlib.sha256()
        async for block in response.content.iter_chunked(_BLOCK):
            digest.update(block)
        return vendor_file(response.headers, sha256=digest.hexdigest())


def vendor_file(headers: CIMultiDictProxy[str], *, sha256: str | None = None) -> VendorFile:
    """What the headers say; one that is malformed says nothing.

    `x-md5` of a file that was uploaded in parts is no digest of the file and is left out.
    """
    length = headers.get("Content-Length", "")
    md5 = _unquoted(headers.get("x-md5")) or ""
    return VendorFile(
        bytes=int(length) if length.isascii() and length.isdigit() else None,
        md5=md5.lower() if _PLAIN_MD5.fullmatch(md5.lower()) else None,
        etag=_unquoted(headers.get("ETag")),
        last_modified=_moment(headers.get("Last-Modified")),
        sha256=sha256,
    )


def _unquoted(text: str | None) -> str | None:
    return None if text is None else text.strip().removeprefix("W/").strip('"') or None


def _moment(text: str | None) -> dt.datetime | None:
    try:
        moment = None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
