{{ store_by_day(cluster_by=['venue', 'instrument_key']) }}

with bars as (
    select
        {{ utc_date('ts_open') }} as date,
        venue,
        instrument_key,
        ts_open,
        ts_close,
        available_at,
        close,
        volume,
        mark_price,
        index_price,
        perp_premium,
        futures_basis,
        futures_basis_annualised
    from {{ ref('stg_candles_1h') }}
    where is_final and {{ day_filter('ts_open') }}
),

instruments as (
    select date, venue, instrument_key, instrument_type, base_asset, quote_asset, expiry
    from {{ ref('stg_instruments') }}
    where {{ date_filter('date') }}
),

named as (
    select
        bars.*,
        instruments.instrument_type,
        instruments.base_asset,
        instruments.quote_asset,
        instruments.expiry
    from bars
    inner join instruments
        on bars.date = instruments.date
        and bars.venue = instruments.venue
        and bars.instrument_key = instruments.instrument_key
),

-- The spot market of a pair is the one that traded most of it on the day.
spot_days as (
    select
        date,
        base_asset,
        quote_asset,
        venue,
        instrument_key,
        row_number() over (
            partition by date, base_asset, quote_asset
            order by sum(volume) desc, instrument_key
        ) as place
    from named
    where instrument_type = 'SPOT_PAIR' and volume > 0
    group by date, base_asset, quote_asset, venue, instrument_key
),

spot as (
    select
        named.ts_open,
        named.base_asset,
        named.quote_asset,
        named.instrument_key as spot_key,
        named.close as spot_close,
        named.available_at as spot_available_at
    from named
    inner join spot_days
        on named.date = spot_days.date
        and named.venue = spot_days.venue
        and named.instrument_key = spot_days.instrument_key
    where spot_days.place = 1
)

select
    named.date,
    named.venue,
    named.instrument_key,
    named.ts_open,
    named.instrument_type,
    named.base_asset,
    named.quote_asset,
    named.expiry,
    named.close,
    named.mark_price,
    named.index_price,
    case when named.instrument_type = 'PERPETUAL' then named.perp_premium else named.futures_basis end as basis_to_index,
    named.futures_basis_annualised,
    spot.spot_key,
    spot.spot_close,
    {{ ratio('named.close', 'spot.spot_close') }} - 1 as basis_to_spot,
    greatest(named.available_at, coalesce(spot.spot_available_at, named.available_at)) as available_at
from named
left join spot
    on named.ts_open = spot.ts_open
    and named.base_asset = spot.base_asset
    and named.quote_asset = spot.quote_asset
where named.instrument_type in ('PERPETUAL', 'FUTURE')
