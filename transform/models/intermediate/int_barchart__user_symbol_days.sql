{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['customer', 'product', 'day'],
    on_schema_change='fail',
    post_hook="{{ remove_days('symbol_events') }}",
) }}

with changed_days as (
    {{- changed_days('symbol_events') }}
),

events as (
    {{- changed_events() }}
)

select
    customer,
    product,
    user_id,
    symbol,
    day,
    count(*) as events,
    {{ total(checksum('event_id')) }} as checksum
from events
where symbol is not null
group by customer, product, user_id, symbol, day
