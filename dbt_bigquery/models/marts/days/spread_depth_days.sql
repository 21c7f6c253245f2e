{{ store_by_day(cluster_by=['venue', 'instrument_key']) }}

with minutes as (
    select
        {{ utc_date('ts_open') }} as date,
        venue,
        instrument_key,
        spread_bps_us,
        spread_abs_us,
        quote_normal_us,
        quote_covered_ms,
        bid_depth_5bps,
        ask_depth_5bps,
        bid_depth_10bps,
        ask_depth_10bps,
        bid_depth_25bps,
        ask_depth_25bps,
        buy_cost_10k_bps,
        sell_cost_10k_bps,
        buy_cost_100k_bps,
        sell_cost_100k_bps,
        book_levels_seen
    from {{ ref('stg_candles_1m') }}
    where is_final and quote_normal_us > 0 and {{ day_filter('ts_open') }}
),

days as (
    select
        date,
        venue,
        instrument_key,
        count(*) as minutes,
        {{ ratio('sum(spread_bps_us)', 'sum(quote_normal_us)') }} as spread_bps,
        {{ ratio('sum(spread_abs_us)', 'sum(quote_normal_us)') }} as spread_abs,
        sum(quote_normal_us) / 8.64e10 as normal_share,
        sum(quote_covered_ms) / 8.64e7 as covered_share,
        {%- for width in (5, 10, 25) %}
        avg(bid_depth_{{ width }}bps) as bid_depth_{{ width }}bps,
        avg(ask_depth_{{ width }}bps) as ask_depth_{{ width }}bps,
        count(bid_depth_{{ width }}bps + ask_depth_{{ width }}bps) as minutes_with_{{ width }}bps,
        {%- endfor %}
        {%- for worth in ('10k', '100k') %}
        avg((buy_cost_{{ worth }}_bps + sell_cost_{{ worth }}_bps) / 2) as cost_{{ worth }}_bps,
        count(buy_cost_{{ worth }}_bps + sell_cost_{{ worth }}_bps) as minutes_with_{{ worth }},
        {%- endfor %}
        min(book_levels_seen) as book_levels_seen
    from minutes
    group by date, venue, instrument_key
),

instruments as (
    select date, venue, instrument_key, instrument_type, base_asset, quote_asset
    from {{ ref('stg_instruments') }}
    where {{ date_filter('date') }}
)

select
    days.date,
    days.venue,
    days.instrument_key,
    instruments.instrument_type,
    instruments.base_asset,
    instruments.quote_asset,
    days.minutes,
    days.spread_bps,
    days.spread_abs,
    days.normal_share,
    days.covered_share,
    {%- for width in (5, 10, 25) %}
    days.bid_depth_{{ width }}bps,
    days.ask_depth_{{ width }}bps,
    days.minutes_with_{{ width }}bps,
    {%- endfor %}
    {%- for worth in ('10k', '100k') %}
    days.cost_{{ worth }}_bps,
    days.minutes_with_{{ worth }},
    {%- endfor %}
    days.book_levels_seen,
    rank() over (
        partition by days.date, instruments.instrument_type, instruments.base_asset
        order by days.spread_bps
    ) as spread_rank
from days
left join instruments
    on days.date = instruments.date
    and days.venue = instruments.venue
    and days.instrument_key = instruments.instrument_key
