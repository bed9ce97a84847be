-- Users of two products in 28 days; of one, where both are the same.
with recent as (
    select distinct product, user_id
    from barchart__user_days
    where day > $last - 28 and day <= $last
)

select one.product as one, other.product as other, count(*) as users
from recent as one
inner join recent as other using (user_id)
group by all
