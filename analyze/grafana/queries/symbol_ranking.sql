select
    product as "Product",
    rank as "Rank",
    symbol as "Symbol",
    events as "Events",
    active_users as "Users"
from barchart_marts.barchart__symbol_ranking
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and rank <= 20
order by rank, product, symbol
