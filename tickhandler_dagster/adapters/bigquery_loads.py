"""How days get into a table of BigQuery: one load job each, or a month of them by copies.

What belongs here: the choice of the way, and what a job has to have read. What does not: which days
need it (`bigquery_warehouse.py`), names and waiting (`bigquery_jobs.py`).

A table takes 1,500 load jobs a day and no more can be had. One changed day is one load job. Several
days of a month are loaded by one job into a table of another name that expires, then copied from
there partition by partition: copies are free too, and have no such limit. The same way is taken
where a day has more objects than one job may name, and where the table's budget is used up.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from tickhandler_dagster.adapters.bigquery_errors import ONCE, Calls, call_error
from tickhandler_dagster.adapters.bigquery_jobs import BigQueryJobs, Ledger
from tickhandler_dagster.adapters.bigquery_schema import bigquery_schema
from tickhandler_dagster.adapters.warehouse import LoadedObject, Receipt, TableDay
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    from google.cloud import bigquery

    Start: TypeAlias = Callable[[str], bigquery.LoadJob | bigquery.CopyJob]

OBJECTS_PER_JOB = 10_000
"""BigQuery's limit of addresses that a load job may name."""

LOADS_PER_DAY = 1000
"""Of the 1,500 load jobs a table takes a day: the rest is for people and for jobs that fail."""

COPIES_ATONCE = 40
"""A table takes 50 changes of partitions in 10 seconds."""

_STAGING_LIFE = dt.timedelta(days=1)


