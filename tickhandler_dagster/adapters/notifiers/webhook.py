"""Messages to any HTTP receiver as JSON, signed on request.

What belongs here: the body, its signature, one POST. What does not: the message (`market/alerts`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

from tickhandler_dagster.adapters.notifiers.refusals import out_of_reach, refused
from tickhandler_dagster.adapters.tardis_errors import Secret
from tickhandler_dagster.market.alerts.messages import Line, Message
from tickhandler_dagster.market.alerts.wording import headline, plain_text
from tickhandler_dagster.market.errors import PermanentError
from tickhandler_dagster.market.json_fields import canonical_json

BODY_VERSION = 1
SIGNATURE_HEADER = "X-Tickhandler-Signature"
ID_HEADER = "X-Tickhandler-Message-Id"

_SUCCESS = range(200, 300)


class WebhookNotifier:
    """Posts JSON to one address.

    Args:
        name: The notifier's name, for errors.
        url: The address.
        secret: Key of the signature; None for no signature.
        timeout_s: Seconds that an attempt may take in all.
    """

    def __init__(
        self, name: str, url: Secret, *, secret: Secret | None = None, timeout_s: float = 10.0
    ) -> None:
        self._name = name
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._name!r})"

    def send(self, message: Message) -> None:
        """Post the message.

        Raises:
            TransientError: the receiver is out of reach, busy or down.
            PermanentError: it refuses the message, or the address is none.
        """
        import aiohttp  # noqa: PLC0415  (heavy: not before a message is sent)

        body = canonical_json(record(message))
        headers = {"Content-Type": "application/json", ID_HEADER: message.message_id}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(body, self._secret)
        try:
            status, retry_after = asyncio.run(self._post(body, headers))
        except aiohttp.InvalidURL:
            raise PermanentError(
                self._name,
                "cannot be asked",
                expected="an http or https address",
                remedy="Check the variable that the policy names",
            ) from None
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise out_of_reach(self._name, error) from None
        if status not in _SUCCESS:
            raise refused(self._name, status, retry_after)

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        import aiohttp  # noqa: PLC0415  (heavy: not before a message is sent)

        limit = aiohttp.ClientTimeout(total=self._timeout_s)
        # A redirect is refused: it would turn the POST into a GET that answers 200 to nothing.
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(
                self._url.get_secret_value(), data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            return answer.status, answer.headers.get("Retry-After")


def signature(body: bytes, secret: Secret) -> str:
    """The header by which a receiver knows that the body is ours: HMAC-SHA256 over its bytes."""
    key = secret.get_secret_value().encode()
    return f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"


def record(message: Message) -> dict[str, Any]:
    """The message as the body has it. Times are microseconds since the epoch, UTC."""
    return {
        "version": BODY_VERSION,
        "message_id": message.message_id,
        "transition": message.transition.value,
        "kind": message.kind.value if message.kind else None,
        "urgency": message.urgency.value,
        "group": message.group,
        "sent_for_us": message.at_us,
        "opened_us": message.since_us,
        "recovered_us": message.until_us,
        "count": message.count,
        "counts": {name.value: number for name, number in message.counts.items()},
        "messages": message.messages,
        "subjects": [_line(line) for line in message.lines],
        "link": message.link,
        "title": headline(message),
        "text": plain_text(message),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "subject": line.subject,
        "opened_us": line.since_us,
        "recovered_us": line.until_us,
        "summary": line.facts.summary,
        "details": dict(line.facts.details),
        "link": line.facts.link,
    }
