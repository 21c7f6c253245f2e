"""Appending rows to BigQuery tables by the Storage Write API, in Arrow form.

What belongs here: streams, connections, requests and their answers. What does not: which rows are
sent and what is remembered of them (`streaming/sinks/`), codes (`bigquery_write_errors.py`).

A stream of our own (type COMMITTED) numbers its rows: a request that names the number of its first
row is appended once, however often it is sent. The default stream of a table takes every request,
each time.

One request is under way at a time. The client library's own manager of connections is not used: it
neither sends again after a break nor ends a wait, and asks every second whether an answer is there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import pyarrow as pa

from tickhandler_dagster.adapters.bigquery_schema import BIGQUERY_TYPES
from tickhandler_dagster.adapters.bigquery_write_errors import (
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    write_error,
)
from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.adapters.parquet import to_arrow
from tickhandler_dagster.market.tables import Table

if TYPE_CHECKING:
    from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types

REQUEST_BYTES = 8_000_000
"""Rows of a request; BigQuery takes ten million bytes with everything around them."""

_TIMEOUT_S = 60.0
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATE": pa.date32(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
}
"""The Arrow type that is sent for each of BigQuery's: one each, so that no conversion is theirs."""

_Answer: TypeAlias = "types.AppendRowsResponse | BaseException | None"


class Outcome(StrEnum):
    """What became of a request."""

    APPENDED = "appended"
    REPEATED = "repeated"
    """The rows were there: an earlier try arrived."""
    REFUSED = "refused"
    """Nothing was appended: some rows cannot be."""
    STREAM_GONE = "stream_gone"
    """The stream is closed or forgotten; nothing was appended by this request."""


@dataclass(frozen=True, slots=True)
class Appended:
    """BigQuery's answer to a request.

    Attributes:
        outcome: What became of it.
        refused: BigQuery's words by the place of each row that cannot be appended.
    """

    outcome: Outcome
    refused: Mapping[int, str] = field(default_factory=dict)


