{#- What the two warehouses spell differently. -#}
{% macro moment(time) %}{{ adapter.dispatch('moment', 'tickhandler')(time) }}{% endmacro %}
{% macro duckdb__moment(time) %}timestamptz '{{ time.strftime("%Y-%m-%d %H:%M:%S") }}+00'{% endmacro %}
{% macro bigquery__moment(time) %}timestamp '{{ time.strftime("%Y-%m-%d %H:%M:%S") }}+00'{% endmacro %}

{#- The UTC day of a time. -#}
{% macro utc_date(column) %}{{ adapter.dispatch('utc_date', 'tickhandler')(column) }}{% endmacro %}
{% macro duckdb__utc_date(column) %}cast({{ column }} at time zone 'UTC' as date){% endmacro %}
{% macro bigquery__utc_date(column) %}date({{ column }}){% endmacro %}

{#- A quotient, null where there is nothing to divide by. -#}
{% macro ratio(top, bottom) %}{{ top }} / nullif({{ bottom }}, 0){% endmacro %}

{#- Columns as one text, so that rows can be compared with nulls in them and floats among them. -#}
{% macro fingerprint(columns) %}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- do parts.append("'|'") -%}
        {%- do parts.append("coalesce(cast(" ~ column ~ " as " ~ dbt.type_string() ~ "), '')") -%}
    {%- endfor -%}
{{ dbt.concat(parts) }}
{%- endmacro %}
