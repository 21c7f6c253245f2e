"""Days: the typed date form, the UTC span of a day, the key of a (date, venue) partition.

What does not belong here: Dagster's partition definitions (`partitions/`) and bars (`bars/`).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VenueId, parse_venue

US_PER_SECOND = 1_000_000
US_PER_DAY = 86_400 * US_PER_SECOND

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_date(text: str) -> dt.date:
    """The calendar day written as YYYY-MM-DD, and in no other form.

    Raises:
        InvalidInput: another form, or a day that does not exist.

    Example:
        >>> parse_date("2024-08-08")
        datetime.date(2024, 8, 8)
    """
    if _DATE.fullmatch(text.strip()):
        try:
            return dt.date.fromisoformat(text.strip())
        except ValueError:
            pass  # a day in no calendar, such as 2024-02-30: the same answer as a bad form
    raise InvalidInput(
        f"'{text}'",
        "not a date",
        expected="YYYY-MM-DD",
        remedy="Write the UTC day as in 2024-08-08",
    )


def day_start_us(day: dt.date) -> int:
    """Microseconds from the Unix epoch to 00:00:00 UTC of `day`.

    Example:
        >>> day_start_us(dt.date(1970, 1, 2)) == US_PER_DAY
        True
    """
    return (day.toordinal() - dt.date(1970, 1, 1).toordinal()) * US_PER_DAY


def day_span_us(day: dt.date) -> tuple[int, int]:
    """The half-open span `[start, end)` of the UTC day in microseconds."""
    start = day_start_us(day)
    return start, start + US_PER_DAY


@dataclass(frozen=True, slots=True, order=True)
class VenueDay:
    """The cell of the partition grid: a UTC day of one venue.

    Example:
        >>> str(VenueDay.parse("2024-08-08|binance"))
        '2024-08-08|binance'
    """

    date: dt.date
    venue: VenueId

    def __str__(self) -> str:
        return f"{self.date.isoformat()}|{self.venue}"

    @classmethod
    def parse(cls, text: str) -> VenueDay:
        """The cell written as `YYYY-MM-DD|venue`.

        Raises:
            InvalidInput: the form is another one, the date is none, or the venue is unknown.
        """
        date, separator, venue = text.partition("|")
        if not separator:
            raise InvalidInput(
                f"'{text}'",
                "not a partition key",
                expected="YYYY-MM-DD|venue",
                remedy="Write it as in 2024-08-08|binance",
            )
        return cls(parse_date(date), parse_venue(venue))

    def shifted(self, days: int) -> VenueDay:
        """The same venue, `days` later (earlier where negative)."""
        return VenueDay(self.date + dt.timedelta(days=days), self.venue)
