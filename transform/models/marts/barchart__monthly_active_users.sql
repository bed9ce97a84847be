with users as (
    select
        customer,
        product,
        {{ month('day') }} as month,
        count(distinct user_id) as active_users
    from {{ ref('barchart__user_days') }}
    group by customer, product, {{ month('day') }}
),

months as (
    {{- periods('month', month) }}
)

select
    months.customer,
    months.product,
    months.month,
    is_complete,
    {{ if_known('coalesce(users.active_users, 0)') }} as active_users,
    {{ if_known('new_users') }} as new_users,
    {{ if_known('sessions') }} as sessions,
    {{ if_known('events') }} as events
from months
left join users
    on users.customer = months.customer
    and users.product = months.product
    and users.month = months.month
