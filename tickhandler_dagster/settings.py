"""One frozen `Settings` object: the only reader of the environment, of `.env` and of the YAML file.

What belongs here: variables, their rules and their remedies; the README's table is checked against
them. What does not: building anything from them (`resources/`). The key is a `SecretStr` from here
on; its text is taken out only where a request is sent.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.mft import configured as mft
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId, parse_venue

ENV_FILE_VARIABLE = "TICKHANDLER_ENV_FILE"
CONFIG_FILE_VARIABLE = "TICKHANDLER_CONFIG_FILE"

_KEY_PREFIX = "TD."


def _items(value: object) -> object:
    """A comma list from the environment as a list; a YAML list as it is."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    return value


def _venue(value: object) -> VenueId:
    return parse_venue(str(value))


def _data_type(value: object) -> DataType:
    return parse_data_type(str(value))


def _date(value: object) -> dt.date | None:
    return value if value is None or isinstance(value, dt.date) else parse_date(str(value))


def _lake_root(value: object) -> Path:
    if "://" in str(value):
        raise InvalidInput(
            "lake root", "not a folder", expected="a folder", remedy="Give a local path"
        )
    return Path(str(value)).expanduser().absolute()


_Venues = Annotated[
    tuple[Annotated[VenueId, BeforeValidator(_venue)], ...], NoDecode, BeforeValidator(_items)
]
_DataTypes = Annotated[
    tuple[Annotated[DataType, BeforeValidator(_data_type)], ...], NoDecode, BeforeValidator(_items)
]
_MftWindows = Annotated[Windows | None, NoDecode, BeforeValidator(mft.parse_windows)]
_MftSets = Annotated[tuple[mft.FeatureSet, ...] | None, NoDecode, BeforeValidator(mft.parse_sets)]


def _rule(expected: str, remedy: str) -> dict[str, Any]:
    return {"expected": expected, "remedy": remedy}


_ENDPOINT = _rule("an http or https address", "Leave it out to use the vendor's own address")
_VENUE_LIST = _rule(f"a comma list of {', '.join(VenueId)}", "Correct the name or leave it out")


