select
    to_char(first_week, 'YYYY-MM-DD') || ' (' || users || ')' as "First week (users)",
    weeks_later as "Weeks later",
    retention as "Retention"
from barchart_marts.barchart__retention_by_first_week
inner join barchart_marts.barchart__weekly_active_users using (customer, product, week)
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and first_week >= $__timeTo()::date - 83
    and week <= $__timeTo()::date
    and is_complete
order by first_week, weeks_later
