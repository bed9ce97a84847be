with frequent as (
    select symbol
    from barchart_marts.barchart__symbols_by_day
    where customer = ${customer:sqlstring} and product in (${product:sqlstring})
        and $__timeFilter(day)
    group by symbol
    order by sum(events) desc, symbol
    limit 10
)

select day as time, symbol as metric, sum(events) as events
from barchart_marts.barchart__symbols_by_day
inner join frequent using (symbol)
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and $__timeFilter(day)
group by day, symbol
order by day, symbol
