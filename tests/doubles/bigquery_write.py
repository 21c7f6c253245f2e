"""BigQuery's Storage Write API on loopback: real gRPC, Arrow decoded, offsets kept.

The switches for tests are `faults`, a list of what becomes of the next requests: `unavailable`,
`denied`, `hang`, `end` (of the call), `drop` (accepted, and the answer is lost), or a name of
`_FAULTS`; None is none. `refuse(row)` says which rows it cannot take.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import polars as pl
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2, status_pb2

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryWrite"
MOST_BYTES = 10_000_000


class BigQueryWriteStandIn:
    """A Storage Write API of this process's own.

    Args:
        tables: Column names by table, in `project.dataset.table` form; None takes any.
    """

    def __init__(self, tables=None):
        self.tables = tables
        self.streams = {}
        self.requests = []
        self.connections = 0
        self.faults = []
        self.refuse = None
        self._made = 0
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        size = [("grpc.max_receive_message_length", MOST_BYTES)]
        self._server = grpc.server(ThreadPoolExecutor(16), options=size)
        handlers = {
            "CreateWriteStream": grpc.unary_unary_rpc_method_handler(
                self._create,
                types.CreateWriteStreamRequest.deserialize,
                types.WriteStream.serialize,
            ),
            "AppendRows": grpc.stream_stream_rpc_method_handler(
                self._append,
                types.AppendRowsRequest.deserialize,
                types.AppendRowsResponse.serialize,
            ),
            "FinalizeWriteStream": grpc.unary_unary_rpc_method_handler(
                self._finalize,
                types.FinalizeWriteStreamRequest.deserialize,
                types.FinalizeWriteStreamResponse.serialize,
            ),
        }
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self._port}"

    def start(self):
        self._server.start()
        return self

    def stop(self):
        self._stopping.set()
        self._server.stop(0).wait(5)

    def rows(self, table):
        """All rows of a table, of every stream, as one frame."""
        with self._lock:
            batches = [
                batch
                for name, stream in self.streams.items()
                if _table_of(name) == table
                for batch in stream["batches"]
            ]
        return pl.from_arrow(pa.Table.from_batches(batches)) if batches else pl.DataFrame()

    def _create(self, request, context):
        with self._lock:
            if self._fault() == "unavailable":
                context.abort(grpc.StatusCode.UNAVAILABLE, "as the test asked")
            if self.tables is not None and _table_of(request.parent) not in self.tables:
                context.abort(grpc.StatusCode.NOT_FOUND, "Requested entity was not found")
            self._made += 1
            name = f"{request.parent}/streams/s{self._made}"
            self.streams[name] = {"batches": [], "rows": 0, "open": True}
        return types.WriteStream(name=name, type_=types.WriteStream.Type.COMMITTED)

    def _finalize(self, request, context):
        with self._lock:
            stream = self.streams.get(request.name)
            if stream is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such stream")
            stream["open"] = False
            return types.FinalizeWriteStreamResponse(row_count=stream["rows"])

    def _append(self, requests, context):
        self.connections += 1
        schema = None
        for request in requests:
            data = request.arrow_rows
            if data.writer_schema.serialized_schema:
                schema = pa.ipc.read_schema(pa.py_buffer(data.writer_schema.serialized_schema))
            if schema is None:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request has no schema")
            content = pa.py_buffer(data.rows.serialized_record_batch)
            batch = pa.ipc.read_record_batch(content, schema)
            with self._lock:
                fault = self._fault()
                self.requests.append((request.write_stream, request.offset, batch.num_rows))
            if fault == "unavailable":
                context.abort(grpc.StatusCode.UNAVAILABLE, "as the test asked")
            if fault == "denied":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "as the test asked")
            if fault in {"hang", "end"}:
                self._stopping.wait(30 if fault == "hang" else 0)
                return
            answer = _FAULTS[fault] if fault in _FAULTS else self._take(request, batch)
            if fault == "drop":
                context.abort(grpc.StatusCode.UNAVAILABLE, "accepted, and the answer was lost")
            yield answer

    def _take(self, request, batch):
        name = request.write_stream
        with self._lock:
            if name.endswith("/_default"):
                self.streams.setdefault(name, {"batches": [], "rows": 0, "open": True})
            error = self._objection(request, batch)
            refused = [] if error else self._refused(batch)
            if error or refused:
                return error or _refusal(refused)
            stream = self.streams[name]
            offset = stream["rows"]
            stream["batches"].append(batch)
            stream["rows"] += batch.num_rows
        return types.AppendRowsResponse(
            append_result=types.AppendRowsResponse.AppendResult(offset=offset)
        )

    def _objection(self, request, batch):
        """The error of a request that names a stream, columns or an offset it may not."""
        name = request.write_stream
        known = (self.tables or {}).get(_table_of(name), batch.schema.names)
        stream = self.streams.get(name)
        error = None
        if stream is None:
            error = _error(code_pb2.NOT_FOUND, f"{name} not found")
        elif not stream["open"]:
            error = _error(code_pb2.FAILED_PRECONDITION, "the stream is finalized")
        elif batch.schema.names != known:
            error = _error(code_pb2.INVALID_ARGUMENT, "schema mismatch")
        elif "offset" in request and request.offset < stream["rows"]:
            error = _error(code_pb2.ALREADY_EXISTS, "the offset exists")
        elif "offset" in request and request.offset > stream["rows"]:
            error = _error(code_pb2.OUT_OF_RANGE, "the offset is beyond the end")
        return error

    def _refused(self, batch):
        if self.refuse is None:
            return []
        return [place for place, row in enumerate(batch.to_pylist()) if self.refuse(row)]

    def _fault(self):
        return self.faults.pop(0) if self.faults else None


def _error(code, message):
    return types.AppendRowsResponse(error=status_pb2.Status(code=code, message=message))


def _refusal(places):
    return types.AppendRowsResponse(
        error=status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="Errors found in rows"),
        row_errors=[
            types.RowError(
                index=place,
                code=types.RowError.RowErrorCode.FIELDS_ERROR,
                message="cannot be taken",
            )
            for place in places
        ],
    )


_FAULTS = {
    "schema": _error(code_pb2.INVALID_ARGUMENT, "Input schema has more fields than BigQuery"),
    "gone": _error(code_pb2.NOT_FOUND, "the stream is forgotten"),
    "internal": _error(code_pb2.INTERNAL, "an internal error"),
    "full": _error(code_pb2.RESOURCE_EXHAUSTED, "too many requests"),
    "ahead": _error(code_pb2.OUT_OF_RANGE, "the offset is beyond the end"),
}


def _table_of(name):
    """`project.dataset.table` of a stream's or a table's path."""
    parts = name.split("/")
    return f"{parts[1]}.{parts[3]}.{parts[5]}"
