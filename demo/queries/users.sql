-- Different users of this week and the last, of each product; of all of them (null) first.
select
    product,
    count(distinct user_id) filter (day > $last - 7) as this_week,
    count(distinct user_id) filter (day <= $last - 7) as last_week
from barchart__user_days
where day > $last - 14 and day <= $last
group by grouping sets ((product), ())
order by product is not null, this_week desc
