"""Settings of live sessions: spool, grace, live tables, server.

What belongs here: variables that begin with STREAMING. What does not: what a single session is told
(`cli/streaming_request.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, BaseModel, BeforeValidator, Field, SecretStr

from tickhandler_dagster.settings.forms import SECTION, Positive, TcpPort, folder, rule


class StreamingSettings(BaseModel):
    """Live sessions; a field's name begins with `streaming_`."""

    model_config = SECTION

    streaming_spool_folder: Annotated[Path, BeforeValidator(folder)] = Field(
        default=Path("spool"),
        validate_default=True,
        description="Folder of the live spool, on a disk of this machine.",
        json_schema_extra=rule("a local folder", "Give a path; it is made if it does not exist"),
    )
    streaming_spool_limit_gb: Positive = Field(
        default=100.0,
        description="Gigabytes of spool at which capture stops with an error.",
        json_schema_extra=rule("a number above 0", "Lower it where the disk is small"),
    )
    streaming_spool_hours: Positive = Field(
        default=48.0,
        description="Hours for which the spool keeps what every consumer has passed.",
        json_schema_extra=rule("a number above 0", "Leave it out for the default"),
    )
    streaming_grace_ms: int = Field(
        default=1000,
        ge=50,
        le=60_000,
        description="Milliseconds after its end at which a live bar is first published.",
        json_schema_extra=rule("50 to 60000", "Use what 99.9 % of a venue's rows arrive within"),
    )
    streaming_bigquery_dataset: str = Field(
        default="market_data_live",
        pattern=r"^[A-Za-z0-9_]{1,1024}$",
        description="BigQuery dataset of the live tables; made if it does not exist.",
        json_schema_extra=rule("letters, digits and underscores", "Leave it out for the default"),
    )
    streaming_bigquery_endpoint: AnyHttpUrl | None = Field(
        default=None,
        description="Address of a stand-in for BigQuery's write API, asked without credentials.",
        json_schema_extra=rule("an http or https address", "Leave it out for the real service"),
    )
    streaming_host: str = Field(
        default="127.0.0.1",
        description="Address that live bars are served on; others than loopback need a token.",
        json_schema_extra=rule("a host name or address", "Leave it out for this machine alone"),
    )
    streaming_port: TcpPort = Field(
        default=8777,
        description="Port that live bars are served on; 0 takes a free one.",
        json_schema_extra=rule("0 to 65535", "Use a port that is free"),
    )
    streaming_token: SecretStr | None = Field(
        default=None,
        description="What requests for live bars have to bear.",
        json_schema_extra=rule("a text", "Make one with: openssl rand -hex 32"),
    )
