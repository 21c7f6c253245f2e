"""How a setting's text becomes its value, and the sentence that a wrong one is answered with.

What belongs here: forms. Which settings there are is `fields.py` and its sections.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft import configured as mft
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.quality.policy import QualityPolicy, parse_policy
from tickhandler_dagster.market.venues import VenueId, parse_venue


def _items(value: object) -> object:
    """A comma list from the environment as a list; a YAML list as it is."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    return value


def _venue(value: object) -> VenueId:
    return parse_venue(str(value))


def _data_type(value: object) -> DataType:
    return parse_data_type(str(value))


def date(value: object) -> dt.date | None:
    """The UTC day of a text; a day of YAML as it is."""
    return value if value is None or isinstance(value, dt.date) else parse_date(str(value))


def folder(value: object) -> Path:
    """An absolute folder."""
    if "://" in str(value):
        raise InvalidInput(
            "lake root", "not a folder", expected="a folder", remedy="Give a local path"
        )
    return Path(str(value)).expanduser().absolute()


def optional_folder(value: object) -> Path | None:
    """An absolute folder, or none."""
    return None if value is None else folder(value)


NO_KLINES, VENUE_KLINES = "off", "venue"
"""Values of KLINES_SOURCE that are no path."""


def kline_source(value: object) -> str:
    """`off`, `venue`, or the absolute path of what exists."""
    if value is False:  # YAML reads a bare off as false
        return NO_KLINES
    if str(value).strip().lower() in {NO_KLINES, VENUE_KLINES}:
        return str(value).strip().lower()
    path = Path(str(value)).expanduser().absolute()
    if not path.exists():
        raise ValueError("no such file or folder")
    return str(path)


SECTION = ConfigDict(frozen=True)
"""Of every section of the settings."""

Positive = Annotated[float, Field(gt=0)]
TcpPort = Annotated[int, Field(ge=0, le=65_535)]
VenueList = Annotated[
    tuple[Annotated[VenueId, BeforeValidator(_venue)], ...], NoDecode, BeforeValidator(_items)
]
DataTypeList = Annotated[
    tuple[Annotated[DataType, BeforeValidator(_data_type)], ...], NoDecode, BeforeValidator(_items)
]
MftWindows = Annotated[Windows | None, NoDecode, BeforeValidator(mft.parse_windows)]
AlertPolicySetting = Annotated[AlertPolicy, NoDecode, BeforeValidator(parse_alerts)]
QualityPolicySetting = Annotated[QualityPolicy, NoDecode, BeforeValidator(parse_policy)]
MftSets = Annotated[tuple[mft.FeatureSet, ...] | None, NoDecode, BeforeValidator(mft.parse_sets)]


def rule(expected: str, remedy: str) -> dict[str, Any]:
    """What an error about a setting says: the values it takes, and what to do."""
    return {"expected": expected, "remedy": remedy}


ENDPOINT = rule("an http or https address", "Leave it out to use the vendor's own address")
VENUE_LIST = rule(f"a comma list of {', '.join(VenueId)}", "Correct the name or leave it out")


def as_text(value: object) -> str:
    """A setting as the text its variable takes."""
    if isinstance(value, tuple):
        return mft.sets_text(value) or ",".join(str(item) for item in value)
    if isinstance(value, Windows):
        return mft.windows_text(value)
    if isinstance(value, QualityPolicy | AlertPolicy):
        return value.text
    return "" if value is None else str(value)
