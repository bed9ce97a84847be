with recent as (
    {{- recent_usage() }}
),

symbols as (
    select
        customer,
        product,
        symbol,
        {{ total('events') }} as events,
        count(distinct user_id) as active_users
    from recent
    where symbol is not null
    group by customer, product, symbol
)

select
    customer,
    product,
    symbol,
    events,
    active_users,
    rank() over (partition by customer, product order by active_users desc, events desc) as rank
from symbols
