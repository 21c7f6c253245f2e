{{ store_by_day(cluster_by=['venue', 'instrument_key']) }}

with bars as (
    select
        {{ utc_date('ts_open') }} as date,
        venue,
        instrument_key,
        status,
        open,
        high,
        low,
        close,
        price_vwap,
        volume,
        notional,
        buy_volume_sum,
        sell_volume_sum,
        unknown_volume_sum,
        trade_count,
        coverage,
        gap_ms,
        available_at,
        bar_version
    from {{ ref('stg_candles_24h') }}
    where is_final and {{ day_filter('ts_open') }}
),

instruments as (
    select date, venue, instrument_key, instrument_type, base_asset, quote_asset
    from {{ ref('stg_instruments') }}
    where {{ date_filter('date') }}
)

select
    bars.date,
    bars.venue,
    bars.instrument_key,
    instruments.instrument_type,
    instruments.base_asset,
    instruments.quote_asset,
    bars.status,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    bars.price_vwap,
    bars.volume,
    bars.notional,
    bars.buy_volume_sum,
    bars.sell_volume_sum,
    bars.unknown_volume_sum,
    bars.trade_count,
    bars.coverage,
    bars.gap_ms,
    bars.available_at,
    bars.bar_version
from bars
left join instruments
    on bars.date = instruments.date
    and bars.venue = instruments.venue
    and bars.instrument_key = instruments.instrument_key
