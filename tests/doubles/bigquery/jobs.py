"""Jobs of the stand-in: their ids, states, faults and times.

A job runs in a thread of its own after `seconds` and goes on when its client is gone, as BigQuery's
do. Faults are queued per kind of job and used up in turn.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict, deque

from doubles.bigquery.catalog import now_ms, split_decorator
from doubles.bigquery.errors import Refused
from doubles.bigquery.loads import Loader
from doubles.bigquery.queries import Queries

_KINDS = ("load", "copy", "query")


class Jobs:
    """All jobs that were asked for."""

    def __init__(self, catalog, objects):
        self._catalog = catalog
        self._loader = Loader(catalog, objects)
        self._queries = Queries(catalog)
        self._threads = []
        self.all = {}
        self.answers = {}
        self.faults = defaultdict(deque)
        self.seconds = defaultdict(float)
        self.bucket_locations = {}

    def insert(self, project, body):
        """Take a job; it may be done already when this returns.

        Raises:
            Refused: the id is taken, or the location is another.
        """
        config = body["configuration"]
        kind = next(kind for kind in _KINDS if kind in config)
        reference = body.get("jobReference") or {}
        job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        job = {
            "kind": "bigquery#job",
            "id": f"{project}:{job_id}",
            "jobReference": {
                "projectId": project,
                "jobId": job_id,
                "location": reference.get("location") or self._location(project, config[kind]),
            },
            "configuration": {**config, "jobType": kind.upper()},
            "status": {"state": "RUNNING"},
            "statistics": {"creationTime": str(now_ms()), "startTime": str(now_ms())},
            "user_email": "tests@example.com",
        }
        with self._catalog.lock:
            if (project, job_id) in self.all:
                raise Refused("duplicate", f"Already Exists: Job {project}:{job_id}")
            if not config.get("dryRun"):
                self.all[project, job_id] = job
        if not self.seconds[kind]:
            self._run(kind, job)
            return job
        thread = threading.Thread(target=self._run, args=(kind, job), daemon=True)
        self._threads.append(thread)
        thread.start()
        return job

    def get(self, project, job_id):
        if (project, job_id) not in self.all:
            raise Refused("notFound", f"Not found: Job {project}:{job_id}")
        return self.all[project, job_id]

    def wait(self):
        """Until every job is over."""
        for thread in self._threads:
            thread.join(60)

    def _run(self, kind, job):
        time.sleep(self.seconds[kind])
        status = {"state": "DONE"}
        try:
            with self._catalog.lock:
                if self.faults[kind]:
                    raise self.faults[kind].popleft()  # noqa: TRY301  (as if the work had raised it)
                getattr(self, f"_{kind}")(job)
        except Refused as refused:
            status |= {"errorResult": refused.proto, "errors": [refused.proto]}
        except Exception as error:
            proto = Refused("internalError", f"the stand-in failed: {error!r}").proto
            job["status"] = {"state": "DONE", "errorResult": proto, "errors": [proto]}
            raise
        finally:
            job["statistics"]["endTime"] = str(now_ms())
        job["status"] = status

    def _load(self, job):
        config = job["configuration"]["load"]
        location = self._check_location(job, config)
        for uri in config.get("sourceUris", []):
            bucket = uri.removeprefix("gs://").partition("/")[0]
            there = self.bucket_locations.get(bucket, location)
            if there != location:
                raise Refused(
                    "invalid",
                    f"Cannot read and write in different locations: source: {there},"
                    f" destination: {location}",
                )
        job["statistics"]["load"] = self._loader.load(config, self._loader.sources(config))

    def _copy(self, job):
        config = job["configuration"]["copy"]
        self._check_location(job, config)
        job["statistics"]["copy"] = self._loader.copy(config)

    def _query(self, job):
        config = job["configuration"]["query"]
        default = config.get("defaultDataset") or {}
        project = default.get("projectId") or job["jobReference"]["projectId"]
        is_dry = job["configuration"].get("dryRun", False)
        answer = self._queries.run(
            config["query"],
            project=project,
            dataset=default.get("datasetId"),
            parameters=config.get("queryParameters", ()),
            dry=is_dry,
        )
        most = config.get("maximumBytesBilled")
        if most and answer.scanned > int(most):
            raise Refused(
                "bytesBilledLimitExceeded", f"Query exceeded limit for bytes billed: {most}"
            )
        reference = job["jobReference"]
        self.answers[reference["projectId"], reference["jobId"]] = answer
        job["statistics"] |= {"totalBytesProcessed": str(answer.scanned)}
        job["statistics"]["query"] = {
            "statementType": answer.kind,
            "totalBytesProcessed": str(answer.scanned),
            "totalBytesBilled": str(0 if is_dry else answer.scanned),
            "cacheHit": False,
            "schema": {"fields": answer.fields},
        }
        if answer.changed is not None:
            job["statistics"]["query"]["numDmlAffectedRows"] = str(answer.changed)
        target = answer.target or (
            reference["projectId"],
            "_anonymous",
            f"anon{reference['jobId']}",
        )
        config["destinationTable"] = dict(
            zip(("projectId", "datasetId", "tableId"), target, strict=True)
        )

    def _location(self, project, config):
        target = config.get("destinationTable") or config.get("defaultDataset") or {}
        key = (target.get("projectId"), target.get("datasetId"))
        if key in self._catalog.datasets:
            return self._catalog.datasets[key]["location"]
        places = {
            item["location"] for (p, _), item in self._catalog.datasets.items() if p == project
        }
        return places.pop() if len(places) == 1 else "US"

    def _check_location(self, job, config):
        target = config["destinationTable"]
        dataset = self._catalog.dataset(target["projectId"], target["datasetId"])
        if dataset["location"] != job["jobReference"]["location"]:
            raise Refused(
                "notFound",
                f"Not found: Dataset {target['projectId']}:{target['datasetId']} was not found in"
                f" location {job['jobReference']['location']}",
            )
        return dataset["location"]

    def of_table(self, table, kind="load"):
        """Jobs of a kind into a table, whatever the partition."""
        return [
            job
            for job in self.all.values()
            if kind in job["configuration"]
            and split_decorator(job["configuration"][kind]["destinationTable"]["tableId"])[0]
            == table
        ]
