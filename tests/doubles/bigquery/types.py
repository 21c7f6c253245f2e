"""BigQuery's types and DuckDB's, both ways, and rows as the REST interface spells them."""

from __future__ import annotations

import base64
import datetime as dt

from doubles.bigquery.errors import Refused

_TO_DUCKDB = {
    "STRING": "VARCHAR",
    "INTEGER": "BIGINT",
    "INT64": "BIGINT",
    "FLOAT": "DOUBLE",
    "FLOAT64": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "BOOL": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "DATETIME": "TIMESTAMP",
    "DATE": "DATE",
    "TIME": "TIME",
    "BYTES": "BLOB",
    "NUMERIC": "DECIMAL(38,9)",
}
_FROM_DUCKDB = {
    "VARCHAR": "STRING",
    "TINYINT": "INTEGER",
    "SMALLINT": "INTEGER",
    "INTEGER": "INTEGER",
    "BIGINT": "INTEGER",
    "HUGEINT": "INTEGER",
    "UTINYINT": "INTEGER",
    "USMALLINT": "INTEGER",
    "UINTEGER": "INTEGER",
    "FLOAT": "FLOAT",
    "DOUBLE": "FLOAT",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "TIMESTAMP": "DATETIME",
    "DATE": "DATE",
    "TIME": "TIME",
    "BLOB": "BYTES",
    '"NULL"': "INTEGER",
}
WIDTHS = {"STRING": 16, "BOOLEAN": 1, "BYTES": 16}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def duckdb_type(field):
    kind = field["type"].upper()
    if kind in {"RECORD", "STRUCT"}:
        inner = ", ".join(f'"{item["name"]}" {duckdb_type(item)}' for item in field["fields"])
        sql = f"STRUCT({inner})"
    elif kind in _TO_DUCKDB:
        sql = _TO_DUCKDB[kind]
    else:
        raise Refused("invalid", f"Invalid field type: {kind}")
    return f"{sql}[]" if field.get("mode") == "REPEATED" else sql


def bigquery_field(name, sql_type):
    """A field from DuckDB's name of a type; a list's elements become the field's type."""
    text = str(sql_type)
    mode = "NULLABLE"
    if text.endswith("[]"):
        text, mode = text[:-2], "REPEATED"
    if text.startswith("DECIMAL"):
        return {"name": name, "type": "NUMERIC", "mode": mode}
    if text not in _FROM_DUCKDB:
        raise Refused("invalidQuery", f"the stand-in has no type for {text} (column {name})")
    return {"name": name, "type": _FROM_DUCKDB[text], "mode": mode}


def cell(value, field):
    if field.get("mode") == "REPEATED":
        single = {**field, "mode": "NULLABLE"}
        return {"v": [cell(item, single) for item in value or []]}
    return {"v": None if value is None else _TEXT.get(field["type"], str)(value)}


def _timestamp(value):
    return str((value - _EPOCH) // dt.timedelta(microseconds=1))


_TEXT = {
    "TIMESTAMP": _timestamp,
    "DATETIME": lambda value: value.isoformat(),
    "DATE": lambda value: value.isoformat(),
    "BOOLEAN": lambda value: "true" if value else "false",
    "BYTES": lambda value: base64.b64encode(value).decode(),
    "FLOAT": repr,
}
