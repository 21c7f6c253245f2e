"""Datasets and tables of the stand-in: resources as the REST interface has them, rows in DuckDB.

A project is an attached database in memory, a dataset a schema. Everything is done under one lock:
a job's change is seen whole or not at all.
"""

# ruff: noqa: S608  (tables cannot be parameters; the names are the tests' own)

from __future__ import annotations

import re
import sys
import threading
import time

import duckdb
from doubles.bigquery.errors import Refused
from doubles.bigquery.types import bigquery_field, duckdb_type

PARTITION_FORMATS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_TABLE_NAME = re.compile(r"[\w -]{1,1024}")


def now_ms():
    return time.time_ns() // 1_000_000


def quoted(key):
    return ".".join(f'"{part}"' for part in key)


def split_decorator(name):
    """Table and partition of a name such as `candles$20240808`; None where there is none."""
    table, _, partition = name.partition("$")
    return table, partition or None


class Catalog:
    """What there is, and the connection that holds the rows."""

    def __init__(self):
        self.con = duckdb.connect(config={"threads": "1"})
        self.con.execute("SET TimeZone = 'UTC'")
        self.lock = threading.RLock()
        self.datasets = {}
        self.tables = {}
        self.modified = {}
        self._projects = set()
        self._etag = 0

    def close(self):
        self.con.close()

    def dataset(self, project, name):
        if (project, name) not in self.datasets:
            raise Refused("notFound", f"Not found: Dataset {project}:{name}")
        return self.datasets[project, name]

    def create_dataset(self, project, body):
        name = body["datasetReference"]["datasetId"]
        if (project, name) in self.datasets:
            raise Refused("duplicate", f"Already Exists: Dataset {project}:{name}")
        if project not in self._projects:
            self.con.execute(f"ATTACH ':memory:' AS \"{project}\"")
            self._projects.add(project)
        self.con.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted((project, name))}")
        reference = {"projectId": project, "datasetId": name}
        resource = {"location": "US"} | body | {"datasetReference": reference}
        self.datasets[project, name] = resource | {
            "kind": "bigquery#dataset",
            "id": f"{project}:{name}",
            "etag": self.next_etag(),
        }
        return self.datasets[project, name]

    def delete_dataset(self, project, name, *, contents):
        self.dataset(project, name)
        inside = [key for key in self.tables if key[:2] == (project, name)]
        if inside and not contents:
            raise Refused("invalid", f"Dataset {project}:{name} is still in use")
        for key in inside:
            self.forget(key)
        self.con.execute(f"DROP SCHEMA {quoted((project, name))} CASCADE")
        del self.datasets[project, name]

    def table(self, key):
        """The resource of a table, with its present counts.

        Raises:
            Refused: there is none, or it has expired.
        """
        self.dataset(*key[:2])
        resource = self.tables.get(key)
        if resource and int(resource.get("expirationTime") or sys.maxsize) <= now_ms():
            self.drop(key)
            resource = None
        if resource is None:
            raise Refused("notFound", f"Not found: Table {key[0]}:{key[1]}.{key[2]}")
        if resource["type"] == "TABLE":
            rows = self.con.execute(f"SELECT count(*) FROM {quoted(key)}").fetchone()[0]
            resource["numRows"] = str(rows)
            resource["numBytes"] = str(rows * 8 * len(resource["schema"]["fields"]))
        return resource

    def create_table(self, key, body):
        self.dataset(*key[:2])
        if key in self.tables:
            raise Refused("duplicate", f"Already Exists: Table {key[0]}:{key[1]}.{key[2]}")
        if not _TABLE_NAME.fullmatch(key[2]):
            raise Refused("invalid", f'Invalid table ID "{key[2]}".')
        fields = body.get("schema", {}).get("fields", [])
        self._check_layout(fields, body)
        columns = ", ".join(f'"{field["name"]}" {duckdb_type(field)}' for field in fields)
        if columns:
            self.con.execute(f"CREATE TABLE {quoted(key)} ({columns})")
        return self.remember(key, {**body, "type": "TABLE"})

    def _check_layout(self, fields, body):
        kinds = {field["name"]: field["type"] for field in fields}
        partitioned = body.get("timePartitioning", {}).get("field")
        if partitioned and kinds.get(partitioned) not in {"TIMESTAMP", "DATE", "DATETIME"}:
            raise Refused("invalid", f"The field specified for partitioning: {partitioned}")
        clustered = body.get("clustering", {}).get("fields", [])
        if len(clustered) > 4 or any(name not in kinds for name in clustered):
            raise Refused("invalid", f"The fields specified for clustering: {clustered}")

    def remember(self, key, body):
        created = self.tables.get(key, {}).get("creationTime", str(now_ms()))
        reference = dict(zip(("projectId", "datasetId", "tableId"), key, strict=True))
        self.tables[key] = (
            {"schema": {"fields": []}}
            | body
            | {
                "kind": "bigquery#table",
                "id": f"{key[0]}:{key[1]}.{key[2]}",
                "tableReference": reference,
                "creationTime": created,
                "lastModifiedTime": str(now_ms()),
                "location": self.datasets[key[:2]]["location"],
                "etag": self.next_etag(),
            }
        )
        self.modified.setdefault(key, {})
        return self.tables[key]

    def update_table(self, key, body, etag):
        """Change a resource; a schema may only grow by columns that may be null."""
        resource = self.table(key)
        if etag and etag != resource["etag"]:
            raise Refused("conditionNotMet", "Precondition check failed.")
        if "schema" in body and resource["type"] == "TABLE":
            self.grow(key, body["schema"]["fields"])
        merged = {name: value for name, value in {**resource, **body}.items() if value is not None}
        return self.remember(key, merged)

    def grow(self, key, fields):
        """Take over a schema; columns may be added, and nothing else changes."""
        old = {field["name"]: field for field in self.tables[key]["schema"]["fields"]}
        new = {field["name"]: field for field in fields}
        name = f"{key[0]}:{key[1]}.{key[2]}"
        for missing in old.keys() - new.keys():
            message = (
                f"Provided Schema does not match Table {name}. Field {missing} is missing"
                " in new schema"
            )
            raise Refused("invalid", message)
        for field in fields:
            before = old.get(field["name"])
            if before is None:
                if field.get("mode") == "REQUIRED":
                    raise Refused("invalid", f"Cannot add required field {field['name']}")
                sql = f'ALTER TABLE {quoted(key)} ADD COLUMN "{field["name"]}" {duckdb_type(field)}'
                self.con.execute(sql)
            elif (was := duckdb_type(before)) != duckdb_type(field):
                raise Refused(
                    "invalid",
                    f"Provided Schema does not match Table {name}. Field {field['name']} has"
                    f" changed type from {before['type']} to {field['type']} ({was})",
                )
        self.tables[key]["schema"] = {"fields": fields}

    def forget(self, key):
        self.tables.pop(key, None)
        self.modified.pop(key, None)

    def drop(self, key):
        resource = self.tables.get(key, {})
        kind = "VIEW" if resource.get("type") == "VIEW" else "TABLE"
        self.con.execute(f"DROP {kind} IF EXISTS {quoted(key)}")
        self.forget(key)

    def drop_partition(self, key, partition):
        condition = self.partition_is(key, partition)
        rows = self.con.execute(f"SELECT count(*) FROM {quoted(key)} WHERE {condition}").fetchone()[
            0
        ]
        if not rows and partition not in self.modified[key]:
            raise Refused("notFound", f"Not found: Partition {key[2]}${partition}")
        self.con.execute(f"DELETE FROM {quoted(key)} WHERE {condition}")
        self.modified[key].pop(partition, None)

    def partition_id(self, key):
        """DuckDB's expression of a row's partition.

        Raises:
            Refused: the table has no partitions by a column.
        """
        partitioning = self.tables[key].get("timePartitioning") or {}
        if "field" not in partitioning:
            raise Refused("invalid", f"Table {key[2]} is not partitioned by a column")
        form = PARTITION_FORMATS[partitioning.get("type", "DAY")]
        return f"strftime(\"{partitioning['field']}\", '{form}')"

    def partition_is(self, key, partition):
        if not partition.isdigit():
            raise Refused("invalid", f"Invalid partition: {partition}")
        return f"{self.partition_id(key)} = '{partition}'"

    def partitions(self, key):
        """Partition to (rows, fingerprint of its rows)."""
        if not (self.tables[key].get("timePartitioning") or {}).get("field"):
            return {}
        sql = (
            f"SELECT {self.partition_id(key)}, count(*), bit_xor(hash(t)) FROM {quoted(key)} t"
            " GROUP BY 1"
        )
        return {name: (rows, mark) for name, rows, mark in self.con.execute(sql).fetchall()}

    def refresh(self, key, more=None):
        """Take over columns that a statement changed."""
        described = self.con.execute(f"DESCRIBE {quoted(key)}").fetchall()
        old = {
            item["name"]: item
            for item in self.tables.get(key, {}).get("schema", {}).get("fields", [])
        }
        fields = [bigquery_field(row[0], row[1]) for row in described]
        fields = [
            old[item["name"]] if old.get(item["name"], {}).get("type") == item["type"] else item
            for item in fields
        ]
        resource = {"type": "TABLE"} | self.tables.get(key, {}) | {"schema": {"fields": fields}}
        return self.remember(key, resource | (more or {}))

    def next_etag(self):
        self._etag += 1
        return f"etag-{self._etag}"