class DayLoads:
    """Loads days from a bucket.

    Args:
        client: Of the project that pays.
        jobs: Runs the jobs.
        calls: How other calls are tried again.
        lake_uri: `gs://bucket` or `gs://bucket/prefix`, under which objects are.
    """

    def __init__(
        self, client: bigquery.Client, jobs: BigQueryJobs, calls: Calls, lake_uri: str
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._calls = calls
        self._lake_uri = lake_uri

    def load(
        self, table: WarehouseTable, target: str, days: Sequence[TableDay], ledger: Ledger
    ) -> dict[dt.date, Receipt]:
        """Replace these days in the table.

        Args:
            table: Which table.
            target: Its name with project and dataset.
            days: What to load; a day without rows is emptied.
            ledger: The table's jobs so far.

        Raises:
            ConcurrentWrite: an object is not what the lake's manifest says.
        """
        done = {item.day: self._emptied(target, item) for item in days if not item.rows}
        budget = LOADS_PER_DAY - ledger.loads
        for month in _months(item for item in days if item.rows):
            is_one_job = len(month) == 1 and len(month[0].objects) <= OBJECTS_PER_JOB
            if is_one_job and budget > 0:
                budget -= 1
                done |= self._loaded(table, target, month[0], ledger)
            else:
                done |= self._copied(table, target, month, ledger)
        return done

    def _emptied(self, target: str, item: TableDay) -> Receipt:
        partition = f"{target}${item.day:%Y%m%d}"
        self._calls(partition, lambda: self._delete(partition))
        return Receipt(item.day, 0, 0, "", is_new=True)

    def _loaded(
        self, table: WarehouseTable, target: str, item: TableDay, ledger: Ledger
    ) -> dict[dt.date, Receipt]:
        name = self._jobs.day_name(table.name, item.day, item.digest)
        start = self._load(item.objects, f"{target}${item.day:%Y%m%d}", "WRITE_TRUNCATE")
        job = self._jobs.run({name: start}, ledger.ids)[name]
        _check_read(job, item.objects)
        return {item.day: Receipt(item.day, item.rows, item.bytes, job.job_id, is_new=True)}

    def _copied(
        self, table: WarehouseTable, target: str, month: Sequence[TableDay], ledger: Ledger
    ) -> dict[dt.date, Receipt]:
        run = uuid.uuid4().hex[:12]
        staging = f"{target.rpartition('.')[0]}._staging_{table.name}_{run}"
        self._make_staging(table, staging)
        try:
            objects = [item for day in month for item in day.objects]
            for place in range(0, len(objects), OBJECTS_PER_JOB):
                part = objects[place : place + OBJECTS_PER_JOB]
                name = self._jobs.name(table.name, f"staging{place}", run)
                start = self._load(part, staging, "WRITE_APPEND")
                _check_read(self._jobs.run({name: start})[name], part)
            done: dict[dt.date, Receipt] = {}
            for place in range(0, len(month), COPIES_ATONCE):
                some = month[place : place + COPIES_ATONCE]
                done |= self._copy_days(table, staging, target, some, ledger)
            return done
        finally:
            self._calls(staging, lambda: self._delete(staging))

    def _copy_days(
        self,
        table: WarehouseTable,
        staging: str,
        target: str,
        days: Sequence[TableDay],
        ledger: Ledger,
    ) -> dict[dt.date, Receipt]:
        names = {item.day: self._jobs.day_name(table.name, item.day, item.digest) for item in days}
        starts = {names[item.day]: self._copy(staging, target, item.day) for item in days}
        ran = self._jobs.run(starts, ledger.ids)
        return {
            item.day: Receipt(
                item.day, item.rows, item.bytes, ran[names[item.day]].job_id, is_new=True
            )
            for item in days
        }

    def _load(self, objects: Sequence[LoadedObject], target: str, disposition: str) -> Start:
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        # No column is added on the way: `ensure` does that, with description and order.
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=disposition,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            labels={"product": "tickhandler"},
        )
        lists = bigquery.ParquetOptions()  # type: ignore[no-untyped-call]
        lists.enable_list_inference = True
        config.parquet_options = lists
        uris = [f"{self._lake_uri}/{item.path}" for item in objects]

        def start(job_id: str) -> bigquery.LoadJob:
            return self._client.load_table_from_uri(
                uris,
                bigquery.TableReference.from_string(target),
                job_id=job_id,
                job_config=config,
                **ONCE,
            )

        return start

    def _copy(self, staging: str, target: str, day: dt.date) -> Start:
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        config = bigquery.CopyJobConfig(
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            labels={"product": "tickhandler"},
        )

        def start(job_id: str) -> bigquery.CopyJob:
            return self._client.copy_table(
                f"{staging}${day:%Y%m%d}",
                f"{target}${day:%Y%m%d}",
                job_id=job_id,
                job_config=config,
                **ONCE,
            )

        return start

    def _make_staging(self, table: WarehouseTable, staging: str) -> None:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        made = bigquery.Table(staging, schema=bigquery_schema(table.table))
        made.time_partitioning = bigquery.TimePartitioning(field=table.day_column)
        made.clustering_fields = list(table.clustering)
        made.expires = dt.datetime.now(dt.UTC) + _STAGING_LIFE
        made.labels = {"product": "tickhandler", "source": "staging"}
        try:
            self._calls(staging, lambda: self._client.create_table(made, exists_ok=True, **ONCE))
        except NotFound as error:
            raise call_error(f"BigQuery table {staging}", error) from None

    def _delete(self, what: str) -> None:
        self._client.delete_table(what, not_found_ok=True, **ONCE)


def _months(days: Iterator[TableDay]) -> Iterator[list[TableDay]]:
    ordered = sorted(days, key=lambda item: item.day)
    for _, group in groupby(ordered, key=lambda item: (item.day.year, item.day.month)):
        yield list(group)


def extent(objects: Sequence[LoadedObject]) -> tuple[int, int, int]:
    """Files, bytes and rows."""
    return len(objects), sum(item.bytes for item in objects), sum(item.rows for item in objects)


def _check_read(job: Any, objects: Sequence[LoadedObject]) -> None:  # noqa: ANN401  (the client's own)
    """BigQuery read the files, bytes and rows that the manifests name, no other.

    Raises:
        ConcurrentWrite: it read other files: somebody wrote them meanwhile.
        CorruptData: they hold other rows than the manifests say.
    """
    found = (job.input_files, job.input_file_bytes, job.output_rows)
    wanted = extent(objects)
    if found == wanted:
        return
    is_other = found[:2] != wanted[:2]
    raise (ConcurrentWrite if is_other else CorruptData)(
        f"BigQuery job {job.job_id}",
        "objects are not what the lake's manifests say",
        was="{} files, {} bytes, {} rows".format(*found),
        expected="{} files, {} bytes, {} rows".format(*wanted),
        remedy="Somebody wrote them meanwhile; the next try reads the lake anew"
        if is_other
        else "Materialize the day in the lake again, then publish it",
    )
