"""The warehouse in BigQuery: days of a lake in a bucket, loaded by free jobs into day partitions.

What belongs here: the Warehouse Protocol. A day is one load job that names its objects and replaces
one partition (`table$YYYYMMDD`). Both jobs are free, and atomic per day; a row of another day makes
the job fail. Rows are never inserted, changed or deleted by SQL: that costs, two statements at most
run at a time, and a day would be half there where they stop.

What does not: how days get in (`bigquery_loads.py`), types (`bigquery_schema.py`), jobs as the
record of what was published (`bigquery_jobs.py`), reasons and waiting (`bigquery_errors.py`).

What is compared after a load: files, bytes and rows that BigQuery read against the lake's
manifests, then rows by day and venue in the table. There is no sum over a column: nothing is there
to compare it with unless the lake is read a second time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from tickhandler_dagster.adapters.bigquery_dataset import BigQueryDataset
from tickhandler_dagster.adapters.bigquery_errors import ONCE, Calls, call_error
from tickhandler_dagster.adapters.bigquery_job_list import JobList
from tickhandler_dagster.adapters.bigquery_jobs import BigQueryJobs, Ledger
from tickhandler_dagster.adapters.bigquery_loads import DayLoads, extent
from tickhandler_dagster.adapters.bigquery_schema import reconciled, table_definition
from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.adapters.warehouse import Receipt, TableDay
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData, InvalidSetting
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    from google.cloud import bigquery

MAXIMUM_BYTES_BILLED = 200 * 1024**3
"""A question that would read more is refused: about 1.25 $ at 6.25 $ per TiB."""

_ROUNDS = 5
_CHANGED_SLACK = dt.timedelta(seconds=10)


class BigQueryWarehouse:
    """A dataset whose tables are filled from a bucket.

    Args:
        credentials: Who this process is.
        dataset: Of the tables; made where it does not exist.
        location: Of the dataset; has to be that of the bucket.
        lake_uri: Where the lake is, `gs://bucket` or `gs://bucket/prefix`; None for a folder.
        project: Pays and holds the dataset; that of the credentials where None.
        endpoint: Of a stand-in; the real service where None.
        calls: How calls and jobs are tried again.

    Raises:
        InvalidSetting: the lake is not in a bucket, or no project is known.
    """

    def __init__(
        self,
        credentials: GcpCredentials,
        *,
        dataset: str,
        location: str,
        lake_uri: str | None,
        project: str | None = None,
        endpoint: str | None = None,
        calls: Calls | None = None,
    ) -> None:
        if lake_uri is None or not lake_uri.startswith("gs://"):
            raise InvalidSetting(
                "WAREHOUSE",
                "BigQuery loads from a bucket, and the lake is a folder",
                was=f"bigquery with a lake in {lake_uri or 'a folder'}",
                remedy="Set GCS_BUCKET to keep the lake in a bucket, or WAREHOUSE=duckdb",
            )
        found = project or credentials.project
        if found is None:
            raise InvalidSetting(
                "GCP_PROJECT_ID",
                "not set, and the credentials name no project",
                remedy="Set it to the project that holds the dataset and pays",
            )
        self._lake_uri = lake_uri.rstrip("/")
        self._calls = calls or Calls()
        self._dataset = BigQueryDataset(
            credentials,
            found,
            dataset,
            location,
            endpoint,
            self._calls,
            elsewhere="BIGQUERY_DATASET to another dataset",
        )

    def ensure(self, table: WarehouseTable) -> None:
        """Make dataset, table and view, or add the columns the table lacks; nothing is lost.

        Raises:
            InvalidSetting: a column of the stored table has another type, the table is one of
                something else, or the dataset is in another location.
            StorageDenied: the credentials do not permit it.
        """
        from google.api_core import exceptions  # noqa: PLC0415  (slow import)

        client, table_id = self._dataset.client, self._dataset.table_id(table.name)
        try:
            stored = self._get_table(table_id)
            if stored is None:
                self._dataset.ensure()
                made = table_definition(table, table_id)
                self._calls(table_id, lambda: client.create_table(made, **ONCE))
                is_changed = True
            else:
                names = reconciled(table, stored)
                if names:
                    self._calls(table_id, lambda: client.update_table(stored, names, **ONCE))
                is_changed = "schema" in names
        except (exceptions.Conflict, exceptions.PreconditionFailed):
            raise ConcurrentWrite(
                f"BigQuery table {table_id}",
                "another process made or changed it at this moment",
                remedy="The next try reads it anew",
            ) from None
        except exceptions.NotFound as error:
            raise call_error(f"BigQuery table {table_id}", error) from None
        view_id = self._dataset.table_id(table.final_view)
        if table.has_final_rows and (is_changed or self._get_table(view_id) is None):
            self.query(
                f"CREATE OR REPLACE VIEW `{view_id}` AS SELECT * FROM `{table_id}` WHERE is_final"  # noqa: S608  (names of ours)
            )

    def publish(self, table: WarehouseTable, days: Sequence[TableDay]) -> list[Receipt]:
        """Replace these days; one receipt per day, in the order given.

        A day that the table holds with this content is not loaded again.

        Raises:
            CorruptData: BigQuery refuses the rows, or holds others after the load.
            ConcurrentWrite: other processes kept publishing other content of a day, or an object
                is not what the lake's manifest says.
            QuotaExhausted: a quota of BigQuery is used up.
            StorageDenied: the credentials do not permit it.
        """
        wanted = {item.day: item for item in days}
        done: dict[dt.date, Receipt] = {}
        ledger = self._settled(table, wanted)
        partitions = self._partitions(table, wanted)
        todo = {
            day: item
            for day, item in wanted.items()
            if not self._is_published(table, item, ledger, partitions.get(day))
        }
        loads = DayLoads(self._dataset.client, self._jobs, self._calls, self._lake_uri)
        target = self._dataset.table_id(table.name)
        for _ in range(_ROUNDS):
            if not todo:
                break
            done |= loads.load(table, target, list(todo.values()), ledger)
            ledger = self._settled(table, todo)
            todo = {d: i for d, i in todo.items() if i.rows and not ledger.holds(d, i.digest)}
        else:
            raise ConcurrentWrite(
                f"BigQuery table {table.name}",
                "other processes keep publishing these days",
                was=", ".join(str(day) for day in sorted(todo)[:5]),
                remedy="Run one publisher per day; the next try reads the lake anew",
            )
        self._check(table, [wanted[day] for day in done])
        return [
            done.get(item.day) or Receipt(item.day, item.rows, 0, "", is_new=False) for item in days
        ]

    def counts(
        self, table: WarehouseTable, days: Sequence[dt.date]
    ) -> Mapping[tuple[dt.date, VenueId], int]:
        """Rows by day and venue; days and venues without rows are left out.

        Raises:
            StorageDenied: the credentials do not permit it.
        """
        if not days:
            return {}
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        ordered = sorted(set(days))
        day, table_id = table.day_column, self._dataset.table_id(table.name)
        is_date = table.table.column(day).dtype == pl.Date()
        of_row = day if is_date else f"DATE({day})"
        bounds = [ordered[0], ordered[-1] + dt.timedelta(days=1)]
        kind = "DATE" if is_date else "TIMESTAMP"
        limits = [item if is_date else _midnight(item) for item in bounds]
        sql = (
            f"SELECT {of_row} AS day, venue, COUNT(*) AS n FROM `{table_id}`"  # noqa: S608  (names of ours, values as parameters)
            f" WHERE {day} >= @first AND {day} < @end AND {of_row} IN UNNEST(@days) GROUP BY 1, 2"
        )
        answer = self._query(
            sql,
            [
                bigquery.ScalarQueryParameter("first", kind, limits[0]),
                bigquery.ScalarQueryParameter("end", kind, limits[1]),
                bigquery.ArrayQueryParameter("days", "DATE", ordered),
            ],
        )
        return {(row["day"], VenueId(row["venue"])): row["n"] for row in answer.to_pylist()}

    def query(self, sql: str) -> pa.Table:
        """The answer to a question in BigQuery's SQL; names without a dataset are of this one.

        Raises:
            InvalidInput: BigQuery refuses the question, or it would read too much.
            StorageDenied: the credentials do not permit it.
        """
        return self._query(sql, [])

    def _query(self, sql: str, parameters: Sequence[Any]) -> pa.Table:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        client, location = self._dataset.client, self._dataset.location
        config = bigquery.QueryJobConfig(
            default_dataset=self._dataset.full_name,
            maximum_bytes_billed=MAXIMUM_BYTES_BILLED,
            query_parameters=list(parameters),
            labels={"product": "tickhandler"},
        )
        subject = f"BigQuery question {sql[:60]!r}"
        try:
            answer: pa.Table = self._calls(
                subject,
                lambda: (
                    client.query(sql, job_config=config, location=location, job_retry=None, **ONCE)
                    .result(retry=None, job_retry=None)
                    .to_arrow(create_bqstorage_client=False)
                ),
            )
        except NotFound as error:
            raise call_error(subject, error) from None
        return answer

    @cached_property
    def _jobs(self) -> BigQueryJobs:
        of = self._dataset
        listed = JobList(of.credentials.google, of.project, of.endpoint, self._calls)
        return BigQueryJobs(of.client, listed, self._calls, scope=of.name, location=of.location)

    def _get_table(self, table_id: str) -> bigquery.Table | None:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)

        try:
            found: bigquery.Table = self._calls(
                table_id, lambda: self._dataset.client.get_table(table_id, **ONCE)
            )
        except NotFound:
            return None
        return found

    def _settled(self, table: WarehouseTable, days: Iterable[dt.date]) -> Ledger:
        """The jobs of the table after all of these days that are under way."""
        chosen = list(days)
        ledger = self._jobs.ledger(table.name)
        while running := ledger.running(chosen):
            self._jobs.wait(running)
            ledger = self._jobs.ledger(table.name)
        return ledger

    def _partitions(
        self, table: WarehouseTable, days: Iterable[dt.date]
    ) -> dict[dt.date, tuple[int, dt.datetime]]:
        """Rows and last change of the days that have a partition."""
        chosen = sorted(days)
        if not chosen:
            return {}
        sql = (
            "SELECT partition_id, total_rows, last_modified_time FROM "  # noqa: S608  (names of ours)
            f"`{self._dataset.project}`.`{self._dataset.name}`.INFORMATION_SCHEMA.PARTITIONS "
            f"WHERE table_name = '{table.name}' AND partition_id BETWEEN '{chosen[0]:%Y%m%d}' "
            f"AND '{chosen[-1]:%Y%m%d}' AND total_rows > 0"
        )
        found = {row["partition_id"]: row for row in self.query(sql).to_pylist()}
        return {
            day: (row["total_rows"], row["last_modified_time"])
            for day in chosen
            if (row := found.get(f"{day:%Y%m%d}"))
        }

    def _is_published(
        self,
        table: WarehouseTable,
        item: TableDay,
        ledger: Ledger,
        partition: tuple[int, dt.datetime] | None,
    ) -> bool:
        """The table holds the day with this content, as far as BigQuery's own records say.

        Where they say nothing any more, which is after about 180 days, the day is loaded again.
        """
        if partition is None or not item.rows:
            return partition is None and not item.rows
        rows, modified = partition
        if rows != item.rows:
            return False
        last = ledger.latest(item.day)
        if last is not None and last.job.ended is not None:
            return (
                modified <= last.job.ended + _CHANGED_SLACK
                and last.job.read in (None, extent(item.objects))
                and ledger.holds(item.day, item.digest)
            )
        return self._jobs.wrote(self._jobs.day_name(table.name, item.day, item.digest), modified)

    def _check(self, table: WarehouseTable, items: Sequence[TableDay]) -> None:
        found = self.counts(table, [item.day for item in items])
        for item in items:
            held = {venue: n for (day, venue), n in found.items() if day == item.day}
            if held != item.rows_by_venue:
                raise CorruptData(
                    f"BigQuery table {table.name}, {item.day}",
                    "the table does not hold what the lake says",
                    was=_words(held),
                    expected=_words(item.rows_by_venue),
                    remedy="Materialize the candles and features of the day again, then publish it",
                )


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _words(rows: Mapping[VenueId, int]) -> str:
    return ", ".join(f"{venue} {count} rows" for venue, count in sorted(rows.items())) or "no row"
