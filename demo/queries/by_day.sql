-- Different users in the seven days to each day, of each product and of all (null).
select users.product, days.day, count(distinct user_id) as number
from (select distinct day from barchart__daily_active_users) as days
inner join barchart__user_days as users
    on users.day > days.day - 7 and users.day <= days.day
where days.day <= $last
    and days.day >= (select min(day) + 6 from barchart__daily_active_users)
group by grouping sets ((users.product, days.day), (days.day))
order by all
