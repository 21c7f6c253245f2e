"""Load and copy jobs of the stand-in: the rules of dispositions, partitions and schemas.

Only Parquet. Columns match by name. A column that the table has and the files lack becomes null.
"""

# ruff: noqa: S608  (tables cannot be parameters; the names are the tests' own)

from __future__ import annotations

import fnmatch
from pathlib import Path

from doubles.bigquery.catalog import PARTITION_FORMATS, now_ms, quoted, split_decorator
from doubles.bigquery.errors import Refused
from doubles.bigquery.types import bigquery_field

_MOST_URIS = 10_000


class Objects:
    """What `gs://` means: files under a folder, one folder per bucket."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def files(self, uri):
        """The files of a URI, which may hold one star.

        Raises:
            Refused: nothing is there, or there are several stars.
        """
        if not uri.startswith("gs://") or uri.count("*") > 1:
            raise Refused("invalid", f"Invalid source URI: {uri}")
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        root = self.folder / bucket
        if not root.is_dir():
            raise Refused("notFound", f"Not found: Bucket {bucket}")
        if "*" not in name:
            found = [root / name] if (root / name).is_file() else []
        else:
            found = sorted(
                file
                for file in root.rglob("*")
                if file.is_file() and fnmatch.fnmatchcase(file.relative_to(root).as_posix(), name)
            )
        if not found:
            raise Refused("notFound", f"Not found: URI {uri}")
        return found


class Loader:
    """Runs load and copy jobs on a catalogue."""

    def __init__(self, catalog, objects):
        self._catalog = catalog
        self._objects = objects
        self.con = catalog.con

    def sources(self, config):
        """All files of a load job."""
        if config.get("sourceFormat") != "PARQUET":
            raise Refused(
                "invalid", f"the stand-in loads Parquet, not {config.get('sourceFormat')}"
            )
        uris = config.get("sourceUris", [])
        files = [file for uri in uris for file in self._objects.files(uri)]
        if len(files) > _MOST_URIS:
            raise Refused("invalid", f"Too many sources: {len(files)}, limit {_MOST_URIS}")
        return files

    def load(self, config, files):
        """The job's work, atomically; its statistics."""
        target = config["destinationTable"]
        name, partition = split_decorator(target["tableId"])
        key = (target["projectId"], target["datasetId"], name)
        source = f"read_parquet({[str(file) for file in files]}, union_by_name = true)"
        fields = self._file_fields(source, config)
        disposition = config.get("writeDisposition", "WRITE_APPEND")
        self._target(key, config, fields, partition, disposition)
        names = ", ".join(f'"{field["name"]}"' for field in fields)
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE _load AS SELECT {names} FROM {source}")
        rows = self.write(key, "_load", fields, partition, disposition)
        return {
            "inputFiles": str(len(files)),
            "inputFileBytes": str(sum(file.stat().st_size for file in files)),
            "outputRows": str(rows),
            "outputBytes": str(rows * 8 * len(fields)),
            "badRecords": "0",
        }

    def _file_fields(self, source, config):
        lists = config.get("parquetOptions", {}).get("enableListInference", False)
        described = self.con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        fields = [bigquery_field(row[0], row[1]) for row in described]
        if lists:
            return fields
        return [
            {**field, "type": "RECORD", "mode": "NULLABLE"}
            if field["mode"] == "REPEATED"
            else field
            for field in fields
        ]

    def _target(self, key, config, fields, partition, disposition):
        catalog = self._catalog
        catalog.dataset(*key[:2])
        options = config.get("schemaUpdateOptions", [])
        if options and disposition == "WRITE_TRUNCATE" and not partition:
            raise Refused(
                "invalid", "Schema update options should only be specified with WRITE_APPEND"
            )
        if key not in catalog.tables:
            if config.get("createDisposition", "CREATE_IF_NEEDED") == "CREATE_NEVER":
                raise Refused("notFound", f"Not found: Table {key[0]}:{key[1]}.{key[2]}")
            layout = {"schema": {"fields": fields}}
            layout |= {
                name: config[name] for name in ("timePartitioning", "clustering") if name in config
            }
            catalog.create_table(key, layout)
            return
        catalog.table(key)
        if disposition == "WRITE_TRUNCATE" and not partition:
            self._replace_schema(key, fields)
        else:
            self._same_schema(key, fields, "ALLOW_FIELD_ADDITION" in options)

    def _replace_schema(self, key, fields):
        old = {field["name"]: field for field in self._catalog.tables[key]["schema"]["fields"]}
        resource = self._catalog.tables[key]
        if {n: f["type"] for n, f in old.items()} == {f["name"]: f["type"] for f in fields}:
            return
        self._catalog.drop(key)
        merged = [old.get(field["name"], {}) | field for field in fields]
        self._catalog.create_table(key, {**resource, "schema": {"fields": merged}})

    def _same_schema(self, key, fields, may_grow):
        old = self._catalog.tables[key]["schema"]["fields"]
        known = {field["name"] for field in old}
        extra = [field for field in fields if field["name"] not in known]
        table = f"{key[0]}:{key[1]}.{key[2]}"
        if extra and not may_grow:
            raise Refused(
                "invalid",
                f"Provided Schema does not match Table {table}. Cannot add fields (field:"
                f" {extra[0]['name']})",
            )
        kinds = {field["name"]: (field["type"], field.get("mode", "NULLABLE")) for field in old}
        for field in fields:
            was = kinds.get(field["name"], (field["type"], field["mode"]))
            if (was[0], was[1] == "REPEATED") != (field["type"], field["mode"] == "REPEATED"):
                raise Refused(
                    "invalid",
                    f"Provided Schema does not match Table {table}. Field {field['name']} has"
                    f" changed type from {was[0]} to {field['type']}",
                )
        if extra:
            self._catalog.grow(key, [*old, *extra])

    def write(self, key, source, fields, partition, disposition):
        """Put the rows of `source` into the table or its partition."""
        catalog, target = self._catalog, quoted(key)
        if partition:
            self._one_partition(key, source, partition)
        scope = catalog.partition_is(key, partition) if partition else "true"
        count = self.con.execute(f"SELECT count(*) FROM {target} WHERE {scope}").fetchone()[0]
        if disposition == "WRITE_EMPTY" and count:
            raise Refused("duplicate", f"Already Exists: Table {key[0]}:{key[1]}.{key[2]}")
        names = ", ".join(f'"{field["name"]}"' for field in fields)
        self.con.execute("BEGIN")
        try:
            if disposition == "WRITE_TRUNCATE":
                self.con.execute(f"DELETE FROM {target} WHERE {scope}")
            self.con.execute(f"INSERT INTO {target} ({names}) SELECT {names} FROM {source}")
            self.con.execute("COMMIT")
        except BaseException:
            self.con.execute("ROLLBACK")
            raise
        rows = self.con.execute(f"SELECT count(*) FROM {source}").fetchone()[0]
        self._touch(key, source, partition, truncated=disposition == "WRITE_TRUNCATE")
        return rows

    def _one_partition(self, key, source, partition):
        kind = self._catalog.tables[key]["timePartitioning"].get("type", "DAY")
        column = self._catalog.tables[key]["timePartitioning"]["field"]
        of_row = f"strftime(\"{column}\", '{PARTITION_FORMATS[kind]}')"
        sql = f"SELECT count(*) FROM {source} WHERE {of_row} IS DISTINCT FROM '{partition}'"
        if self.con.execute(sql).fetchone()[0]:
            raise Refused(
                "invalid",
                "Some rows belong to different partitions rather than destination partition"
                f" {partition}",
            )

    def _touch(self, key, source, partition, *, truncated):
        catalog = self._catalog
        catalog.remember(key, catalog.tables[key])
        if partition:
            catalog.modified[key][partition] = now_ms()
            return
        partitioning = catalog.tables[key].get("timePartitioning") or {}
        if "field" not in partitioning:
            return
        if truncated:
            catalog.modified[key] = {}
        sql = f"SELECT DISTINCT {catalog.partition_id(key)} FROM {source}"
        for (name,) in self.con.execute(sql).fetchall():
            catalog.modified[key][name] = now_ms()

    def copy(self, config):
        """Copy a table or a partition; the same rules of dispositions."""
        sources = config.get("sourceTables") or [config["sourceTable"]]
        if len(sources) != 1:
            raise Refused("invalid", "the stand-in copies one table at a time")
        name, from_partition = split_decorator(sources[0]["tableId"])
        source = (sources[0]["projectId"], sources[0]["datasetId"], name)
        resource = self._catalog.table(source)
        target = config["destinationTable"]
        name, partition = split_decorator(target["tableId"])
        key = (target["projectId"], target["datasetId"], name)
        if key not in self._catalog.tables:
            if config.get("createDisposition", "CREATE_IF_NEEDED") == "CREATE_NEVER":
                raise Refused("notFound", f"Not found: Table {key[0]}:{key[1]}.{key[2]}")
            kept = ("schema", "timePartitioning", "clustering", "description")
            self._catalog.create_table(key, {n: resource[n] for n in kept if n in resource})
        scope = "true"
        if from_partition:
            scope = self._catalog.partition_is(source, from_partition)
            if from_partition not in self._catalog.modified[source]:
                raise Refused("notFound", f"Not found: Partition {sources[0]['tableId']}")
        fields = resource["schema"]["fields"]
        self._same_schema(key, fields, may_grow=False)
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE _copy AS SELECT * FROM {quoted(source)} WHERE {scope}"
        )
        disposition = config.get("writeDisposition", "WRITE_EMPTY")
        rows = self.write(key, "_copy", fields, partition, disposition)
        return {"copiedRows": str(rows), "copiedLogicalBytes": str(rows * 8 * len(fields))}
