{{ config(cluster_by=['venue', 'instrument_key']) if target.type == 'bigquery' }}

{%- set terms = [
    'instrument_type', 'symbol', 'tardis_symbol', 'exchange_raw_symbol', 'base_asset', 'quote_asset', 'settle_asset',
    'is_inverse', 'is_quanto', 'amount_unit', 'contract_size', 'tick_size', 'amount_step', 'min_size', 'expiry',
    'strike', 'option_type', 'underlying', 'terms_source', 'is_simulated',
] %}

-- Days of a venue that are not in the warehouse say nothing: what counts as the day before is the
-- venue's day before among those that are.
with venue_days as (
    select
        venue,
        date,
        row_number() over (partition by venue order by date) as day_number,
        lead(date) over (partition by venue order by date) as next_date
    from (select distinct venue, date from {{ ref('stg_instruments') }}) as known
),

listed as (
    select
        instruments.*,
        venue_days.day_number,
        {{ fingerprint(terms) }} as terms
    from {{ ref('stg_instruments') }} as instruments
    inner join venue_days
        on instruments.venue = venue_days.venue
        and instruments.date = venue_days.date
),

compared as (
    select
        *,
        lag(terms) over (partition by venue, instrument_key order by date) as terms_before,
        lag(day_number) over (partition by venue, instrument_key order by date) as day_number_before
    from listed
),

numbered as (
    select
        *,
        sum(case when terms = terms_before and day_number = day_number_before + 1 then 0 else 1 end)
            over (partition by venue, instrument_key order by date rows between unbounded preceding and current row) as version
    from compared
),

windows as (
    select
        venue,
        instrument_key,
        version,
        min(date) as valid_from,
        max(date) as last_date,
        count(*) as days_listed,
        {%- for term in terms %}
        any_value({{ term }}) as {{ term }},
        {%- endfor %}
        min(available_from) as available_from,
        max(available_to) as available_to
    from numbered
    group by venue, instrument_key, version
)

select
    windows.venue,
    windows.instrument_key,
    cast(windows.version as {{ dbt.type_bigint() }}) as version,
    windows.valid_from,
    venue_days.next_date as valid_to,
    venue_days.next_date is null as is_current,
    windows.days_listed,
    {%- for term in terms %}
    windows.{{ term }},
    {%- endfor %}
    windows.available_from,
    windows.available_to
from windows
inner join venue_days
    on windows.venue = venue_days.venue
    and windows.last_date = venue_days.date
