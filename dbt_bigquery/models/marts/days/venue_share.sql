{{ store_by_day(cluster_by=['base_asset', 'venue']) }}

with traded as (
    select
        date,
        base_asset,
        instrument_type,
        venue,
        count(*) as instruments,
        cast(sum(case when volume is null then 1 else 0 end) as {{ dbt.type_bigint() }}) as instruments_without_volume,
        coalesce(sum(volume), 0) as volume,
        cast(coalesce(sum(trade_count), 0) as {{ dbt.type_bigint() }}) as trade_count
    from {{ ref('daily_bars') }}
    where {{ date_filter('date') }} and base_asset is not null and instrument_type <> 'OPTION'
    group by date, base_asset, instrument_type, venue
),

totals as (
    select
        *,
        sum(volume) over (partition by date, base_asset, instrument_type) as volume_of_type,
        sum(volume) over (partition by date, base_asset) as volume_of_base
    from traded
)

select
    date,
    base_asset,
    instrument_type,
    venue,
    instruments,
    instruments_without_volume,
    volume,
    trade_count,
    {{ ratio('volume', 'volume_of_type') }} as share_of_type,
    {{ ratio('volume', 'volume_of_base') }} as share_of_base
from totals
