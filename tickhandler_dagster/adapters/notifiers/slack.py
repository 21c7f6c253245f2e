"""Messages to a Slack channel through an incoming webhook.

What belongs here: Slack's blocks and limits. What does not: sentences (`market/alerts/wording.py`).

The client is Slack's own, with its retries and its log switched off: the ledger tries again, and
at the level DEBUG that log has the webhook's address.
"""

from __future__ import annotations

import logging
from http.client import HTTPException
from typing import Any

from tickhandler_dagster.adapters.notifiers.refusals import out_of_reach, refused
from tickhandler_dagster.adapters.tardis_errors import Secret
from tickhandler_dagster.market.alerts.messages import Message, Transition, cut
from tickhandler_dagster.market.alerts.signal import Urgency
from tickhandler_dagster.market.alerts.wording import headline, lines_of
from tickhandler_dagster.market.errors import PermanentError

MAX_BLOCKS = 50
MAX_BLOCK_TEXT = 3000
MAX_HEADER_TEXT = 150

_OK = 200
_MARKS = {Urgency.ERROR: ":red_circle:", Urgency.WARNING: ":large_yellow_circle:"}
_OVER = ":large_green_circle:"


class SlackNotifier:
    """Posts to one incoming webhook.

    Args:
        name: The notifier's name, for errors.
        url: The webhook's address.
        timeout_s: Seconds that a connection may be silent.
    """

    def __init__(self, name: str, url: Secret, *, timeout_s: float = 10.0) -> None:
        self._name = name
        self._url = url
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"SlackNotifier({self._name!r})"

    def send(self, message: Message) -> None:
        """Post the message.

        Raises:
            TransientError: Slack is out of reach, busy or down.
            PermanentError: Slack refuses the webhook or the message.
        """
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415  (heavy, and only here)
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415  (heavy, and only here)

        client = WebhookClient(
            self._url.get_secret_value(),
            timeout=max(round(self._timeout_s), 1),
            logger=_silent(),
            retry_handlers=[],
        )
        try:
            answer = client.send(text=headline(message), blocks=blocks(message))
        except (SlackClientError, ValueError) as error:
            raise PermanentError(
                self._name,
                f"cannot be asked: {type(error).__name__}",
                expected="an http or https address",
                remedy="Check the variable that the policy names",
            ) from None
        except (OSError, HTTPException) as error:
            raise out_of_reach(self._name, error) from None
        if answer.status_code != _OK or answer.body != "ok":
            # A page with status 200 is a proxy's or a login's: the webhook itself says "ok".
            headers = {str(key).lower(): value for key, value in dict(answer.headers).items()}
            status = answer.status_code
            raise refused(self._name, status, headers.get("retry-after")) from None


def _silent() -> logging.Logger:
    # Its own object rather than `getLogger`: nobody's configuration can switch it on again.
    log = logging.Logger("slack webhook", logging.CRITICAL + 1)  # noqa: LOG001  (see above)
    log.addHandler(logging.NullHandler())
    return log


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message as blocks within Slack's limits.

    Source: https://docs.slack.dev/reference/block-kit/blocks
    """
    is_over = message.transition in {Transition.RECOVERED, Transition.HEALED}
    mark = _OVER if is_over else _MARKS[message.urgency]
    found = [_section(f"{mark} *{escaped(headline(message))}*")]
    found += [_section(f"• {escaped(text)}") for text in lines_of(message)]
    if message.link:
        found.append(_section(f"<{message.link}|Open in Dagster>"))
    note = {"type": "mrkdwn", "text": f"Message {message.message_id}"}
    return [*found[: MAX_BLOCKS - 1], {"type": "context", "elements": [note]}]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, MAX_BLOCK_TEXT)}}


def escaped(text: str) -> str:
    """The text with Slack's three characters of markup taken literally.

    Example:
        >>> escaped("bid < ask & 2 > 1")
        'bid &lt; ask &amp; 2 &gt; 1'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
