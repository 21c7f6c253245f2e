"""The page over an instance: a real webserver with a code server, and what its pages ask.

What belongs here: starting and ending the processes, and the queries, which are those of the page
itself at the pinned version. What does not: what is measured of them (`instance_scale.py`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_HOST = "127.0.0.1"
_READY_S = 180.0
_STOP_S = 10.0

GRID = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) { assetNodeOrError(assetKey: $assetKey) {
  ... on AssetNode { id partitionKeysByDimension { name type partitionKeys }
    assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
      primaryDimStartKey primaryDimEndKey primaryDimStartTime primaryDimEndTime
      secondaryDim { ... on DefaultPartitionStatuses {
        materializedPartitions materializingPartitions failedPartitions } } } } } } } }"""
CHECK_GRID = """
query AssetCheckPartitionHealthQuery($assetKey: AssetKeyInput!, $checkName: String!) {
  assetNodeOrError(assetKey: $assetKey) { ... on AssetNode { id
    assetCheckOrError(checkName: $checkName) { ... on AssetCheck { name
      partitionKeysByDimension { name type partitionKeys }
      partitionStatuses { ... on AssetCheckMultiPartitionStatuses { primaryDimensionName ranges {
        primaryDimStartKey primaryDimEndKey primaryDimStartTime primaryDimEndTime
        secondaryDim { ... on AssetCheckDefaultPartitionStatuses { succeededPartitions
          failedPartitions inProgressPartitions skippedPartitions executionFailedPartitions
        } } } } } } } } } }"""
OVERVIEW = """
query AssetGraphLiveQuery($assetKeys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $assetKeys, loadMaterializations: true) { id opNames
    assetMaterializations(limit: 1) { timestamp runId }
    partitionStats { numMaterialized numMaterializing numPartitions numFailed }
    assetChecksOrError { ... on AssetChecks { checks { name canExecuteIndividually
      executionForLatestMaterialization { id runId status timestamp stepKey
        evaluation { severity } } } } } }
  assetsLatestInfo(assetKeys: $assetKeys) { id unstartedRunIds inProgressRunIds
    latestRun { id status endTime } } }"""


@dataclass(frozen=True)
class Page:
    """A running page.

    Attributes:
        port: Where it listens.
        process: The webserver; its child is the code server.
    """

    port: int
    process: psutil.Process

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of the answer.

        Raises:
            RuntimeError: the answer holds an error.
        """
        body = json.dumps({"query": query, "variables": variables})
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=600)
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"])[:2000])
        data: dict[str, Any] = answer["data"]
        return data

    def cpu_s(self) -> float:
        """User and system time of webserver and code server so far."""
        times = [one.cpu_times() for one in self._processes()]
        return sum(one.user + one.system for one in times)

    def rss_bytes(self) -> int:
        """Resident memory of the webserver alone."""
        return int(self.process.memory_info().rss)

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextlib.contextmanager
def open_page(environment: Mapping[str, str], folder: Path) -> Iterator[Page]:
    """A webserver of its own over the instance of `DAGSTER_HOME`; nothing is left of it."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    with (folder / "page.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster_webserver", "-h", _HOST, "-p", str(port)),
                *("-m", "tickhandler_dagster.definitions"),
            ],
            cwd=folder,
            env=dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(process, port)
        yield Page(port, psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection((_HOST, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("the page did not start: see page.log")
        time.sleep(0.3)
