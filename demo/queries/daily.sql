-- Mean number of different users of a day in 28 days: on working days, then at weekends.
select avg(users) as users
from (
    select days.day, count(distinct user_id) as users
    from barchart__daily_active_users as days
    left join barchart__user_days using (day)
    where days.day > $last - 28 and days.day <= $last
    group by days.day
)
group by isodow(day) > 5
order by isodow(any_value(day)) > 5
