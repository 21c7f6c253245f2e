"""Every error this project raises on purpose, and how its text is put together.

What belongs here: the tree and nothing else. What does not: mapping vendor responses to these
classes (`adapters`) and mapping these classes to Dagster retries (`assets/retries.py`).

```text
TickhandlerError
├── PermanentError              the same call fails again: do not retry
│   ├── InvalidInput            somebody typed it: a date, a venue, a key, a setting
│   │   └── InvalidSetting
│   ├── NoEntitlement           the key (or its absence) does not cover the request
│   ├── NotAvailable            the vendor never had it
│   ├── CorruptData             bytes that contradict their own format or our schema
│   ├── MissingUpstream         a partition that has to exist first does not
│   └── StorageDenied           the lake may not be written or read
└── TransientError              worth another try, after `retry_after_s` where it is known
    ├── VendorUnavailable       5xx, broken connection, time-out
    ├── RateLimited             429 with a short Retry-After
    ├── QuotaExhausted          429 with a long Retry-After: the day's transfer is used up
    ├── KeyLocked               403/274: the key is in use from another address
    ├── StorageFull             no space left; freeing some heals it
    ├── StorageUnavailable      the bucket or the warehouse does not answer
    ├── ConcurrentWrite         somebody else wrote the object since it was read: read anew
    └── SubscriberTooSlow       a live subscriber that wanted every bar did not keep up
```
"""

from __future__ import annotations


class TickhandlerError(Exception):
    """An error that is an answer: subject, fact, value, rule and remedy in one sentence each.

    The form is `<subject>: <fact> (was <value>; expected <rule>). <Remedy>.`

    Args:
        subject: What the sentence is about: a variable, a file, a partition.
        fact: What is so.
        was: The value found. Never a secret.
        expected: The rule it broke.
        remedy: What the reader can do, one sentence without the final stop.

    Example:
        >>> str(InvalidInput("'2023/05/23'", "not a date", expected="YYYY-MM-DD", remedy="Use -"))
        "'2023/05/23': not a date (expected YYYY-MM-DD). Use -."
    """

    def __init__(
        self,
        subject: str,
        fact: str,
        *,
        remedy: str,
        was: object | None = None,
        expected: str | None = None,
    ) -> None:
        self.subject = subject
        self.fact = fact
        self.was = was
        self.expected = expected
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        details = [
            f"{label} {value}"
            for label, value in (("was", self.was), ("expected", self.expected))
            if value is not None
        ]
        bracket = f" ({'; '.join(details)})" if details else ""
        return f"{self.subject}: {self.fact}{bracket}. {self.remedy.rstrip('.')}."


def first_of(errors: ExceptionGroup[Exception]) -> Exception:
    """The first of several tasks' errors where all are ours; the whole group where one is not.

    Not `except*`: what is raised inside it is a group again before Python 3.11.4.

    Example:
        >>> cut = CorruptData("trades.csv.gz", "is cut", remedy="Fetch it again")
        >>> first_of(ExceptionGroup("tasks", [cut])) is cut
        True
    """
    _, others = errors.split(TickhandlerError)
    return errors if others is not None else errors.exceptions[0]


class PermanentError(TickhandlerError):
    """The same call fails the same way: retrying is noise."""


class InvalidInput(PermanentError, ValueError):
    """A value a person gave breaks a rule.

    It is a `ValueError` as well, so that parsers of settings and of command lines take it as one.
    """


class InvalidSetting(InvalidInput):
    """A setting is missing or wrong; the subject is the variable's name."""


class NoEntitlement(PermanentError):
    """The vendor refuses this exchange, type or date to this key."""


class NotAvailable(PermanentError):
    """The vendor does not have it and will not have it."""


class CorruptData(PermanentError):
    """Bytes contradict their format; the same bytes will do so again."""


class MissingUpstream(PermanentError):
    """A partition this one reads from is not in the lake."""


class StorageDenied(PermanentError):
    """The lake refuses access."""


class TransientError(TickhandlerError):
    """Another try later can succeed.

    Args:
        retry_after_s: Seconds the other side asked to wait; None where it did not say.
    """

    def __init__(
        self,
        subject: str,
        fact: str,
        *,
        remedy: str,
        was: object | None = None,
        expected: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(subject, fact, remedy=remedy, was=was, expected=expected)


class VendorUnavailable(TransientError):
    """The vendor answered 5xx, cut the connection or said nothing in time."""


class RateLimited(TransientError):
    """Too many requests; the wait is short."""


class QuotaExhausted(TransientError):
    """The transfer quota is used up; the wait is long."""


class KeyLocked(TransientError):
    """The API key is active from another address."""


class StorageFull(TransientError):
    """The device under the lake has no space left."""


class StorageUnavailable(TransientError):
    """The bucket or the warehouse answered 5xx, refused for a while, or said nothing in time."""


class ConcurrentWrite(TransientError):
    """Another writer changed the object since this one read it: a new try reads it anew."""
