"""Every setting of the platform: one frozen object of three sections.

What belongs here: putting the sections together. What does not: the variables with their rules and
remedies (`platform_fields.py`, `storage_fields.py`, `streaming_fields.py`; a test holds the
table of `docs/settings.md` against them), reading the environment (`loading.py`), building anything
(`resources/`). Secrets are a `SecretStr` from here on; their text is taken out only where a request
is sent.
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings.forms import as_text
from tickhandler_dagster.settings.platform_fields import PlatformSettings
from tickhandler_dagster.settings.storage_fields import StorageSettings
from tickhandler_dagster.settings.streaming_fields import StreamingSettings


class Settings(StreamingSettings, StorageSettings, PlatformSettings, BaseSettings):
    """Every setting of the platform. A field's name in upper case is its variable.

    Fields of the last section named come first.

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
        types, fetched = self.download_data_types, self.download_venues
        return {venue: types if venue in fetched else () for venue in self.grid_venues}

    def variables(self) -> dict[str, str]:
        """Every variable with its value as text, the key hidden: what may be logged."""
        return {name.upper(): as_text(getattr(self, name)) for name in type(self).model_fields}
