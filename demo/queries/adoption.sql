-- Event types: their users in 28 days, and everybody who used the product.
with days as (
    from int_barchart__daily_usage
    where day <= $last
),

active as (
    select product, count(distinct user_id) as everybody
    from days
    where day > $last - 28
    group by product
)

select
    product,
    type,
    count(distinct user_id) filter (day > $last - 28) as users,
    everybody,
    min(day) as first_day
from days
inner join active using (product)
group by product, type, everybody
order by users desc, product, type
