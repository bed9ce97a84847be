with days as (
    select
        customer,
        product,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        max(complete_until) as complete_until,
        count(*) as days,
        {{ total('events') }} as events
    from {{ ref('int_barchart__days') }}
    group by customer, product
),

types as (
    select customer, product, count(distinct type) as event_types
    from {{ ref('barchart__events_by_type_and_day') }}
    group by customer, product
),

users as (
    select customer, product, count(distinct user_id) as users
    from {{ ref('barchart__user_days') }}
    group by customer, product
),

sessions as (
    select customer, product, count(*) as sessions, avg(seconds) as average_session_seconds
    from {{ ref('barchart__sessions') }}
    group by customer, product
)

select
    days.customer,
    days.product,
    days.first_event_at,
    days.last_event_at,
    days.complete_until,
    days.days,
    days.events,
    types.event_types,
    coalesce(users.users, 0) as users,
    coalesce(sessions.sessions, 0) as sessions,
    sessions.average_session_seconds
from days
left join types
    on types.customer = days.customer
    and types.product = days.product
left join users
    on users.customer = days.customer
    and users.product = days.product
left join sessions
    on sessions.customer = days.customer
    and sessions.product = days.product
