-- New users whose week so many weeks later is over, and those of them who were active in it.
with new as (
    select user_id, min(day) as first
    from barchart__user_days
    group by user_id
    having first >= (select min(day) + 28 from barchart__user_days)
)

select
    weeks,
    count(distinct user_id) as users,
    count(distinct user_id) filter (day - first between 7 * weeks and 7 * weeks + 6) as active
from new
inner join barchart__user_days using (user_id)
cross join (values (1), (4)) as later(weeks)
where first + 7 * weeks + 6 <= $last
group by weeks
order by weeks
