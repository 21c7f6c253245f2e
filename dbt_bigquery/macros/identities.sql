{#- Rows that break a rule; null counts as true, as in the platform's own checks. -#}
{% test holds(model, expression) %}
select *
from {{ model }}
where not coalesce({{ expression }}, true)
{% endtest %}

{#- Keys with more than one row. -#}
{% test unique_together(model, columns) %}
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

{#- Groups whose shares do not make up the whole. -#}
{% test sums_to_one(model, column, by) %}
select {{ by | join(', ') }}, sum({{ column }}) as total
from {{ model }}
where {{ column }} is not null
group by {{ by | join(', ') }}
having abs(sum({{ column }}) - 1) > 1e-9
{% endtest %}

{#- Rows whose key is not in another model; both are read within the run's days only. -#}
{% test found_in(model, to, columns) %}
with here as (select * from {{ model }}),

there as (
    select distinct {{ columns | join(', ') }}
    from {{ to }}
    {%- if 'date' in columns %}
    where {{ date_filter('date') }}
    {%- endif %}
)

select here.*
from here
left join there
    on {% for column in columns %}here.{{ column }} = there.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

where there.{{ columns[0] }} is null
{% endtest %}

{#- Windows `[start, end)` of one key that begin before an earlier one ends; null means "goes on". -#}
{% test windows_do_not_overlap(model, key, start, end) %}
with following as (
    select
        *,
        lead({{ start }}) over (partition by {{ key | join(', ') }} order by {{ start }}) as next_start
    from {{ model }}
)

select *
from following
where next_start is not null and ({{ end }} is null or next_start < {{ end }})
{% endtest %}
