"""Query jobs of the stand-in: scripts, parameters, partition filters, bytes of a dry run."""

from __future__ import annotations

import duckdb
from doubles.bigquery import sql
from doubles.bigquery.catalog import now_ms, quoted
from doubles.bigquery.errors import Refused
from doubles.bigquery.types import WIDTHS, bigquery_field
from sqlglot import exp

_PARTITIONS_DDL = """
CREATE OR REPLACE TEMP TABLE _partitions (
    table_catalog VARCHAR, table_schema VARCHAR, table_name VARCHAR, partition_id VARCHAR,
    total_rows BIGINT, total_logical_bytes BIGINT, last_modified_time TIMESTAMPTZ)
"""
_KINDS = {
    exp.Select: "SELECT",
    exp.Union: "SELECT",
    exp.Insert: "INSERT",
    exp.Update: "UPDATE",
    exp.Delete: "DELETE",
    exp.Merge: "MERGE",
    exp.Alter: "ALTER_TABLE",
    exp.TruncateTable: "TRUNCATE_TABLE",
}


class Answer:
    """What a query gave: fields and rows, its kind, the table it made, rows it changed."""

    def __init__(self, kind, fields=(), rows=(), *, target=None, changed=None, scanned=0):
        self.kind = kind
        self.fields = list(fields)
        self.rows = list(rows)
        self.target = target
        self.changed = changed
        self.scanned = scanned


