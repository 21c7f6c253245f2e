{{ store_by_day(cluster_by=['venue', 'data_type']) }}

select
    date,
    venue,
    data_type,
    count(*) as instruments,
    {%- for name, states in {
        'complete': ['present', 'empty'],
        'partial': ['partial'],
        'missing': ['not_exported_yet', 'no_entitlement', 'incident', 'failed', 'quarantined', 'not_ingested'],
        'not_listed': ['not_listed'],
    }.items() %}
    cast(sum(case when state in ('{{ states | join("', '") }}') then 1 else 0 end) as {{ dbt.type_bigint() }}) as {{ name }},
    {%- endfor %}
    cast(sum(case when verdict = 'error' then 1 else 0 end) as {{ dbt.type_bigint() }}) as errors,
    cast(sum(case when verdict = 'warning' then 1 else 0 end) as {{ dbt.type_bigint() }}) as warnings,
    cast(sum(row_count) as {{ dbt.type_bigint() }}) as row_count,
    cast(sum(quarantined_rows) as {{ dbt.type_bigint() }}) as quarantined_rows,
    cast(sum(bytes) as {{ dbt.type_bigint() }}) as bytes,
    cast(sum(gaps) as {{ dbt.type_bigint() }}) as gaps,
    sum(gap_us) / 3.6e9 as gap_hours,
    cast(sum(lost_trades) as {{ dbt.type_bigint() }}) as lost_trades,
    cast(sum(findings) as {{ dbt.type_bigint() }}) as findings,
    max(case when is_simulated then 1 else 0 end) = 1 as is_simulated
from {{ ref('stg_completeness') }}
where {{ date_filter('date') }}
group by date, venue, data_type
