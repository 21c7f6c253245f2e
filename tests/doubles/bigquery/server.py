"""The stand-in itself: BigQuery's REST interface on loopback.

`BigQueryStandIn(folder)` resolves `gs://bucket/name` as `folder/bucket/name`. The switches for
tests: `fail`, `seconds`, `bucket_locations`, `denied`, `projects`, `requests`.
"""

# ruff: noqa: S608  (tables cannot be parameters; the names are the tests' own)

from __future__ import annotations

import gzip
import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from doubles.bigquery.catalog import Catalog, split_decorator
from doubles.bigquery.errors import Refused
from doubles.bigquery.jobs import Jobs
from doubles.bigquery.loads import Objects
from doubles.bigquery.types import cell

_PAGE = 10_000


@dataclass(frozen=True)
class Call:
    """A request: what its path names, its query, its body, its headers."""

    parts: dict
    query: dict
    body: dict
    headers: object


class BigQueryStandIn:
    """A BigQuery of this process's own.

    Args:
        folder: Where objects are, one folder per bucket.
    """

    def __init__(self, folder):
        self.catalog = Catalog()
        self.jobs = Jobs(self.catalog, Objects(folder))
        self.requests = []
        self.denied = set()
        self.projects = None
        self._answers = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def seconds(self):
        """How long a job of a kind takes, by kind: load, copy, query."""
        return self.jobs.seconds

    @property
    def bucket_locations(self):
        """Where a bucket is; the dataset's own location where not said."""
        return self.jobs.bucket_locations

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self.jobs.wait()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
        self.catalog.close()

    def fail(self, kind, reason, times=1, message="as the test asked"):
        """Let the next jobs of a kind fail; kind `http` fails the next calls of any method."""
        faults = [Refused(reason, message) for _ in range(times)]
        if kind == "http":
            self._answers.extend(faults)
        else:
            self.jobs.faults[kind].extend(faults)

    def client(self, project="tests-project"):
        """An official client of this stand-in."""
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  (slow import)
        from google.cloud import bigquery  # noqa: PLC0415  (slow import)

        return bigquery.Client(
            project=project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.endpoint},
        )

    def answer(self, method, path, query, body, headers):
        """Status and body of a request."""
        self.requests.append((method, path))
        if self._answers:
            raise self._answers.pop(0)
        for verb, pattern, action in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                parts = {name: unquote(value) for name, value in found.groupdict().items()}
                self._admit(action.__name__, parts["p"])
                return action(self, Call(parts, query, body, headers))
        raise Refused("notFound", f"the stand-in has no {method} {path}")

    def _admit(self, action, project):
        if self.projects is not None and project not in self.projects:
            raise Refused("notFound", f"Not found: Project {project}")
        if "*" in self.denied or action in self.denied:
            raise Refused(
                "accessDenied", f"Access Denied: Project {project}: permission {action} denied"
            )

    def list_datasets(self, call):
        found = [
            item
            for (project, _), item in self.catalog.datasets.items()
            if project == call.parts["p"]
        ]
        return {"kind": "bigquery#datasetList", "datasets": found}

    def insert_dataset(self, call):
        with self.catalog.lock:
            return self.catalog.create_dataset(call.parts["p"], call.body)

    def get_dataset(self, call):
        return self.catalog.dataset(call.parts["p"], call.parts["d"])

    def patch_dataset(self, call):
        self.catalog.dataset(call.parts["p"], call.parts["d"]).update(call.body)
        return self.catalog.dataset(call.parts["p"], call.parts["d"])

    def delete_dataset(self, call):
        with self.catalog.lock:
            contents = call.query.get("deleteContents") == "true"
            self.catalog.delete_dataset(call.parts["p"], call.parts["d"], contents=contents)
        return {}

    def list_tables(self, call):
        self.catalog.dataset(call.parts["p"], call.parts["d"])
        tables = [
            item
            for key, item in self.catalog.tables.items()
            if key[:2] == (call.parts["p"], call.parts["d"])
        ]
        return {"kind": "bigquery#tableList", "tables": tables, "totalItems": len(tables)}

    def insert_table(self, call):
        key = (call.parts["p"], call.parts["d"], call.body["tableReference"]["tableId"])
        with self.catalog.lock:
            if "view" in call.body:
                if key in self.catalog.tables:
                    raise Refused("duplicate", f"Already Exists: Table {'.'.join(key)}")
                text = f"CREATE VIEW `{'`.`'.join(key)}` AS {call.body['view']['query']}"
                self.jobs._queries.run(text, project=key[0], dataset=key[1])
                return self.catalog.table(key)
            return self.catalog.create_table(key, call.body)

    def get_table(self, call):
        if call.parts["d"] == "_anonymous":
            return self._answer_table(call)
        with self.catalog.lock:
            return self.catalog.table(
                (call.parts["p"], call.parts["d"], split_decorator(call.parts["t"])[0])
            )

    def _answer_table(self, call):
        """The table that a query's answer is in."""
        key = (call.parts["p"], call.parts["t"].removeprefix("anon"))
        if key not in self.jobs.answers:
            raise Refused("notFound", f"Not found: Table {call.parts['t']}")
        found = self.jobs.answers[key]
        names = ("projectId", "datasetId", "tableId")
        return {
            "tableReference": dict(zip(names, (call.parts[k] for k in "pdt"), strict=True)),
            "schema": {"fields": found.fields},
            "numRows": str(len(found.rows)),
            "type": "TABLE",
        }

    def patch_table(self, call):
        with self.catalog.lock:
            key = (call.parts["p"], call.parts["d"], call.parts["t"])
            return self.catalog.update_table(key, call.body, call.headers.get("If-Match"))

    def delete_table(self, call):
        name, partition = split_decorator(call.parts["t"])
        key = (call.parts["p"], call.parts["d"], name)
        with self.catalog.lock:
            self.catalog.table(key)
            if partition:
                self.catalog.drop_partition(key, partition)
            else:
                self.catalog.drop(key)
        return {}

    def list_rows(self, call):
        key = (call.parts["p"], call.parts["d"], split_decorator(call.parts["t"])[0])
        with self.catalog.lock:
            job_id = key[2].removeprefix("anon")
            if key[1] == "_anonymous":
                found = self.jobs.answers[key[0], job_id]
                fields, rows = found.fields, found.rows
            else:
                fields = self.catalog.table(key)["schema"]["fields"]
                name = '"."'.join(key)
                rows = self.catalog.con.execute(f'SELECT * FROM "{name}"').fetchall()
        return _page(fields, rows, call.query, "bigquery#tableDataList")

    def list_routines(self, call):
        self.catalog.dataset(call.parts["p"], call.parts["d"])
        return {"routines": []}

    def insert_job(self, call):
        return self.jobs.insert(call.parts["p"], call.body)

    def get_job(self, call):
        return self.jobs.get(call.parts["p"], call.parts["j"])

    def cancel_job(self, call):
        return {
            "kind": "bigquery#jobCancelResponse",
            "job": self.jobs.get(call.parts["p"], call.parts["j"]),
        }

    def list_jobs(self, call):
        since = int(call.query.get("minCreationTime", 0))
        found = [
            job
            for (project, _), job in list(self.jobs.all.items())
            if project == call.parts["p"] and int(job["statistics"]["creationTime"]) >= since
        ][::-1]
        start = int(call.query.get("pageToken", 0))
        end = start + int(call.query.get("maxResults", 50))
        page = [{**job, "state": job["status"]["state"]} for job in found[start:end]]
        answer = {"kind": "bigquery#jobList", "jobs": page}
        return answer | ({"nextPageToken": str(end)} if end < len(found) else {})

    def query(self, call):
        known = (
            "query",
            "queryParameters",
            "parameterMode",
            "defaultDataset",
            "maximumBytesBilled",
        )
        config = {"query": {name: call.body[name] for name in known if name in call.body}}
        config |= {name: call.body[name] for name in ("dryRun", "labels") if name in call.body}
        reference = {"location": call.body["location"]} if call.body.get("location") else {}
        job = self.jobs.insert(
            call.parts["p"], {"configuration": config, "jobReference": reference}
        )
        return self._results(job, {"maxResults": call.body.get("maxResults", _PAGE)})

    def query_results(self, call):
        return self._results(self.jobs.get(call.parts["p"], call.parts["j"]), call.query)

    def _results(self, job, query):
        reference = job["jobReference"]
        done = job["status"]["state"] == "DONE"
        head = {"jobReference": reference, "jobComplete": done}
        if not done:
            return head
        if error := job["status"].get("errorResult"):
            raise Refused(error["reason"], error["message"])
        found = self.jobs.answers[reference["projectId"], reference["jobId"]]
        head |= {"totalBytesProcessed": str(found.scanned), "cacheHit": False}
        if found.changed is not None:
            head["numDmlAffectedRows"] = str(found.changed)
        return _page(found.fields, found.rows, query, "bigquery#queryResponse") | head


