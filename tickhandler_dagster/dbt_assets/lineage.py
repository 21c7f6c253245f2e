"""Which columns a column of a mart is made of, read from the compiled SQL.

What belongs here: SQL and a manifest in, names out. What does not: Dagster's form of it
(`marts.py`). dagster-dbt has this too, but asks the database for columns from inside Dagster's
process, where its open connection makes the next one fail; the manifest declares them anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlglot import MappingSchema, exp, parse_one, to_table
from sqlglot.expressions import normalize_table_name
from sqlglot.lineage import Node, lineage

ColumnLineage = dict[str, dict[str, list[tuple[str, str]]]]
"""By dbt's id of a model and column: the ids of what it is made of, and their columns."""

VIEW = "view"


def column_lineage(manifest: Mapping[str, Any]) -> ColumnLineage:
    """Lineage of every compiled model that stores rows, over its views down to the sources.

    Args:
        manifest: dbt's manifest after `dbt compile`.
    """
    found: ColumnLineage = {}
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] == "model" and not is_view(node):
            _add(unique_id, manifest, found)
    return {
        unique_id: columns
        for unique_id, columns in found.items()
        if not is_view_id(unique_id, manifest)
    }


def is_view(node: Mapping[str, Any]) -> bool:
    """The model stores nothing: it is another name for what it selects from."""
    return bool(node["config"].get("materialized") == VIEW)


def is_view_id(unique_id: str, manifest: Mapping[str, Any]) -> bool:
    """The id is that of a model that stores nothing."""
    node = manifest["nodes"].get(unique_id)
    return node is not None and is_view(node)


def _add(unique_id: str, manifest: Mapping[str, Any], found: ColumnLineage) -> None:
    if unique_id in found:
        return
    node = manifest["nodes"][unique_id]
    parents = {parent: _node(parent, manifest) for parent in node["depends_on"]["nodes"]}
    for parent in parents:
        if is_view_id(parent, manifest):
            _add(parent, manifest, found)
    direct = _direct(node, parents, manifest["metadata"]["adapter_type"])
    found[unique_id] = {
        column: sorted(
            {
                origin
                for parent, name in origins
                for origin in _over_views(parent, name, manifest, found)
            }
        )
        for column, origins in direct.items()
    }


def _over_views(
    parent: str, column: str, manifest: Mapping[str, Any], found: ColumnLineage
) -> Sequence[tuple[str, str]]:
    return found[parent].get(column, []) if is_view_id(parent, manifest) else [(parent, column)]


def _direct(
    node: Mapping[str, Any], parents: Mapping[str, Mapping[str, Any]], dialect: str
) -> dict[str, set[tuple[str, str]]]:
    """Columns of the parents that each column is made of."""
    if (renamed := _renamed(node, parents, dialect)) is not None:
        return renamed
    schema = MappingSchema(dialect=dialect)
    ids = {}
    for unique_id, parent in parents.items():
        table = to_table(parent["relation_name"], dialect=dialect)
        ids[normalize_table_name(table, dialect=dialect)] = unique_id
        # Names alone decide: the types of both warehouses are not all sqlglot's.
        schema.add_table(table, dict.fromkeys(parent["columns"], "unknown"), dialect=dialect)
    columns: dict[str, Node] = lineage(None, node["compiled_code"], schema, dialect=dialect)
    return {
        column: {
            (ids[name], leaf.name.rpartition(".")[2])
            for leaf in start.walk()
            if (name := _relation(leaf, dialect)) in ids
        }
        for column, start in columns.items()
    }


def _renamed(
    node: Mapping[str, Any], parents: Mapping[str, Mapping[str, Any]], dialect: str
) -> dict[str, set[tuple[str, str]]] | None:
    """The same for a plain choice of one table's columns; None where it is more than that.

    Such are the widest models, and qualifying 300 columns to learn their own names takes seconds.
    """
    query = parse_one(node["compiled_code"], dialect=dialect)
    if len(parents) != 1 or not isinstance(query, exp.Select) or query.is_star:
        return None
    if query.find(exp.CTE, exp.Join, exp.Lateral, exp.SetOperation, exp.Subquery):
        return None
    (parent,) = parents
    return {
        item.alias_or_name: {(parent, column.name) for column in item.find_all(exp.Column)}
        for item in query.selects
    }


def _relation(leaf: Node, dialect: str) -> str | None:
    table = None if leaf.downstream else leaf.expression.find(exp.Table)
    return None if table is None else normalize_table_name(table, dialect=dialect)


def _node(unique_id: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (manifest["nodes"] | manifest["sources"])[unique_id]
    return found