class Queries:
    """Runs SQL on a catalogue."""

    def __init__(self, catalog):
        self._catalog = catalog
        self._con = catalog.con

    def run(self, text, *, project, dataset, parameters=(), dry=False):
        """The answer to a script, which is that of its last statement.

        Raises:
            Refused: BigQuery would, or the stand-in cannot.
        """
        values = {item["name"]: sql.literal(item) for item in parameters if item.get("name")}
        variables = {}
        answer = Answer("SCRIPT")
        is_open = False
        try:
            for statement in sql.statements(text):
                if isinstance(statement, exp.Declare | exp.Set):
                    self._assign(statement, variables, values, project, dataset)
                    continue
                if isinstance(statement, exp.Transaction | exp.Commit | exp.Rollback):
                    is_open = isinstance(statement, exp.Transaction)
                    self._con.execute(statement.sql("duckdb"))
                    continue
                bound = sql.bound(statement, values, variables)
                answer = self._one(bound, project, dataset, dry=dry)
        except duckdb.Error as error:
            raise Refused("invalidQuery", str(error)) from error
        finally:
            if is_open:
                self._con.execute("ROLLBACK")
        return answer

    def _assign(self, statement, variables, values, project, dataset):
        if isinstance(statement, exp.Declare):
            for item in statement.expressions:
                names = item.this if isinstance(item.this, list) else [item.this]
                value = item.args.get("default") or exp.null()
                for name in names:
                    variables[name.name] = self._value(value, variables, values, project, dataset)
            return
        for item in statement.expressions:
            equation = item.this
            name, value = equation.this.name, equation.expression
            variables[name] = self._value(value, variables, values, project, dataset)

    def _value(self, value, variables, values, project, dataset):
        if isinstance(value, exp.Subquery):
            value = value.this
        query = value if isinstance(value, exp.Select) else exp.select(value.copy())
        bound = sql.bound(query, values, variables)
        self._prepare(bound, project, dataset)
        found = self._con.execute(sql.to_duckdb(bound))
        kind = str(found.description[0][1])
        row = found.fetchone()
        return _constant(row[0] if row else None, kind)

    def _one(self, statement, project, dataset, *, dry):
        kind = self._kind(statement)
        if kind in {"CREATE_SCHEMA", "DROP_SCHEMA"}:
            return self._schema(statement, kind, project, dry=dry)
        tables = self._prepare(statement, project, dataset)
        scanned = self._scanned(statement, tables)
        if kind == "SELECT":
            text = sql.to_duckdb(statement)
            described = self._con.execute(f"DESCRIBE {text}").fetchall()
            fields = [bigquery_field(row[0], row[1]) for row in described]
            rows = [] if dry else self._con.execute(text).fetchall()
            return Answer(kind, fields, rows, scanned=scanned)
        if dry:
            return Answer(kind, scanned=scanned)
        return self._change(statement, kind, scanned)

    def _schema(self, statement, kind, project, *, dry):
        named = self._target(statement)
        project, dataset = named.catalog or project, named.db
        there = (project, dataset) in self._catalog.datasets
        if dry or (there and statement.args.get("exists") and kind == "CREATE_SCHEMA"):
            return Answer(kind)
        if kind == "CREATE_SCHEMA":
            reference = {"projectId": project, "datasetId": dataset}
            places = [d["location"] for (p, _), d in self._catalog.datasets.items() if p == project]
            body = {"datasetReference": reference, "location": (places or ["US"])[0]}
            self._catalog.create_dataset(project, body)
        elif there or not statement.args.get("exists"):
            contents = bool(statement.args.get("cascade"))
            self._catalog.delete_dataset(project, dataset, contents=contents)
        return Answer(kind)

    def _kind(self, statement):
        if isinstance(statement, exp.Create):
            made = f"CREATE_{statement.kind}"
            return (
                f"{made}_AS_SELECT" if statement.kind == "TABLE" and statement.expression else made
            )
        if isinstance(statement, exp.Drop):
            return f"DROP_{statement.kind}"
        if type(statement) not in _KINDS:
            raise Refused("invalidQuery", f"the stand-in does not run {type(statement).__name__}")
        return _KINDS[type(statement)]

    def _prepare(self, statement, project, dataset):
        tables = sql.qualified(statement, project, dataset)
        target = self._target(statement)
        keys = []
        for table in tables:
            key = (table.catalog, table.db, table.name)
            if key[2] == sql.PARTITIONS:
                self._list_partitions(key)
                table.replace(exp.to_table("_partitions", alias=table.alias or None))
            elif key[2].startswith("INFORMATION_SCHEMA."):
                raise Refused("invalidQuery", f"the stand-in has no {key[2]}")
            elif table is target and isinstance(statement, exp.Create | exp.Drop):
                self._catalog.dataset(*key[:2])
            else:
                self._filtered(statement, key)
                keys.append(key)
        return keys

    @staticmethod
    def _target(statement):
        if isinstance(statement, exp.Drop):
            return next(iter(statement.args.get("tables") or [statement.this]))
        inside = getattr(statement, "this", None)
        return inside.this if isinstance(inside, exp.Schema) else inside

    def _filtered(self, statement, key):
        resource = self._catalog.table(key)
        partitioning = resource.get("timePartitioning") or {}
        required = resource.get("requirePartitionFilter") or partitioning.get(
            "requirePartitionFilter"
        )
        if not required or isinstance(statement, exp.Insert | exp.Alter | exp.Create):
            return
        if partitioning["field"] not in sql.filtered_columns(statement):
            raise Refused(
                "invalidQuery",
                f"Cannot query over table '{'.'.join(key)}' without a filter over column(s)"
                f" '{partitioning['field']}' that can be used for partition elimination",
            )

    def _list_partitions(self, key):
        self._catalog.dataset(*key[:2])
        self._con.execute(_PARTITIONS_DDL)
        for table in [item for item in self._catalog.tables if item[:2] == key[:2]]:
            resource = self._catalog.table(table)
            if resource["type"] != "TABLE":
                continue
            width = 8 * len(resource["schema"]["fields"])
            changed = self._catalog.modified[table]
            for name, (rows, _) in self._catalog.partitions(table).items():
                stamp = int(changed.get(name, now_ms())) * 1000
                self._con.execute(
                    "INSERT INTO _partitions VALUES (?, ?, ?, ?, ?, ?, make_timestamptz(?))",
                    [*table, name, rows, rows * width, stamp],
                )

    def _scanned(self, statement, keys):
        """Bytes of the columns it names in all rows: partitions are not told apart."""
        names, total = sql.named_columns(statement), 0
        for key in keys:
            resource = self._catalog.tables[key]
            if resource["type"] != "TABLE":
                continue
            width = sum(
                WIDTHS.get(field["type"], 8)
                for field in resource["schema"]["fields"]
                if names is None or field["name"] in names
            )
            total += width * int(resource["numRows"])
        return total

    def _change(self, statement, kind, scanned):
        target = self._target(statement)
        key = (target.catalog, target.db, target.name)
        catalog = self._catalog
        before = catalog.partitions(key) if key in catalog.tables and kind in _DML else {}
        if isinstance(statement, exp.Drop):
            if key not in catalog.tables and not statement.args.get("exists"):
                catalog.table(key)
            catalog.drop(key)
            return Answer(f"DROP_{statement.kind}", target=key, scanned=scanned)
        if isinstance(statement, exp.Alter):
            self._alter(statement, key)
            return Answer(kind, target=key, scanned=scanned)
        changed = self._execute(statement, key)
        if isinstance(statement, exp.Create):
            self._created(statement, key)
        else:
            after = catalog.partitions(key)
            stamps = catalog.modified[key]
            for name in before.keys() | after.keys():
                if before.get(name) != after.get(name):
                    stamps[name] = now_ms()
        return Answer(kind, target=key, changed=changed, scanned=scanned)

    def _execute(self, statement, key):
        if isinstance(statement, exp.Create):
            if statement.args.get("exists") and key in self._catalog.tables:
                return 0
            if statement.args.get("replace") and key in self._catalog.tables:
                self._replaceable(statement, key)
        if isinstance(statement, exp.Create) and isinstance(statement.this, exp.Schema):
            return self._declared(statement, key)
        row = self._con.execute(sql.to_duckdb(statement)).fetchone()
        return row[0] if row else 0

    def _declared(self, statement, key):
        """A table with its columns declared, and rows where it has a question too."""
        rows = statement.expression
        empty = statement.copy()
        empty.set("expression", None)
        self._con.execute(sql.to_duckdb(empty))
        if rows is None:
            return 0
        question = sql.to_duckdb(rows.unnest())
        return self._con.execute(f"INSERT INTO {quoted(key)} BY NAME {question}").fetchone()[0]

    def _replaceable(self, statement, key):
        old = self._catalog.tables[key]["type"]
        if old != statement.kind:
            raise Refused("invalid", f"{'.'.join(key)} is not allowed for this operation: {old}")
        self._catalog.modified[key] = {}

    def _created(self, statement, key):
        catalog = self._catalog
        if statement.args.get("exists") and key in catalog.tables:
            return
        if statement.kind == "VIEW":
            text = statement.expression.sql("bigquery")
            body = {"type": "VIEW", "view": {"query": text, "useLegacySql": False}}
            catalog.forget(key)
            catalog.refresh(key, body | sql.create_options(statement))
            return
        catalog.forget(key)
        made = catalog.refresh(key, sql.create_options(statement))
        texts = sql.column_descriptions(statement)
        for field in made["schema"]["fields"]:
            if field["name"] in texts:
                field["description"] = texts[field["name"]]
        catalog.modified[key] = dict.fromkeys(catalog.partitions(key), now_ms())

    def _alter(self, statement, key):
        for action in statement.args["actions"]:
            if isinstance(action, exp.ColumnDef):
                name, kind = action.name, action.kind.sql("duckdb")
                self._con.execute(f'ALTER TABLE {quoted(key)} ADD COLUMN "{name}" {kind}')
            elif not isinstance(action, exp.AlterSet):
                raise Refused("invalidQuery", f"the stand-in does not run {statement.sql()[:80]}")
        self._catalog.refresh(key)


_DML = {"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE"}


def _constant(value, kind):
    if isinstance(value, list):
        return exp.Array(expressions=[_constant(item, kind.removesuffix("[]")) for item in value])
    if value is None:
        return exp.null()
    return exp.cast(exp.Literal.string(str(value)), exp.DataType.build(kind, dialect="duckdb"))