def _page(fields, rows, query, kind):
    answer = {"kind": kind, "schema": {"fields": fields}, "totalRows": str(len(rows))}
    count = int(query.get("maxResults", _PAGE))
    if count == 0:
        return answer
    start = int(query.get("pageToken") or query.get("startIndex") or 0)
    end = min(start + min(count, _PAGE), len(rows))
    answer["rows"] = [
        {"f": [cell(value, field) for value, field in zip(row, fields, strict=True)]}
        for row in rows[start:end]
    ]
    return answer | ({"pageToken": str(end)} if end < len(rows) else {})


_P = r"(?:/bigquery/v2)?/projects/(?P<p>[^/]+)"
_D = rf"{_P}/datasets/(?P<d>[^/]+)"
_T = rf"{_D}/tables/(?P<t>[^/]+)"
_S = BigQueryStandIn
_ROUTES = (
    ("GET", rf"{_P}/datasets", _S.list_datasets),
    ("POST", rf"{_P}/datasets", _S.insert_dataset),
    ("GET", _D, _S.get_dataset),
    ("PATCH", _D, _S.patch_dataset),
    ("PUT", _D, _S.patch_dataset),
    ("DELETE", _D, _S.delete_dataset),
    ("GET", rf"{_D}/tables", _S.list_tables),
    ("POST", rf"{_D}/tables", _S.insert_table),
    ("GET", _T, _S.get_table),
    ("PATCH", _T, _S.patch_table),
    ("PUT", _T, _S.patch_table),
    ("DELETE", _T, _S.delete_table),
    ("GET", rf"{_T}/data", _S.list_rows),
    ("GET", rf"{_D}/routines", _S.list_routines),
    ("POST", rf"{_P}/jobs", _S.insert_job),
    ("GET", rf"{_P}/jobs", _S.list_jobs),
    ("GET", rf"{_P}/jobs/(?P<j>[^/]+)", _S.get_job),
    ("POST", rf"{_P}/jobs/(?P<j>[^/]+)/cancel", _S.cancel_job),
    ("POST", rf"{_P}/queries", _S.query),
    ("GET", rf"{_P}/queries/(?P<j>[^/]+)", _S.query_results),
)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that was killed is no error of the server."""


def _handler(standin):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            if self.headers.get("Content-Encoding") == "gzip":
                raw = gzip.decompress(raw)
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            try:
                body = json.loads(raw) if raw else {}
                status, answer = (
                    200,
                    standin.answer(self.command, url.path, query, body, self.headers),
                )
            except Refused as refused:
                status, answer = refused.status, refused.body
            except Exception as error:  # noqa: BLE001  (a defect of the stand-in has to reach the test as words)
                failed = Refused("invalid", f"the stand-in failed: {error!r}")
                status, answer = failed.status, failed.body
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815  (the names of the protocol)

        def log_message(self, *args):
            """Requests are in `requests`, not on the terminal."""

    return Handler