class Settings(BaseSettings):
    """Every setting of the platform. A field's name in upper case is its variable.

    Example:
        >>> Settings(max_concurrent_requests=8).max_concurrent_requests
        8
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

    tardis_api_key: SecretStr | None = Field(
        default=None,
        description="Key of the vendor; without one only the first day of each month is served.",
        json_schema_extra=_rule(
            f"a text that starts with {_KEY_PREFIX}", "Copy the key as the vendor mailed it"
        ),
    )
    tardis_endpoint: AnyHttpUrl = Field(
        default=AnyHttpUrl("https://api.tardis.dev/v1"),
        description="Address of the metadata API.",
        json_schema_extra=_ENDPOINT,
    )
    tardis_datasets_endpoint: AnyHttpUrl = Field(
        default=AnyHttpUrl("https://datasets.tardis.dev/v1"),
        description="Address of the dataset files.",
        json_schema_extra=_ENDPOINT,
    )
    gcp_project_id: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$",
        description="Google Cloud project; checked, not used before the lake can be in the cloud.",
        json_schema_extra=_rule(
            "6 to 30 lower-case letters, digits and hyphens", "See it with: gcloud projects list"
        ),
    )
    gcp_credentials_path: Path | None = Field(
        default=None,
        description="Service account file; checked, not used before the lake can be in the cloud.",
        json_schema_extra=_rule("a file that exists", "Correct the path or leave it out"),
    )
    gcs_bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$",
        description="Bucket; checked, not used before the lake can be in the cloud.",
        json_schema_extra=_rule(
            "a bucket name of 3 to 63 characters", "Give the name without gs://"
        ),
    )
    lake_root: Annotated[Path, BeforeValidator(_lake_root)] = Field(
        default=Path("lake"),
        validate_default=True,
        description="Folder that holds the lake.",
        json_schema_extra=_rule("a local folder", "Give a path; it is made if it does not exist"),
    )
    log_level: str = Field(
        default="INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$",
        description="Least severe message of ours that is logged.",
        json_schema_extra=_rule("DEBUG, INFO, WARNING, ERROR or CRITICAL", "Use one of them"),
    )
    max_concurrent_requests: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Files downloaded at the same time, per process.",
        json_schema_extra=_rule("1 to 1000", "The vendor's throughput levels off near 30"),
    )
    download_max_workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Files converted at the same time, per process.",
        json_schema_extra=_rule("1 to 64", "Use about one per core"),
    )
    max_parallel_uploads: int = Field(
        default=20,
        ge=1,
        le=500,
        description="Finished files published to the lake at the same time.",
        json_schema_extra=_rule("1 to 500", "Leave it out for the default"),
    )
    batch_size: int = Field(
        default=1000,
        ge=1,
        description="Files of a partition taken up together; bounds the scratch space.",
        json_schema_extra=_rule("1 or more", "Lower it where the disk is small"),
    )
    memory_threshold_percent: int = Field(
        default=90,
        ge=10,
        le=100,
        description="No further file is started while the machine uses more of its memory.",
        json_schema_extra=_rule("10 to 100 percent", "Leave it out for the default"),
    )
    instrument_exchanges: _Venues = Field(
        default=tuple(VenueId),
        min_length=1,
        description="Venues of the partition grid, in its order; append, never re-sort.",
        json_schema_extra=_VENUE_LIST,
    )
    download_venues: _Venues = Field(
        default=tuple(VenueId),
        min_length=1,
        description="Venues to fetch; those the grid does not have yet join it at its end.",
        json_schema_extra=_VENUE_LIST,
    )
    download_data_types: _DataTypes = Field(
        default=tuple(DataType),
        min_length=1,
        description="Data types to fetch; checked, not used before there is a schedule.",
        json_schema_extra=_rule(f"a comma list of {', '.join(DataType)}", "Correct the name"),
    )
    partition_start_date: Annotated[dt.date, BeforeValidator(_date)] = Field(
        default=dt.date(2024, 1, 1),
        description="First day of the partition grid; move it earlier, not later.",
        json_schema_extra=_rule("YYYY-MM-DD", "Write the UTC day as in 2024-01-01"),
    )
    partition_end_date: Annotated[dt.date | None, BeforeValidator(_date)] = Field(
        default=None,
        description="Last day of the partition grid; yesterday where it is not set.",
        json_schema_extra=_rule(
            "YYYY-MM-DD, not before PARTITION_START_DATE", "Leave it out for yesterday"
        ),
    )
    mft_windows: _MftWindows = Field(
        default=None,
        description="Windows of mid-frequency features in bars, where not the usual ones.",
        json_schema_extra=_rule("a mapping of families to lists of bars", "See the README"),
    )
    mft_allow_gaps: bool = Field(
        default=False,
        description="Bars that touch a gap count in windows like bars without trades.",
        json_schema_extra=_rule("true or false", "Leave it out for false"),
    )
    mft_sets: _MftSets = Field(
        default=None,
        description="Sets of mid-frequency features by name, each an asset of its own.",
        json_schema_extra=_rule("a mapping of names to lists of features", "See the README"),
    )
    dagster_home: Path | None = Field(
        default=None,
        description="Folder in which Dagster keeps runs and events.",
        json_schema_extra=_rule("an absolute path", "Give the folder from the root on"),
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

    def variables(self) -> dict[str, str]:
        """Every variable with its value as text, the key hidden: what may be logged."""
        return {name.upper(): _as_text(getattr(self, name)) for name in type(self).model_fields}


def load_settings(env_file: Path | None = None, config_file: Path | None = None) -> Settings:
    """The settings from the environment, else from `.env`, else from YAML, else the default.

    Args:
        env_file: The `.env` file; by default the one named by `TICKHANDLER_ENV_FILE`, else `.env`
            here.
        config_file: The YAML file; by default the one named by `TICKHANDLER_CONFIG_FILE`, else
            none.

    Raises:
        InvalidSetting: a file that was asked for does not exist, or a value breaks its rule. All
            wrong values are named at once.
    """
    env_file = env_file or _path_from(ENV_FILE_VARIABLE)
    config_file = config_file or _path_from(CONFIG_FILE_VARIABLE)
    for option, path in (("--env-file", env_file), ("--config-file", config_file)):
        if path is not None and not path.is_file():
            raise InvalidSetting(option, "no such file", was=path, remedy="Correct the path")

    class FromFiles(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, file_secret_settings
            yaml = YamlConfigSettingsSource(settings_cls, config_file)
            return env_settings, dotenv_settings, _known(yaml, config_file)

    try:
        return Settings.model_construct(
            **FromFiles(_env_file=env_file or Path(".env")).__dict__  # type: ignore[call-arg]
        )
    except ValidationError as error:
        raise _explained(
            error
        ) from None  # the chained text would repeat the values, a key among them


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return mft.sets_text(value) or ",".join(str(item) for item in value)
    if isinstance(value, Windows):
        return mft.windows_text(value)
    return "" if value is None else str(value)


def _path_from(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None


def _known(yaml: YamlConfigSettingsSource, file: Path | None) -> YamlConfigSettingsSource:
    """The YAML source with lower-case names, or an error for a name that is no setting."""
    names = {str(name).lower(): value for name, value in yaml.init_kwargs.items()}
    unknown = sorted(set(names) - set(Settings.model_fields))
    if unknown:
        raise InvalidSetting(
            str(file),
            f"unknown setting {unknown[0].upper()}",
            expected=f"one of {', '.join(name.upper() for name in Settings.model_fields)}",
            remedy="Correct the name",
        )
    yaml.init_kwargs = names
    return yaml


def _explained(error: ValidationError) -> InvalidSetting:
    return _one_or_all([_setting_error(item) for item in _first(error)])


def _first(error: ValidationError) -> Iterable[Any]:
    """One entry per variable: a wrong item of a list is one mistake, not three."""
    return {str(item["loc"][0]).lower(): item for item in reversed(error.errors())}.values()


def _setting_error(item: Mapping[str, Any]) -> InvalidSetting:
    if isinstance(cause := item.get("ctx", {}).get("error"), InvalidSetting):
        return cause  # a reader of ours, which knows more than the setting's rule
    name, value = str(item["loc"][0]), item["input"]
    field = Settings.model_fields[name.lower()]
    rule = field.json_schema_extra
    if not isinstance(rule, dict):  # a test goes through all fields: each carries its rule
        raise TypeError(name)
    is_secret = field.annotation is not None and "SecretStr" in str(field.annotation)
    return InvalidSetting(
        name.upper(),
        "not valid",
        was="a text that is not shown" if is_secret else f"'{value}'",
        expected=str(rule["expected"]),
        remedy=str(rule["remedy"]),
    )


def _one_or_all(errors: list[InvalidSetting]) -> InvalidSetting:
    if len(errors) == 1:
        return errors[0]
    lines = "".join(f"\n  {error}" for error in errors)
    return InvalidSetting("settings", f"{len(errors)} are wrong", remedy=f"Correct each:{lines}")


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment for a process of ours that shall see these settings and no others.

    The key is in it. Variables of ours that the settings leave blank are taken out, and so are the
    names of files that could fill them in.
    """
    values = settings.variables()
    key = settings.tardis_api_key
    secret = {"TARDIS_API_KEY": key.get_secret_value()} if key else {}
    ours = {*values, ENV_FILE_VARIABLE, CONFIG_FILE_VARIABLE}
    others = {name: text for name, text in os.environ.items() if name not in ours}
    return {**others, **{name: text for name, text in values.items() if text}, **secret}