class StorageWriter:
    """Appends to the tables of a dataset; one connection per stream.

    Args:
        credentials: Who this process is.
        project: Holds the dataset.
        dataset: Of the tables.
        endpoint: Of a stand-in, `http://host:port`; the real service where None.
        timeout_s: How long an answer is waited for.
    """

    def __init__(
        self,
        credentials: GcpCredentials,
        *,
        project: str,
        dataset: str,
        endpoint: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._credentials = credentials
        self._parent = f"projects/{project}/datasets/{dataset}/tables"
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._connections: dict[str, _Connection] = {}

    def default_stream(self, table: str) -> str:
        """The name of the stream every table has."""
        return f"{self._parent}/{table}/streams/_default"

    def create_stream(self, table: str) -> str:
        """A new stream that numbers its rows from 0; its name.

        Raises:
            StorageUnavailable: not now.
            StorageDenied: the credentials do not permit it.
            InvalidSetting: there is no such table.
        """
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415  (slow import)
        from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415  (slow import)

        wanted = types.WriteStream(type_=types.WriteStream.Type.COMMITTED)
        try:
            made = self._client.create_write_stream(
                parent=f"{self._parent}/{table}",
                write_stream=wanted,
                retry=None,
                timeout=self._timeout_s,
            )
        except GoogleAPICallError as error:
            code, message = _code_of(error)
            raise write_error(f"BigQuery table {table}", code, message) from None
        return str(made.name)

    def finalize(self, stream: str) -> None:
        """Say that nothing more comes; an error changes nothing, streams are forgotten anyway."""
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415  (slow import)

        self._drop(stream)
        try:
            self._client.finalize_write_stream(name=stream, retry=None, timeout=self._timeout_s)
        except GoogleAPICallError:
            return

    def append(self, stream: str, rows: pa.RecordBatch, offset: int | None = None) -> Appended:
        """Append rows, once.

        Args:
            stream: Its name.
            rows: At most `REQUEST_BYTES`.
            offset: Number of the first row in a stream of our own; None in the default stream.

        Raises:
            StorageUnavailable: no answer, or one that says "later"; the rows may be there or not.
            StorageDenied: the credentials do not permit it.
            CorruptData: the table has other columns, or the stream fewer rows than `offset`.
        """
        connection = self._connections.get(stream)
        if connection is None or connection.schema != rows.schema:
            self._drop(stream)
            connection = _Connection(self._client, stream, rows.schema)
            self._connections[stream] = connection
        answer = connection.exchange(rows, offset, self._timeout_s)
        if isinstance(answer, BaseException) or answer is None:
            self._drop(stream)
            code, message = _code_of(answer)
            return _judged(stream, code, message, {})
        refused = {int(row.index): str(row.message) for row in answer.row_errors}
        if answer.error.code:
            self._drop(stream)
        return _judged(stream, int(answer.error.code), str(answer.error.message), refused)

    def close(self) -> None:
        """End all connections."""
        for stream in list(self._connections):
            self._drop(stream)

    def _drop(self, stream: str) -> None:
        connection = self._connections.pop(stream, None)
        if connection is not None:
            connection.close()

    @cached_property
    def _client(self) -> BigQueryWriteClient:
        """Made when first asked: the import is slow."""
        from google.cloud.bigquery_storage_v1 import BigQueryWriteClient  # noqa: PLC0415

        if self._endpoint is None:
            return BigQueryWriteClient(credentials=self._credentials.google)  # type: ignore[no-untyped-call]
        import grpc  # noqa: PLC0415  (slow import)
        from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (  # noqa: PLC0415
            BigQueryWriteGrpcTransport,
        )

        channel = grpc.insecure_channel(self._endpoint.partition("://")[2].rstrip("/"))
        transport = BigQueryWriteGrpcTransport(channel=channel)
        return BigQueryWriteClient(transport=transport)  # type: ignore[no-untyped-call]


class _Connection:
    """One call of `AppendRows`: requests in, one answer each, in order."""

    def __init__(self, client: BigQueryWriteClient, stream: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._stream = stream
        self._is_new = True
        self._requests: queue.SimpleQueue[types.AppendRowsRequest | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        # The bare call, since the client's own waits for an answer before it returns; typed there
        # as if it took one request.
        call: Any = client.transport.append_rows
        route = (("x-goog-request-params", f"write_stream={stream}"),)
        self._call = call(self._sent(), metadata=route)
        threading.Thread(target=self._listen, name="bigquery-answers", daemon=True).start()

    def exchange(self, rows: pa.RecordBatch, offset: int | None, timeout_s: float) -> _Answer:
        """Send rows and wait; None where no answer came in time."""
        self._requests.put(self._request(rows, offset))
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()

    def _sent(self) -> Iterator[types.AppendRowsRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _listen(self) -> None:
        import grpc  # noqa: PLC0415  (slow import)

        try:
            for answer in self._call:
                self._answers.put(answer)
        except grpc.RpcError as error:
            self._answers.put(error)
        else:
            self._answers.put(None)

    def _request(self, rows: pa.RecordBatch, offset: int | None) -> types.AppendRowsRequest:
        from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415  (slow import)

        data = types.AppendRowsRequest.ArrowData(
            rows=types.ArrowRecordBatch(serialized_record_batch=rows.serialize().to_pybytes())
        )
        request = types.AppendRowsRequest(write_stream=self._stream, arrow_rows=data)
        if self._is_new:
            request.arrow_rows.writer_schema.serialized_schema = (
                self.schema.serialize().to_pybytes()
            )
            request.trace_id = "tickhandler"
            self._is_new = False
        if offset is not None:
            request.offset = offset
        return request


def write_schema(table: Table) -> pa.Schema:
    """The Arrow schema in which rows of a table are sent."""
    return pa.schema([(column.name, _arrow_type(column.dtype)) for column in table.columns])


def record_batch(rows: pl.DataFrame, table: Table) -> pa.RecordBatch:
    """Rows of a table as they are sent."""
    merged = to_arrow(rows.select(table.names), write_schema(table)).combine_chunks()
    batches = merged.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=merged.schema)


def fitting(rows: pl.DataFrame, table: Table, limit: int = REQUEST_BYTES) -> int:
    """How many of the first rows make one request; at least one."""
    count = rows.height
    while count > 1:
        size = record_batch(rows.head(count), table).serialize().size
        if size <= limit:
            break
        count = max(1, min(count - 1, int(count * limit / size * 0.95)))
    return max(count, 1)


def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return pa.list_(_arrow_type(inner if isinstance(inner, pl.DataType) else inner()))
    return _ARROW_TYPES[BIGQUERY_TYPES[dtype]]


def _judged(stream: str, code: int, message: str, refused: Mapping[int, str]) -> Appended:
    if not code:
        return Appended(Outcome.APPENDED)
    if code == ALREADY_EXISTS:
        return Appended(Outcome.REPEATED)
    if code == INVALID_ARGUMENT and refused:
        return Appended(Outcome.REFUSED, refused)
    is_ours = not stream.endswith("/_default")
    if is_ours and code in {NOT_FOUND, FAILED_PRECONDITION}:
        return Appended(Outcome.STREAM_GONE)
    table = stream.partition("/tables/")[2].partition("/")[0]
    raise write_error(f"BigQuery table {table}", code, message)


def _code_of(error: Any) -> tuple[int, str]:  # noqa: ANN401  (errors of two libraries)
    """Code and words of an error of gRPC, of the client library, or of a wait that ended."""
    if error is None:
        return 4, "no answer"
    code = getattr(error, "grpc_status_code", None)
    if code is None:
        code = error.code() if callable(getattr(error, "code", None)) else None
    details = error.details() if callable(getattr(error, "details", None)) else str(error)
    return (int(code.value[0]) if code is not None else 2), str(details)
