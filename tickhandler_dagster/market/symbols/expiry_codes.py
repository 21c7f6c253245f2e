"""How venues write a day of expiry into a symbol.

What belongs here: text to date. Each function answers None for a text that is no day, which its
caller reports.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

DAY_MONTH_YEAR = r"[0-9]{1,2}[A-Z]{3}[0-9]{2}"
YEAR_MONTH_DAY = r"[0-9]{6}"
MONTH_CODE = r"[FGHJKMNQUVXZ][0-9]{2}"

_CENTURY = 2000
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_LETTERS = "FGHJKMNQUVXZ"
_DAY_MONTH_YEAR_PARTS = re.compile(r"([0-9]{1,2})([A-Z]{3})([0-9]{2})")


def day_month_year(text: str) -> dt.date | None:
    """The day written as `29DEC23` or `9JUN20`.

    Example:
        >>> day_month_year("9JUN20")
        datetime.date(2020, 6, 9)
    """
    match = _DAY_MONTH_YEAR_PARTS.fullmatch(text)
    if match is None or match[2] not in _MONTH_NAMES:
        return None
    return _date(int(match[3]), _MONTH_NAMES.index(match[2]) + 1, int(match[1]))


def year_month_day(text: str) -> dt.date | None:
    """The day written as `241227`.

    Example:
        >>> year_month_day("241227")
        datetime.date(2024, 12, 27)
    """
    if not re.fullmatch(YEAR_MONTH_DAY, text):
        return None
    return _date(int(text[:2]), int(text[2:4]), int(text[4:]))


def month_code(text: str) -> dt.date | None:
    """The last Friday of the month written as a futures month letter and a year, `H25`.

    Example:
        >>> month_code("H25")
        datetime.date(2025, 3, 28)
    """
    if not re.fullmatch(MONTH_CODE, text):
        return None
    year, month = _CENTURY + int(text[1:]), _MONTH_LETTERS.index(text[0]) + 1
    last_day = dt.date(year, month, calendar.monthrange(year, month)[1])
    return last_day - dt.timedelta(days=(last_day.weekday() - calendar.FRIDAY) % 7)


def _date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(_CENTURY + year, month, day)
    except ValueError:
        return None
