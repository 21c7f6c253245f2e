"""BigQuery's SQL made into DuckDB's, loudly: what the translation is not sure of is refused.

Not an oracle of SQL: types of results are DuckDB's. What is known to differ is corrected here
(days of the week, truncated dates, timestamps from numbers) or refused (approximate quantiles,
limits inside aggregates, functions that only DuckDB knows).
"""

from __future__ import annotations

import sqlglot
from doubles.bigquery.errors import Refused
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import TokenType

PARTITIONS = "INFORMATION_SCHEMA.PARTITIONS"
_UNSUPPORTED = (exp.ReadParquet, exp.ReadCSV, exp.ApproxQuantiles, exp.ApproxQuantile)
_DATES = (exp.Date, exp.TsOrDsToDate, exp.CurrentDate)


def statements(text):
    """The statements of a script.

    Raises:
        Refused: it is not BigQuery's SQL.
    """
    try:
        tokens = sqlglot.tokenize(text, read="bigquery")
        if any(token.token_type is TokenType.DCOLON for token in tokens):
            raise Refused("invalidQuery", "Syntax error: Unexpected ':'")
        parsed = [item for item in sqlglot.parse(text, read="bigquery") if item is not None]
    except SqlglotError as error:
        raise Refused("invalidQuery", f"Syntax error: {error}") from error
    for item in parsed:
        _refuse_unknown(item)
    return parsed


def _refuse_unknown(statement):
    if isinstance(statement, exp.Command):
        raise Refused("invalidQuery", f"the stand-in does not run: {statement.sql()[:80]}")
    for node in statement.find_all(exp.Anonymous, *_UNSUPPORTED):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        raise Refused("invalidQuery", f"Function not found, or not in the stand-in: {name}")
    for node in statement.find_all(exp.DateTrunc):
        if isinstance(node.this, exp.Literal):
            raise Refused("invalidQuery", "DATE_TRUNC takes the date first")


def qualified(statement, project, dataset):
    """The statement with every table under project and dataset; the tables it names."""
    ctes = {cte.alias_or_name for cte in statement.find_all(exp.CTE)}
    tables = []
    for table in list(statement.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name in ctes):
            continue
        if not table.db:
            if dataset is None:
                raise Refused("invalid", f'Table "{table.name}" must be qualified with a dataset')
            table.set("db", exp.to_identifier(dataset, quoted=True))
        if not table.catalog:
            table.set("catalog", exp.to_identifier(project, quoted=True))
        tables.append(table)
    return tables


def literal(parameter):
    """A query parameter as an expression."""
    return _literal(parameter["parameterType"], parameter["parameterValue"])


def _literal(kind, value):
    if kind["type"] == "ARRAY":
        items = [_literal(kind["arrayType"], item) for item in value.get("arrayValues", [])]
        return exp.Array(expressions=items)
    text = value.get("value")
    if text is None:
        return exp.null()
    name = {"INT64": "BIGINT", "FLOAT64": "DOUBLE", "BOOL": "BOOLEAN"}.get(
        kind["type"],
        {"TIMESTAMP": "TIMESTAMPTZ", "STRING": "VARCHAR"}.get(kind["type"], kind["type"]),
    )
    return exp.cast(exp.Literal.string(text), exp.DataType.build(name))


def bound(statement, parameters, variables):
    """The statement with values in place of parameters and of a script's variables."""

    def replace(node):
        if isinstance(node, exp.Parameter):
            if node.name not in parameters:
                raise Refused("invalidQuery", f"Query parameter '{node.name}' not found")
            return parameters[node.name].copy()
        if isinstance(node, exp.Column) and not node.table and node.name in variables:
            return variables[node.name].copy()
        return node

    return statement.transform(replace)


