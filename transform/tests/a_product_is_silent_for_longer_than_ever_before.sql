{# Products that have had no events for more days than ever before between two days with events. The
   customer's last day does not count, since it may not be over. #}
{{ config(severity='warn') }}

with last_days as (
    select
        customer,
        product,
        max(day) as last_day,
        max(case when events > 0 then day end) as last_day_with_events
    from {{ ref('barchart__daily_active_users') }}
    group by customer, product
),

pauses as (
    select
        customer,
        product,
        day,
        lag(day) over (partition by customer, product order by day) as previous_day
    from {{ ref('int_barchart__days') }}
),

longest as (
    select
        customer,
        product,
        count(*) as days,
        max({{ dbt.datediff('previous_day', 'day', 'day') }}) - 1 as silent_days
    from pauses
    group by customer, product
)

select
    last_days.customer,
    last_days.product,
    last_days.last_day_with_events,
    {{ dbt.datediff('last_days.last_day_with_events', 'last_days.last_day', 'day') }} - 1 as silent_days,
    longest.silent_days as longest_before
from last_days
inner join longest
    on longest.customer = last_days.customer
    and longest.product = last_days.product
where longest.days >= 14
    and {{ dbt.datediff('last_days.last_day_with_events', 'last_days.last_day', 'day') }} - 1 > longest.silent_days
