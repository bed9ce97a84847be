select day as time, product as metric, <column>
from barchart_marts.barchart__daily_active_users
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and $__timeFilter(day)
order by day, product
