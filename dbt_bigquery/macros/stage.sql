{#-
  A table of the warehouse as it is: every column by name, keywords renamed, narrow integers cast.
  In DuckDB a table that was never published is one without rows: a laptop publishes what it needs.
  In BigQuery it is an error: there a missing table is a wrong dataset.
-#}
{% macro stage(table) %}
    {%- set relation = source('warehouse', table) -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- for node in graph.sources.values() if node.name == table and node.source_name == 'warehouse' -%}
            {%- do found.extend(node.columns.values()) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set is_there = is_published(relation) -%}
select
    {%- for column in found %}
    {{ staged_column(column) if is_there else empty_column(column) }}{{ ',' if not loop.last }}
    {%- else %}
    *
    {%- endfor %}
{%- if is_there %}
from {{ relation }}
{%- else %}
where false
{%- endif %}
{%- endmacro %}

{% macro is_published(relation) %}{{ return(adapter.dispatch('is_published', 'tickhandler')(relation)) }}{% endmacro %}
{% macro default__is_published(relation) %}{{ return(true) }}{% endmacro %}
{% macro duckdb__is_published(relation) %}
    {%- if not execute -%}{{ return(true) }}{%- endif -%}
    {%- set found = run_query(
        "select count(*) from information_schema.tables where table_catalog = '" ~ relation.database ~ "'"
        ~ " and table_schema = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {{ return(found.columns[0].values()[0] > 0) }}
{% endmacro %}

{%- macro empty_column(column) -%}
    {%- set types = {
        'string': 'varchar', 'float64': 'double', 'int64': 'bigint', 'int32': 'bigint', 'int8': 'bigint',
        'timestamp': 'timestamp with time zone', 'array<string>': 'varchar[]',
    } -%}
    {%- set renamed = {'rows': 'row_count'} -%}
cast(null as {{ types.get(column.data_type, column.data_type) }}) as {{ renamed.get(column.name, column.name) }}
{%- endmacro %}

{%- macro staged_column(column) -%}
    {%- set renamed = {'rows': 'row_count'} -%}
    {%- set name = renamed.get(column.name, column.name) -%}
    {%- if column.data_type in ('int8', 'int32') -%}
cast({{ adapter.quote(column.name) }} as {{ dbt.type_bigint() }}) as {{ name }}
    {%- elif name != column.name -%}
{{ adapter.quote(column.name) }} as {{ name }}
    {%- else -%}
{{ name }}
    {%- endif -%}
{%- endmacro %}
