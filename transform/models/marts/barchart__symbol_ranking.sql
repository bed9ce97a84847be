with customers as (
    select customer, max(day) as last_day
    from {{ ref('barchart__daily_active_users') }}
    group by customer
),

symbols as (
    select
        days.customer,
        days.product,
        days.symbol,
        {{ total('days.events') }} as events,
        count(distinct days.user_id) as active_users
    from {{ ref('int_barchart__user_symbol_days') }} as days
    inner join customers on customers.customer = days.customer
    where days.day > {{ days_after('customers.last_day', -28) }}
    group by days.customer, days.product, days.symbol
)

select
    customer,
    product,
    symbol,
    events,
    active_users,
    rank() over (partition by customer, product order by active_users desc, events desc) as rank
from symbols
