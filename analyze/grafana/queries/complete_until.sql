select
    product as "Product",
    complete_until as "Complete until",
    (extract(epoch from now()) - extract(epoch from complete_until)) / 3600 as "Hours ago",
    last_event_at as "Last event"
from barchart_marts.barchart__product_overview
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
order by complete_until, product
