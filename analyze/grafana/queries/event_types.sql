select type as "Type", sum(events) as "Events"
from barchart_marts.barchart__events_by_type_and_day
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and $__timeFilter(day)
group by type
order by "Events" desc, type
limit 15