def _corrected(node):
    if isinstance(node, exp.Extract) and node.name.upper() == "DAYOFWEEK":
        day = exp.Extract(this=exp.var("DOW"), expression=node.expression.copy())
        return exp.paren(exp.Add(this=day, expression=exp.Literal.number(1)))
    if isinstance(node, exp.DateTrunc):
        return exp.cast(node.copy(), exp.DataType.build("DATE"))
    if isinstance(node, exp.UnixToTime) and node.args.get("scale") == exp.UnixToTime.MICROS:
        return exp.Anonymous(this="make_timestamptz", expressions=[node.this.copy()])
    if isinstance(node, exp.In) and node.args.get("unnest"):
        values = exp.Anonymous(
            this="unnest", expressions=[node.args["unnest"].expressions[0].copy()]
        )
        return exp.In(this=node.this.copy(), query=exp.Subquery(this=exp.select(values)))
    return node


def to_duckdb(statement):
    """DuckDB's text of a statement.

    Raises:
        Refused: the translation would change its meaning.
    """
    copy = statement.copy()
    for node in list(copy.find_all(exp.SchemaCommentProperty)):
        node.pop()
    if isinstance(copy, exp.Create):
        copy.set("properties", None)
        for constraint in list(copy.find_all(exp.Properties)):
            constraint.pop()
        for definition in copy.find_all(exp.ColumnDef):
            definition.set("constraints", [])
    for node in reversed(list(copy.walk())):
        better = _corrected(node)
        if better is not node:
            node.replace(better)
    try:
        return copy.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except SqlglotError as error:
        raise Refused("invalidQuery", f"the stand-in cannot say this in DuckDB: {error}") from error


def filtered_columns(statement):
    """Names of columns that stand in any condition of the statement."""
    conditions = list(statement.find_all(exp.Where, exp.Join, exp.Merge, exp.Qualify))
    names = set()
    for node in conditions:
        inside = node.args.get("on") if isinstance(node, exp.Join | exp.Merge) else node
        names |= {column.name for column in inside.find_all(exp.Column)} if inside else set()
        if isinstance(node, exp.Merge):
            for when in node.find_all(exp.When):
                condition = when.args.get("condition")
                names |= {c.name for c in condition.find_all(exp.Column)} if condition else set()
    return names


def named_columns(statement):
    """Names of the columns it reads; None where it reads all."""
    if statement.find(exp.Star) and not isinstance(statement.find(exp.Star).parent, exp.Count):
        return None
    return {column.name for column in statement.find_all(exp.Column)}


def create_options(statement):
    """Partitioning, clustering and options of a CREATE statement, as a table resource has them."""
    resource = {}
    properties = statement.args.get("properties")
    for item in properties.expressions if properties else []:
        if isinstance(item, exp.PartitionedByProperty):
            resource["timePartitioning"] = _partitioning(item.this)
        elif isinstance(item, exp.ClusterProperty):
            resource["clustering"] = {"fields": [column.name for column in item.expressions]}
        elif type(item) is exp.Property and item.name == "require_partition_filter":
            resource["requirePartitionFilter"] = item.args["value"].sql().upper() == "TRUE"
        elif type(item) is exp.Property and item.name == "description":
            resource["description"] = item.args["value"].name
    return resource


def column_descriptions(statement):
    """What a CREATE statement says of its columns."""
    texts = {}
    for column in statement.find_all(exp.ColumnDef):
        for option in column.find_all(exp.Property):
            if option.name == "description":
                texts[column.name] = option.args["value"].name
    return texts


def _partitioning(node):
    if isinstance(node, exp.Column | exp.Identifier | exp.Var):
        return {"type": "DAY", "field": node.name}
    column = node.find(exp.Column)
    unit = node.args.get("unit")
    kind = unit.name.upper() if unit is not None else "DAY"
    if column is None or kind not in {"DAY", "HOUR", "MONTH", "YEAR"}:
        raise Refused("invalidQuery", f"the stand-in does not partition by {node.sql()}")
    return {"type": kind, "field": column.name}
