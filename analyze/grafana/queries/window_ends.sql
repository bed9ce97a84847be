select $__timeGroup("end", '1d') as time, product as metric, count(*) as events
from barchart.events
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and $__timeFilter("end")
group by 1, 2
order by 1, 2
