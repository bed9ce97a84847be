with users as (
    select
        customer,
        product,
        {{ month('day') }} as month,
        count(distinct user_id) as active_users
    from {{ ref('barchart__user_days') }}
    group by customer, product, {{ month('day') }}
),

days as (
    select
        customer,
        product,
        {{ month('day') }} as month,
        {{ total('new_users') }} as new_users,
        {{ total('sessions') }} as sessions,
        {{ total('events') }} as events
    from {{ ref('barchart__daily_active_users') }}
    group by customer, product, {{ month('day') }}
)

select
    days.customer,
    days.product,
    days.month,
    coalesce(users.active_users, 0) as active_users,
    days.new_users,
    days.sessions,
    days.events
from days
left join users
    on users.customer = days.customer
    and users.product = days.product
    and users.month = days.month
