{#- The days of a run: `start_date` to `end_date`, both included, or all of them. -#}
{% macro run_days() %}
    {%- set start, end = var('start_date'), var('end_date') -%}
    {%- if (start is none) != (end is none) -%}
        {%- do exceptions.raise_compiler_error("start_date and end_date: one is missing (was " ~ start ~ " and " ~ end ~ "; expected both or none).") -%}
    {%- endif -%}
    {%- if start is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set format = '%Y-%m-%d' -%}
    {%- set first = modules.datetime.datetime.strptime(start | string, format) -%}
    {%- set last = modules.datetime.datetime.strptime(end | string, format) -%}
    {%- if last < first -%}
        {%- do exceptions.raise_compiler_error("end_date: before start_date (was " ~ end ~ "; expected " ~ start ~ " or later).") -%}
    {%- endif -%}
    {{ return((first, last)) }}
{% endmacro %}

{#- A full refresh of some days would drop all others. -#}
{% macro refuse_full_refresh_of_days() %}
    {%- if execute and flags.FULL_REFRESH and run_days() is not none -%}
        {%- do exceptions.raise_compiler_error("--full-refresh: it would drop the days outside of start_date and end_date. Leave the dates out.") -%}
    {%- endif -%}
{% endmacro %}

{#- Whether a time lies in the run's days. A range even without variables: large tables want a filter. -#}
{% macro day_filter(column, before=0, after=0) %}
    {%- set first, last = widened_days(before, after) -%}
{{ column }} >= {{ moment(first) }} and {{ column }} < {{ moment(last + modules.datetime.timedelta(days=1)) }}
{%- endmacro %}

{#- Whether a date is one of the run's days. -#}
{% macro date_filter(column, before=0, after=0) %}
    {%- set first, last = widened_days(before, after) -%}
{{ column }} between date '{{ first.strftime("%Y-%m-%d") }}' and date '{{ last.strftime("%Y-%m-%d") }}'
{%- endmacro %}

{% macro widened_days(before, after) %}
    {%- set date = modules.datetime.datetime -%}
    {%- set first, last = run_days() or (date(2010, 1, 1), date(2099, 12, 31)) -%}
    {{ return((first - modules.datetime.timedelta(days=before), last + modules.datetime.timedelta(days=after))) }}
{% endmacro %}

{#- The partitions that a run replaces in BigQuery, also those that have become empty. -#}
{% macro day_partitions() %}
    {%- set days = run_days() -%}
    {%- if days is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set literals = [] -%}
    {%- for number in range((days[1] - days[0]).days + 1) -%}
        {%- do literals.append("date '" ~ (days[0] + modules.datetime.timedelta(days=number)).strftime("%Y-%m-%d") ~ "'") -%}
    {%- endfor -%}
    {{ return(literals) }}
{% endmacro %}

{#- How a mart of days is stored: a BigQuery partition per day, replaced by free copy jobs. -#}
{% macro store_by_day(cluster_by) %}
    {%- if target.type == 'bigquery' -%}
        {{- config(
            partition_by={'field': 'date', 'data_type': 'date', 'granularity': 'day', 'copy_partitions': true},
            partitions=day_partitions(),
            cluster_by=cluster_by
        ) -}}
    {%- endif -%}
{% endmacro %}

{#- DuckDB: the run's days leave and come anew in one transaction; a venue that vanished leaves too. -#}
{% macro get_incremental_day_range_sql(arg_dict) %}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict['target_relation'] }} where {{ date_filter('date') }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}
