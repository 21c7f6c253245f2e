"""Every setting of the platform: one frozen object.

What belongs here: variables, their rules and their remedies; the README's table is checked against
them. What does not: reading files and the environment (`loading.py`), building anything from them
(`resources/`). The key is a `SecretStr` from here on; its text is taken out only where a request is
sent.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.settings.forms import (
    ENDPOINT,
    NO_KLINES,
    VENUE_KLINES,
    VENUE_LIST,
    AlertPolicySetting,
    DataTypeList,
    MftSets,
    MftWindows,
    QualityPolicySetting,
    VenueList,
    as_text,
    date,
    folder,
    kline_source,
    optional_folder,
    rule,
)

_KEY_PREFIX = "TD."


class Settings(BaseSettings):
    """Every setting of the platform. A field's name in upper case is its variable.

    Example:
        >>> Settings(max_concurrent_requests=8).max_concurrent_requests
        8
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given alone: the demo would else fill the bucket that the environment names."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

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
    gcp_project_id: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$",
        description="Google Cloud project of BigQuery; that of the credentials where not set.",
        json_schema_extra=rule(
            "6 to 30 lower-case letters, digits and hyphens", "See it with: gcloud projects list"
        ),
    )
    gcp_credentials_path: Path | None = Field(
        default=None,
        description="Service account file; application default credentials where not set.",
        json_schema_extra=rule("a file that exists", "Correct the path or leave it out"),
    )
    gcs_bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$",
        description="Bucket that holds the lake, in place of the folder.",
        json_schema_extra=rule(
            "a bucket name of 3 to 63 characters", "Give the name without gs://"
        ),
    )
    gcs_prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$",
        description="Path inside the bucket under which the lake begins.",
        json_schema_extra=rule("names with / between them", "Leave it out for the bucket's root"),
    )
    gcs_endpoint: AnyHttpUrl | None = Field(
        default=None,
        description="Address of a Cloud Storage emulator, asked without credentials.",
        json_schema_extra=rule("an http or https address", "Leave it out for the real service"),
    )
    lake_cache_gb: float = Field(
        default=20.0,
        gt=0,
        description="Gigabytes of a bucket's objects that are kept on this machine for readers.",
        json_schema_extra=rule("a number above 0", "Lower it where the disk is small"),
    )
    cache_folder: Annotated[Path | None, BeforeValidator(optional_folder)] = Field(
        default=None,
        description="Folder of those copies; one in the system's temporary folder where not set.",
        json_schema_extra=rule("a local folder", "Give a path; it is made if it does not exist"),
    )
    lake_root: Annotated[Path, BeforeValidator(folder)] = Field(
        default=Path("lake"),
        validate_default=True,
        description="Folder that holds the lake where no bucket does.",
        json_schema_extra=rule("a local folder", "Give a path; it is made if it does not exist"),
    )
    warehouse: WarehouseKind = Field(
        default=WarehouseKind.DUCKDB,
        description="Which warehouse is filled: duckdb, or bigquery for a lake in a bucket.",
        json_schema_extra=rule("duckdb or bigquery", "Leave it out for duckdb"),
    )
    warehouse_folder: Annotated[Path, BeforeValidator(folder)] = Field(
        default=Path("warehouse"),
        validate_default=True,
        description="Folder of the DuckDB files.",
        json_schema_extra=rule("a local folder", "Give a path; it is made if it does not exist"),
    )
    bigquery_dataset: str = Field(
        default="tickhandler",
        pattern=r"^[A-Za-z0-9_]{1,1024}$",
        description="BigQuery dataset of the tables; made if it does not exist.",
        json_schema_extra=rule("letters, digits and underscores", "Leave it out for the default"),
    )
    bigquery_location: str = Field(
        default="EU",
        pattern=r"^[A-Za-z0-9-]{2,40}$",
        description="Location of the dataset; has to be that of the bucket.",
        json_schema_extra=rule("a location such as EU or europe-west1", "Use the bucket's"),
    )
    bigquery_endpoint: AnyHttpUrl | None = Field(
        default=None,
        description="Address of a BigQuery stand-in, asked without credentials.",
        json_schema_extra=rule("an http or https address", "Leave it out for the real service"),
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$",
        description="Least severe message of ours that is logged.",
        json_schema_extra=rule("DEBUG, INFO, WARNING, ERROR or CRITICAL", "Use one of them"),
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
        description="No further file is started while the machine uses more of its memory.",
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
    mft_windows: MftWindows = Field(
        default=None,
        description="Windows of mid-frequency features in bars, where not the usual ones.",
        json_schema_extra=rule("a mapping of families to lists of bars", "See the README"),
    )
    mft_allow_gaps: bool = Field(
        default=False,
        description="Bars that touch a gap count in windows like bars without trades.",
        json_schema_extra=rule("true or false", "Leave it out for false"),
    )
    mft_sets: MftSets = Field(
        default=None,
        description="Sets of mid-frequency features by name, each an asset of its own.",
        json_schema_extra=rule("a mapping of names to lists of features", "See the README"),
    )
    quality_policy: QualityPolicySetting | None = Field(
        default=None,
        description="What of missing and broken data is an error, a warning, or ignored.",
        json_schema_extra=rule("a list of mappings", "See the README"),
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
        json_schema_extra=rule("a mapping", "See the README"),
    )
    dagster_home: Path | None = Field(
        default=None,
        description="Folder in which Dagster keeps runs and events.",
        json_schema_extra=rule("an absolute path", "Give the folder from the root on"),
    )

    @field_validator("tardis_api_key")
    @classmethod
    def _has_key_form(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not key.get_secret_value():
            return None  # `TARDIS_API_KEY=` in a copied template means "not set"
        if key is not None and not key.get_secret_value().startswith(_KEY_PREFIX):
            raise ValueError("prefix")
        return key

    @field_validator("gcp_credentials_path")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("no such file")
        return path

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

    @model_validator(mode="before")
    @classmethod
    def _drop_blanks(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty line of a copied template counts as not set."""
        return {name: value for name, value in values.items() if value != ""}

    @property
    def grid_venues(self) -> tuple[VenueId, ...]:
        """Venues of the partition grid: the listed ones, then those only downloaded."""
        return tuple(dict.fromkeys((*self.instrument_exchanges, *self.download_venues)))

    @property
    def downloads(self) -> dict[VenueId, tuple[DataType, ...]]:
        """By venue of the grid the data types to fetch: none of venues that are not downloaded."""
        return {
            venue: self.download_data_types if venue in self.download_venues else ()
            for venue in self.grid_venues
        }

    def variables(self) -> dict[str, str]:
        """Every variable with its value as text, the key hidden: what may be logged."""
        return {name.upper(): as_text(getattr(self, name)) for name in type(self).model_fields}
