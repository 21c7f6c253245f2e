"""What a notifier is.

What belongs here: the Protocol. What does not: any one of them.
"""

from __future__ import annotations

from typing import Protocol

from tickhandler_dagster.market.alerts.messages import Message


class Notifier(Protocol):
    """Hands a message over, or says why not; it keeps nothing and does not try again itself."""

    def send(self, message: Message) -> None:
        """Hand the message over.

        Raises:
            TransientError: another attempt later can succeed.
            PermanentError: the same message meets the same answer.
        """
        ...
