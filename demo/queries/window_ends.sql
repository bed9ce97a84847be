-- Events by the day on which their export window ended.
select product, window_end::date as day, count(*) as number
from stg_barchart__events
group by all
order by day, product
