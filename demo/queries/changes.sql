-- This week's users: new, back after a pause, or kept from last week; last week's who are lost.
select
    count(*) filter (now and first > $last - 7) as new,
    count(*) filter (now and not before and first <= $last - 7) as again,
    count(*) filter (now and before) as kept,
    count(*) filter (before and not now) as lost
from (
    select
        min(day) as first,
        bool_or(day > $last - 7) as now,
        bool_or(day > $last - 14 and day <= $last - 7) as before
    from barchart__user_days
    where day <= $last
    group by user_id
)
