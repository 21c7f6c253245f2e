"""`tickhandler metrics`: the instance's numbers over HTTP, or printed once.

What belongs here: when the instance is asked, and the server. A request is answered from the last
look: who asks often, or twice at a time, costs the instance nothing. What does not: the numbers
(`automation/instance_metrics.py`).
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from tickhandler_dagster.automation.instance_metrics import Watched, instance_metrics
from tickhandler_dagster.cli.interruption import interruptible
from tickhandler_dagster.cli.platform import Platform

_COST_SHARE = 10
"""Looking takes at most one part in so many of the time."""


@dataclass(frozen=True)
class Serving:
    """How numbers are served.

    Attributes:
        host: Address to listen on.
        port: Port; 0 for any free one.
        days: Length of the window of days.
        every_s: Time between two looks; longer where one takes more than a tenth of it.
    """

    host: str
    port: int
    days: int
    every_s: float


@dataclass(eq=False)
class LastLook(Collector):
    """What the last look found, and how looking went."""

    look: Callable[[], list[Metric]]
    clock: Callable[[], float] = time.time
    metrics: list[Metric] = field(default_factory=list)
    seen_at: float = 0.0
    took_s: float = 0.0
    has_failed: bool = False

    def again(self) -> None:
        """Look; where the instance cannot be asked, what was seen before stays and says so."""
        began = time.monotonic()
        try:
            self.metrics = self.look()
        except (SQLAlchemyError, dg.DagsterError, OSError) as error:
            self.has_failed = True
            sys.stderr.write(f"instance: cannot be asked ({type(error).__name__})\n")
        else:
            self.has_failed, self.seen_at = False, self.clock()
        self.took_s = time.monotonic() - began

    def collect(self) -> Iterable[Metric]:
        """The last look's numbers, and three about looking."""
        texts = {
            "metrics_up": ("1 while the instance answers.", float(not self.has_failed)),
            "metrics_timestamp_seconds": ("When the instance answered last.", self.seen_at),
            "metrics_look_seconds": ("Time that the last look took.", self.took_s),
        }
        for name, (text, value) in texts.items():
            yield GaugeMetricFamily(f"tickhandler_{name}", text, value=value)
        yield from self.metrics

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)


def print_metrics(platform: Platform, days: int) -> bool:
    """Look once and print; whether the instance answered."""
    last = LastLook(_look_at(platform, days))
    last.again()
    sys.stdout.write(last.exposition().decode())
    return not last.has_failed


def serve_metrics(platform: Platform, serving: Serving) -> None:
    """Answer `/metrics` and `/health` until somebody ends it."""
    last = LastLook(_look_at(platform, serving.days))
    last.again()
    stop = threading.Event()
    server = ThreadingHTTPServer((serving.host, serving.port), _handler(last, serving.every_s))
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=_keep_looking, args=(last, serving.every_s, stop), daemon=True),
    ]
    for thread in threads:
        thread.start()
    sys.stdout.write(f"http://{serving.host}:{server.server_port}/metrics\n")
    sys.stdout.flush()
    with interruptible():
        stop.wait()
    stop.set()
    server.shutdown()
    server.server_close()


def _keep_looking(last: LastLook, every_s: float, stop: threading.Event) -> None:
    while not stop.wait(max(every_s, _COST_SHARE * last.took_s)):
        last.again()


def _look_at(platform: Platform, days: int) -> Callable[[], list[Metric]]:
    graph = platform.repository.asset_graph
    watched = Watched(platform.partitions, sorted(graph.asset_check_keys), days)
    return lambda: instance_metrics(platform.instance, watched, now=dt.datetime.now(dt.UTC))


def _handler(last: LastLook, every_s: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, last.exposition())
            elif self.path == "/health":
                is_well = not last.has_failed
                status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
                text = (
                    "ok" if is_well else f"the instance did not answer; asked every {every_s:g} s"
                )
                self._answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /health\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:  # a line per scrape says nothing
            return

    return Handler
