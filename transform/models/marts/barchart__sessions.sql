-- Parts of a session on both sides of a midnight are put together.
with in_order as (
    select
        *,
        lag(ended_at) over (
            partition by customer, product, user_id order by started_at
        ) as previous_at
    from {{ ref('int_barchart__daily_sessions') }}
),

numbered as (
    select
        *,
        sum(case when {{ begins_session('previous_at', 'started_at') }} then 1 else 0 end) over (
            partition by customer, product, user_id order by started_at
            rows between unbounded preceding and current row
        ) as session_number
    from in_order
)

select
    min(case when {{ begins_session('previous_at', 'started_at') }} then first_event_id end) as first_event_id,
    customer,
    product,
    user_id,
    cast(session_number as {{ dbt.type_int() }}) as session_number,
    min(day) as day,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    {{ seconds_between('min(started_at)', 'max(ended_at)') }} as seconds,
    {{ total('events') }} as events
from numbered
group by customer, product, user_id, session_number
