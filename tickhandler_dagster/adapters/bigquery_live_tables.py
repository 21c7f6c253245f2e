"""The live dataset of BigQuery: tables with an hour per partition that forget by themselves.

What belongs here: making and growing them, and the view of each bar's last word. What does not:
rows (`bigquery_storage_write.py`), types (`bigquery_schema.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.bigquery_dataset import BigQueryDataset
from tickhandler_dagster.adapters.bigquery_errors import ONCE, Calls, call_error
from tickhandler_dagster.adapters.bigquery_schema import bigquery_schema, brought_up_to
from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.market.live.live_tables import RETENTION_DAYS, LiveTable

if TYPE_CHECKING:
    from google.cloud import bigquery

LIVE_DATASET = "market_data_live"

_MS_PER_DAY = 86_400_000


class BigQueryLiveTables:
    """A dataset of live tables.

    Args:
        credentials: Who this process is.
        project: Pays and holds the dataset.
        dataset: Of the tables; made where it does not exist.
        location: Of the dataset.
        endpoint: Of a stand-in; the real service where None.
        calls: How calls are tried again.
    """

    def __init__(
        self,
        credentials: GcpCredentials,
        *,
        project: str,
        dataset: str = LIVE_DATASET,
        location: str,
        endpoint: str | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._calls = calls or Calls()
        self._dataset = BigQueryDataset(
            credentials,
            project,
            dataset,
            location,
            endpoint,
            self._calls,
            elsewhere="use another dataset for live tables",
        )

    def ensure(self, table: LiveTable) -> None:
        """Make dataset, table and view, or add the columns the table lacks; nothing is lost.

        Several processes may do so at once.

        Raises:
            InvalidSetting: a column of the stored table has another type, the table is one of
                something else, or the dataset is in another location.
            StorageDenied: the credentials do not permit it.
        """
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)

        wanted = live_definition(table, self._dataset.table_id(table.name))
        try:
            stored = self._calls(
                table.name, lambda: self._dataset.client.get_table(wanted.reference, **ONCE)
            )
        except NotFound:
            self._dataset.ensure()
            stored = self._made(wanted)
        names = brought_up_to(wanted, stored)
        if names:
            self._calls(
                table.name, lambda: self._dataset.client.update_table(stored, names, **ONCE)
            )
        if table.latest_view is not None:
            self._ensure_view(table, table.latest_view, is_changed="schema" in names)

    def _made(self, wanted: bigquery.Table) -> bigquery.Table:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)

        try:
            return self._calls(
                wanted.table_id,
                lambda: self._dataset.client.create_table(wanted, exists_ok=True, **ONCE),
            )
        except NotFound as error:
            raise call_error(f"BigQuery table {wanted.table_id}", error) from None

    def _ensure_view(self, table: LiveTable, name: str, *, is_changed: bool) -> None:
        """A view keeps the columns it was made with, so it is made anew with the table's."""
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        view = bigquery.Table(self._dataset.table_id(name))
        view.view_query = latest_query(table, self._dataset.table_id(table.name))
        if is_changed:
            self._calls(
                name, lambda: self._dataset.client.delete_table(view, not_found_ok=True, **ONCE)
            )
        self._calls(name, lambda: self._dataset.client.create_table(view, exists_ok=True, **ONCE))


def live_definition(table: LiveTable, table_id: str) -> bigquery.Table:
    """The table as it is made.

    Args:
        table: Which.
        table_id: Project, dataset and name with stops between them.
    """
    from google.cloud import bigquery  # noqa: PLC0415  (slow import)

    made = bigquery.Table(table_id, schema=bigquery_schema(table.table))
    made.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.HOUR,
        field=table.time_column,
        expiration_ms=RETENTION_DAYS * _MS_PER_DAY,
    )
    made.clustering_fields = list(table.clustering)
    made.description = table.table.grain
    made.labels = {"product": "tickhandler", "source": "live"}
    return made


def latest_query(table: LiveTable, table_id: str) -> str:
    """The highest revision of each row; of one that came twice either, they are equal."""
    rest = ", ".join(name for name in table.table.key if name != "revision")
    return (
        f"SELECT * FROM `{table_id}` WHERE TRUE QUALIFY "  # noqa: S608  (names of ours)
        f"ROW_NUMBER() OVER (PARTITION BY {rest} ORDER BY revision DESC) = 1"
    )
