select
    customer,
    product,
    symbol,
    day,
    {{ total('events') }} as events,
    count(user_id) as active_users
from {{ ref('int_barchart__user_symbol_days') }}
group by customer, product, symbol, day
