"""One frozen `Settings` object, read from the environment, `.env` and a YAML file, in that order.

Who reads and who declares is told apart in `loading.py`, `fields.py` and `forms.py`.
"""

from tickhandler_dagster.settings.fields import Settings
from tickhandler_dagster.settings.loading import (
    CONFIG_FILE_VARIABLE,
    ENV_FILE_VARIABLE,
    child_environment,
    load_secrets,
    load_settings,
)

__all__ = [
    "CONFIG_FILE_VARIABLE",
    "ENV_FILE_VARIABLE",
    "Settings",
    "child_environment",
    "load_secrets",
    "load_settings",
]
