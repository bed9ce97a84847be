select
    to_char(week, 'YYYY-MM-DD') as "Week",
    new_users as "New",
    returning_users as "Returning",
    reactivated_users as "Reactivated",
    -lost_users as "Lost"
from barchart_marts.barchart__weekly_active_users
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and week between $__timeTo()::date - 83 and $__timeTo()::date
    and is_complete
order by week
