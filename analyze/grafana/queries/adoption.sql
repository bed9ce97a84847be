select
    product as "Product",
    subject as "Subject",
    action as "Action",
    users_28_days as "Users",
    share_of_active_users as "Share",
    first_seen_at as "First seen"
from barchart_marts.barchart__adoption
where customer = ${customer:sqlstring} and product in (${product:sqlstring})
order by share_of_active_users desc nulls last, product, type
