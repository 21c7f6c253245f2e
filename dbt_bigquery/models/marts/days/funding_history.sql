{{ store_by_day(cluster_by=['venue', 'instrument_key']) }}

-- A funding has passed when the next one is named: the time named before is its time. The bars of
-- the days around are read for the time named last before midnight and for one named after it.
with bars as (
    select
        venue,
        instrument_key,
        ts_open,
        next_funding_time,
        funding_settled,
        funding_interval_h,
        mark_price,
        available_at
    from {{ ref('stg_candles_1h') }}
    where is_final and next_funding_time is not null and {{ day_filter('ts_open', before=1, after=1) }}
),

named as (
    select
        *,
        lag(next_funding_time) over (partition by venue, instrument_key order by ts_open) as funding_time
    from bars
),

passed as (
    select
        {{ utc_date('funding_time') }} as date,
        venue,
        instrument_key,
        funding_time,
        funding_settled,
        case when funding_settled is not null then funding_interval_h end as funding_interval_h,
        next_funding_time,
        mark_price,
        available_at
    from named
    where next_funding_time > funding_time
),

instruments as (
    select date, venue, instrument_key, base_asset, quote_asset
    from {{ ref('stg_instruments') }}
    where {{ date_filter('date') }}
)

select
    passed.date,
    passed.venue,
    passed.instrument_key,
    instruments.base_asset,
    instruments.quote_asset,
    passed.funding_time,
    passed.funding_settled,
    passed.funding_interval_h,
    passed.funding_settled * 24 / passed.funding_interval_h * 365 as funding_annualised,
    passed.next_funding_time,
    passed.mark_price,
    passed.available_at
from passed
left join instruments
    on passed.date = instruments.date
    and passed.venue = instruments.venue
    and passed.instrument_key = instruments.instrument_key
where {{ day_filter('passed.funding_time') }}
