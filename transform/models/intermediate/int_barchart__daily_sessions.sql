{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['customer', 'product', 'day'],
    on_schema_change='fail',
    post_hook="{{ remove_days('user_events') }}",
) }}

with changed_days as (
    {{- changed_days('user_events') }}
),

events as (
    {{- changed_events() }}
),

in_order as (
    select
        customer,
        product,
        user_id,
        day,
        event_id,
        occurred_at,
        lag(occurred_at) over (
            partition by customer, product, user_id, day order by occurred_at, event_id
        ) as previous_at
    from events
    where user_id is not null
),

numbered as (
    select
        *,
        sum(case when {{ begins_session('previous_at', 'occurred_at') }} then 1 else 0 end) over (
            partition by customer, product, user_id, day order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as number
    from in_order
)

select
    min(case when {{ begins_session('previous_at', 'occurred_at') }} then event_id end) as first_event_id,
    customer,
    product,
    user_id,
    day,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    count(*) as events,
    {{ total(checksum('event_id')) }} as checksum
from numbered
group by customer, product, user_id, day, number
