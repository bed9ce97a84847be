with user_types as (
    select
        customer,
        product,
        user_id,
        type,
        sum(events) as events
    from {{ ref('int_barchart__daily_usage') }}
    where user_id is not null
    group by customer, product, user_id, type
),

ranked as (
    select
        *,
        row_number() over (
            partition by customer, product, user_id order by events desc, type
        ) as number
    from user_types
),

users as (
    select
        customer,
        product,
        user_id,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        count(*) as days,
        {{ total('events') }} as events
    from {{ ref('barchart__user_days') }}
    group by customer, product, user_id
),

sessions as (
    select customer, product, user_id, count(*) as sessions
    from {{ ref('barchart__sessions') }}
    group by customer, product, user_id
)

select
    users.customer,
    users.product,
    users.user_id,
    users.first_event_at,
    users.last_event_at,
    users.days,
    sessions.sessions,
    users.events,
    ranked.type as most_used_type
from users
left join sessions
    on sessions.customer = users.customer
    and sessions.product = users.product
    and sessions.user_id = users.user_id
left join ranked
    on ranked.customer = users.customer
    and ranked.product = users.product
    and ranked.user_id = users.user_id
    and ranked.number = 1
