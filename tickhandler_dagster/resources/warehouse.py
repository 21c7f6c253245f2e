"""The warehouse by the settings: DuckDB files beside the lake, or a BigQuery dataset.

What belongs here: building the adapter when a run first asks for it. The clients are imported then:
reading definitions must not pay for them.
"""

from __future__ import annotations

from typing import cast

from tickhandler_dagster.adapters.object_store import ObjectStore
from tickhandler_dagster.adapters.warehouse import Warehouse
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.resources.lake_store import bucket_uri
from tickhandler_dagster.resources.on_demand import OnDemand
from tickhandler_dagster.settings import Settings


def build_warehouse(settings: Settings, store: ObjectStore) -> Warehouse:
    """The warehouse that the settings name; credentials are looked for when it is first used.

    Args:
        settings: Which one, and where it is.
        store: The lake's objects, for a warehouse on this machine.

    Raises:
        InvalidSetting: at its first use, where BigQuery is to load a lake that is in no bucket, or
            there are no usable credentials.
    """
    if settings.warehouse is WarehouseKind.BIGQUERY:
        return cast("Warehouse", OnDemand(lambda: _bigquery(settings)))
    from tickhandler_dagster.adapters.duckdb_warehouse import (  # noqa: PLC0415  (see the charter)
        DuckDbWarehouse,
    )

    return DuckDbWarehouse(settings.warehouse_folder, store)


def _bigquery(settings: Settings) -> Warehouse:
    from tickhandler_dagster.adapters.bigquery_warehouse import (  # noqa: PLC0415  (see the charter)
        BigQueryWarehouse,
    )
    from tickhandler_dagster.adapters.gcp_credentials import (  # noqa: PLC0415  (see the charter)
        load_credentials,
    )

    endpoint = settings.bigquery_endpoint
    return BigQueryWarehouse(
        load_credentials(settings.gcp_credentials_path, is_emulated=endpoint is not None),
        dataset=settings.bigquery_dataset,
        location=settings.bigquery_location,
        lake_uri=bucket_uri(settings),
        project=settings.gcp_project_id,
        endpoint=None if endpoint is None else str(endpoint).rstrip("/"),
    )
