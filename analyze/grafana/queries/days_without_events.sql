select
    product as "Product",
    to_char(day, 'YYYY-MM-DD') as "Day",
    case when is_complete then 'no events' else 'not known' end as "State"
from barchart_marts.barchart__daily_active_users
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and $__timeFilter(day)
    and coalesce(events, 0) = 0
order by day desc, product
