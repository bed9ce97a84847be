with days as (
    select day, bool_and(active_users is not null) as is_known
    from barchart_marts.barchart__daily_active_users
    where customer = ${customer:sqlstring} and product in (${product:sqlstring})
        and $__timeFilter(day)
    group by day
)

select
    days.day as time,
    case when is_known then count(distinct user_id) end as "Active users"
from days
left join barchart_marts.barchart__user_days as users
    on customer = ${customer:sqlstring} and product in (${product:sqlstring})
    and users.day = days.day
group by days.day, is_known
order by days.day
