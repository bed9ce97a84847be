with users as (
    select
        customer,
        product,
        day,
        count(*) as active_users,
        {{ total('case when day = first_day then 1 else 0 end') }} as new_users
    from {{ ref('barchart__user_days') }}
    group by customer, product, day
),

sessions as (
    select customer, product, day, count(*) as sessions
    from {{ ref('barchart__sessions') }}
    group by customer, product, day
)

select
    days.customer,
    days.product,
    days.day,
    coalesce(users.active_users, 0) as active_users,
    coalesce(users.new_users, 0) as new_users,
    coalesce(sessions.sessions, 0) as sessions,
    days.events
from {{ ref('int_barchart__days') }} as days
left join users
    on users.customer = days.customer
    and users.product = days.product
    and users.day = days.day
left join sessions
    on sessions.customer = days.customer
    and sessions.product = days.product
    and sessions.day = days.day
