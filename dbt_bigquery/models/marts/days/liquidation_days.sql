{{ store_by_day(cluster_by=['venue', 'instrument_key']) }}

-- Bars carry liquidated money as one sum and volumes by side; within a minute, in which the price
-- hardly moves, money is shared out as volume is.
with minutes as (
    select
        {{ utc_date('ts_open') }} as date,
        venue,
        instrument_key,
        notional,
        trade_count,
        liquidation_count,
        liquidation_notional,
        liquidation_sell_volume,
        liquidation_buy_volume,
        liquidation_unknown_volume,
        liquidation_sell_volume + liquidation_buy_volume + liquidation_unknown_volume as liquidation_volume,
        liquidation_size_max,
        liquidation_is_throttled
    from {{ ref('stg_candles_1m') }}
    where is_final and liquidation_count is not null and {{ day_filter('ts_open') }}
),

shared as (
    select
        *,
        {%- for name, side in {'long': 'sell', 'short': 'buy', 'unknown': 'unknown'}.items() %}
        case
            when liquidation_count = 0 then 0
            else {{ ratio('liquidation_notional * liquidation_' ~ side ~ '_volume', 'liquidation_volume') }}
        end as {{ name }}_notional{{ ',' if not loop.last }}
        {%- endfor %}
    from minutes
)

select
    date,
    venue,
    instrument_key,
    count(*) as minutes,
    cast(sum(liquidation_count) as {{ dbt.type_bigint() }}) as liquidation_count,
    sum(liquidation_notional) as liquidation_notional,
    sum(long_notional) as long_notional,
    sum(short_notional) as short_notional,
    sum(unknown_notional) as unknown_notional,
    sum(liquidation_sell_volume) as long_volume,
    sum(liquidation_buy_volume) as short_volume,
    sum(liquidation_unknown_volume) as unknown_volume,
    max(liquidation_size_max) as largest_volume,
    sum(notional) as notional,
    {{ ratio('sum(liquidation_notional)', 'sum(notional)') }} as share_of_notional,
    max(case when liquidation_is_throttled then 1 else 0 end) = 1 as is_throttled
from shared
group by date, venue, instrument_key
