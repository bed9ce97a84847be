select
    customer,
    product,
    symbol,
    day,
    {{ total('events') }} as events,
    count(distinct user_id) as active_users
from {{ ref('int_barchart__daily_usage') }}
where symbol is not null
group by customer, product, symbol, day
