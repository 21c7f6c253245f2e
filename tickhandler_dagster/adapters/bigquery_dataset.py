"""A dataset of BigQuery: its client, its names, and that it is there, where it should be.

What belongs here: what every table of a dataset shares. What does not: tables and rows
(`bigquery_warehouse.py`, `bigquery_live_tables.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.bigquery_errors import ONCE, Calls
from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.market.errors import InvalidSetting

if TYPE_CHECKING:
    from google.cloud import bigquery


@dataclass(frozen=True)
class BigQueryDataset:
    """A dataset and how it is reached; nothing is asked before it is used.

    Attributes:
        credentials: Who this process is.
        project: Pays and holds the dataset.
        name: Of the dataset.
        location: Of the dataset.
        endpoint: Of a stand-in; the real service where None.
        calls: How calls are tried again.
        elsewhere: What to do where there is a dataset of this name in another location.
    """

    credentials: GcpCredentials
    project: str
    name: str
    location: str
    endpoint: str | None
    calls: Calls
    elsewhere: str

    @property
    def full_name(self) -> str:
        """Project and name."""
        return f"{self.project}.{self.name}"

    def table_id(self, name: str) -> str:
        """A table's full name."""
        return f"{self.full_name}.{name}"

    @cached_property
    def client(self) -> bigquery.Client:
        """Made when first asked: nothing above may pay for it on import."""
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        return bigquery.Client(
            project=self.project,
            credentials=self.credentials.google,
            location=self.location,
            client_options=options,
        )

    def ensure(self) -> None:
        """Make it where it does not exist.

        Raises:
            InvalidSetting: it is in another location.
            StorageDenied: the credentials do not permit it.
        """
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        wanted = bigquery.Dataset(self.full_name)
        wanted.location = self.location
        wanted.labels = {"product": "tickhandler"}
        found = self.calls(
            self.full_name, lambda: self.client.create_dataset(wanted, exists_ok=True, **ONCE)
        )
        if (found.location or "").lower() != self.location.lower():
            raise InvalidSetting(
                "BIGQUERY_LOCATION",
                f"dataset {self.name} is in another location",
                was=self.location,
                expected=found.location,
                remedy=f"Set it to the dataset's location, or {self.elsewhere}",
            )
