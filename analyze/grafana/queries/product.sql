select product
from barchart_marts.barchart__product_overview
where customer = ${customer:sqlstring}
order by product
