-- Users by first week, and those active so many weeks later; weeks that are over.
with weeks as (
    select distinct user_id, date_trunc('week', day)::date as week
    from barchart__user_days
    where day <= $last and date_trunc('week', day) + interval 6 day <= $last
),

began as (
    select user_id, min(week) as first_week
    from weeks
    group by user_id
)

select
    began.first_week,
    (later.week - began.first_week) // 7 as weeks_later,
    count(distinct began.user_id) as users,
    count(distinct weeks.user_id) as active
from began
inner join (select distinct week from weeks) as later on later.week >= began.first_week
left join weeks on weeks.user_id = began.user_id and weeks.week = later.week
group by all
order by all
