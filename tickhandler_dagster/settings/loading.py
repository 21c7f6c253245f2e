"""Reading the settings: the only reader of the environment, of `.env` and of the YAML file.

What belongs here: where values come from, and the answer to a wrong one. What does not: which
settings there are (`fields.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, YamlConfigSettingsSource

from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.settings.fields import Settings

ENV_FILE_VARIABLE = "TICKHANDLER_ENV_FILE"
CONFIG_FILE_VARIABLE = "TICKHANDLER_CONFIG_FILE"


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


def load_secrets(names: Iterable[str], env_file: Path | None = None) -> dict[str, SecretStr]:
    """What these variables hold, from the environment, else from `.env`, where they are set.

    Args:
        names: Variables that another setting names, such as those of the notifiers in `ALERTS`.
        env_file: The `.env` file; by default that of `load_settings`.
    """
    file = env_file or _path_from(ENV_FILE_VARIABLE) or Path(".env")
    found = {**dotenv_values(file, interpolate=False), **os.environ}
    return {name: SecretStr(text) for name in names if (text := found.get(name))}


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

    Secrets are in it. Variables of ours that the settings leave blank are taken out, and so are the
    names of files that could fill them in.
    """
    values = settings.variables()
    secrets = {
        name.upper(): value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    }
    ours = {*values, ENV_FILE_VARIABLE, CONFIG_FILE_VARIABLE}
    others = {name: text for name, text in os.environ.items() if name not in ours}
    return {**others, **{name: text for name, text in values.items() if text}, **secrets}
