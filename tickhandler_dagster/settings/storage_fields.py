"""Settings of where things are stored: bucket or folder, cache, warehouse.

What belongs here: the lake's and the warehouse's variables. What does not: live tables
(`streaming_fields.py`) and choosing a store by them (`resources/`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, BaseModel, BeforeValidator, Field, field_validator

from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.settings.forms import SECTION, Positive, folder, optional_folder, rule


class StorageSettings(BaseModel):
    """The lake, its cache on this machine, and the warehouse."""

    model_config = SECTION

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
    lake_cache_gb: Positive = Field(
        default=20.0,
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

    @field_validator("gcp_credentials_path")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("no such file")
        return path
