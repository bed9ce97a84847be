-- The last day that is complete for every product.
select min(day) as day
from (
    select max(day) filter (is_complete) as day
    from barchart__daily_active_users
    group by product
)
