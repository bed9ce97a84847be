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
),

sessions as (
    select
        min(case when {{ begins_session('previous_at', 'started_at') }} then first_event_id end) as first_event_id,
        customer,
        product,
        user_id,
        cast(session_number as {{ dbt.type_int() }}) as session_number,
        min(day) as day,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        min(case when {{ begins_session('previous_at', 'started_at') }} then previous_at end) as previous_at,
        {{ total('events') }} as events
    from numbered
    group by customer, product, user_id, session_number
)

select
    first_event_id,
    customer,
    product,
    user_id,
    session_number,
    session_number = 1 as is_first_session,
    day,
    started_at,
    ended_at,
    {{ seconds_between('started_at', 'ended_at') }} as seconds,
    {{ seconds_between('previous_at', 'started_at') }} / 60 as minutes_since_previous,
    events
from sessions
