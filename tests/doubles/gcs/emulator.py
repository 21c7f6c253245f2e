"""A Cloud Storage server for tests: the emulator's catalogue under both of Google's interfaces.

What belongs here: the server, its buckets, and what tests break: statuses, cut connections, slow
answers. Beyond `gcp-storage-emulator` it has threads, kept connections, atomic files in the folder
that others read objects from, and no file of everything that each change writes anew. What does
not: requests (`handler.py`) and the XML interface (`xml_interface.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from doubles.gcs.handler import Handler
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
logging.getLogger("api.object").setLevel(logging.CRITICAL)

FOLDER = "objects"


@dataclass
class Fault:
    """What goes wrong, how often, and for which requests.

    Attributes:
        status: The answer in place of the right one; None: none, the connection is cut.
        times: How many requests fail; None: all until cleared.
        method: Of these requests alone.
        contains: A part of the request's path and query.
        is_done: The request takes effect; only its answer is lost.
        delay_s: Waits first; with `is_slow` nothing else happens.
        body: Of the answer.
    """

    status: int | None = None
    times: int | None = 1
    method: str | None = None
    contains: str = ""
    is_done: bool = False
    is_slow: bool = False
    delay_s: float = 0.0
    body: bytes = b""

    def takes(self, method, target):
        return (
            self.times != 0 and self.method in (None, method) and self.contains in unquote(target)
        )


class _Catalogue(Storage):
    """The emulator's storage without its file of everything, which each change writes anew."""

    def _write_config_to_file(self):
        pass


@dataclass
class GcsEmulator:
    """A running server.

    Attributes:
        folder: Objects stand at `folder/<bucket>/<name>`.
        requests: Method and target of every request since the last `forget()`.
        tokens: The Authorization header of each of them.
        faults: What goes wrong next.
    """

    home: Path
    requests: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def __post_init__(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.uploads = {}
        self.generations = itertools.count(time.time_ns() // 1000)
        self.storage = _Catalogue(data_dir=str(self.home.absolute()))
        files = self.storage._store
        files._root = self.folder
        self.folder.mkdir(exist_ok=True)
        files.write_bytes = self._write_file
        self._names = itertools.count(1)

    @property
    def folder(self):
        return self.home / FOLDER

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self, port=0):
        emulator = self
        handler = type("Handler", (Handler,), {"emulator": emulator})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self):
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(10)

    def bucket(self, name=None, location="EU"):
        """A new bucket; its name."""
        name = name or f"lake-{next(self._names)}"
        with self.lock:
            buckets.create_bucket(name, self.storage)
            made = self.storage.get_bucket(name)
            made["location"] = location
            made["softDeletePolicy"] = {"retentionDurationSeconds": "0"}
        return name

    def fail(self, **fault):
        """Add a fault."""
        self.faults.append(Fault(**fault))

    def forget(self):
        """No faults, no remembered requests."""
        self.faults.clear()
        self.requests.clear()
        self.tokens.clear()

    def count(self, method=None, contains=""):
        """How many requests of this kind came."""
        return sum(
            made in (method, made if method is None else method) and contains in unquote(target)
            for made, target in list(self.requests)
        )

    def names(self, bucket):
        """All objects of a bucket."""
        with self.lock:
            return sorted(self.storage.objects.get(bucket, {}))

    def put(self, bucket, name, data, *, headers=(), parts=0):
        """Store an object; its resource."""
        kind = dict(headers).get("content-type", "application/octet-stream")
        made = objects._make_object_resource("", bucket, name, kind, str(len(data)))
        made["metadata"] = {
            key[len("x-goog-meta-") :]: value
            for key, value in dict(headers).items()
            if key.startswith("x-goog-meta-")
        }
        made["generation"] = str(next(self.generations))
        objects._checksums(data, made)
        if parts:  # the service knows no MD5 of an object put together from parts
            made["md5Hash"] = None
        with self.lock:
            self.storage.create_file(bucket, name, data, made)
        return made

    def _write_file(self, path, content):
        """As the store's own, but a reader of the folder sees the old file or the new one."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.home / f".{threading.get_ident()}.tmp"
        temporary.write_bytes(content)
        temporary.replace(target)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments):
        self._open = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(2)

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        if kind is None or not issubclass(kind, ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


if __name__ == "__main__":  # a server of its own process, for measurements
    served = GcsEmulator(Path(sys.argv[1])).start()
    served.bucket("lake")
    print(served.endpoint, flush=True)  # noqa: T201
    sys.stdin.read()
