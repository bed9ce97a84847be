-- Users by the number of products that they used in 28 days.
select products, count(*) as users
from (
    select count(distinct product) as products
    from barchart__user_days
    where day > $last - 28 and day <= $last
    group by user_id
)
group by products
order by products
