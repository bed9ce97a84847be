-- Sessions and events of this week and the last.
select
    measure,
    sum(number) filter (day > $last - 7)::bigint as this_week,
    sum(number) filter (day <= $last - 7)::bigint as last_week
from (unpivot barchart__daily_active_users on sessions, events into name measure value number)
where day > $last - 14 and day <= $last
group by measure
order by measure desc
