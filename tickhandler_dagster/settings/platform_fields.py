"""Settings of what is fetched, made and judged, and of the machine that does it.

What belongs here: the vendor, the partition grid, limits, features, quality. What does not: where
things are stored (`storage_fields.py`) and live sessions (`streaming_fields.py`).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings.forms import (
    ENDPOINT,
    NO_KLINES,
    SECTION,
    VENUE_KLINES,
    VENUE_LIST,
    AlertPolicySetting,
    DataTypeList,
    MftSets,
    MftWindows,
    QualityPolicySetting,
    VenueList,
    date,
    kline_source,
    rule,
)

_KEY_PREFIX = "TD."


class PlatformSettings(BaseModel):
    """The vendor, the grid of partitions, what is made of them, and limits of the machine."""

    model_config = SECTION

    tardis_api_key: SecretStr | None = Field(
        default=None,
        description="Key of the vendor; without one only the first day of each month is served.",
        json_schema_extra=rule(
            f"a text that starts with {_KEY_PREFIX}", "Copy the key as the vendor mailed it"
        ),
    )
    tardis_endpoint: AnyHttpUrl = Field(
        default=AnyHttpUrl("https://api.tardis.dev/v1"),
        description="Address of the metadata API.",
        json_schema_extra=ENDPOINT,
    )
    tardis_datasets_endpoint: AnyHttpUrl = Field(
        default=AnyHttpUrl("https://datasets.tardis.dev/v1"),
        description="Address of the dataset files.",
        json_schema_extra=ENDPOINT,
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$",
        description="Least severe message of ours that is logged.",
        json_schema_extra=rule("DEBUG, INFO, WARNING, ERROR or CRITICAL", "Use one of them"),
    )
    log_format: str = Field(
        default="text",
        pattern="^(text|json)$",
        description="How runs log: text, or JSON with the fields of Cloud Logging.",
        json_schema_extra=rule("text or json", "Use one of them"),
    )
    max_concurrent_requests: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Files downloaded at the same time, per process.",
        json_schema_extra=rule("1 to 1000", "The vendor's throughput levels off near 30"),
    )
    download_max_workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Files converted at the same time, per process.",
        json_schema_extra=rule("1 to 64", "Use about one per core"),
    )
    max_parallel_uploads: int = Field(
        default=20,
        ge=1,
        le=500,
        description="Finished files published to the lake at the same time.",
        json_schema_extra=rule("1 to 500", "Leave it out for the default"),
    )
    batch_size: int = Field(
        default=1000,
        ge=1,
        description="Files of a partition taken up together; bounds the scratch space.",
        json_schema_extra=rule("1 or more", "Lower it where the disk is small"),
    )
    memory_threshold_percent: int = Field(
        default=90,
        ge=10,
        le=100,
        description=(
            "No file, day of bars or cell of features begins where machine or container would use "
            "more of its memory."
        ),
        json_schema_extra=rule("10 to 100 percent", "Leave it out for the default"),
    )
    instrument_exchanges: VenueList = Field(
        default=tuple(VenueId),
        min_length=1,
        description="Venues of the partition grid, in its order; append, never re-sort.",
        json_schema_extra=VENUE_LIST,
    )
    download_venues: VenueList = Field(
        default=tuple(VenueId),
        min_length=1,
        description="Venues to fetch; those the grid does not have yet join it at its end.",
        json_schema_extra=VENUE_LIST,
    )
    download_data_types: DataTypeList = Field(
        default=tuple(DataType),
        min_length=1,
        description="Data types to fetch; others are not missed.",
        json_schema_extra=rule(f"a comma list of {', '.join(DataType)}", "Correct the name"),
    )
    partition_start_date: Annotated[dt.date, BeforeValidator(date)] = Field(
        default=dt.date(2024, 1, 1),
        description="First day of the partition grid; move it earlier, not later.",
        json_schema_extra=rule("YYYY-MM-DD", "Write the UTC day as in 2024-01-01"),
    )
    partition_end_date: Annotated[dt.date | None, BeforeValidator(date)] = Field(
        default=None,
        description="Last day of the partition grid; yesterday where it is not set.",
        json_schema_extra=rule(
            "YYYY-MM-DD, not before PARTITION_START_DATE", "Leave it out for yesterday"
        ),
    )
    daily: bool = Field(
        default=False,
        description="Days are fetched and made by themselves, from 08:00 UTC of the next day on.",
        json_schema_extra=rule("true or false", "Leave it out for false"),
    )
    daily_catch_up_days: int = Field(
        default=7,
        ge=1,
        le=366,
        description="Days back that the clock catches up on after a downtime.",
        json_schema_extra=rule("1 to 366", "Fill longer gaps with tickhandler backfill"),
    )
    mft_windows: MftWindows = Field(
        default=None,
        description="Windows of mid-frequency features in bars, where not the usual ones.",
        json_schema_extra=rule("a mapping of families to lists of bars", "See docs/settings.md"),
    )
    mft_allow_gaps: bool = Field(
        default=False,
        description="Bars that touch a gap count in windows like bars without trades.",
        json_schema_extra=rule("true or false", "Leave it out for false"),
    )
    mft_sets: MftSets = Field(
        default=None,
        description="Sets of mid-frequency features by name, each an asset of its own.",
        json_schema_extra=rule("a mapping of names to lists of features", "See docs/settings.md"),
    )
    quality_policy: QualityPolicySetting | None = Field(
        default=None,
        description="What of missing and broken data is an error, a warning, or ignored.",
        json_schema_extra=rule("a list of mappings", "See docs/completeness.md"),
    )
    klines_source: Annotated[str, BeforeValidator(kline_source)] = Field(
        default=NO_KLINES,
        description="Klines that 1m candles are compared with: off, venue (its API), or a path.",
        json_schema_extra=rule(
            f"{NO_KLINES}, {VENUE_KLINES}, or a file or folder that exists",
            "Correct the path or leave it out",
        ),
    )
    klines_endpoint: AnyHttpUrl | None = Field(
        default=None,
        description="Address in place of the venues' own for klines: a mirror, or the sandbox.",
        json_schema_extra=ENDPOINT,
    )
    alerts: AlertPolicySetting | None = Field(
        default=None,
        description="Who is told of what goes wrong, when and how; nobody where it is not set.",
        json_schema_extra=rule("a mapping", "See docs/alerts.md"),
    )
    dagster_home: Path | None = Field(
        default=None,
        description="Folder in which Dagster keeps runs and events.",
        json_schema_extra=rule("an absolute path", "Give the folder from the root on"),
    )

    @field_validator("tardis_api_key")
    @classmethod
    def _has_key_form(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None or not key.get_secret_value():
            return None  # `TARDIS_API_KEY=` in a copied template means "not set"
        if not key.get_secret_value().startswith(_KEY_PREFIX):
            raise ValueError("prefix")
        return key

    @field_validator("partition_end_date")
    @classmethod
    def _is_not_before_start(cls, end: dt.date | None, info: ValidationInfo) -> dt.date | None:
        start = info.data.get("partition_start_date")  # absent where it is itself wrong
        if end is not None and start is not None and end < start:
            raise ValueError("before the start")
        return end

    @field_validator("dagster_home")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("relative")
        return path
