"""The vendor's descriptions of a venue: what it lists, and the terms of its contracts.

What belongs here: the two requests, repeated where another try can help. What does not: what the
answers say (`market/catalog.py`, `market/contract_terms.py`).
"""

from __future__ import annotations

import asyncio
import json
import random
import urllib.error
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from tardis_dev import get_exchange_details_async, get_instrument_info_async

from tickhandler_dagster.adapters.tardis_errors import Refusal, Secret, clean, refused
from tickhandler_dagster.market.errors import (
    CorruptData,
    NoEntitlement,
    TransientError,
    VendorUnavailable,
)
from tickhandler_dagster.market.venues import VenueId

_T = TypeVar("_T")
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """How often and how long to ask.

    Attributes:
        attempts: Tries of a request.
        first_pause_s: Pause after the first; it doubles each time.
        silence_timeout_s: Without a byte, in one attempt.
    """

    attempts: int = 4
    first_pause_s: float = 1.0
    silence_timeout_s: int = 60


class TardisMetadata:
    """The vendor's metadata service.

    Args:
        endpoint: Its address.
        api_key: The key; contract terms need one.
        limits: How often and how long to ask.
    """

    def __init__(
        self, endpoint: str, *, api_key: Secret | None = None, limits: MetadataLimits | None = None
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._key = api_key
        self._limits = limits or MetadataLimits()

    def exchange_details(self, venue: VenueId) -> Mapping[str, object]:
        """The exchange reply, decoded.

        Raises:
            VendorUnavailable: no answer after all attempts.
            CorruptData: the answer is not a JSON object.
        """
        subject = f"exchange details of {venue}"

        async def ask() -> Any:  # noqa: ANN401  (any JSON)
            return await get_exchange_details_async(
                venue, endpoint=self._endpoint, timeout=self._limits.silence_timeout_s
            )

        reply = asyncio.run(self._repeated(subject, ask))
        if not isinstance(reply, dict):
            raise _not_json(subject, "a JSON object")
        return reply

    def instruments(self, venue: VenueId) -> Sequence[Mapping[str, object]] | None:
        """The instruments reply, decoded; None where the key, or its absence, does not cover it.

        Raises:
            KeyLocked: the key is in use from another address.
            VendorUnavailable: no answer after all attempts.
            CorruptData: the answer is not a JSON list.
        """
        subject = f"instruments of {venue}"

        async def ask() -> Any:  # noqa: ANN401  (any JSON)
            return await get_instrument_info_async(
                venue,
                api_key="" if self._key is None else self._key.get_secret_value(),
                endpoint=self._endpoint,
                timeout=self._limits.silence_timeout_s,
            )

        try:
            reply = asyncio.run(self._repeated(subject, ask))
        except NoEntitlement:
            return None
        if not isinstance(reply, list):
            raise _not_json(subject, "a JSON list")
        return reply

    async def _repeated(self, subject: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        pause = self._limits.first_pause_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(subject, ask)
            except TransientError as error:
                wait = pause if error.retry_after_s is None else error.retry_after_s
                if attempt >= self._limits.attempts or wait > _LONGEST_WAIT_S:
                    raise
            await asyncio.sleep(wait * random.uniform(1.0, 1.5))  # noqa: S311  (jitter)
            pause *= 2

    async def _once(self, subject: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await ask()
        except urllib.error.HTTPError as error:
            refusal = Refusal(error.code, str(error.msg))
            raise refused(subject, refusal, secret=self._key) from None
        except json.JSONDecodeError as error:
            raise _not_json(subject, "JSON", was=clean(str(error), self._key)) from None
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise VendorUnavailable(
                subject,
                "the vendor gave no complete answer",
                was=f"{type(error).__name__}: {clean(str(error), self._key)}",
                remedy="Run it again later",
            ) from None


def _not_json(subject: str, expected: str, *, was: str | None = None) -> CorruptData:
    return CorruptData(
        subject,
        "the vendor's answer has another form",
        was=was,
        expected=expected,
        remedy="Check TARDIS_ENDPOINT",
    )
