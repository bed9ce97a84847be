{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['customer', 'product', 'day'],
    on_schema_change='fail',
    post_hook="{{ remove_days('events') }}",
) }}

with changed_days as (
    {{- changed_days('events') }}
),

events as (
    {{- changed_events() }}
)

select
    customer,
    product,
    user_id,
    type,
    symbol,
    day,
    count(*) as events,
    min(occurred_at) as first_event_at,
    max(occurred_at) as last_event_at,
    {{ total(checksum('event_id')) }} as checksum
from events
group by customer, product, user_id, type, symbol, day
