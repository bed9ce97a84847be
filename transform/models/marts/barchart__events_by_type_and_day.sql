{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['customer', 'product', 'day'],
    on_schema_change='fail',
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
    type,
    subject,
    action,
    day,
    count(*) as events,
    count(distinct user_id) as active_users
from events
group by customer, product, type, subject, action, day
