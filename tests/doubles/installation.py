"""An installation in a folder: Dagster's file and the settings, over a vendor on loopback.

What belongs here: what every installation of a test has alike. What does not: what it holds, and
the processes that serve it (`services.py`).
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import AnyHttpUrl, SecretStr

from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY
from tickhandler_dagster.settings import Settings, child_environment

ROOT = Path(__file__).resolve().parents[2]


def new_home(folder):
    """Dagster's folder below this one, with the project's own file."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    return home


def settings_over(server, folder, venues, **given):
    """Settings that ask this vendor for these venues and write below the folder alone.

    Args:
        server: A `SandboxServer`.
        folder: Where everything is.
        venues: Whose instruments are listed and whose ticks are fetched.
        given: Any other field, or one of these otherwise; `days` are those of the grid in order.
    """
    days = given.pop("days", None)
    of_days = {"partition_start_date": days[0], "partition_end_date": days[-1]} if days else {}
    everywhere = {
        "tardis_endpoint": AnyHttpUrl(server.api_url),
        "tardis_datasets_endpoint": AnyHttpUrl(server.datasets_url),
        "tardis_api_key": SecretStr(SANDBOX_KEY),
        "lake_root": folder / "lake",
        "warehouse_folder": folder / "warehouse",
        "streaming_spool_folder": folder / "spool",
        "instrument_exchanges": tuple(venues),
        "download_venues": tuple(venues),
        "log_level": "ERROR",
    }
    return Settings(**{**everywhere, **of_days, **given})


@contextmanager
def moved_in(settings, folder):
    """This process is in the folder and has the settings, as a terminal of the user's has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, text in child_environment(settings).items():
            patch.setenv(name, text)
        yield
