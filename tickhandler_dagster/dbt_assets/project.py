"""Where the dbt project is and how dbt is called: target, environment, and what it compiles to.

What belongs here: processes of dbt other than a run's, and the artefacts they leave. What does not:
what Dagster makes of the manifest (`marts.py`) and runs (`invocation.py`).

The artefacts are made when a code location loads and they are missing or of another state of the
project: a checkout needs no build step, and a run's process finds what the page's process made.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tickhandler_dagster.adapters.duckdb_views import quoted
from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.dbt_assets import lineage
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.settings import Settings, child_environment

PROJECT_FOLDER = Path(__file__).resolve().parents[2] / "dbt_bigquery"
WAREHOUSE_FILE = "warehouse.duckdb"

# The command that is installed beside the interpreter is on nobody's PATH for certain.
DBT = (sys.executable, "-c", "from dbt.cli.main import cli; cli()")
_OWN = ("target", "logs", "dbt_packages")
_SECRETS = ("TARDIS_API_KEY",)
_LAST_LINES = 20


@dataclass(frozen=True)
class DbtProject:
    """A project as dbt understood it.

    Attributes:
        manifest: dbt's manifest, with compiled SQL.
        lineage: Columns and what they are made of.
    """

    manifest: Mapping[str, Any]
    lineage: lineage.ColumnLineage


def dbt_target(settings: Settings) -> str:
    """The target of `profiles.yml` that writes where the settings say."""
    if settings.warehouse is WarehouseKind.DUCKDB:
        return "duckdb"
    return "bigquery" if settings.bigquery_endpoint is None else "bq_offline"


def dbt_environment(settings: Settings, project: Path, artefacts: Path) -> dict[str, str]:
    """The environment of a dbt process: these settings, and everything it writes in one folder.

    The vendor's key is not in it: dbt has no use for it.
    """
    environment = child_environment(settings)
    for name in _SECRETS:
        environment.pop(name, None)
    credentials = settings.gcp_credentials_path
    endpoint = settings.bigquery_endpoint
    return {
        **environment,
        # dbt works in its project's folder: paths are absolute.
        "WAREHOUSE_FOLDER": str(settings.warehouse_folder.absolute()),
        **({"GCP_CREDENTIALS_PATH": str(credentials.absolute())} if credentials else {}),
        **({"BIGQUERY_ENDPOINT": str(endpoint).rstrip("/")} if endpoint else {}),
        "DBT_PROJECT_DIR": str(project),
        "DBT_PROFILES_DIR": str(project),
        "DBT_TARGET_PATH": str(artefacts),
        "DBT_LOG_PATH": str(artefacts),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "PYTHONUNBUFFERED": "1",
    }


def load_project(settings: Settings, project: Path = PROJECT_FOLDER) -> DbtProject:
    """The project compiled for the settings' warehouse, or what an earlier process left of it.

    Neither network nor credentials nor a warehouse are needed.

    Raises:
        InvalidSetting: there is no project, or dbt does not compile it.
        StorageDenied: the project's folder `target` may not be written.
        ConcurrentWrite: another process did not finish compiling in time.
    """
    if not (project / "dbt_project.yml").is_file():
        raise InvalidSetting(
            str(project),
            "no dbt project here",
            remedy="Install the package from a checkout (pip install -e .): the project lies "
            "beside it",
        )
    folder = project / "target" / "dagster"
    file = folder / f"{settings.warehouse}.json"
    key = _state_of(settings, project)
    if (found := _read(file, key)) is not None:
        return found
    with exclusive_lock(folder / "lock"), storage_errors(folder):
        if (found := _read(file, key)) is not None:
            return found
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            manifest = _compile(settings, project, Path(scratch))
            made = DbtProject(manifest, lineage.column_lineage(manifest))
            text = {"key": key, "manifest": made.manifest, "lineage": made.lineage}
            new = Path(scratch, "project.json")
            new.write_text(json.dumps(text), encoding="utf-8")
            new.replace(file)
    return made


def _read(file: Path, key: str) -> DbtProject | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if stored["key"] != key:
        return None
    return DbtProject(stored["manifest"], stored["lineage"])


def _state_of(settings: Settings, project: Path) -> str:
    """Everything the artefacts hang on."""
    digest = hashlib.sha256()
    for file in (*_files(project), Path(__file__), Path(lineage.__file__)):
        digest.update(f"{file}\0".encode())
        digest.update(file.read_bytes())
    for text in (
        *(version(name) for name in ("dbt-core", "dbt-duckdb", "dbt-bigquery", "sqlglot")),
        settings.warehouse,
        settings.bigquery_dataset,
        settings.gcp_project_id or "",
    ):
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()


def _files(project: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(
            name for name in folders if name not in _OWN and not name.startswith(("target_", "."))
        )
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _compile(settings: Settings, project: Path, scratch: Path) -> Mapping[str, Any]:
    """The manifest, with every model's SQL as the warehouse would get it."""
    is_duckdb = settings.warehouse is WarehouseKind.DUCKDB
    environment = dbt_environment(settings, project, scratch)
    if is_duckdb:
        # The profile attaches the warehouse, and nothing may be published yet.
        environment["WAREHOUSE_FOLDER"] = str(scratch)
        _pretend_warehouse(scratch / WAREHOUSE_FILE, settings.mft_windows or Windows())
    target = "duckdb" if is_duckdb else "bq_offline"
    offline = () if is_duckdb else ("--no-populate-cache", "--no-introspect")
    done = subprocess.run(  # noqa: S603  (our own interpreter and project)
        [*DBT, "--quiet", "--no-use-colors", "compile", "--target", target, *offline],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:])
        raise InvalidSetting(
            str(project),
            "dbt does not compile the project",
            was=said,
            remedy=f"Correct it; `dbt compile --target {target}` in that folder says the same",
        )
    manifest: dict[str, Any] = json.loads((scratch / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _pretend_warehouse(file: Path, windows: Windows) -> None:
    """Every table's name and columns: a model of a table that is not there has no origins."""
    import duckdb  # noqa: PLC0415  (a fifth of a second, once per state of the project)

    with duckdb.connect(file) as connection:
        for table in warehouse_tables(windows):
            columns = ", ".join(f"NULL AS {quoted(name)}" for name in table.table.names)
            connection.execute(f"CREATE VIEW {quoted(table.name)} AS SELECT {columns}")
